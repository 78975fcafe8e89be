//! openraft's own storage suite over our log and state machine, on every store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use replication::internals::{LogStore, Machine, Shared, TypeConfig};
use storage::{MemoryStore, Store};
use storage_fjall::{FjallOptions, FjallStore};
use storage_sled::{SledOptions, SledStore};
use tempfile::TempDir;

/// The store, and whether the log has files of its own.
struct Builder(fn(&TempDir) -> Arc<dyn Store>, bool);

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = (self.0)(&dir);
        let shared = Arc::new(Shared::default());
        let files = self.1.then(|| dir.path().join("log"));
        let log = LogStore::open(Arc::clone(&store), Arc::clone(&shared), u64::MAX, files.as_deref()).unwrap();
        let observer = Arc::new(common::Seen::default());
        let machine = Machine::open(store, shared, observer, Some(dir.path().to_owned())).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn memory() {
    Suite::test_all(Builder(|_| Arc::new(MemoryStore::default()), false)).await.unwrap();
}

#[tokio::test]
async fn files() {
    Suite::test_all(Builder(|_| Arc::new(MemoryStore::default()), true)).await.unwrap();
}

#[tokio::test]
async fn fjall() {
    let open = |dir: &TempDir| -> Arc<dyn Store> {
        Arc::new(FjallStore::open(&dir.path().join("db"), FjallOptions::default()).unwrap())
    };
    Suite::test_all(Builder(open, false)).await.unwrap();
}

#[tokio::test]
async fn sled() {
    let open =
        |dir: &TempDir| -> Arc<dyn Store> { Arc::new(SledStore::open(&dir.path().join("db"), SledOptions::default()).unwrap()) };
    Suite::test_all(Builder(open, false)).await.unwrap();
}
