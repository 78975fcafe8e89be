//! The contract of a disk engine.

use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

/// The three maps one database holds. A [`Batch`] is atomic across them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Applied state: sealed names to versioned ciphertexts.
    State,
    /// Raft log entries by big-endian index.
    Log,
    /// Vote, membership, applied index: a handful of records.
    Meta,
}

impl Space {
    /// All of them, in the order of a full copy.
    pub const ALL: [Self; 3] = [Self::State, Self::Log, Self::Meta];

    /// The name on disk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Log => "log",
            Self::Meta => "meta",
        }
    }
}

/// What `commit` promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives the end of the process, maybe not of the machine.
    Buffered,
    /// Survives power loss: fdatasync has returned for this batch and all before it.
    Synced,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchOp {
    /// Set a key.
    Put(Space, Vec<u8>, Vec<u8>),
    /// Remove a key, present or not.
    Delete(Space, Vec<u8>),
}

/// Changes that become visible, and survive a crash, together or not at all. Applied in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes in order.
    pub ops: Vec<BatchOp>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.ops.push(BatchOp::Put(space, key.into(), value.into()));
    }

    /// Removes a key.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.ops.push(BatchOp::Delete(space, key.into()));
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Why a store cannot do what it was asked. The caller treats everything but `Full` as the end of this node's storage.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room. Nothing of the batch was kept.
    #[error("the disk under {0} is full")]
    Full(PathBuf),
    /// Another process holds the directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The directory was written by a newer program.
    #[error("{path} has data format {found}, this program knows formats up to {known}")]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Format number found there.
        found: u32,
        /// Newest format this program reads.
        known: u32,
    },
    /// The bytes on disk contradict themselves.
    #[error("corrupt data in {what}: {detail}")]
    Corrupt {
        /// Which space or file.
        what: String,
        /// What was found.
        detail: String,
    },
    /// An earlier write failed, so nothing after it can be trusted to be durable.
    #[error("storage stopped after a failed write: {0}")]
    Poisoned(String),
    /// Anything else the operating system said.
    #[error("storage: {context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// What the system answered.
        source: std::io::Error,
    },
}

/// Reads of one instant.
pub trait Snapshot: Send + Sync {
    /// The value of a key at that instant.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Visits keys in ascending byte order until the range ends or `visit` breaks.
    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

/// An ordered map with atomic batches and a durability mark.
///
/// To be correct, an implementation must ensure:
/// - a batch is visible to other threads completely or not at all, and after a crash likewise;
/// - after `commit(_, Synced)` returned `Ok`, that batch **and every batch committed before it** survive power loss;
/// - after a failed commit every later commit fails too ([`StoreError::Poisoned`]) unless the store knows that nothing
///   was written ([`StoreError::Full`] where it can roll back);
/// - two processes cannot open the same directory.
///
/// `suite::conformance` and `suite::crash` prove this; every implementation runs both.
pub trait Store: Send + Sync + 'static {
    /// The present value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Visits keys in ascending byte order until the range ends or `visit` breaks. Each visited pair was committed;
    /// the whole is not one instant (see [`Store::snapshot`]).
    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The greatest key and its value.
    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError>;

    /// Applies a batch atomically.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;

    /// Makes everything committed so far survive power loss.
    fn sync(&self) -> Result<(), StoreError>;

    /// A view of one instant that later commits do not change. May be held for minutes while a snapshot is streamed.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Bytes used on disk.
    fn disk_bytes(&self) -> Result<u64, StoreError>;

    /// The engine's name as written in the configuration (`fjall`, `sled`, `memory`).
    fn engine(&self) -> &'static str;
}
