//! One file of the log: allocated whole and written in advance, so that a synced append changes no metadata of the file system.
//!
//! ```text
//! page 0   "SRLOG" format:u8 0 0 · number:u64 · first group:u64 · known:u8 term:u64 index:u64 (what precedes it) · sum:u64
//! group    "GRUP" length:u32 number:u64 sum:u64 · payload · zeros up to the page        begins on a page; big endian
//! sum      xxh3 of segment number ‖ group number ‖ length ‖ payload (page 0: of everything before it)
//! ```
//! A file is used again under another number, so what an earlier life left behind it does not count. Deliberately absent: what
//! a payload means.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use storage::StoreError;
use xxhash_rust::xxh3::Xxh3;

use crate::codec::{Position, corrupt};

/// Unit of a group: no write ever touches a page, or a sector, of one that was acknowledged.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes of a group before its payload.
pub(super) const GROUP_HEAD_BYTES: usize = 24;

const MAGIC: &[u8; 5] = b"SRLOG";
const FORMAT: u8 = 1;
const GROUP_MAGIC: &[u8; 4] = b"GRUP";
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// An open file of the log.
pub(super) struct Segment {
    pub(super) number: u64,
    /// Number of the first group that can be in it.
    pub(super) first_group: u64,
    /// The entry before its first, `None` if there is none.
    pub(super) before: Option<Position>,
    /// Where the next group goes.
    pub(super) end: u64,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    file: File,
}

/// What a segment says of itself on its first page.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) first_group: u64,
    pub(super) before: Option<Position>,
}

impl Head {
    fn encode(self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&[FORMAT, 0, 0]);
        page.extend_from_slice(&self.number.to_be_bytes());
        page.extend_from_slice(&self.first_group.to_be_bytes());
        page.push(u8::from(self.before.is_some()));
        let before = self.before.unwrap_or(Position { term: 0, index: 0 });
        page.extend_from_slice(&before.term.to_be_bytes());
        page.extend_from_slice(&before.index.to_be_bytes());
        let sum = xxhash_rust::xxh3::xxh3_64(&page);
        page.extend_from_slice(&sum.to_be_bytes());
        page.resize(PAGE_BYTES, 0);
        page
    }

    fn decode(path: &Path, page: &[u8]) -> Result<Self, StoreError> {
        let broken = |detail: &str| corrupt(&path.display().to_string(), detail.to_owned());
        let mut fields = Fields(page);
        let magic: [u8; 5] = fields.take().ok_or_else(|| broken("it is too short"))?;
        let [format, ..] = fields.take::<3>().ok_or_else(|| broken("it is too short"))?;
        if &magic != MAGIC {
            return Err(broken("it does not begin like a part of the log"));
        }
        if format != FORMAT {
            return Err(broken(&format!("it has format {format}, this program knows formats up to {FORMAT}")));
        }
        let head = (|| {
            let (number, first_group) = (fields.u64()?, fields.u64()?);
            let [known] = fields.take::<1>()?;
            let position = Position { term: fields.u64()?, index: fields.u64()? };
            let summed = page.len() - fields.0.len();
            let sum = fields.u64()?;
            let whole = page.get(..summed).is_some_and(|bytes| xxhash_rust::xxh3::xxh3_64(bytes) == sum);
            whole.then_some(Self { number, first_group, before: (known == 1).then_some(position) })
        })();
        head.ok_or_else(|| broken("its first page is damaged"))
    }
}

impl Segment {
    /// Makes a file of at least `size` bytes at `path`, over what is there, and syncs it.
    pub(super) fn create(path: &Path, head: Head, size: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let old = file.metadata()?.len();
        if old > size {
            file.set_len(size)?;
        }
        let mut at = old.min(size) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        let fresh = at < size;
        while at < size {
            let part = ZEROS.get(..usize::try_from(size - at).unwrap_or(usize::MAX).min(ZEROS.len())).unwrap_or_default();
            file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        file.write_all_at(&head.encode(), 0)?;
        if fresh {
            file.sync_all()?
        } else {
            file.sync_data()?
        }
        let Head { number, first_group, before } = head;
        Ok(Self { number, first_group, before, end: PAGE_BYTES as u64, path: path.to_owned(), size, file })
    }

    /// Opens a file of the log; nothing behind its first page is read yet.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let reading = |source| StoreError::Io { context: format!("open {}", path.display()), source };
        let file = File::options().read(true).write(true).open(path).map_err(reading)?;
        let size = file.metadata().map_err(reading)?.len();
        let mut page = vec![0; PAGE_BYTES.min(usize::try_from(size).unwrap_or(PAGE_BYTES))];
        file.read_exact_at(&mut page, 0).map_err(reading)?;
        let Head { number, first_group, before } = Head::decode(path, &page)?;
        Ok(Self { number, first_group, before, end: PAGE_BYTES as u64, path: path.to_owned(), size, file })
    }

    /// Whether a group of this size, with its head and padding, fits.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.end.saturating_add(bytes as u64) <= self.size
    }

    /// Completes a group whose payload lies in `group` behind [`GROUP_HEAD_BYTES`] of anything.
    pub(super) fn seal_group(&self, number: u64, group: &mut Vec<u8>) -> io::Result<()> {
        let length = group.len().checked_sub(GROUP_HEAD_BYTES).ok_or(ErrorKind::InvalidInput)?;
        let length = u32::try_from(length).map_err(|_| ErrorKind::InvalidInput)?;
        let sum = self.sum(number, length, group.get(GROUP_HEAD_BYTES..).unwrap_or_default());
        let head = [GROUP_MAGIC.as_slice(), &length.to_be_bytes(), &number.to_be_bytes(), &sum.to_be_bytes()].concat();
        group.get_mut(..GROUP_HEAD_BYTES).ok_or(ErrorKind::InvalidInput)?.copy_from_slice(&head);
        group.resize(group.len().next_multiple_of(PAGE_BYTES), 0);
        Ok(())
    }

    /// Writes a sealed group. When this returns it survives power loss; after an error it may be there or not.
    pub(super) fn append(&mut self, group: &[u8]) -> io::Result<()> {
        write_synced(&self.file, group, self.end)?;
        self.end += group.len() as u64;
        Ok(())
    }

    /// The payload of group `number` at `at` and where the next one would begin; `None`: there is no such group.
    pub(super) fn group(&self, at: u64, number: Option<u64>) -> Result<Option<(u64, Vec<u8>, u64)>, StoreError> {
        let mut head = [0; GROUP_HEAD_BYTES];
        if at.saturating_add(GROUP_HEAD_BYTES as u64) > self.size {
            return Ok(None);
        }
        self.read(at, &mut head)?;
        let mut fields = Fields(&head);
        let (Some(magic), Some(length), Some(found), Some(sum)) = (fields.take(), fields.u32(), fields.u64(), fields.u64())
        else {
            return Ok(None);
        };
        let next = at + (GROUP_HEAD_BYTES as u64 + u64::from(length)).next_multiple_of(PAGE_BYTES as u64);
        if &magic != GROUP_MAGIC || number.is_some_and(|number| number != found) || next > self.size {
            return Ok(None);
        }
        let mut payload = vec![0; length as usize];
        self.read(at + GROUP_HEAD_BYTES as u64, &mut payload)?;
        Ok((self.sum(found, length, &payload) == sum).then_some((found, payload, next)))
    }

    /// Whether a whole group later than `number` lies behind `at`: then the one that is missing there was damaged, not torn.
    pub(super) fn has_later_group(&self, at: u64, number: u64) -> Result<bool, StoreError> {
        let mut at = at.next_multiple_of(PAGE_BYTES as u64);
        while at < self.size {
            if self.group(at, None)?.is_some_and(|(found, _, _)| found > number) {
                return Ok(true);
            }
            at += PAGE_BYTES as u64;
        }
        Ok(false)
    }

    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<(), StoreError> {
        let context = || format!("read {}", self.path.display());
        self.file.read_exact_at(into, at).map_err(|source| StoreError::Io { context: context(), source })
    }

    fn sum(&self, number: u64, length: u32, payload: &[u8]) -> u64 {
        let mut sum = Xxh3::new();
        sum.update(&self.number.to_be_bytes());
        sum.update(&number.to_be_bytes());
        sum.update(&length.to_be_bytes());
        sum.update(payload);
        sum.digest()
    }
}

/// One system call where the kernel can do both.
fn write_synced(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = match pwritev2(file, &[IoSlice::new(bytes)], at, ReadWriteFlags::DSYNC) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                file.write_all_at(bytes, at)?;
                return file.sync_data();
            }
            Err(e) => return Err(e.into()),
        };
        bytes = bytes.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

/// Big-endian fields of a buffer.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}
