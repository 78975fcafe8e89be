//! Replacing the whole state by one that came from outside, such as a backup: the records are gathered in a file, checked and
//! synced, and only then an entry says "the state is that file's". So the replacement has its place in the log, a crash leaves
//! the old state or the new one, and every record gets that entry's index as its version.
//!
//! Only a node without followers can do it: the file is not theirs. Deliberately absent: the form in which a backup travels.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use secret::{Entropy, SystemEntropy};
use storage::StoreError;

use crate::codec::corrupt;
use crate::error::ProposeError;
use crate::limits::{MAX_CHANGE_BYTES, MAX_KEY_BYTES};
use crate::replica::Replica;
use crate::snapshot::{RecordWriter, writing};
use crate::types::{Applied, Proposal};

/// Names the file of one restoration.
pub(crate) type Token = [u8; 16];

const PREFIX: &str = "restore-";

pub(crate) fn path_of(dir: &Path, token: &Token) -> PathBuf {
    dir.join(format!("{PREFIX}{:032x}.snapshot", u128::from_be_bytes(*token)))
}

/// Removes the files of all restorations: those that were asked for before are done or void.
pub(crate) fn forget(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A state that is being received. Dropped before it is used, it leaves nothing behind.
pub struct Incoming {
    token: Token,
    path: PathBuf,
    out: Option<RecordWriter<BufWriter<File>>>,
    used: bool,
}

impl Incoming {
    /// Adds a record of the state: its stored name and its bytes, without a version.
    ///
    /// # Errors
    /// The disk's; [`StoreError::Corrupt`] for a record that no change could have written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES || value.len() > MAX_CHANGE_BYTES {
            return Err(corrupt("snapshot", format!("a record of {} and {} bytes", key.len(), value.len())));
        }
        self.out.as_mut().ok_or_else(|| corrupt("snapshot", "it is complete".to_owned()))?.put(key, value)
    }

    /// Completes the file; it survives power loss then.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let file = out.finish()?.into_inner().map_err(|e| writing(e.into_error()))?;
        file.sync_all().map_err(writing)?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(writing)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.used {
            let _ = fs::remove_file(&self.path); // it may never have been made
        }
    }
}

impl Replica {
    /// Begins to receive a state, beside the store.
    ///
    /// # Errors
    /// [`ProposeError::Storage`], also without a snapshot folder.
    pub fn receive(&self) -> Result<Incoming, ProposeError> {
        let failed = |text: String| ProposeError::Storage(text);
        let dir = self.snapshot_dir().ok_or_else(|| failed("there is no folder for snapshots".to_owned()))?;
        let mut token = [0; 16];
        SystemEntropy.fill(&mut token).map_err(|e| failed(e.to_string()))?;
        let path = path_of(dir, &token);
        let file = File::create_new(&path).map_err(|e| failed(format!("create {}: {e}", path.display())))?;
        let out = RecordWriter::new(BufWriter::new(file)).map_err(|e| failed(e.to_string()))?;
        Ok(Incoming { token, path, out: Some(out), used: false })
    }

    /// Replaces the state by a received one. Nobody should read meanwhile: records come back one after the other.
    /// `committed: false`: the file was not whole any more, and nothing was changed.
    ///
    /// # Errors
    /// Those of [`Replica::propose`]; [`ProposeError::Followed`] while there are other nodes.
    pub async fn restore(&self, mut state: Incoming) -> Result<Applied, ProposeError> {
        if self.status().peers.len() > 1 {
            return Err(ProposeError::Followed);
        }
        let failed = |e: StoreError| ProposeError::Storage(e.to_string());
        state.finish().map_err(failed)?;
        // From here on the log may name the file, whatever this call is told.
        state.used = true;
        self.write(Proposal::Restore(state.token)).await
    }
}
