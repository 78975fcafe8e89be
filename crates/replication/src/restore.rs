//! Replacing the whole state by one that came from outside, such as a backup, on all nodes.
//!
//! The records are gathered in a file, so that an upload that breaks off costs nothing. Then they go through the log like
//! any other change, under names that nobody reads (*staged*), in pieces of bounded size; and at last one entry says "the
//! staged records are the state". Every node carries that out from its own store, with the crash safety of an installed
//! snapshot (`machine`); each record gets that entry's index as its version.
//!
//! Why through the log: a file beside it would have to be on every node before the entry is applied there, also on one that
//! was down, or joins later and replays the log. What is staged is state, so a node that lags gets it with the log or with a
//! snapshot, and no node can apply the entry without what it needs. The price, that the records are written twice, is paid
//! once in a cluster's life.
//!
//! Deliberately absent: the form in which a backup travels.

use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secret::Entropy;
use storage::{Changeset, Space, StoreError, Write};
use tokio::time::timeout;

use crate::codec::corrupt;
use crate::error::ProposeError;
use crate::limits::{INSTALL_BATCH_BYTES, INSTALL_BATCH_KEYS, MAX_CHANGE_BYTES, MAX_KEY_BYTES, RESTORE_PATIENCE};
use crate::replica::Replica;
use crate::runtime;
use crate::snapshot::{RecordReader, RecordWriter, writing};
use crate::types::{Applied, Proposal};

/// Names the file of one restoration.
pub(crate) type Token = [u8; 16];

const PREFIX: &str = "restore-";

/// First byte of a staged name. No other stored name begins like this: sealed names begin with 1, the public ones are ASCII.
pub(crate) const STAGED: u8 = 0;

/// The beginning of the names staged for one restoration. The name that is nothing more holds the number of records.
pub(crate) fn stage(token: &Token) -> Vec<u8> {
    let mut name = vec![STAGED];
    name.extend_from_slice(token);
    name
}

/// Whether a stored name is not of the state proper.
pub(crate) fn is_staged(key: &[u8]) -> bool {
    key.first() == Some(&STAGED)
}

fn path_of(dir: &Path, token: &Token) -> PathBuf {
    dir.join(format!("{PREFIX}{:032x}.snapshot", u128::from_be_bytes(*token)))
}

/// Removes the files that an earlier process was gathering.
pub(crate) fn forget(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A state that is being received. Its file goes with it.
pub struct Incoming {
    token: Token,
    path: PathBuf,
    out: Option<RecordWriter<BufWriter<File>>>,
}

impl Incoming {
    /// Adds a record of the state: its stored name and its bytes, without a version.
    ///
    /// # Errors
    /// The disk's; [`StoreError::Corrupt`] for a record that no change could have written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.is_empty() || is_staged(key) || key.len() > MAX_KEY_BYTES || value.len() > MAX_CHANGE_BYTES {
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
        let _ = fs::remove_file(&self.path); // it may never have been made
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
        runtime::Source.fill(&mut token).map_err(|e| failed(e.to_string()))?;
        let path = path_of(dir, &token);
        let file = File::create_new(&path).map_err(|e| failed(format!("create {}: {e}", path.display())))?;
        let out = RecordWriter::new(BufWriter::new(file)).map_err(|e| failed(e.to_string()))?;
        Ok(Incoming { token, path, out: Some(out) })
    }

    /// Replaces the state of all nodes by a received one; for the leader. Nobody should read meanwhile: records come back one
    /// after the other. `committed: false`: another restoration came between, and nothing was changed.
    ///
    /// # Errors
    /// Those of [`Replica::propose`]. Unless it is [`ProposeError::Unknown`], the old state stays.
    pub async fn restore(&self, mut state: Incoming) -> Result<Applied, ProposeError> {
        if self.inner.leadership().is_none_or(|now| now.leader != self.inner.id) {
            return Err(self.inner.leaderless());
        }
        state.finish().map_err(|e| ProposeError::Storage(e.to_string()))?;
        // What another restoration left, which was given up.
        self.unstage(None).await?;
        let restored = match self.stage_all(&state).await {
            Ok(()) => self.switch(state.token).await,
            Err(e) => Err(e),
        };
        if let Err(error) = &restored
            && let Err(left) = self.unstage(Some(&state.token)).await
        {
            tracing::warn!(%error, %left, "the records of a restoration that failed stay until the next one");
        }
        restored
    }

    async fn switch(&self, token: Token) -> Result<Applied, ProposeError> {
        let switched = self.write(Proposal::Restore(token));
        // Carrying it out takes as long as the state is large, and its end is told by a disk, not by other nodes.
        if self.inner.shared.is_sole() {
            return switched.await;
        }
        timeout(RESTORE_PATIENCE, switched).await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// Puts all records of the file into the log, and at last their number.
    async fn stage_all(&self, state: &Incoming) -> Result<(), ProposeError> {
        let failed = |e: StoreError| ProposeError::Storage(e.to_string());
        let mut reader = RecordReader::open(&state.path).map_err(failed)?;
        let mut count = 0_u64;
        loop {
            let stage = stage(&state.token);
            let read = runtime::blocking(move || read_part(&mut reader, &stage).map(|part| (reader, part))).await;
            let (next, mut part) = read.map_err(|e| ProposeError::Storage(e.to_string()))?.map_err(failed)?;
            let ended = part.is_empty();
            count += part.len() as u64;
            if ended {
                part.push(Write { key: self::stage(&state.token), value: Some(count.to_be_bytes().to_vec()) });
            }
            self.put(part).await?;
            if ended {
                return Ok(());
            }
            reader = next;
        }
    }

    /// Removes what is staged under a token, or under any.
    async fn unstage(&self, token: Option<&Token>) -> Result<(), ProposeError> {
        let prefix = token.map_or_else(|| vec![STAGED], stage);
        loop {
            let mut writes = Vec::new();
            let visit = &mut |key: &[u8], _: &[u8]| {
                if !key.starts_with(&prefix) {
                    return ControlFlow::Break(());
                }
                writes.push(Write { key: key.to_vec(), value: None });
                if writes.len() < INSTALL_BATCH_KEYS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let scanned = self.store().scan(Space::State, Bound::Included(&prefix), Bound::Unbounded, visit);
            scanned.map_err(|e| ProposeError::Storage(e.to_string()))?;
            if writes.is_empty() {
                return Ok(());
            }
            self.put(writes).await?;
        }
    }

    /// A change that is not measured: a record of the greatest size is a little greater when it is staged.
    async fn put(&self, writes: Vec<Write>) -> Result<(), ProposeError> {
        let change = Changeset { checks: Vec::new(), writes };
        if self.inner.shared.is_sole() {
            return self.write(Proposal::Change(Arc::new(change))).await.map(drop);
        }
        self.inner.propose_together(change).await.map(drop)
    }
}

/// The next records, until they are as many bytes as one commit should have; none at the end of the file.
fn read_part(reader: &mut RecordReader, stage: &[u8]) -> Result<Vec<Write>, StoreError> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    while bytes < INSTALL_BATCH_BYTES {
        let Some((key, value)) = reader.next()? else { break };
        bytes += key.len() + value.len();
        part.push(Write { key: [stage, key].concat(), value: Some(value.to_vec()) });
    }
    Ok(part)
}
