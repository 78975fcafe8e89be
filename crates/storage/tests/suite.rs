//! The memory store keeps the contract that the disk engines keep.

use storage::{MemoryStore, suite};

#[test]
fn the_memory_store_conforms() {
    suite::conformance(MemoryStore::default).unwrap();
}
