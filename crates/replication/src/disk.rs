//! Where the log lies: in files of its own, or, for stores in memory, in the store beside the state.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use storage::{Batch, Durability, Space, Store, StoreError};

use crate::codec::{self, Position, meta};
use crate::log::read_meta;
use crate::types::Entry;
use crate::wal::Wal;

/// The log's place on disk. The vote is always a record of the store.
pub(crate) struct Disk {
    store: Arc<dyn Store>,
    files: Option<Wal>,
}

/// One durable change of the log.
pub(crate) enum Write {
    /// Entries by ascending index, encoded, behind the last.
    Append(Vec<(Position, Vec<u8>)>),
    /// A vote, encoded.
    Vote(Vec<u8>),
    /// Remove the entries behind `after` (all of them without it), which are those of `from..=to`.
    Truncate { after: Option<Position>, from: u64, to: u64 },
}

impl Disk {
    /// Opens the log, in `dir` if there is one; answers what precedes it and its last entry. A log that is still in the store
    /// moves to `dir`.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        dir: Option<&Path>,
    ) -> Result<(Self, Option<Position>, Option<Position>), StoreError> {
        let Some(dir) = dir else {
            let purged = read_meta::<Position>(&*store, meta::PURGED, "purge mark")?;
            let last = match store.last(Space::Log)? {
                Some((key, value)) => Some(position_of(codec::log_index(&key)?, &value)?),
                None => purged,
            };
            return Ok((Self { store, files: None }, purged, last));
        };
        let wal = Wal::open(dir, || {
            let mut entries = Vec::new();
            let purged = read_meta::<Position>(&*store, meta::PURGED, "purge mark")?;
            scan_store(&*store, 0, u64::MAX, &mut |index, value| {
                entries.push((position_of(index, value)?, value.to_vec()));
                Ok(true)
            })?;
            Ok((purged, entries))
        })?;
        forget_log(&*store)?;
        let (purged, last) = wal.ends();
        Ok((Self { store, files: Some(wal) }, purged, last))
    }

    /// Whether a write is one short system call, so that a thread may wait for it in place.
    pub(crate) fn is_direct(&self) -> bool {
        self.files.is_some()
    }

    /// How many writes [`Disk::write`] can take at a time and still do all of them or none.
    pub(crate) fn atomic_writes(&self) -> usize {
        if self.files.is_some() { 1 } else { usize::MAX }
    }

    /// Makes the changes. They survive power loss when this returns.
    pub(crate) fn write(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for write in writes {
            match (write, &self.files) {
                (Write::Append(entries), Some(wal)) => wal.append(entries)?,
                (Write::Truncate { after, .. }, Some(wal)) => wal.truncate(*after)?,
                (Write::Append(entries), None) => {
                    for (position, entry) in entries {
                        batch.put(Space::Log, codec::log_key(position.index), entry.as_slice());
                    }
                }
                (Write::Truncate { from, to, .. }, None) => {
                    for index in *from..=*to {
                        batch.delete(Space::Log, codec::log_key(index));
                    }
                }
                (Write::Vote(vote), _) => batch.put(Space::Meta, meta::VOTE, vote.as_slice()),
            }
        }
        if batch.is_empty() { Ok(()) } else { self.store.commit(batch, Durability::Synced) }
    }

    /// Removes the entries of `from..=upto`, once the state that stands for them cannot be lost any more.
    pub(crate) fn purge(&self, from: u64, upto: Position) -> Result<(), StoreError> {
        self.store.sync()?;
        if let Some(wal) = &self.files {
            return wal.purge(upto);
        }
        let mut batch = Batch::default();
        batch.put(Space::Meta, meta::PURGED, codec::encode(&upto)?);
        for index in from..=upto.index {
            batch.delete(Space::Log, codec::log_key(index));
        }
        self.store.commit(batch, Durability::Synced)
    }

    /// Reads entries of `[from, to)` until they are `limit_bytes` in total, but at least one, and answers the bytes.
    pub(crate) fn read(&self, from: u64, to: u64, limit_bytes: usize, into: &mut Vec<Entry>) -> Result<usize, StoreError> {
        if let Some(wal) = &self.files {
            return wal.read(from, to, limit_bytes, &mut |index, value| {
                into.push(codec::decode_entry(index, value)?);
                Ok(())
            });
        }
        let mut bytes = 0;
        scan_store(&*self.store, from, to, &mut |index, value| {
            into.push(codec::decode_entry(index, value)?);
            bytes += value.len();
            Ok(bytes <= limit_bytes)
        })?;
        Ok(bytes)
    }
}

fn position_of(index: u64, value: &[u8]) -> Result<Position, StoreError> {
    Ok((&codec::decode_entry(index, value)?.log_id).into())
}

fn scan_store(
    store: &dyn Store,
    from: u64,
    to: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut failed = None;
    let (from, to) = (codec::log_key(from), codec::log_key(to));
    store.scan(Space::Log, Bound::Included(&from), Bound::Excluded(&to), &mut |key, value| {
        match codec::log_index(key).and_then(|index| visit(index, value)) {
            Ok(true) => return ControlFlow::Continue(()),
            Ok(false) => {}
            Err(e) => failed = Some(e),
        }
        ControlFlow::Break(())
    })?;
    failed.map_or(Ok(()), Err)
}

/// Removes what the log in files has taken over from the store.
fn forget_log(store: &dyn Store) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    scan_store(store, 0, u64::MAX, &mut |index, _| {
        batch.delete(Space::Log, codec::log_key(index));
        Ok(true)
    })?;
    if !batch.is_empty() || store.get(Space::Meta, meta::PURGED)?.is_some() {
        batch.delete(Space::Meta, meta::PURGED);
        store.commit(batch, Durability::Synced)?;
    }
    Ok(())
}
