//! Caches can be right: a node's observer is told of every key of every applied entry before the entry shows, in the order
//! of the log, and of the whole when a snapshot replaced the state.

use std::collections::BTreeSet;

use super::Broken;

/// What the observer of one run of a node was told.
#[derive(Default)]
pub struct Told {
    /// Where the state stood when the run began.
    from: u64,
    last: u64,
    /// `(index, key)`.
    keys: BTreeSet<(u64, Vec<u8>)>,
    resets: u64,
}

impl Told {
    /// A run begins with the state at this entry.
    #[must_use]
    pub fn since(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

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

    /// A client reads `key` of entry `version` on this run.
    ///
    /// # Errors
    /// It was written since the run began, and a cache would have kept what was before.
    pub fn shows(&self, node: usize, key: &[u8], version: u64) -> Result<(), Broken> {
        if self.resets > 0 || version <= self.from || self.keys.contains(&(version, key.to_vec())) {
            return Ok(());
        }
        Err(format!("node {node} shows {} of entry {version}, which its observer was not told of", String::from_utf8_lossy(key)))
    }
}
