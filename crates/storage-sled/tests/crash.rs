//! The sled store against kill -9, torn and damaged files, and full disks.

use std::path::{Path, PathBuf};
use std::process::Command;

use storage::{StoreError, suite};
use storage_sled::{SledOptions, SledStore};

/// So small that pages are evicted within a test.
const SMALL: SledOptions = SledOptions { cache_bytes: 256 * 1024 };

fn open(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, SMALL)
}

fn log(path: &Path) -> PathBuf {
    path.join("sled/db")
}

/// Damage and kills need no disk below: what the kernel has is all that counts, and a sync costs nothing.
#[expect(clippy::unwrap_used, reason = "test support")]
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// Not a test of its own: the process that `survives_kills` starts and kills.
#[test]
fn child() {
    suite::crash::child(open).unwrap();
}

#[test]
fn survives_kills() {
    let scratch = in_memory();
    suite::crash::kills(&scratch.path().join("data"), open, || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
        command
    })
    .unwrap();
}

#[test]
fn a_torn_tail_loses_only_what_was_not_synced() {
    let scratch = in_memory();
    suite::damage::torn_tail(scratch.path(), &open, &log).unwrap();
}

#[test]
fn lost_pages_lose_only_what_was_not_synced() {
    let scratch = in_memory();
    suite::damage::lost_pages(scratch.path(), &open, &log).unwrap();
}

#[test]
fn a_flipped_bit_is_noticed() {
    let scratch = in_memory();
    suite::damage::flipped_bits(scratch.path(), &open, 40).unwrap();
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let scratch = in_memory();
    suite::damage::full_disk(scratch.path(), &open).unwrap();
}

#[test]
fn a_disk_without_inodes_loses_nothing_acknowledged() {
    let scratch = in_memory();
    suite::damage::no_new_files(scratch.path(), &open).unwrap();
}
