//! The fjall store against kill -9, torn and damaged files, and full disks.

use std::path::{Path, PathBuf};
use std::process::Command;

use storage::{StoreError, suite};
use storage_fjall::{FjallOptions, FjallStore};

/// So small that a kill meets flushes and compactions too.
const SMALL: FjallOptions =
    FjallOptions { cache_bytes: 256 * 1024, memtable_bytes: 128 * 1024, journal_bytes: 512 * 1024, worker_threads: 1 };

fn open(path: &Path) -> Result<FjallStore, StoreError> {
    FjallStore::open(path, SMALL)
}

/// Without flushes: the whole history is in the journal.
fn open_unflushed(path: &Path) -> Result<FjallStore, StoreError> {
    FjallStore::open(path, FjallOptions::default())
}

fn journal(path: &Path) -> PathBuf {
    path.join("fjall/0.jnl")
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
    suite::damage::torn_tail(scratch.path(), &open_unflushed, &journal).unwrap();
}

#[test]
fn lost_pages_lose_only_what_was_not_synced() {
    let scratch = in_memory();
    suite::damage::lost_pages(scratch.path(), &open_unflushed, &journal).unwrap();
}

#[test]
fn a_flipped_bit_in_the_journal_is_noticed() {
    let scratch = in_memory();
    suite::damage::flipped_bits(scratch.path(), &open_unflushed, 40).unwrap();
}

#[test]
fn a_flipped_bit_in_the_head_of_a_batch_is_noticed() {
    let scratch = in_memory();
    // Item count and sequence number, which fjall's checksum does not cover.
    suite::damage::flipped_head(scratch.path(), &open_unflushed, &journal, 14).unwrap();
}

#[test]
fn a_flipped_bit_in_a_table_is_noticed() {
    let scratch = in_memory();
    suite::damage::flipped_bits(scratch.path(), &open, 6).unwrap();
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
