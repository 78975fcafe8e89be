//! The disk's limit: how many 4 KiB appends a second one writer makes durable with fdatasync.
//! Absent on purpose: preallocation and direct I/O. The limit is a plain log's.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::histogram::Histogram;
use crate::limits;

/// What the disk did.
#[derive(Debug, Serialize)]
pub struct Appends {
    /// Durable appends a second.
    pub per_second: f64,
    /// Median time of one.
    pub p50_us: f64,
    /// 99 of 100 took at most this.
    pub p99_us: f64,
}

/// Appends to a new file in `directory` for `length`, then removes it.
pub fn measure(directory: &Path, length: Duration) -> io::Result<Appends> {
    let path = directory.join(format!("appends-{}", std::process::id()));
    let done = append(&path, length.min(Duration::from_millis(limits::MEASUREMENT_MAX_MS)));
    fs::remove_file(&path)?;
    done
}

fn append(path: &Path, length: Duration) -> io::Result<Appends> {
    let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
    let page = [0x5a_u8; limits::APPEND_BYTES];
    let mut times = Histogram::default();
    let began = Instant::now();
    let mut now = began;
    while now.duration_since(began) < length {
        file.write_all(&page)?;
        file.sync_data()?;
        let ended = Instant::now();
        times.record(ended.duration_since(now));
        now = ended;
    }
    let count = u32::try_from(times.total()).unwrap_or(u32::MAX);
    let per_second = f64::from(count) / now.duration_since(began).as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Appends { per_second, p50_us: times.quantile_us(500), p99_us: times.quantile_us(990) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_counted_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let appends = measure(directory.path(), Duration::from_millis(5)).unwrap();
        assert!(appends.per_second > 0.0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(measure(Path::new("/nonexistent/bench"), Duration::from_millis(1)).is_err());
    }
}
