//! The fjall store keeps the contract: conformance and reopening.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use storage::{Batch, Durability, Space, Store, StoreError, suite};
use storage_fjall::{FjallOptions, FjallStore};

/// So small that flushes and compactions happen within a test.
const SMALL: FjallOptions =
    FjallOptions { cache_bytes: 256 * 1024, memtable_bytes: 128 * 1024, journal_bytes: 512 * 1024, worker_threads: 1 };

fn open(path: &Path) -> Result<FjallStore, StoreError> {
    FjallStore::open(path, SMALL)
}

#[test]
fn conforms() {
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let number = Cell::new(0);
    suite::conformance(|| {
        number.set(number.get() + 1);
        open(&scratch.path().join(number.get().to_string())).unwrap()
    })
    .unwrap();
}

#[test]
fn conforms_with_default_options() {
    let scratch = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    suite::conformance(|| {
        number.set(number.get() + 1);
        FjallStore::open(&scratch.path().join(number.get().to_string()), FjallOptions::default()).unwrap()
    })
    .unwrap();
}

#[test]
fn survives_reopening() {
    let scratch = tempfile::tempdir().unwrap();
    suite::durable::durability(scratch.path(), open).unwrap();
}

fn journal_bytes(path: &Path) -> u64 {
    fs::read_dir(path.join("fjall"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "jnl"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[test]
fn the_journal_stays_short_and_is_empty_after_closing() {
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = open(scratch.path()).unwrap();
    let mut most = 0;
    for i in 0..4000_u32 {
        let mut batch = Batch::default();
        batch.put(Space::State, (i % 50).to_be_bytes(), vec![7; 4000]);
        store.commit(batch, Durability::Buffered).unwrap();
        most = most.max(journal_bytes(scratch.path()));
    }
    // 16 MB went through. However late the keeper comes, at three times the limit the writer empties the journal itself.
    assert!(most < 4 * SMALL.journal_bytes, "the journal grew to {most} bytes");
    assert!(store.disk_bytes().unwrap() < 8 * 1024 * 1024, "{} bytes on disk", store.disk_bytes().unwrap());
    drop(store);
    assert_eq!(journal_bytes(scratch.path()), 0);
    let store = open(scratch.path()).unwrap();
    for slot in 0..50_u32 {
        assert!(store.get(Space::State, &slot.to_be_bytes()).unwrap().is_some_and(|value| value.len() == 4000));
    }
}

#[test]
fn impossible_records_are_refused_and_stop_nothing() {
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = open(scratch.path()).unwrap();
    for key in [vec![], vec![1; 70_000]] {
        let mut batch = Batch::default();
        batch.put(Space::State, *b"good", *b"1");
        batch.put(Space::State, key, *b"1");
        assert!(matches!(store.commit(batch, Durability::Synced), Err(StoreError::Io { .. })));
    }
    assert!(store.get(Space::State, b"good").unwrap().is_none(), "half of a refused batch was kept");
    let mut batch = Batch::default();
    batch.put(Space::State, *b"good", *b"2");
    store.commit(batch, Durability::Synced).unwrap();
}
