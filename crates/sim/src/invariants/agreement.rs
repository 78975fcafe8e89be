//! All nodes apply the same: what one node applied at an index, every node applies there, and the states are equal, whether
//! entries or a snapshot led to them. A state never leads its own log on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use replication::simulation::Logged;
use storage::Changeset;

use super::Broken;

/// A committed entry.
pub struct Committed {
    /// Its term.
    pub term: u64,
    /// The change that it proposes.
    pub change: Option<Arc<Changeset>>,
    /// Voters that it sets.
    pub voters: Option<Vec<Vec<u64>>>,
}

/// The committed log, and the digest of the state behind each entry that ended a commit somewhere.
#[derive(Default)]
pub struct Agreement {
    /// By index.
    pub log: BTreeMap<u64, Committed>,
    /// By index.
    pub digests: BTreeMap<u64, u64>,
}

impl Agreement {
    /// `node` applies `entry` at `index`; `None`: its log on disk does not have it.
    ///
    /// # Errors
    /// Another node applied something else there, or the state leads the log.
    pub fn applied(&mut self, node: usize, index: u64, entry: Option<Logged>) -> Result<(), Broken> {
        let Some(entry) = entry else {
            return Err(format!("node {node} applied entry {index}, which its log on disk does not have"));
        };
        let new = Committed { term: entry.term, change: entry.change, voters: entry.voters };
        let known = self.log.entry(index).or_insert(new);
        if known.term != entry.term {
            return Err(format!(
                "node {node} applied an entry of term {} at {index}, another one of term {}",
                entry.term, known.term
            ));
        }
        Ok(())
    }

    /// The state of `node` stands at `index` and has this digest.
    ///
    /// # Errors
    /// Another node's state was not the same there.
    pub fn stands(&mut self, node: usize, index: u64, digest: u64) -> Result<(), Broken> {
        let known = *self.digests.entry(index).or_insert(digest);
        if known == digest { Ok(()) } else { Err(format!("node {node} has another state than others at entry {index}")) }
    }
}
