//! Caches can be right: a node's observer is told of every key of every applied entry before the entry shows, in the order
//! of the log, and of the whole when a snapshot replaced the state.

use std::collections::BTreeSet;

use super::Broken;

/// What the observer of one run of a node was told.
#[derive(Default)]
pub struct Told {
    last: u64,
    /// `(index, key)`.
    keys: BTreeSet<(u64, Vec<u8>)>,
    resets: u64,
}

impl Told {
    /// The observer is told.
    ///
    /// # Errors
    /// Out of order.
    pub fn applied(&mut self, node: usize, index: u64, keys: &[&[u8]]) -> Result<(), Broken> {
        if index <= self.last {
            return Err(format!("the observer of node {node} was told of entry {index} after entry {}", self.last));
        }
        self.last = index;
        self.keys.extend(keys.iter().map(|key| (index, key.to_vec())));
        Ok(())
    }

    /// The whole state is new.
    pub fn reset(&mut self) {
        self.resets += 1;
    }

    /// A client reads on this run that `key` was written at `version`, having read another version of it on the same run
    /// before.
    ///
    /// # Errors
    /// A cache would have kept the old one.
    pub fn shows(&self, node: usize, key: &[u8], version: u64) -> Result<(), Broken> {
        if self.resets > 0 || self.keys.contains(&(version, key.to_vec())) {
            return Ok(());
        }
        Err(format!("node {node} shows {} of entry {version}, which its observer was not told of", String::from_utf8_lossy(key)))
    }
}
