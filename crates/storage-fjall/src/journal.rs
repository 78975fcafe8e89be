//! fjall's journal, looked at before fjall does, and kept short.
//!
//! *Before opening* ([`examine`]): fjall drops everything behind the first record it cannot read and asserts on others, and
//! its checksums do not cover a batch's head. We read all journals first: a torn tail that was never promised is cut off,
//! so that a power loss never keeps a node from starting; anything else is refused and left as it is.
//!
//! *While running* ([`Journal::trim`]): fjall begins a new journal after 64 MB only. When all memtables are written out
//! nothing in the journal is needed, and it is cut to length 0. That is sound because fjall opens an existing journal
//! for appending; so a fresh store is opened twice, and a journal that fjall itself began is left alone.
//!
//! ```text
//! batch  0x01 items:u32 seqno:u64  item*  0x03 xxh3(items):u64 "FJL\x03"          little endian
//! item   0x02 type:u8 0x00 keyspace:u64 key_len:u16 value_len:u32 value_len:u32 key value
//! ```
//! The last item of each of our batches is the [`CommitRecord`]. Deliberately absent: compressed values, `clear`.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use storage::StoreError;
use xxhash_rust::xxh3::Xxh3;

/// Key of the commit record in its keyspace.
pub(crate) const COMMIT_KEY: &[u8] = b"n";

/// How far fjall's own flushes may move the sequence number between our reading it and the batch taking it.
const SEQNO_SLACK: u64 = 4096;

const HEAD_BYTES: usize = 13;
const ITEM_BYTES: usize = 21;
const TAIL_BYTES: usize = 13;
const TRAILER: &[u8] = b"FJL\x03";

/// Value under [`COMMIT_KEY`]: number of the commit, and the lowest sequence number its batch can have, both u64 BE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitRecord {
    pub(crate) number: u64,
    pub(crate) seqno_floor: u64,
}

impl CommitRecord {
    pub(crate) fn encode(self) -> Vec<u8> {
        [self.number.to_be_bytes(), self.seqno_floor.to_be_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let seqno_floor = rest.try_into().ok()?;
        Some(Self { number: u64::from_be_bytes(*number), seqno_floor: u64::from_be_bytes(seqno_floor) })
    }
}

/// Reads all journals in `files`, oldest first, and cuts a torn tail off the newest. `promised`: the highest commit known to
/// be synced.
///
/// # Errors
/// [`StoreError::Corrupt`] for damage that no power loss explains; [`StoreError::Io`].
pub(crate) fn examine(files: &Path, promised: u64) -> Result<(), StoreError> {
    let journals = list(files).map_err(|e| unreadable(files, e))?;
    let mut last = None;
    for (i, path) in journals.iter().enumerate() {
        let newest = i + 1 == journals.len();
        let end = intact(path, &mut last)?;
        if !has_data_behind(path, end).map_err(|e| unreadable(path, e))? {
            continue;
        }
        let reached = last.map(|batch: Seen| batch.record.number);
        if !newest || reached.is_some_and(|number| number < promised) {
            let reached = reached.map_or_else(String::new, |number| format!(", behind commit {number} of {promised}"));
            return Err(corrupt(path, &format!("an unreadable batch at byte {end}{reached}")));
        }
        let cut = File::options().write(true).open(path).and_then(|file| file.set_len(end).and_then(|()| file.sync_all()));
        cut.map_err(|e| unreadable(path, e))?;
    }
    Ok(())
}

/// The newest journal, when this process may shorten it.
pub(crate) struct Journal {
    /// The one journal there was at opening: fjall appends to it.
    path: Option<PathBuf>,
    /// Bytes written to it since the last trim, about.
    bytes: AtomicU64,
}

impl Journal {
    /// For the files of a database that was opened over existing journals.
    pub(crate) fn of(files: &Path) -> Result<Self, StoreError> {
        let only = <[PathBuf; 1]>::try_from(list(files).map_err(|e| unreadable(files, e))?).ok().map(|[path]| path);
        let bytes = only.as_ref().and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len());
        Ok(Self { path: only, bytes: AtomicU64::new(bytes) })
    }

    /// Counts a write and answers the size.
    pub(crate) fn grew(&self, bytes: u64) -> u64 {
        self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes
    }

    /// Syncs what was written to the journal before this was called. `false`: fjall has begun another, nothing was done.
    pub(crate) fn sync(&self) -> io::Result<bool> {
        let Some(path) = self.only()? else { return Ok(false) };
        File::open(path)?.sync_data()?;
        Ok(true)
    }

    /// The journal that was there at opening, while it is the only one.
    fn only(&self) -> io::Result<Option<&Path>> {
        let Some(path) = &self.path else { return Ok(None) };
        let files = path.parent().ok_or(ErrorKind::NotFound)?;
        Ok((list(files)?.as_slice() == std::slice::from_ref(path)).then_some(path.as_path()))
    }

    /// Empties the journal. The caller guarantees that every memtable is written out and nobody writes.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let Some(path) = self.only()? else { return Ok(()) };
        let file = File::options().write(true).open(path)?;
        file.set_len(0)?;
        file.sync_all()?;
        self.bytes.store(0, Ordering::Release);
        Ok(())
    }
}

/// Whether there is any journal yet.
pub(crate) fn exists(files: &Path) -> bool {
    list(files).is_ok_and(|journals| !journals.is_empty())
}

/// Journals by age.
fn list(files: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(files)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
            journals.push((number.ok_or(ErrorKind::InvalidData)?, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// A batch that passed all checks.
#[derive(Debug, Clone, Copy)]
struct Seen {
    seqno: u64,
    record: CommitRecord,
}

/// Reads batches up to the first that is not whole and answers where it begins.
fn intact(path: &Path, last: &mut Option<Seen>) -> Result<u64, StoreError> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    let mut left = file.metadata().map_err(|e| unreadable(path, e))?.len();
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut end = 0;
    loop {
        match batch(&mut reader, &mut left) {
            Ok((seen, bytes)) => {
                follows(path, *last, seen)?;
                *last = Some(seen);
                end += bytes;
            }
            Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::InvalidData].contains(&error.kind()) => return Ok(end),
            Err(error) => return Err(unreadable(path, error)),
        }
    }
}

/// What fjall's checksum leaves out: order and plausibility of the sequence number. No torn write explains a violation.
fn follows(path: &Path, last: Option<Seen>, seen: Seen) -> Result<(), StoreError> {
    let plausible = (seen.record.seqno_floor..=seen.record.seqno_floor.saturating_add(SEQNO_SLACK)).contains(&seen.seqno);
    let in_order = last.is_none_or(|last| last.seqno < seen.seqno && last.record.number + 1 == seen.record.number);
    if plausible && in_order {
        return Ok(());
    }
    Err(corrupt(path, &format!("commit {} has sequence number {} after {last:?}", seen.record.number, seen.seqno)))
}

/// Reads one batch. `InvalidData` and `UnexpectedEof`: here is none.
fn batch(reader: &mut impl Read, left: &mut u64) -> io::Result<(Seen, u64)> {
    let before = *left;
    let head: [u8; HEAD_BYTES] = array(reader, left)?;
    let mut head = Fields(&head);
    if head.u8()? != 1 {
        return Err(ErrorKind::InvalidData.into());
    }
    let (items, seqno) = (head.u32()?, head.u64()?);
    let mut hash = Xxh3::new();
    let mut record = None;
    for _ in 0..items {
        record = item(reader, left, &mut hash)?;
    }
    let tail: [u8; TAIL_BYTES] = array(reader, left)?;
    let mut tail = Fields(&tail);
    if tail.u8()? != 3 || tail.u64()? != hash.digest() || tail.0 != TRAILER {
        return Err(ErrorKind::InvalidData.into());
    }
    let record = record.ok_or(ErrorKind::InvalidData)?;
    Ok((Seen { seqno, record }, before - *left))
}

/// Reads one item into the checksum and answers the commit record if it is one.
fn item(reader: &mut impl Read, left: &mut u64, hash: &mut Xxh3) -> io::Result<Option<CommitRecord>> {
    let head: [u8; ITEM_BYTES] = array(reader, left)?;
    hash.update(&head);
    let mut head = Fields(&head);
    let (tag, _type, compression, _keyspace) = (head.u8()?, head.u8()?, head.u8()?, head.u64()?);
    let (key_bytes, value_bytes, stored_bytes) = (u64::from(head.u16()?), u64::from(head.u32()?), u64::from(head.u32()?));
    let whole = key_bytes + stored_bytes;
    if tag != 2 || compression != 0 || value_bytes != stored_bytes || whole > *left {
        return Err(ErrorKind::InvalidData.into());
    }
    let record_bytes = (COMMIT_KEY.len() + 16) as u64;
    if key_bytes == COMMIT_KEY.len() as u64 && whole == record_bytes {
        let bytes: [u8; 17] = array(reader, left)?;
        hash.update(&bytes);
        return Ok(bytes.strip_prefix(COMMIT_KEY).and_then(CommitRecord::decode));
    }
    let mut chunk = [0; 8192];
    let mut rest = whole;
    while rest > 0 {
        let part = chunk.get_mut(..usize::try_from(rest).unwrap_or(usize::MAX).min(8192)).unwrap_or_default();
        reader.read_exact(part)?;
        hash.update(part);
        rest -= part.len() as u64;
    }
    *left -= whole;
    Ok(None)
}

/// Whether anything but zeros follows `end`: fjall makes a journal 64 MiB long in advance.
fn has_data_behind(path: &Path, end: u64) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut at = end;
    // Holes are skipped, or each start would read 64 MiB of nothing.
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data))?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(data))?;
        let mut rest = hole.saturating_sub(data);
        let mut page = [0; 4096];
        while rest > 0 {
            let part = page.get_mut(..usize::try_from(rest).unwrap_or(usize::MAX).min(4096)).unwrap_or_default();
            (&file).read_exact(part)?;
            if part.iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
            rest -= part.len() as u64;
        }
        at = hole;
    }
    Ok(false)
}

fn array<const N: usize>(reader: &mut impl Read, left: &mut u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    *left = left.saturating_sub(N as u64);
    Ok(bytes)
}

/// Little-endian fields of a fixed head.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> io::Result<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

fn unreadable(path: &Path, source: io::Error) -> StoreError {
    if source.kind() == ErrorKind::InvalidData {
        return corrupt(path, "a journal whose name is no number");
    }
    StoreError::Io { context: format!("read the journal {}", path.display()), source }
}

fn corrupt(path: &Path, what: &str) -> StoreError {
    StoreError::Corrupt {
        what: path.display().to_string(),
        detail: format!("{what}; empty the data directory and let the node rejoin, or restore a snapshot"),
    }
}
