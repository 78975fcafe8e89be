//! What is seen from outside while the cluster runs: commits on all disks, what observers are told, what clients did, and the
//! diary that is printed when something is broken.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use parking_lot::Mutex;
use replication::simulation::{Noted, logged, noted};
use storage::{Batch, BatchOp, Space, Store};
use tokio::time::Instant;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::disk::Probe;
use crate::history::{History, Id};
use crate::invariants::Broken;
use crate::invariants::agreement::Agreement;
use crate::invariants::leaders::OneLeader;
use crate::invariants::logs::LogMatching;
use crate::invariants::observers::Told;
use crate::invariants::replay::{Deletions, digest_of_store};

/// All of it.
pub struct Records {
    began: Instant,
    inner: Mutex<Inner>,
}

/// What the judges read when it is over.
#[derive(Default)]
pub struct Inner {
    /// The first broken invariant, and when.
    pub broken: Option<(Duration, Broken)>,
    /// Elections.
    pub leaders: OneLeader,
    /// All logs.
    pub logs: LogMatching,
    /// The committed log and the states.
    pub agreement: Agreement,
    /// What clients did.
    pub history: History,
    /// Proposals whose proposers were told that they never will be in the log.
    pub refused: Vec<Id>,
    /// Which proposal deletes a key.
    pub deletions: Deletions,
    /// Where each node's state stands.
    pub applied: BTreeMap<usize, u64>,
    /// What the observers were told, by node.
    pub told: BTreeMap<usize, Told>,
    /// What happened, in order.
    pub diary: Vec<(Duration, String)>,
    /// Digest of everything that happened.
    pub digest: u64,
    next_id: Id,
}

impl Records {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), inner: Mutex::default() }
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Reads or changes the records.
    pub fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock())
    }

    /// Notes what happened.
    pub fn note(&self, text: String) {
        let now = self.now();
        self.with(|inner| inner.note(now, text));
    }

    /// A new number for a proposal.
    pub fn id(&self) -> Id {
        self.with(|inner| {
            inner.next_id += 1;
            inner.next_id
        })
    }

    /// Keeps the first broken invariant.
    pub fn judge(&self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            let now = self.now();
            self.with(|inner| {
                inner.note(now, format!("BROKEN: {broken}"));
                inner.broken.get_or_insert((now, broken));
            });
        }
    }

    /// Whether anything is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.with(|inner| inner.broken.is_some())
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn note(&mut self, now: Duration, text: String) {
        self.digest = xxh3_64_with_seed(text.as_bytes(), self.digest ^ u64::try_from(now.as_micros()).unwrap_or(0));
        self.diary.push((now, text));
    }

    fn committed(&mut self, node: usize, batch: &Batch, store: &dyn Store) -> Result<(), Broken> {
        let mut applied = None;
        let mut installed = false;
        for op in &batch.ops {
            match op {
                BatchOp::Put(Space::Log, key, value) => self.appended(key, value, store)?,
                BatchOp::Put(Space::Meta, key, value) => match noted(key, value).map_err(|e| e.to_string())? {
                    Noted::Vote { term, node, elected: true } => self.leaders.elected(term, node)?,
                    Noted::Applied { index, .. } => applied = Some(index),
                    Noted::Installed => installed = true,
                    _ => {}
                },
                _ => {}
            }
        }
        let Some(index) = applied else { return Ok(()) };
        let from = self.applied.insert(node, index).map_or(0, |before| before + 1);
        if !installed {
            for at in from..=index {
                let stored = store.get(Space::Log, &at.to_be_bytes()).map_err(|e| e.to_string())?;
                let entry = stored.map(|value| logged(at, &value)).transpose().map_err(|e| e.to_string())?;
                self.agreement.applied(node, at, entry)?;
            }
        }
        self.agreement.stands(node, index, digest_of_store(store).map_err(|e| e.to_string())?)
    }

    fn appended(&mut self, key: &[u8], value: &[u8], store: &dyn Store) -> Result<(), Broken> {
        let index = index_of(key)?;
        let entry = logged(index, value).map_err(|e| e.to_string())?;
        let before = match index.checked_sub(1) {
            Some(before) => store.get(Space::Log, &before.to_be_bytes()).map_err(|e| e.to_string())?.map(|v| logged(before, &v)),
            None => None,
        };
        let before = before.transpose().map_err(|e| e.to_string())?.map(|entry| entry.term);
        self.logs.appended(index, entry.term, xxh3_64(value), before)
    }

    fn lost_power(&mut self, node: usize, store: &dyn Store) -> Result<(), Broken> {
        let mut applied = None;
        let mut failed = None;
        store
            .scan(Space::Meta, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
                match noted(key, value) {
                    Ok(Noted::Applied { index, .. }) => applied = Some(index),
                    Ok(_) => {}
                    Err(e) => failed = Some(e.to_string()),
                }
                ControlFlow::Continue(())
            })
            .map_err(|e| e.to_string())?;
        match applied {
            Some(index) => self.applied.insert(node, index),
            None => self.applied.remove(&node),
        };
        failed.map_or(Ok(()), Err)
    }
}

fn index_of(key: &[u8]) -> Result<u64, Broken> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| format!("a log key of {} bytes", key.len()))
}

impl Probe for Records {
    fn committed(&self, node: usize, batch: &Batch, store: &dyn Store) {
        let judged = self.with(|inner| inner.committed(node, batch, store));
        self.judge(judged);
    }

    fn lost_power(&self, node: usize, store: &dyn Store) {
        let judged = self.with(|inner| inner.lost_power(node, store));
        self.judge(judged);
    }
}
