//! The log in files of its own: an append is one write into a file that has its full length already, synced by the same call.
//! That costs the disk about half of what an append to a growing file costs, and the log is not written a second time by the
//! store of the state.
//!
//! ```text
//! <dir>/<number, 16 hex digits>.seg    see `segment`; the highest number is written, older ones wait to be purged
//! <dir>/spare                          a purged file that will be used again
//! payload   record*                    record = kind:u8 term:u64 index:u64 length:u32 bytes       big endian
//!           kind 1: the entry at this position    kind 2: nothing behind this position counts    kind 3: nothing counts
//! ```
//! *At opening* a torn last group, which nobody was told of, is passed over; a group that is missing before a later one, a
//! file or an entry that is missing refuse the log. Deliberately absent: what an entry means, votes, threads.

mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use storage::StoreError;

use crate::codec::{Position, corrupt};
use crate::limits::SEGMENT_BYTES;
use segment::{Fields, GROUP_HEAD_BYTES, Head, PAGE_BYTES, Segment};

const ENTRY: u8 = 1;
const CUT_BEHIND: u8 = 2;
const CUT_ALL: u8 = 3;
/// Bytes of a record before its entry.
const RECORD_HEAD_BYTES: usize = 21;
const SPARE: &str = "spare";
const EXTENSION: &str = "seg";
/// A buffer that one huge group made larger is given back.
const BUFFER_BYTES: usize = 256 * 1024;

/// The log's files.
pub(crate) struct Wal {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    /// By number without gaps; the last is written.
    segments: VecDeque<Segment>,
    /// Where each entry lies, from `first` on.
    places: VecDeque<Place>,
    first: u64,
    purged: Option<Position>,
    last: Option<Position>,
    next_group: u64,
    group: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    at: u64,
    bytes: u32,
}

impl Wal {
    /// Opens the log in `dir`, or makes an empty one there. `seed` is asked only for a new one: what precedes it, and its entries.
    pub(crate) fn open(
        dir: &Path,
        seed: impl FnOnce() -> Result<(Option<Position>, Vec<(Position, Vec<u8>)>), StoreError>,
    ) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|e| failure(dir, "create", e))?;
        let paths = list(dir)?;
        let mut inner = Inner {
            segments: VecDeque::new(),
            places: VecDeque::new(),
            first: 0,
            purged: None,
            last: None,
            next_group: 0,
            group: Vec::new(),
        };
        if paths.is_empty() {
            let (before, entries) = seed()?;
            inner.begin(dir, before, &entries)?;
        }
        for (number, path) in paths {
            inner.replay(number, &path)?;
        }
        Ok(Self { dir: dir.to_owned(), inner: Mutex::new(inner) })
    }

    /// The entry before the first, and the last one.
    pub(crate) fn ends(&self) -> (Option<Position>, Option<Position>) {
        let inner = self.inner.lock();
        (inner.purged, inner.last)
    }

    /// Appends entries that follow the last. They survive power loss when this returns.
    pub(crate) fn append(&self, entries: &[(Position, Vec<u8>)]) -> Result<(), StoreError> {
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return Ok(()) };
        let mut inner = self.inner.lock();
        inner.begin_group();
        for (position, bytes) in entries {
            record(&mut inner.group, ENTRY, *position, bytes)?;
        }
        let mut at = inner.write_group(&self.dir)? + GROUP_HEAD_BYTES as u64;
        let number = inner.segments.back().map_or(0, |s| s.number);
        if inner.places.is_empty() {
            inner.first = first.index;
        }
        for (_, bytes) in entries {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            inner.places.push_back(Place { segment: number, at: at + RECORD_HEAD_BYTES as u64, bytes: length });
            at += (RECORD_HEAD_BYTES + bytes.len()) as u64;
        }
        inner.last = Some(*last);
        Ok(())
    }

    /// Forgets every entry behind `after`, synced.
    pub(crate) fn truncate(&self, after: Option<Position>) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        inner.begin_group();
        match after {
            Some(position) => record(&mut inner.group, CUT_BEHIND, position, &[])?,
            None => record(&mut inner.group, CUT_ALL, Position { term: 0, index: 0 }, &[])?,
        }
        inner.write_group(&self.dir)?;
        inner.cut(after);
        Ok(())
    }

    /// Forgets entries up to `upto`, whose effect the state holds durably: files with nothing else in them go. When that is
    /// all there is, the log begins anew behind `upto` and no file of the past is kept. Otherwise what shares a file with
    /// later entries comes back at the next opening.
    pub(crate) fn purge(&self, upto: Position) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        if inner.last.is_none_or(|last| last.index <= upto.index) {
            inner.places.clear();
            (inner.purged, inner.last) = (Some(upto), Some(upto));
            remove(&self.dir.join(SPARE))?;
            inner.rotate(&self.dir, SEGMENT_BYTES)?;
            let old = inner.segments.len().saturating_sub(1);
            for segment in inner.segments.drain(..old) {
                remove(&segment.path)?;
            }
            return sync(&self.dir);
        }
        let gone = usize::try_from((upto.index + 1).saturating_sub(inner.first)).unwrap_or(usize::MAX).min(inner.places.len());
        if gone == 0 {
            return Ok(());
        }
        inner.places.drain(..gone);
        inner.first += gone as u64;
        inner.purged = Some(upto);
        let needed = inner.places.front().map_or(u64::MAX, |place| place.segment);
        while inner.segments.len() > 1 && inner.segments.front().is_some_and(|s| s.number < needed) {
            let Some(segment) = inner.segments.pop_front() else { break };
            let spare = self.dir.join(SPARE);
            // One spare is enough, and a file that a huge entry needed is none.
            if spare.exists() || segment.size != SEGMENT_BYTES {
                remove(&segment.path)?;
            } else {
                fs::rename(&segment.path, &spare).map_err(|e| failure(&spare, "keep", e))?;
            }
        }
        sync(&self.dir)
    }

    /// Visits the entries of `[from, to)` that are there, until they are `limit_bytes` in total, but at least one.
    pub(crate) fn read(
        &self,
        from: u64,
        to: u64,
        limit_bytes: usize,
        visit: &mut dyn FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<usize, StoreError> {
        let inner = self.inner.lock();
        let (mut buffer, mut read) = (Vec::new(), 0);
        let first = inner.first;
        for index in from.max(first)..to {
            let Some(place) = usize::try_from(index - first).ok().and_then(|i| inner.places.get(i)) else { break };
            let Some(segment) = inner.segments.iter().find(|s| s.number == place.segment) else { break };
            buffer.resize(place.bytes as usize, 0);
            segment.read(place.at, &mut buffer)?;
            visit(index, &buffer)?;
            read += buffer.len();
            if read > limit_bytes {
                break;
            }
        }
        Ok(read)
    }
}

impl Inner {
    fn begin_group(&mut self) {
        self.group.clear();
        self.group.resize(GROUP_HEAD_BYTES, 0);
    }

    /// Writes what was put into the group, in a new file if need be, and answers where it begins.
    fn write_group(&mut self, dir: &Path) -> Result<u64, StoreError> {
        let bytes = self.group.len().next_multiple_of(PAGE_BYTES);
        if !self.segments.back().is_some_and(|segment| segment.fits(bytes)) {
            self.rotate(dir, SEGMENT_BYTES.max((PAGE_BYTES + bytes) as u64))?;
        }
        let segment = self.segments.back_mut().ok_or_else(|| corrupt("log", "it has no file".to_owned()))?;
        let written = segment.seal_group(self.next_group, &mut self.group).and_then(|()| {
            let at = segment.end;
            segment.append(&self.group).map(|()| at)
        });
        let at = written.map_err(|e| failure(&segment.path, "append to", e))?;
        self.next_group += 1;
        if self.group.capacity() > BUFFER_BYTES {
            self.group = Vec::new();
        }
        Ok(at)
    }

    /// Goes on in a file of its own, of at least `size` bytes, behind the last entry.
    fn rotate(&mut self, dir: &Path, size: u64) -> Result<(), StoreError> {
        let number = self.segments.back().map_or(0, |segment| segment.number) + 1;
        let head = Head { number, first_group: self.next_group, before: self.last };
        let made = dir.join(if size == SEGMENT_BYTES { SPARE } else { "new" });
        let segment = Segment::create(&made, head, size).map_err(|e| failure(&made, "write", e))?;
        self.enter(dir, segment)
    }

    /// The first file of a log, with the entries it begins with: there whole or not at all.
    fn begin(&mut self, dir: &Path, before: Option<Position>, entries: &[(Position, Vec<u8>)]) -> Result<(), StoreError> {
        self.begin_group();
        for (position, bytes) in entries {
            record(&mut self.group, ENTRY, *position, bytes)?;
        }
        let bytes = self.group.len().next_multiple_of(PAGE_BYTES);
        let made = dir.join("new");
        let head = Head { number: 1, first_group: 0, before };
        let size = SEGMENT_BYTES.max((PAGE_BYTES + bytes) as u64);
        let mut segment = Segment::create(&made, head, size).map_err(|e| failure(&made, "write", e))?;
        if !entries.is_empty() {
            let written = segment.seal_group(0, &mut self.group).and_then(|()| segment.append(&self.group));
            written.map_err(|e| failure(&made, "write", e))?;
        }
        self.group = Vec::new();
        self.enter(dir, segment)?;
        let path = self.segments.pop_back().map(|segment| segment.path).unwrap_or_default();
        self.replay(1, &path)
    }

    fn enter(&mut self, dir: &Path, mut segment: Segment) -> Result<(), StoreError> {
        let path = dir.join(format!("{:016x}.{EXTENSION}", segment.number));
        fs::rename(&segment.path, &path).map_err(|e| failure(&path, "name", e))?;
        sync(dir)?;
        segment.path = path;
        self.segments.push_back(segment);
        Ok(())
    }

    fn replay(&mut self, number: u64, path: &Path) -> Result<(), StoreError> {
        let broken = |detail: &str| corrupt(&path.display().to_string(), format!("{detail}; {ADVICE}"));
        let mut segment = Segment::open(path)?;
        if segment.number != number {
            return Err(broken("it is another part of the log than its name says"));
        }
        match self.segments.back() {
            None => (self.purged, self.last, self.next_group) = (segment.before, segment.before, segment.first_group),
            Some(earlier) if earlier.number + 1 != number || segment.first_group != self.next_group => {
                return Err(broken("a part of the log before it is missing"));
            }
            // The log was begun anew behind a snapshot, and the process ended before the old files were gone.
            Some(_) if segment.before.map(|p| p.index) > self.last.map(|p| p.index) => {
                self.places.clear();
                (self.purged, self.last) = (segment.before, segment.before);
                for old in self.segments.drain(..) {
                    remove(&old.path)?;
                }
            }
            Some(_) if segment.before != self.last => return Err(broken("it does not follow what is before it")),
            Some(_) => {}
        }
        while let Some((_, payload, next)) = segment.group(segment.end, Some(self.next_group))? {
            self.replay_group(&segment, &payload).ok_or_else(|| broken("its entries do not follow one another"))?;
            segment.end = next;
            self.next_group += 1;
        }
        if segment.has_later_group(segment.end, self.next_group)? {
            return Err(broken(&format!("what was written at byte {} is damaged", segment.end)));
        }
        self.segments.push_back(segment);
        Ok(())
    }

    fn replay_group(&mut self, segment: &Segment, payload: &[u8]) -> Option<()> {
        let mut fields = Fields(payload);
        while let Some([kind]) = fields.take::<1>() {
            let position = Position { term: fields.u64()?, index: fields.u64()? };
            let bytes = fields.u32()?;
            let at = segment.end + (GROUP_HEAD_BYTES + payload.len() - fields.0.len()) as u64;
            fields.0 = fields.0.get(bytes as usize..)?;
            match kind {
                ENTRY if self.last.is_none_or(|last| position.index == last.index + 1) => {
                    if self.places.is_empty() {
                        self.first = position.index;
                    }
                    self.places.push_back(Place { segment: segment.number, at, bytes });
                    self.last = Some(position);
                }
                CUT_BEHIND => self.cut(Some(position)),
                CUT_ALL => self.cut(None),
                _ => return None,
            }
        }
        Some(())
    }

    fn cut(&mut self, after: Option<Position>) {
        let kept = after.map_or(0, |position| (position.index + 1).saturating_sub(self.first));
        self.places.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        if after.map(|position| position.index) < self.purged.map(|position| position.index) {
            self.purged = after;
        }
        self.last = after;
    }
}

/// What an operator can do about a damaged log.
const ADVICE: &str = "empty the data directory and let the node rejoin, or restore a snapshot";

fn record(group: &mut Vec<u8>, kind: u8, position: Position, bytes: &[u8]) -> Result<(), StoreError> {
    let length = u32::try_from(bytes.len()).map_err(|_| corrupt("log", "an entry of more than 4 GiB".to_owned()))?;
    group.push(kind);
    group.extend_from_slice(&position.term.to_be_bytes());
    group.extend_from_slice(&position.index.to_be_bytes());
    group.extend_from_slice(&length.to_be_bytes());
    group.extend_from_slice(bytes);
    Ok(())
}

/// The log's files, oldest first.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| failure(dir, "read", e))? {
        let path = entry.map_err(|e| failure(dir, "read", e))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| u64::from_str_radix(stem, 16).ok());
            let unnamed = || corrupt(&path.display().to_string(), format!("its name is no number; {ADVICE}"));
            paths.push((number.ok_or_else(unnamed)?, path));
        }
    }
    paths.sort();
    Ok(paths)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failure(path, "remove", e)),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| failure(dir, "sync", e))
}

fn failure(path: &Path, doing: &str, source: io::Error) -> StoreError {
    if source.kind() == ErrorKind::StorageFull {
        return StoreError::Full(path.to_owned());
    }
    StoreError::Io { context: format!("{doing} {}", path.display()), source }
}
