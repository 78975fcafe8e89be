//! A file: opened with care, written in groups, never left with half a line in front of the next one, and rotated if asked.
//!
//! The file may be a pipe or a device as well (`/dev/null`); only regular files are cut, rotated and given a mode.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fchmod, fstat, open, statat};

use super::Outcome;
use super::rotate::{Rotation, tidy};

/// How often a writer that waits for a slow reader looks up to see whether it is still wanted.
const STOP_CHECK_MILLIS: i64 = 100;

pub(crate) struct FileSink {
    path: PathBuf,
    mode: Option<u32>,
    rotation: Rotation,
    file: Option<OpenFile>,
    /// The last line written is not complete and could not be taken back.
    torn: bool,
}

struct OpenFile {
    file: File,
    regular: bool,
    /// What is in it, and since when: for rotation.
    length_bytes: u64,
    since: SystemTime,
    device: u64,
    inode: u64,
}

impl FileSink {
    pub(crate) fn new(path: PathBuf, mode: Option<u32>, rotation: Rotation) -> Self {
        Self { path, mode, rotation, file: None, torn: false }
    }

    pub(super) fn close(&mut self) {
        self.file = None;
    }

    pub(super) fn is_regular(&self) -> bool {
        self.file.as_ref().is_some_and(|f| f.regular)
    }

    pub(super) fn write(&mut self, lines: &[u8], stop: &AtomicBool) -> Outcome {
        let mut outcome = Outcome::default();
        match self.try_write(lines, stop, &mut outcome) {
            Ok(()) => outcome.taken_bytes = lines.len(),
            Err(error) => outcome.error = Some(error),
        }
        outcome
    }

    fn try_write(&mut self, lines: &[u8], stop: &AtomicBool, outcome: &mut Outcome) -> io::Result<()> {
        let mut file = self.present(lines.len() as u64, outcome)?;
        if self.torn {
            file.write_all(b"\n", stop).map_err(|(_, e)| e)?;
            self.torn = false;
        }
        match file.write_all(lines, stop) {
            Ok(()) => {
                file.length_bytes += lines.len() as u64;
                self.file = Some(file);
                Ok(())
            }
            Err((written, error)) => {
                // The file stays closed, so that the next attempt looks at the path afresh.
                let whole = lines.get(..written).and_then(|w| w.iter().rposition(|b| *b == b'\n')).map_or(0, |at| at + 1);
                self.torn = written > whole && !file.take_back(written - whole);
                outcome.taken_bytes = whole;
                Err(error)
            }
        }
    }

    /// The file that is at the path now, rotated if it is time.
    fn present(&mut self, more_bytes: u64, outcome: &mut Outcome) -> io::Result<OpenFile> {
        if let Some(stat) = self.file.as_ref().map(|f| f.still_at(&self.path)) {
            match stat {
                Some(length_bytes) => self.file.iter_mut().for_each(|f| f.length_bytes = length_bytes),
                None => {
                    self.file = None;
                    self.torn = false;
                    outcome.replaced = true;
                }
            }
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        if !(file.regular && self.rotation.is_due(file.length_bytes, more_bytes, file.since)) {
            return Ok(file);
        }
        // Without a new name there is no rotation, but there is a log: writing goes on where it was.
        match self.rotation.rename(&self.path) {
            Ok(()) => {
                drop(file);
                tidy(self.path.clone(), self.rotation.clone());
                self.open()
            }
            Err(e) => {
                tracing::warn!(error = %e, "an audit file could not be rotated");
                Ok(OpenFile { since: SystemTime::now(), ..file })
            }
        }
    }

    fn open(&mut self) -> io::Result<OpenFile> {
        let file = OpenFile::open(&self.path, self.mode)?;
        self.torn = file.ends_in_mid_line(&self.path).unwrap_or(self.torn);
        Ok(file)
    }
}

impl OpenFile {
    /// Appends, never through a link, and without waiting: a FIFO without a reader is an error here, not a hang.
    fn open(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::NONBLOCK;
        let fd = open(path, flags, Mode::from_raw_mode(mode.unwrap_or(0o600)))?;
        let stat = fstat(&fd)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let regular = kind == FileType::RegularFile;
        if kind == FileType::BlockDevice {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "it is a disk and not a file"));
        }
        if regular {
            match mode {
                // Only files of our own kind: a log to /dev/null must not change the machine's /dev/null.
                Some(bits) if stat.st_mode & 0o7777 != bits => fchmod(&fd, Mode::from_raw_mode(bits))?,
                None if stat.st_mode & 0o111 != 0 => {
                    return Err(io::Error::new(ErrorKind::PermissionDenied, "the file has executable permissions"));
                }
                _ => {}
            }
        }
        let file = File::from(fd);
        let meta = file.metadata()?;
        let since = meta.created().unwrap_or_else(|_| SystemTime::now());
        Ok(Self { regular, length_bytes: meta.len(), since, device: meta.dev(), inode: meta.ino(), file })
    }

    /// The file's length if the path still leads to it. Deleting or renaming a log is not to go unnoticed.
    fn still_at(&self, path: &Path) -> Option<u64> {
        let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (stat.st_ino == self.inode && stat.st_dev == self.device).then(|| u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Whether an earlier process died inside a line; `None` if that cannot be seen.
    fn ends_in_mid_line(&self, path: &Path) -> Option<bool> {
        if !self.regular {
            return None;
        }
        let Some(last_at) = self.file.metadata().ok()?.len().checked_sub(1) else { return Some(false) };
        let mut last = [0u8];
        File::open(path).and_then(|f| f.read_exact_at(&mut last, last_at)).ok()?;
        Some(last != [b'\n'])
    }

    /// Writes everything, or tells how much was written before the error.
    fn write_all(&self, mut bytes: &[u8], stop: &AtomicBool) -> Result<(), (usize, io::Error)> {
        let total = bytes.len();
        while !bytes.is_empty() {
            match (&self.file).write(bytes) {
                Ok(0) => return Err((total - bytes.len(), ErrorKind::WriteZero.into())),
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.wait_for_reader(stop).map_err(|e| (total - bytes.len(), e))?;
                }
                Err(e) => return Err((total - bytes.len(), e)),
            }
        }
        Ok(())
    }

    fn wait_for_reader(&self, stop: &AtomicBool) -> io::Result<()> {
        let pause = Timespec { tv_sec: 0, tv_nsec: STOP_CHECK_MILLIS * 1_000_000 };
        loop {
            if stop.load(Ordering::Acquire) {
                return Err(io::Error::new(ErrorKind::TimedOut, "the reader takes nothing"));
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&pause)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Cuts the last `surplus` bytes off, if this is a file that can be cut.
    fn take_back(&self, surplus: usize) -> bool {
        let shorter = match self.file.metadata() {
            Ok(meta) if self.regular => meta.len().checked_sub(surplus as u64),
            _ => None,
        };
        shorter.is_some_and(|length| self.file.set_len(length).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);
    static STOP: AtomicBool = AtomicBool::new(true);

    fn sink(path: &Path) -> FileSink {
        FileSink::new(path.to_owned(), Some(0o600), Rotation::default())
    }

    #[test]
    fn a_line_that_an_earlier_process_left_half_written_is_ended_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        for (before, after) in [("", "new\n"), ("whole\n", "whole\nnew\n"), ("ha", "ha\nnew\n")] {
            std::fs::write(&path, before).unwrap();
            assert!(sink(&path).write(b"new\n", &GO_ON).error.is_none());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn bytes_can_be_taken_back_from_a_file_and_only_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "whole\nha").unwrap();
        assert!(OpenFile::open(&path, None).unwrap().take_back(2));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\n");
        assert!(!OpenFile::open(&path, None).unwrap().take_back(7), "there are not that many");
        assert!(!OpenFile::open(Path::new("/dev/null"), None).unwrap().take_back(1));
    }

    /// A pipe cannot be cut, so the next line has to start on a line of its own.
    #[test]
    fn after_half_a_line_in_a_pipe_the_next_starts_afresh() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        fifo(&path);
        let fd = open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        let mut reader = File::from(fd);
        let mut sink = sink(&path);
        let long = [b"short\n".as_slice(), &[b'x'; 1 << 20], b"\n"].concat();
        let outcome = sink.write(&long, &STOP);
        assert_eq!((outcome.taken_bytes, outcome.error.unwrap().kind()), (6, ErrorKind::TimedOut));
        let mut got = vec![0u8; 1 << 20];
        let n = reader.read(&mut got).unwrap();
        assert!(got[..n].starts_with(b"short\nxxx") && got[..n].ends_with(b"x"));
        assert!(sink.write(b"next\n", &GO_ON).error.is_none());
        let n = reader.read(&mut got).unwrap();
        assert_eq!(&got[..n], b"\nnext\n");
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error_and_not_a_hang() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        fifo(&path);
        let error = sink(&path).write(b"x\n", &GO_ON).error.unwrap();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
    }

    fn fifo(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
}
