//! The frame of a snapshot: a gzipped tar of four files. Written and read front to back, in memory that does not grow with it.
//!
//! Deliberately absent: what the files mean (`snapshot`), all of tar but plain files with short names.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// A tar file consists of blocks of this size.
const BLOCK_BYTES: usize = 512;
/// Records are ciphertext and do not shrink. What grows more than this was made to fill a disk.
const GROWTH_MAX: u64 = 16;
/// What may be inflated before growth is looked at.
const GROWTH_FREE_BYTES: u64 = 1 << 20;

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// Not gzip, damaged, or cut off.
    #[error("failed to decompress snapshot: {0}")]
    Gzip(#[from] io::Error),
    /// Not a tar file.
    #[error("failed to read snapshot: the archive is damaged")]
    Tar,
    /// It inflates to far more than it could hold.
    #[error("failed to read snapshot: it inflates to more than {GROWTH_MAX} times its size")]
    Bomb,
}

/// Writes a frame.
pub(super) struct FrameWriter<W: Write> {
    out: GzEncoder<W>,
    time: u64,
    padding: usize,
}

impl<W: Write> FrameWriter<W> {
    /// `time`: seconds since 1970, for the files' dates.
    pub(super) fn new(out: W, time: u64) -> Self {
        // Records are ciphertext, which does not shrink; the fastest level is as good as any.
        Self { out: GzEncoder::new(out, Compression::fast()), time, padding: 0 }
    }

    /// Begins a file; its bytes follow through [`Write`].
    pub(super) fn file(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.end_file()?;
        self.out.write_all(&header(name, bytes, self.time)?)?;
        let over = usize::try_from(bytes % BLOCK_BYTES as u64).unwrap_or(0);
        self.padding = (BLOCK_BYTES - over) % BLOCK_BYTES;
        Ok(())
    }

    fn end_file(&mut self) -> io::Result<()> {
        let zeros = [0; BLOCK_BYTES];
        self.out.write_all(zeros.get(..std::mem::take(&mut self.padding)).unwrap_or_default())
    }

    /// Ends the frame.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end_file()?;
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.finish()
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A ustar header (POSIX.1-1988): fields of fixed size in octal text; the sum counts its own field as blanks.
fn header(name: &str, bytes: u64, time: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(BLOCK_BYTES);
    let mut field = |text: &str, size: usize| {
        let mut padded = text.as_bytes().to_vec();
        padded.resize(size, 0);
        out.extend_from_slice(&padded);
    };
    field(name, 100);
    field("0000600", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{bytes:011o}"), 12);
    field(&format!("{time:011o}"), 12);
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar", 6);
    field("00", 2);
    field("", 247);
    let sum: u32 = out.iter().map(|b| u32::from(*b)).sum();
    let at = out.get_mut(148..156).ok_or_else(|| io::Error::other("a tar header is short"))?;
    at.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(out)
}

/// Reads a frame.
pub(super) struct FrameReader<R: Read> {
    input: GzDecoder<Counted<R>>,
    inflated: u64,
    left: u64,
    padding: u64,
    bomb: bool,
}

impl<R: Read> FrameReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: GzDecoder::new(Counted { input, bytes: 0 }), inflated: 0, left: 0, padding: 0, bomb: false }
    }

    /// Name and length of the next file, `None` at the end of the archive. The bytes of the one before must have been read.
    pub(super) fn next(&mut self) -> Result<Option<(String, u64)>, FrameError> {
        if self.left > 0 {
            return Err(FrameError::Tar);
        }
        self.skip(self.padding)?;
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let (name, bytes) = parse(&block).ok_or(FrameError::Tar)?;
        self.left = bytes;
        self.padding = bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes;
        Ok(Some((name, bytes)))
    }

    /// Reads to the last byte, so that gzip compares its checksum, and makes sure that nothing follows.
    pub(super) fn finish(mut self) -> Result<(), FrameError> {
        let mut rest = [0; 8192];
        loop {
            match self.inflate(&mut rest)? {
                0 => return Ok(()),
                n if rest.get(..n).is_some_and(|part| part.iter().any(|byte| *byte != 0)) => return Err(FrameError::Tar),
                _ => {}
            }
        }
    }

    /// The reason behind an error that came through [`Read`].
    pub(super) fn blame(&self, error: io::Error) -> FrameError {
        if self.bomb { FrameError::Bomb } else { FrameError::Gzip(error) }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), FrameError> {
        let mut block = [0; BLOCK_BYTES];
        let part = block.get_mut(..usize::try_from(bytes).unwrap_or(BLOCK_BYTES)).ok_or(FrameError::Tar)?;
        self.padding = 0;
        let mut filled = 0;
        while let Some(rest) = part.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inflate(rest)? {
                0 => return Err(FrameError::Gzip(io::ErrorKind::UnexpectedEof.into())),
                n => filled += n,
            }
        }
        Ok(())
    }

    fn fill(&mut self, block: &mut [u8]) -> Result<(), FrameError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inflate(rest)? {
                0 => return Err(FrameError::Gzip(io::ErrorKind::UnexpectedEof.into())),
                n => filled += n,
            }
        }
        Ok(())
    }

    fn inflate(&mut self, into: &mut [u8]) -> Result<usize, FrameError> {
        let n = self.input.read(into)?;
        self.inflated += n as u64;
        let allowed = self.input.get_ref().bytes.saturating_mul(GROWTH_MAX).saturating_add(GROWTH_FREE_BYTES);
        if self.inflated > allowed {
            self.bomb = true;
            return Err(FrameError::Bomb);
        }
        Ok(n)
    }
}

/// The bytes of the present file.
impl<R: Read> Read for FrameReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let part = into.get_mut(..most).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        match self.inflate(part) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.left -= n as u64;
                Ok(n)
            }
            Err(FrameError::Gzip(e)) => Err(e),
            Err(e) => Err(io::Error::other(e)),
        }
    }
}

/// Name and size of a plain file, out of a header whose checksum is right.
fn parse(block: &[u8; BLOCK_BYTES]) -> Option<(String, u64)> {
    let octal = |field: &[u8]| u64::from_str_radix(std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']), 8).ok();
    let sum: u64 = block.iter().enumerate().map(|(i, b)| u64::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
    if octal(block.get(148..156)?)? != sum || !matches!(block.get(156)?, b'0' | 0) {
        return None;
    }
    let name: Vec<u8> = block.get(..100)?.iter().copied().take_while(|b| *b != 0).collect();
    Some((String::from_utf8(name).ok()?, octal(block.get(124..136)?)?))
}

struct Counted<R> {
    input: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        self.bytes += n as u64;
        Ok(n)
    }
}
