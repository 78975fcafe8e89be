//! The sled store keeps the contract: conformance and reopening.

use std::cell::Cell;
use std::path::Path;

use storage::{StoreError, suite};
use storage_sled::{SledOptions, SledStore};

/// So small that pages are evicted within a test.
const SMALL: SledOptions = SledOptions { cache_bytes: 256 * 1024 };

fn open(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, SMALL)
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
        SledStore::open(&scratch.path().join(number.get().to_string()), SledOptions::default()).unwrap()
    })
    .unwrap();
}

#[test]
fn survives_reopening() {
    let scratch = tempfile::tempdir().unwrap();
    suite::durable::durability(scratch.path(), open).unwrap();
}
