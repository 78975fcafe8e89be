//! What sled's `flush` leaves out: telling the disk. `flush` hands everything to the kernel (`sync_file_range`, no
//! barrier); fsync works per file, so syncing our own descriptors of the same files makes it durable.
//!
//! A value too large for a segment goes to a file of its own in `blobs/`, which sled never syncs at all.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(crate) struct Syncer {
    log: File,
    blobs: PathBuf,
    /// Blobs known to be on the disk.
    synced: Mutex<HashSet<OsString>>,
}

impl Syncer {
    /// For sled's files in `files`. Blobs found there are taken as unsynced.
    pub(crate) fn open(files: &Path) -> io::Result<Self> {
        let log = File::options().read(true).write(true).open(files.join("db"))?;
        // The names of the log and of the blobs' directory must survive too.
        File::open(files)?.sync_all()?;
        log.sync_all()?;
        Ok(Self { log, blobs: files.join("blobs"), synced: Mutex::default() })
    }

    /// After `flush`: makes all of it survive a power loss. Blobs first, for the log names them.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_blobs()?;
        self.log.sync_data()
    }

    fn sync_blobs(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashSet::new();
        let mut fresh = false;
        let entries = match fs::read_dir(&self.blobs) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                match File::open(self.blobs.join(&name)) {
                    Ok(blob) => blob.sync_all()?,
                    Err(e) if e.kind() == ErrorKind::NotFound => continue, // collected meanwhile
                    Err(e) => return Err(e),
                }
                fresh = true;
            }
            present.insert(name);
        }
        *synced = present;
        if fresh { File::open(&self.blobs)?.sync_all() } else { Ok(()) }
    }
}
