//! The committed log carried out once more, by one who has all the time: which proposals were committed, where, and what
//! the state was behind each entry. Versions are compared by hand here; ranges by `storage`'s own digest.

use std::collections::{BTreeMap, BTreeSet};

use storage::{Batch, Check, Durability, MemoryStore, Space, Store};
use xxhash_rust::xxh3::xxh3_64;

use super::Broken;
use super::agreement::Agreement;
use crate::history::{Id, Rows, parse};

/// What the committed log means.
#[derive(Default)]
pub struct Replay {
    /// For each proposal the entries that it became, and whether each was committed.
    pub entries: BTreeMap<Id, Vec<(u64, bool)>>,
    /// The rows behind each entry that was wanted.
    pub states: BTreeMap<u64, Rows>,
}

/// Deletions write no value that could name them; each of these keys is deleted by one proposal only.
pub type Deletions = BTreeMap<Vec<u8>, Id>;

impl Replay {
    /// Carries out the log, and remembers the states at `wanted`.
    ///
    /// # Errors
    /// The log has a hole; a check that does not hold was passed; the state of a node was not that of the log.
    pub fn of(agreement: &Agreement, deletions: &Deletions, wanted: &BTreeSet<u64>) -> Result<Self, Broken> {
        let store = MemoryStore::default();
        let mut rows = Rows::new();
        let mut replay = Self::default();
        let first = agreement.log.keys().next().copied().unwrap_or(0);
        for (expected, (index, entry)) in (first..).zip(&agreement.log) {
            if *index != expected {
                return Err(format!("nobody applied entry {expected} from a log, but entry {index} was"));
            }
            if let Some(change) = &entry.change {
                let mut batch = Batch::default();
                let committed = storage::apply(&store, change, *index, &mut batch).map_err(|e| e.to_string())?;
                let versions_hold = change.checks.iter().all(|check| match check {
                    Check::Version { key, version } => rows.get(key).map_or(0, |(found, _)| *found) == *version,
                    Check::Range { .. } => true,
                });
                if committed && !versions_hold {
                    return Err(format!("entry {index} was committed although a check does not hold"));
                }
                store.commit(batch, Durability::Synced).map_err(|e| e.to_string())?;
                for write in change.writes.iter().filter(|_| committed) {
                    match &write.value {
                        Some(value) => drop(rows.insert(write.key.clone(), (*index, value.clone()))),
                        None => drop(rows.remove(&write.key)),
                    }
                }
                let by_value = change.writes.iter().find_map(|w| parse(w.value.as_deref()?)).map(|(id, _)| id);
                let id = by_value.or_else(|| change.writes.iter().find_map(|w| deletions.get(&w.key).copied()));
                if let Some(id) = id {
                    replay.entries.entry(id).or_default().push((*index, committed));
                }
            }
            if let Some(digest) = agreement.digests.get(index)
                && *digest != digest_of(&rows)
            {
                return Err(format!("the state at entry {index} is not what the log makes of it"));
            }
            if wanted.contains(index) {
                replay.states.insert(*index, rows.clone());
            }
        }
        Ok(replay)
    }
}

/// Equal for equal rows, in any order.
fn digest_of(rows: &Rows) -> u64 {
    rows.iter()
        .fold(0, |sum, (key, (version, value))| sum ^ digest_of_row(key, &[&version.to_be_bytes(), value.as_slice()].concat()))
}

fn digest_of_row(key: &[u8], stored: &[u8]) -> u64 {
    xxh3_64(&[&(key.len() as u64).to_be_bytes(), key, stored].concat())
}

/// The digest of a store's state.
///
/// # Errors
/// The store's.
pub fn digest_of_store(store: &dyn Store) -> Result<u64, storage::StoreError> {
    use std::ops::{Bound, ControlFlow};
    let mut sum = 0;
    store.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut |key, stored| {
        sum ^= digest_of_row(key, stored);
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}
