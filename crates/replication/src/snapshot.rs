//! A copy of the state at one instant: a view of the store, or a file that holds the same records for another node.
//!
//! File: `SRSNAP` · format (1 byte) · records (`u32` key length, `u32` value length, key, value; big endian) ·
//! a record of two zero lengths · `u64` number of records · `u64` FNV-1a of everything before it. A key is never empty.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::{Snapshot, Space, StoreError, versioned};

use crate::codec::corrupt;
use crate::limits::{MAX_CHANGE_BYTES, MAX_KEY_BYTES};
use crate::restore::STAGED;

const MAGIC: &[u8; 6] = b"SRSNAP";
const FORMAT: u8 = 1;

/// Takes a record, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The applied state at one instant, without its position (that travels beside it).
#[derive(Clone)]
pub struct StateSnapshot(Source);

#[derive(Clone)]
enum Source {
    /// All of the store's state.
    View(Arc<dyn Snapshot>),
    /// The same without what is staged for a restoration.
    Proper(Arc<dyn Snapshot>),
    /// What is staged under a name, as it would be without it.
    Staged(Arc<dyn Snapshot>, Vec<u8>),
    File(PathBuf),
}

impl StateSnapshot {
    pub(crate) fn of_view(view: Arc<dyn Snapshot>) -> Self {
        Self(Source::View(view))
    }

    /// What a backup holds.
    pub(crate) fn proper(view: Arc<dyn Snapshot>) -> Self {
        Self(Source::Proper(view))
    }

    /// The records staged for a restoration, see `restore`; without versions.
    pub(crate) fn staged(view: Arc<dyn Snapshot>, stage: Vec<u8>) -> Self {
        Self(Source::Staged(view, stage))
    }

    /// A snapshot that was received into `path` with [`StateSnapshot::write_to`]'s bytes. It is checked when it is installed.
    #[must_use]
    pub fn of_file(path: PathBuf) -> Self {
        Self(Source::File(path))
    }

    /// Writes all records in the file format, in memory that does not grow with the state.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<(), StoreError> {
        let mut out = RecordWriter::new(out)?;
        let mut failed = None;
        self.each(&mut |key, value| match out.put(key, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failed = Some(e);
                ControlFlow::Break(())
            }
        })?;
        match failed {
            Some(e) => Err(e),
            None => out.finish().map(drop),
        }
    }

    /// Visits the records, stored name and versioned bytes, by ascending name. A file is checked while it is read, so an error may come after some records.
    pub fn each(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        match &self.0 {
            Source::View(view) => view.scan(Space::State, Bound::Unbounded, Bound::Unbounded, visit),
            Source::Proper(view) => view.scan(Space::State, Bound::Included(&[STAGED + 1]), Bound::Unbounded, visit),
            Source::Staged(view, stage) => each_staged(&**view, stage, visit),
            Source::File(path) => read_file(path, visit),
        }
    }

    /// The same records in a file at `path` that survives power loss. A file is moved there if it can be.
    pub(crate) fn spool(&self, path: &Path) -> Result<Self, StoreError> {
        if matches!(&self.0, Source::File(from) if from == path) {
            return Ok(self.clone());
        }
        if let Source::File(from) = &self.0 {
            File::open(from).and_then(|file| file.sync_all()).map_err(writing)?;
            if std::fs::rename(from, path).is_ok() {
                sync_folder(path)?;
                return Ok(Self::of_file(path.to_owned()));
            }
        }
        let partial = partial_of(path);
        let mut out = BufWriter::new(File::create(&partial).map_err(writing)?);
        self.write_to(&mut out)?;
        let file = out.into_inner().map_err(|e| writing(e.into_error()))?;
        file.sync_all().map_err(writing)?;
        std::fs::rename(&partial, path).map_err(writing)?;
        sync_folder(path)?;
        Ok(Self::of_file(path.to_owned()))
    }
}

/// Where a file that is to be `path` lies until it is complete.
pub(crate) fn partial_of(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    PathBuf::from(partial)
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let Some(dir) = path.parent() else { return Ok(()) };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(writing)
}

/// Writes the file format record by record.
pub(crate) struct RecordWriter<W> {
    out: Sums<W>,
    count: u64,
}

impl<W: Write> RecordWriter<W> {
    pub(crate) fn new(out: W) -> Result<Self, StoreError> {
        let mut out = Sums { inner: out, sum: FNV_BASIS };
        out.write_all(MAGIC).and_then(|()| out.write_all(&[FORMAT])).map_err(writing)?;
        Ok(Self { out, count: 0 })
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.count += 1;
        let length = |part: &[u8]| u32::try_from(part.len()).map_err(|_| io::Error::other("a record of more than 4 GiB"));
        let mut write = || {
            self.out.write_all(&length(key)?.to_be_bytes())?;
            self.out.write_all(&length(value)?.to_be_bytes())?;
            self.out.write_all(key)?;
            self.out.write_all(value)
        };
        write().map_err(writing)
    }

    pub(crate) fn finish(mut self) -> Result<W, StoreError> {
        self.out.write_all(&[0; 8]).and_then(|()| self.out.write_all(&self.count.to_be_bytes())).map_err(writing)?;
        let sum = self.out.sum;
        self.out.inner.write_all(&sum.to_be_bytes()).map_err(writing)?;
        Ok(self.out.inner)
    }
}

fn each_staged(view: &dyn Snapshot, stage: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
    let mut failed = None;
    view.scan(Space::State, Bound::Excluded(stage), Bound::Unbounded, &mut |key, stored| {
        let Some(key) = key.strip_prefix(stage) else { return ControlFlow::Break(()) };
        match versioned(stored) {
            Ok((_, value)) => visit(key, value),
            Err(e) => {
                failed = Some(e);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

fn read_file(path: &Path, visit: &mut Visit<'_>) -> Result<(), StoreError> {
    let mut records = RecordReader::open(path)?;
    while let Some((key, value)) = records.next()? {
        if visit(key, value).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads the file format record by record, and checks it: the last call fails if anything was damaged.
pub(crate) struct RecordReader {
    path: PathBuf,
    input: Sums<BufReader<File>>,
    key: Vec<u8>,
    value: Vec<u8>,
    count: u64,
    ended: bool,
}

impl RecordReader {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|source| reading(path, source))?;
        let mut input = Sums { inner: BufReader::new(file), sum: FNV_BASIS };
        let head: [u8; 7] = input.array().map_err(|source| reading(path, source))?;
        if !head.starts_with(MAGIC) {
            return Err(broken(path, "it does not begin like a snapshot"));
        }
        match head.last() {
            Some(&FORMAT) => {}
            Some(&found) => {
                let text = format!("it has format {found}, this program knows formats up to {FORMAT}");
                return Err(broken(path, &text));
            }
            None => return Err(broken(path, "it is empty")),
        }
        Ok(Self { path: path.to_owned(), input, key: Vec::new(), value: Vec::new(), count: 0, ended: false })
    }

    /// The next record; `None` once all were read and the file is whole.
    pub(crate) fn next(&mut self) -> Result<Option<(&[u8], &[u8])>, StoreError> {
        let Self { path, input, key, value, count, ended } = self;
        if *ended {
            return Ok(None);
        }
        let failed = |source| reading(path, source);
        let key_bytes = u32::from_be_bytes(input.array().map_err(failed)?) as usize;
        let value_bytes = u32::from_be_bytes(input.array().map_err(failed)?) as usize;
        if key_bytes == 0 {
            if u64::from_be_bytes(input.array().map_err(failed)?) != *count {
                return Err(broken(path, "records are missing"));
            }
            let sum = input.sum;
            if u64::from_be_bytes(input.array().map_err(failed)?) != sum {
                return Err(broken(path, "the checksum does not match"));
            }
            *ended = true;
            return Ok(None);
        }
        if key_bytes > 2 * MAX_KEY_BYTES || value_bytes > 2 * MAX_CHANGE_BYTES {
            return Err(broken(path, "a record is larger than any change may be"));
        }
        key.resize(key_bytes, 0);
        value.resize(value_bytes, 0);
        input.read_exact(key).and_then(|()| input.read_exact(value)).map_err(failed)?;
        *count += 1;
        Ok(Some((key, value)))
    }
}

fn reading(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { context: format!("reading snapshot {}", path.display()), source }
}

fn broken(path: &Path, detail: &str) -> StoreError {
    corrupt(&format!("snapshot {}", path.display()), detail.to_owned())
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Sums what passes through. Guards against damage, not against an adversary: the records are sealed one by one.
pub(crate) struct Sums<T> {
    inner: T,
    sum: u64,
}

impl<T> Sums<T> {
    fn feed(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.sum = (self.sum ^ u64::from(*b)).wrapping_mul(FNV_PRIME);
        }
    }
}

impl<T: Read> Sums<T> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl<T: Read> Read for Sums<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.feed(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

impl<T: Write> Write for Sums<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.feed(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub(crate) fn writing(source: io::Error) -> StoreError {
    StoreError::Io { context: "writing a snapshot".to_owned(), source }
}
