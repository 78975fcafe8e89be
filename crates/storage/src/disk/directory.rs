//! The data directory: who may enter, which format it holds, what was promised.
//!
//! ```text
//! <path>/            0700
//!   LOCK             flock: one process at a time
//!   FORMAT           "strongroom-data <number> <engine>\n", written before any data
//!   SYNCED           24 bytes: commit number BE, the same again, the same inverted; see `note_synced`
//!   <engine>/        the engine's own files
//! ```
//! Deliberately absent: the engine's files.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::StoreError;

/// An opened, locked data directory. The lock is released on drop.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    mark: File,
    _lock: File,
}

const MAGIC: &str = "strongroom-data";
const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const SYNCED: &str = "SYNCED";

/// A fresh ext4 volume has this folder in its root.
const TOLERATED: &str = "lost+found";

/// Free space below which no commit is accepted: what the engine's own flushes and compactions may need to write
/// meanwhile. An engine that runs out in the middle of those can only stop.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;

/// Free inodes below which no commit is accepted, for the same reason: tables, manifests and journals are new files.
/// Tests a file system that counts them; btrfs reports none in total.
const RESERVE_INODES: u64 = 32;

/// Longest wait for the lock, and between two tries.
const LOCK_WAIT: Duration = Duration::from_millis(300);
const LOCK_STEP: Duration = Duration::from_millis(5);

impl DataDirectory {
    /// Opens or creates the directory for `engine`, whose newest readable format is `known`.
    ///
    /// New directories are 0700 and new files 0600 whatever the umask was: the umask of the process becomes 077, because
    /// engines create files on their own threads. A directory that holds data must not be open to other users; group
    /// bits are tolerated, for Kubernetes sets them on every start of a pod (`fsGroup`).
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NewerFormat`], [`StoreError::Corrupt`] for a FORMAT file that makes no sense,
    /// [`StoreError::Io`] for a directory of someone else, of another engine, open to others, or with foreign files.
    pub fn open(path: &Path, engine: &str, known: u32) -> Result<Self, StoreError> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let at = |name: &str| path.join(name);
        if !path.exists() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(|e| io("create the data directory", path, e))?;
        }
        refuse_strangers(path)?;
        let lock = private(&at(LOCK)).map_err(|e| io("open the lock file", &at(LOCK), e))?;
        acquire(&lock, path)?;
        match fs::read_to_string(at(FORMAT)) {
            Ok(text) => check_format(path, &text, engine, known)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                refuse_foreign_files(path)?;
                create_format(path, engine, known).map_err(|e| io("write the format file", path, e))?;
            }
            Err(e) => return Err(io("read the format file", path, e)),
        }
        let mark = private(&at(SYNCED)).map_err(|e| io("open the mark of synced commits", path, e))?;
        let directory = Self { path: path.to_owned(), mark, _lock: lock };
        if !directory.engine_path(engine).exists() {
            fs::create_dir(directory.engine_path(engine)).map_err(|e| io("create the engine's directory", path, e))?;
            sync_directory(path).map_err(|e| io("sync the data directory", path, e))?;
        }
        restrict(path).map_err(|e| io("restrict the data directory", path, e))?;
        Ok(directory)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its files.
    #[must_use]
    pub fn engine_path(&self, engine: &str) -> PathBuf {
        self.path.join(engine)
    }

    /// Refuses a write of `bytes` that could run into the end of the disk, with what the engine writes behind it.
    ///
    /// # Errors
    /// [`StoreError::Full`]: nothing was written.
    pub fn require_room(&self, bytes: u64) -> Result<(), StoreError> {
        let disk = rustix::fs::statvfs(&self.path).map_err(|e| io("measure the disk", &self.path, e.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let no_inodes = disk.f_files > 0 && disk.f_favail < RESERVE_INODES;
        if no_inodes || free < bytes.saturating_mul(2).saturating_add(RESERVE_BYTES) {
            return Err(StoreError::Full(self.path.clone()));
        }
        Ok(())
    }

    /// Remembers that all commits up to `commit` are on the disk. Written after the sync and never synced itself: it costs
    /// a page write, and after a power loss it may be older than the truth, never newer.
    ///
    /// # Errors
    /// The system's.
    pub fn note_synced(&self, commit: u64) -> Result<(), StoreError> {
        let mark = [commit.to_be_bytes(), commit.to_be_bytes(), (!commit).to_be_bytes()].concat();
        self.mark.write_all_at(&mark, 0).map_err(|e| io("write the mark of synced commits", &self.path, e))
    }

    /// Compares what the engine recovered with what had been promised.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when an acknowledged commit is missing; the text says what to do.
    pub fn check_recovered(&self, commit: u64) -> Result<(), StoreError> {
        let promised = self.synced_mark();
        if commit >= promised {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            what: self.path.display().to_string(),
            detail: format!(
                "commit {promised} was acknowledged as synced, the files end at {commit}; empty the directory and let the \
                 node rejoin, or restore a snapshot, or remove {SYNCED} to accept the loss"
            ),
        })
    }

    /// Bytes allocated on disk below the directory. Holes in sparse files do not count.
    ///
    /// # Errors
    /// The system's.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        walk(&self.path, &mut |_, metadata| {
            bytes += metadata.blocks() * 512;
            Ok(())
        })
        .map_err(|e| io("measure the data directory", &self.path, e))?;
        Ok(bytes)
    }

    /// The highest commit known to be synced. A mark that contradicts itself is no evidence against the data: 0.
    #[must_use]
    pub fn synced_mark(&self) -> u64 {
        let mut mark = [[0; 8]; 3];
        let [a, b, c] = &mut mark;
        let read = [(a, 0), (b, 8), (c, 16)].into_iter().try_for_each(|(part, at)| self.mark.read_exact_at(part, at));
        let [a, b, c] = mark.map(u64::from_be_bytes);
        if read.is_ok() && a == b && a == !c { a } else { 0 }
    }
}

/// Takes the lock, or waits a moment for a predecessor that is ending: its children between fork and exec hold it too.
fn acquire(lock: &File, path: &Path) -> Result<(), StoreError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_STEP),
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(e)) => return Err(io("lock the data directory", path, e)),
        }
    }
}

fn refuse_strangers(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|e| io("look at the data directory", path, e))?;
    let denied = |why: String| Err(io(&why, path, ErrorKind::PermissionDenied.into()));
    if !metadata.is_dir() {
        return Err(io("open the data directory", path, ErrorKind::NotADirectory.into()));
    }
    let me = rustix::process::geteuid().as_raw();
    if me != 0 && metadata.uid() != me && metadata.uid() != 0 {
        return denied(format!("the data directory belongs to user {}, not to user {me}", metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    let is_empty = fs::read_dir(path).map_err(|e| io("read the data directory", path, e))?.next().is_none();
    if is_empty && (me == 0 || metadata.uid() == me) {
        return fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|e| io("restrict the data directory", path, e));
    }
    denied(format!("the data directory is open to other users (mode {mode:04o}); make it 0700"))
}

fn refuse_foreign_files(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(|e| io("read the data directory", path, e))? {
        let name = entry.map_err(|e| io("read the data directory", path, e))?.file_name();
        let ours = [LOCK, SYNCED, TOLERATED, "FORMAT.new"].iter().any(|known| name == *known);
        if !ours {
            let why = format!("the data directory has no {FORMAT} file but holds {}", name.display());
            return Err(io(&why, path, ErrorKind::DirectoryNotEmpty.into()));
        }
    }
    Ok(())
}

fn check_format(path: &Path, text: &str, engine: &str, known: u32) -> Result<(), StoreError> {
    let mut words = text.split_whitespace();
    let (magic, number, written_by) = (words.next(), words.next().and_then(|n| n.parse::<u32>().ok()), words.next());
    match (magic, number, written_by) {
        (Some(MAGIC), Some(found), _) if found > known => Err(StoreError::NewerFormat { path: path.to_owned(), found, known }),
        (Some(MAGIC), Some(1..), Some(written_by)) if written_by == engine => Ok(()),
        (Some(MAGIC), Some(1..), Some(written_by)) => Err(io(
            &format!("the data directory was written by the engine {written_by}, the configuration names {engine}"),
            path,
            ErrorKind::InvalidInput.into(),
        )),
        _ => Err(StoreError::Corrupt {
            what: path.join(FORMAT).display().to_string(),
            detail: "no format number; empty the directory and let the node rejoin, or restore a snapshot".to_owned(),
        }),
    }
}

fn create_format(path: &Path, engine: &str, known: u32) -> std::io::Result<()> {
    let new = path.join("FORMAT.new");
    let mut file = private(&new)?;
    file.set_len(0)?;
    file.write_all(format!("{MAGIC} {known} {engine}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path.join(FORMAT))?;
    sync_directory(path)
}

/// Makes what an older umask or a copy left open private again.
fn restrict(path: &Path) -> std::io::Result<()> {
    walk(path, &mut |path, metadata| {
        let others = metadata.mode() & 0o007 != 0;
        let private = if metadata.is_dir() { 0o700 } else { 0o600 };
        if others { fs::set_permissions(path, Permissions::from_mode(private)) } else { Ok(()) }
    })
}

/// Visits everything below `path`. Engines remove files meanwhile; what is gone is skipped. Links are not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> std::io::Result<()>) -> std::io::Result<()> {
    let gone = |e: std::io::Error| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) => return gone(e),
    };
    for entry in entries {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() || path.ends_with(TOLERATED) => {}
            Ok(metadata) => {
                visit(&path, &metadata).or_else(gone)?;
                if metadata.is_dir() {
                    walk(&path, visit)?;
                }
            }
            Err(e) => gone(e)?,
        }
    }
    Ok(())
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn io(context: &str, path: &Path, source: std::io::Error) -> StoreError {
    if source.kind() == ErrorKind::StorageFull {
        return StoreError::Full(path.to_owned());
    }
    StoreError::Io { context: format!("{context}: {}", path.display()), source }
}
