//! Rotation by the server itself: `rotate_bytes`, `rotate_duration`, `rotate_max_files`, `rotate_compress`. Options of our own.
//!
//! The full file gets the instant as an ending (`audit.log.20261124T165200.123456789Z`), so names sort by age. Compressing and
//! deleting old files is done aside, by a thread that ends with its work: no entry waits for it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use secret::Time;

/// When a file is full, and what becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Full at this size; 0 is never. A single group of entries may be longer.
    pub(crate) bytes: u64,
    /// Full at this age; zero is never.
    pub(crate) age: Duration,
    /// Rotated files that are kept; 0 keeps all.
    pub(crate) max_files: usize,
    /// Compress rotated files.
    pub(crate) gzip: bool,
}

/// `.` + `20261124T165200.123456789Z`
const ENDING_BYTES: usize = 27;
const GZIP_ENDING: &str = ".gz";
const UNFINISHED_ENDING: &str = ".gz.part";

impl Rotation {
    pub(super) fn is_due(&self, length_bytes: u64, more_bytes: u64, since: SystemTime) -> bool {
        let too_long = self.bytes > 0 && length_bytes.saturating_add(more_bytes) > self.bytes;
        let too_old = !self.age.is_zero() && since.elapsed().is_ok_and(|age| age >= self.age);
        length_bytes > 0 && (too_long || too_old)
    }

    /// Moves the file out of the way, to a name that does not exist yet.
    pub(super) fn rename(&self, path: &Path) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let to = with_ending(path, &format!(".{}", stamp(Time::default().plus(now))));
        if fs::symlink_metadata(&to).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        fs::rename(path, to)
    }
}

/// Compresses and deletes what rotation left at `path`, aside.
pub(super) fn tidy(path: PathBuf, rotation: Rotation) {
    if !rotation.gzip && rotation.max_files == 0 {
        return;
    }
    // One at a time: two would compress the same file.
    static ONE: Mutex<()> = Mutex::new(());
    let work = move || {
        let _one = ONE.lock();
        if let Err(e) = tidy_now(&path, &rotation) {
            tracing::warn!(error = %e, "rotated audit files could not be compressed or removed");
        }
    };
    // Without a thread the files wait for the next rotation.
    let _ = std::thread::Builder::new().name("audit-tidy".to_owned()).spawn(work);
}

fn tidy_now(path: &Path, rotation: &Rotation) -> io::Result<()> {
    let mut files = rotated(path)?;
    if rotation.max_files > 0 {
        let surplus = files.len().saturating_sub(rotation.max_files);
        for old in files.drain(..surplus) {
            fs::remove_file(old)?;
        }
    }
    if rotation.gzip {
        for file in files.iter().filter(|f| !f.as_os_str().as_encoded_bytes().ends_with(GZIP_ENDING.as_bytes())) {
            compress(file)?;
        }
    }
    Ok(())
}

/// The rotated files of `path`, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { return Ok(Vec::new()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut out = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let other = entry.file_name();
        let ending = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        if ending.is_some_and(is_ending) && entry.file_type()?.is_file() {
            out.push(entry.path());
        }
    }
    out.sort();
    Ok(out)
}

/// Only names that rotation makes: nothing else in the directory is ours to delete.
fn is_ending(ending: &[u8]) -> bool {
    let ending = ending.strip_suffix(GZIP_ENDING.as_bytes()).unwrap_or(ending);
    ending.len() == ENDING_BYTES
        && ending.iter().enumerate().all(|(i, b)| match i {
            0 | 16 => *b == b'.',
            9 => *b == b'T',
            26 => *b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

/// The compressed file appears whole or not at all; the other one goes afterwards.
fn compress(file: &Path) -> io::Result<()> {
    let mode = fs::metadata(file)?.permissions().mode() & 0o666;
    let part = with_ending(file, UNFINISHED_ENDING);
    match fs::remove_file(&part) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let out = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
    let mut encoder = GzEncoder::new(out, Compression::default());
    io::copy(&mut File::open(file)?, &mut encoder)?;
    let out = encoder.finish()?;
    out.set_permissions(fs::Permissions::from_mode(mode))?;
    out.sync_all()?;
    fs::rename(&part, with_ending(file, GZIP_ENDING))?;
    fs::remove_file(file)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// `20261124T165200.123456789Z`: RFC 3339's basic form, always of the same length.
fn stamp(now: Time) -> String {
    let seconds: String = now.rfc3339_seconds().chars().filter(|c| !matches!(c, '-' | ':' | 'Z')).collect();
    format!("{seconds}.{:09}Z", now.nanos().rem_euclid(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_known_by_their_names_and_no_others_are() {
        let stamp = stamp(Time(1_795_526_348_000_000_042));
        assert_eq!(stamp, "20261124T131908.000000042Z");
        assert!(is_ending(format!(".{stamp}").as_bytes()) && is_ending(format!(".{stamp}.gz").as_bytes()));
        for other in ["", ".1", ".gz", ".20261124", ".20261124T131908.000000042Z.gz.part", ".20261124T131908.00000004xZ", "x"] {
            assert!(!is_ending(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn an_empty_file_is_never_full() {
        let rotation = Rotation { bytes: 10, age: Duration::from_secs(60), ..Rotation::default() };
        let now = SystemTime::now();
        let old = now - Duration::from_secs(61);
        for (length, more, since, due) in
            [(0, 100, old, false), (1, 9, now, false), (1, 10, now, true), (1, 1, old, true), (u64::MAX, 1, now, true)]
        {
            assert_eq!(rotation.is_due(length, more, since), due, "{length} {more}");
        }
        assert!(!Rotation::default().is_due(u64::MAX, u64::MAX, UNIX_EPOCH));
    }
}
