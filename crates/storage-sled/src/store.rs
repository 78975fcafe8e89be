//! [`SledStore`]: one tree for all spaces, so that sled's per-tree batch is atomic across them.
//!
//! ```text
//! <path>/sled/           sled's files: db, blobs/, snap.*
//!   0x01 key             Space::State
//!   0x02 key             Space::Log
//!   0x03 key             Space::Meta
//!   0x00 'n'             number of the last commit, u64 BE, in every batch
//! ```

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::disk::{DataDirectory, GroupCommit, checked_size, guarded, is_empty_range};
use storage::{Batch, BatchOp, Durability, Snapshot, Space, Store, StoreError};

use crate::snapshot::{Held, SledSnapshot};
use crate::sync::Syncer;

/// Number of the layout this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

const ENGINE: &str = "sled";

/// Key of the commit number, below all spaces.
const COMMIT_NUMBER: &[u8] = b"\0n";

/// Longest that opening waits for a store of this process to finish closing.
const CLOSING_WAIT: Duration = Duration::from_secs(5);
const CLOSING_STEP: Duration = Duration::from_millis(2);

/// Budgets of the store.
#[derive(Debug, Clone, Copy)]
pub struct SledOptions {
    /// Pages kept in memory, bytes. sled also keeps a table of all pages, about 100 bytes each, whatever this says.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 8 * 1024 * 1024 }
    }
}

/// The store. Dropping it flushes and releases the directory.
pub struct SledStore {
    // Declared before the directory: sled closes its files before the lock opens.
    tree: sled::Db,
    syncer: Syncer,
    group: GroupCommit,
    commits: AtomicU64,
    /// The snapshots alive. Locked while a batch is applied, so that a snapshot is taken between two batches.
    held: Mutex<Held>,
    directory: DataDirectory,
}

impl SledStore {
    /// Opens or creates the store under `path`; see [`DataDirectory::open`] for the demands on the directory.
    ///
    /// # Errors
    /// Those of the directory; [`StoreError::Corrupt`] when sled cannot read its files or an acknowledged commit is missing.
    pub fn open(path: &Path, options: SledOptions) -> Result<Self, StoreError> {
        let directory = DataDirectory::open(path, ENGINE, FORMAT)?;
        let files = directory.engine_path(ENGINE);
        let (tree, commits) = guarded("sled", || {
            let tree = open_tree(&files, options).map_err(|e| failure(path, "open", e))?;
            let number = tree.get(COMMIT_NUMBER).map_err(|e| failure(path, "read the commit number", e))?;
            Ok((tree, number_of(number.as_deref())?))
        })?;
        directory.check_recovered(commits)?;
        let unopened = |source| StoreError::Io { context: format!("open sled's files to sync them: {}", path.display()), source };
        let syncer = Syncer::open(&files).map_err(unopened)?;
        Ok(Self {
            tree,
            syncer,
            group: GroupCommit::default(),
            commits: AtomicU64::new(commits),
            held: Mutex::default(),
            directory,
        })
    }

    /// Called by one thread at a time, see [`GroupCommit`].
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let poisoned = |doing: &str, e: sled::Error| StoreError::Poisoned(failure(self.directory.path(), doing, e).to_string());
        let mut commit = self.commits.load(Ordering::Acquire);
        if !batch.is_empty() {
            commit += 1;
            let mut write = sled::Batch::default();
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            for op in batch.ops {
                match op {
                    BatchOp::Put(space, key, value) => {
                        let key = in_space(space, &key);
                        held.keep(&self.tree, &key).map_err(|e| poisoned("read for a snapshot", e))?;
                        write.insert(key, value);
                    }
                    BatchOp::Delete(space, key) => {
                        let key = in_space(space, &key);
                        held.keep(&self.tree, &key).map_err(|e| poisoned("read for a snapshot", e))?;
                        write.remove(key);
                    }
                }
            }
            write.insert(COMMIT_NUMBER, &commit.to_be_bytes());
            self.tree.apply_batch(write).map_err(|e| poisoned("commit", e))?;
            drop(held);
            self.commits.store(commit, Ordering::Release);
        }
        // Without it a batch lies in sled's own buffer and dies with the process.
        self.tree.flush().map_err(|e| poisoned("flush", e))?;
        if durability == Durability::Synced {
            self.syncer.sync().map_err(|e| StoreError::Poisoned(format!("sync: {e}")))?;
            self.directory.note_synced(commit)?;
        }
        Ok(())
    }
}

impl Store for SledStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        guarded(space.as_str(), || {
            let value = self.tree.get(in_space(space, key)).map_err(|e| unreadable(space, e))?;
            Ok(value.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let mut range = guarded(space.as_str(), || Ok(self.tree.range(range_in_space(space, from, to))))?;
        // `visit` runs outside the fence: a panic of the caller is the caller's.
        while let Some((key, value)) = guarded(space.as_str(), || range.next().transpose().map_err(|e| unreadable(space, e)))? {
            if visit(key.get(1..).unwrap_or_default(), &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        guarded(space.as_str(), || {
            let mut range = self.tree.range(range_in_space(space, Bound::Unbounded, Bound::Unbounded));
            let last = range.next_back().transpose().map_err(|e| unreadable(space, e))?;
            Ok(last
                .map(|(key, value)| (Bytes::copy_from_slice(key.get(1..).unwrap_or_default()), Bytes::copy_from_slice(&value))))
        })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if batch.is_empty() && durability == Durability::Buffered {
            return Ok(());
        }
        self.directory.require_room(checked_size(&batch)?)?;
        self.group.commit(batch, durability, |batch, durability| guarded("sled", || self.write(batch, durability)))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let sync = |batch, durability| guarded("sled", || self.write(batch, durability));
        self.group.commit(Batch::default(), Durability::Synced, sync)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let snapshot = Arc::new(SledSnapshot::new(self.tree.clone(), self.directory.path()));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).add(&snapshot);
        Ok(snapshot)
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.directory.disk_bytes()
    }

    fn engine(&self) -> &'static str {
        ENGINE
    }
}

/// sled's threads may hold its file for a moment after the last handle is gone. No other process can: ours is the lock.
fn open_tree(files: &Path, options: SledOptions) -> Result<sled::Db, sled::Error> {
    let deadline = Instant::now() + CLOSING_WAIT;
    let config =
        sled::Config::new().path(files).cache_capacity(options.cache_bytes).mode(sled::Mode::LowSpace).flush_every_ms(None);
    loop {
        match config.open() {
            Err(sled::Error::Io(e)) if e.to_string().contains("acquire lock") && Instant::now() < deadline => {
                std::thread::sleep(CLOSING_STEP);
            }
            outcome => return outcome,
        }
    }
}

fn byte_of(space: Space) -> u8 {
    match space {
        Space::State => 1,
        Space::Log => 2,
        Space::Meta => 3,
    }
}

/// The tree's key of a space's key.
pub(crate) fn in_space(space: Space, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(key.len() + 1);
    whole.push(byte_of(space));
    whole.extend_from_slice(key);
    whole
}

/// The tree's range of a space's range.
pub(crate) fn range_in_space(space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match from {
        Bound::Unbounded => Bound::Included(vec![byte_of(space)]),
        bound => bound.map(|key| in_space(space, key)),
    };
    let to = match to {
        Bound::Unbounded => Bound::Excluded(vec![byte_of(space) + 1]),
        bound => bound.map(|key| in_space(space, key)),
    };
    (from, to)
}

pub(crate) fn unreadable(space: Space, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::Io { context: format!("read {}", space.as_str()), source },
        other => StoreError::Corrupt { what: space.as_str().to_owned(), detail: other.to_string() },
    }
}

fn number_of(value: Option<&[u8]>) -> Result<u64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    value
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| StoreError::Corrupt { what: "commit number".to_owned(), detail: format!("{} bytes long", value.len()) })
}

fn failure(path: &Path, doing: &str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => StoreError::Full(path.to_owned()),
        sled::Error::Io(source) => StoreError::Io { context: format!("{doing}: {}", path.display()), source },
        other => StoreError::Corrupt {
            what: path.display().to_string(),
            detail: format!("{other}; empty the directory and let the node rejoin, or restore a snapshot"),
        },
    }
}
