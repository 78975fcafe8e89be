//! [`FjallStore`]: mapping of spaces to keyspaces, of errors, and the budget of memory and journal.
//!
//! ```text
//! <path>/fjall/        fjall's files: *.jnl (journal), keyspaces/
//!   keyspace state, log, meta    one per Space
//!   keyspace commits             "n" -> CommitRecord, the last item of every batch
//! ```

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, CompressionPolicy, RestartIntervalPolicy};
use fjall::{AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use storage::disk::{DataDirectory, GroupCommit, checked_size, guarded, is_empty_range};
use storage::{Batch, BatchOp, Durability, Snapshot, Space, Store, StoreError};

use crate::journal::{self, COMMIT_KEY, CommitRecord, Journal};
use crate::keeper::{Bell, Keeper};
use crate::manifest;

/// Number of the layout this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

const ENGINE: &str = "fjall";

/// fjall refuses less. Reached only when [`FjallOptions::journal_bytes`] could not be kept.
const SEALED_JOURNALS_BYTES: u64 = 64 * 1024 * 1024;

/// Open tables kept; each costs one descriptor.
const OPEN_FILES: usize = 64;

/// Size of a block of a table. Names are long and begin alike; within a block only what differs is written, so with fjall's own
/// 4 KiB, two or three records, a tenth of the disk would be names.
const BLOCK_BYTES: u32 = 16 * 1024;
/// Records in a block that share the beginning of their names.
const BLOCK_RESTART: u8 = 16;

/// Size of one table on the lower levels: what one step of compaction rewrites, and needs room for.
const TABLE_BYTES: u64 = 8 * 1024 * 1024;

/// Beyond these fjall holds a writer until its worker catches up, and for ever when the worker died of a full disk. So the
/// store waits before, and looks whether the engine is alive. fjall's own: 4 memtables, 20 runs.
const WAITING_MEMTABLES: usize = 2;
const WAITING_TABLES: usize = 16;
const WAIT_STEP: Duration = Duration::from_millis(1);

/// Longest the journal's keeper holds commits until the last memtables are written and the journal can be emptied; the worker
/// may be in the middle of a compaction. Then it tries again after another [`TRIM_RETRY_BYTES`].
const TRIM_WAIT: Duration = Duration::from_millis(30);
const TRIM_RETRY_BYTES: u64 = 2 * 1024 * 1024;

/// A journal of so many times its limit holds the writer until it is emptied: the keeper is behind, and the bound of the disk
/// must not depend on how fast it is scheduled.
const HARD_LIMIT_TIMES: u64 = 3;
/// Longest it holds a writer then. A worker that has died ends the wait at once.
const HARD_LIMIT_WAIT: Duration = Duration::from_secs(30);

/// Longest it waits for what was written before, while commits go on.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// A journal of this size is not worth a table.
const REST_BYTES: u64 = 64 * 1024;

/// The same at closing, where it saves the next start from replaying.
const TRIM_WAIT_AT_CLOSING: Duration = Duration::from_secs(2);

/// Budgets of the store.
#[derive(Debug, Clone, Copy)]
pub struct FjallOptions {
    /// Blocks kept in memory, bytes.
    pub cache_bytes: u64,
    /// A memtable of a space is written out at this size, bytes. At most four wait per space.
    pub memtable_bytes: u64,
    /// Size at which the journal is emptied, bytes: bounds the disk beyond the live data, and what a start replays. While commits
    /// go on it may reach three times as much; at rest it is emptied anyway.
    pub journal_bytes: u64,
    /// Threads for flushes and compactions, at least 1. With more than one, fjall's first thread spins during compactions.
    pub worker_threads: usize,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self { cache_bytes: 8 * 1024 * 1024, memtable_bytes: 4 * 1024 * 1024, journal_bytes: 8 * 1024 * 1024, worker_threads: 1 }
    }
}

/// The store. Dropping it writes everything out and releases the directory.
pub struct FjallStore {
    // Declared before the files: it ends first.
    _keeper: Keeper,
    files: Arc<Files>,
}

/// What the store and the keeper of its journal share.
struct Files {
    // Declared before the directory: the engine closes its files before the lock opens.
    database: Database,
    spaces: Spaces,
    group: GroupCommit,
    commits: AtomicU64,
    journal: Journal,
    /// Journal size at which to try the next trim.
    trim_at_bytes: AtomicU64,
    bell: Arc<Bell>,
    options: FjallOptions,
    directory: DataDirectory,
}

#[derive(Clone)]
struct Spaces {
    state: Keyspace,
    log: Keyspace,
    meta: Keyspace,
    commits: Keyspace,
}

struct FjallSnapshot {
    view: fjall::Snapshot,
    spaces: Spaces,
}

impl FjallStore {
    /// Opens or creates the store under `path`; see [`DataDirectory::open`] for the demands on the directory.
    ///
    /// # Errors
    /// Those of the directory; [`StoreError::Corrupt`] when files contradict themselves or an acknowledged commit is missing.
    pub fn open(path: &Path, options: FjallOptions) -> Result<Self, StoreError> {
        let directory = DataDirectory::open(path, ENGINE, FORMAT)?;
        let files = directory.engine_path(ENGINE);
        manifest::examine(&files)?;
        journal::examine(&files, directory.synced_mark())?;
        let (database, spaces, commits) = guarded("fjall", || {
            if !journal::exists(&files) {
                // fjall appends only to a journal that it finds, see `journal`.
                open_database(&files, options).map(drop).map_err(|e| failure(path, "create", e))?;
            }
            let (database, spaces) = open_database(&files, options).map_err(|e| failure(path, "open", e))?;
            let record = spaces.commits.get(COMMIT_KEY).map_err(|e| failure(path, "read the commit number", e))?;
            spaces.check_agreement()?;
            Ok((database, spaces, number_of(record.as_deref())?))
        })?;
        directory.check_recovered(commits)?;
        let (bell, listener) = Keeper::bell();
        let files = Arc::new(Files {
            database,
            spaces,
            group: GroupCommit::default(),
            commits: AtomicU64::new(commits),
            journal: Journal::of(&files)?,
            trim_at_bytes: AtomicU64::new(options.journal_bytes),
            bell,
            options,
            directory,
        });
        let (counted, shortened) = (Arc::clone(&files), Arc::clone(&files));
        let commits = move || counted.commits.load(Ordering::Acquire);
        let keeper = Keeper::start(listener, commits, move || shortened.shorten());
        let keeper = keeper.map_err(|source| StoreError::Io { context: "start the journal's keeper".to_owned(), source })?;
        Ok(Self { _keeper: keeper, files })
    }
}

impl Files {
    /// Called by one thread at a time, see [`GroupCommit`].
    fn write(&self, batch: Batch, durability: Durability, bytes: u64) -> Result<(), StoreError> {
        let mode = match durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let mut number = self.commits.load(Ordering::Acquire);
        if batch.is_empty() {
            self.database.persist(mode).map_err(|e| self.poisoned(e))?;
        } else {
            self.wait_for_worker()?;
            number += 1;
            let mut write = self.database.batch().durability(Some(mode));
            for op in batch.ops {
                match op {
                    BatchOp::Put(space, key, value) => write.insert(self.spaces.of(space), key, value),
                    BatchOp::Delete(space, key) => write.remove(self.spaces.of(space), key),
                }
            }
            let record = CommitRecord { number, seqno_floor: self.database.seqno() };
            write.insert(&self.spaces.commits, COMMIT_KEY, record.encode());
            write.commit().map_err(|e| self.poisoned(e))?;
            self.commits.store(number, Ordering::Release);
        }
        if durability == Durability::Synced {
            self.directory.note_synced(number)?;
        }
        let journal_bytes = self.journal.grew(bytes);
        if journal_bytes >= self.trim_at_bytes.load(Ordering::Acquire) {
            self.bell.full();
        }
        if journal_bytes >= REST_BYTES {
            self.bell.written();
        }
        if journal_bytes >= self.options.journal_bytes.saturating_mul(HARD_LIMIT_TIMES) {
            // What fails here is in the journal already; the next commit meets the same failure and tells it.
            if matches!(self.trim(HARD_LIMIT_WAIT), Ok(true)) {
                self.trim_at_bytes.store(self.options.journal_bytes, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Makes what was committed durable without holding up commits: all of it is in the journal's file.
    fn sync(&self) -> Result<(), StoreError> {
        let number = self.commits.load(Ordering::Acquire);
        match self.journal.sync() {
            Ok(true) => self.directory.note_synced(number),
            Ok(false) => {
                let sync = |group, durability| guarded("fjall", || self.write(group, durability, 0));
                self.group.commit(Batch::default(), Durability::Synced, sync)
            }
            Err(e) => Err(StoreError::Poisoned(format!("sync the journal: {e}"))),
        }
    }

    /// Empties the journal: what is in memory is written out while commits go on, so that little is left for the moment in
    /// which they may not. A failure shows at the next commit.
    fn shorten(&self) {
        let shortened = guarded("fjall", || {
            self.flush(FLUSH_WAIT)?;
            Ok(())
        });
        let shortened = shortened.and_then(|()| self.group.exclusively(|| guarded("fjall", || self.trim(TRIM_WAIT))));
        let next = match shortened {
            Ok(true) => self.options.journal_bytes,
            _ => self.journal.grew(0) + TRIM_RETRY_BYTES,
        };
        self.trim_at_bytes.store(next, Ordering::Release);
    }

    /// Holds a writer that is faster than flushes and compactions.
    fn wait_for_worker(&self) -> Result<(), StoreError> {
        let behind =
            |space: &Keyspace| space.sealed_memtable_count() > WAITING_MEMTABLES || space.l0_table_count() > WAITING_TABLES;
        while self.spaces.each().into_iter().any(behind) {
            self.database.persist(PersistMode::Buffer).map_err(|e| self.poisoned(e))?;
            std::thread::sleep(WAIT_STEP);
        }
        Ok(())
    }

    /// Writes all memtables out, if that is done within `patience`.
    fn flush(&self, patience: Duration) -> Result<bool, StoreError> {
        let deadline = Instant::now() + patience;
        for space in self.spaces.each() {
            space.rotate_memtable().map_err(|e| self.poisoned(e))?;
        }
        while self.spaces.each().into_iter().any(|space| space.sealed_memtable_count() > 0) {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.database.persist(PersistMode::Buffer).map_err(|e| self.poisoned(e))?;
            std::thread::sleep(WAIT_STEP);
        }
        Ok(true)
    }

    /// Writes all memtables out and empties the journal, if that is done within `patience`. Nobody else may write meanwhile.
    fn trim(&self, patience: Duration) -> Result<bool, StoreError> {
        if !self.flush(patience)? {
            return Ok(false);
        }
        self.journal.trim().map_err(|e| StoreError::Poisoned(format!("empty the journal: {e}")))?;
        Ok(true)
    }

    fn poisoned(&self, error: fjall::Error) -> StoreError {
        match failure(self.directory.path(), "commit", error) {
            StoreError::Poisoned(cause) => StoreError::Poisoned(cause),
            other => StoreError::Poisoned(other.to_string()),
        }
    }

    fn view(&self) -> FjallSnapshot {
        FjallSnapshot { view: self.database.snapshot(), spaces: self.spaces.clone() }
    }
}

impl Store for FjallStore {
    // Reads go through a snapshot: fjall's plain reads see a batch that is half in the memtable.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        read(&self.files.database.snapshot(), &self.files.spaces, space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.files.view().scan(space, from, to, visit)
    }

    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        guarded(space.as_str(), || {
            let last = self.files.database.snapshot().last_key_value(self.files.spaces.of(space)).map(fjall::Guard::into_inner);
            let last = last.transpose().map_err(|e| unreadable(space, e))?;
            Ok(last.map(|(key, value)| (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value))))
        })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if batch.is_empty() && durability == Durability::Buffered {
            return Ok(());
        }
        self.files.directory.require_room(checked_size(&batch)?)?;
        self.files.group.commit(batch, durability, |group, durability| {
            let bytes = checked_size(&group)?;
            guarded("fjall", || self.files.write(group, durability, bytes))
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.files.sync()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(self.files.view()))
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.files.directory.disk_bytes()
    }

    fn engine(&self) -> &'static str {
        ENGINE
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What fails here is in the journal and comes back at the next start.
        let _trimmed = self.group.exclusively(|| guarded("fjall", || self.trim(TRIM_WAIT_AT_CLOSING)));
    }
}

impl Snapshot for FjallSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        read(&self.view, &self.spaces, space, key)
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
        let mut range = guarded(space.as_str(), || Ok(self.view.range::<&[u8], _>(self.spaces.of(space), (from, to))))?;
        // `visit` runs outside the fence: a panic of the caller is the caller's.
        while let Some((key, value)) =
            guarded(space.as_str(), || range.next().map(fjall::Guard::into_inner).transpose().map_err(|e| unreadable(space, e)))?
        {
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Spaces {
    fn of(&self, space: Space) -> &Keyspace {
        match space {
            Space::State => &self.state,
            Space::Log => &self.log,
            Space::Meta => &self.meta,
        }
    }

    /// Every batch has the commit record, so no space can be ahead of it. One that is was written out before the journal
    /// lost that batch, and fjall syncs the journal before it writes a table: the batch was torn by damage.
    fn check_agreement(&self) -> Result<(), StoreError> {
        let last = self.commits.tree.get_highest_seqno();
        match self.each().into_iter().find(|space| space.tree.get_highest_seqno() > last) {
            None => Ok(()),
            Some(space) => Err(StoreError::Corrupt {
                what: space.name().to_string(),
                detail: "ahead of the journal; empty the data directory and let the node rejoin, or restore a snapshot"
                    .to_owned(),
            }),
        }
    }

    fn each(&self) -> [&Keyspace; 4] {
        [&self.state, &self.log, &self.meta, &self.commits]
    }
}

fn open_database(files: &Path, options: FjallOptions) -> fjall::Result<(Database, Spaces)> {
    let database = Database::builder(files)
        .cache_size(options.cache_bytes)
        .max_cached_files(Some(OPEN_FILES))
        .max_journaling_size(SEALED_JOURNALS_BYTES)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        .worker_threads(options.worker_threads.max(1))
        .open()?;
    let keyspace = |name: &str, memtable_bytes: u64| {
        database.keyspace(name, || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(memtable_bytes)
                .data_block_compression_policy(CompressionPolicy::disabled())
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                .data_block_restart_interval_policy(RestartIntervalPolicy::all(BLOCK_RESTART))
                .compaction_strategy(Arc::new(fjall::compaction::Leveled::default().with_table_target_size(TABLE_BYTES)))
        })
    };
    let spaces = Spaces {
        state: keyspace(Space::State.as_str(), options.memtable_bytes)?,
        log: keyspace(Space::Log.as_str(), options.memtable_bytes)?,
        meta: keyspace(Space::Meta.as_str(), options.memtable_bytes / 4)?,
        commits: keyspace("commits", options.memtable_bytes / 4)?,
    };
    Ok((database, spaces))
}

fn read(view: &fjall::Snapshot, spaces: &Spaces, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    guarded(space.as_str(), || {
        let value = view.get(spaces.of(space), key).map_err(|e| unreadable(space, e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    })
}

fn number_of(value: Option<&[u8]>) -> Result<u64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    CommitRecord::decode(value).map(|record| record.number).ok_or_else(|| StoreError::Corrupt {
        what: "commits".to_owned(),
        detail: format!("a commit record of {} bytes", value.len()),
    })
}

fn unreadable(space: Space, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            StoreError::Io { context: format!("read {}", space.as_str()), source }
        }
        other => StoreError::Corrupt { what: space.as_str().to_owned(), detail: other.to_string() },
    }
}

fn failure(path: &Path, doing: &str, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) if e.kind() == std::io::ErrorKind::StorageFull => {
            StoreError::Full(path.to_owned())
        }
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            StoreError::Io { context: format!("{doing}: {}", path.display()), source }
        }
        fjall::Error::Locked => StoreError::InUse(path.to_owned()),
        fjall::Error::Poisoned => StoreError::Poisoned("an earlier write or a background flush failed".to_owned()),
        other => StoreError::Corrupt {
            what: path.display().to_string(),
            detail: format!("{other}; empty the directory and let the node rejoin, or restore a snapshot"),
        },
    }
}
