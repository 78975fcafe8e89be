//! What the tests share: an observer that remembers, stores that fail, short hands.
#![allow(dead_code, missing_docs, reason = "each test file uses its part")]

use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use replication::{Observer, Replica, Settings};
use storage::{Batch, Changeset, Check, Durability, MemoryStore, Snapshot, Space, Store, StoreError, Write, versioned};

#[derive(Default)]
pub struct Seen {
    entries: Mutex<Vec<(u64, Vec<String>)>>,
    store: Mutex<Option<Arc<dyn Store>>>,
    missed: Mutex<Vec<String>>,
    resets: AtomicU32,
}

impl Seen {
    pub fn entries(&self) -> Vec<(u64, Vec<String>)> {
        self.entries.lock().unwrap().clone()
    }

    pub fn watch(&self, store: &Arc<dyn Store>) {
        *self.store.lock().unwrap() = Some(Arc::clone(store));
    }

    pub fn missed(&self) -> Vec<String> {
        self.missed.lock().unwrap().clone()
    }

    pub fn resets(&self) -> u32 {
        self.resets.load(Ordering::Relaxed)
    }
}

impl Observer for Seen {
    fn applied(&self, index: u64, keys: &[&[u8]]) {
        let keys: Vec<String> = keys.iter().map(|k| String::from_utf8_lossy(k).into_owned()).collect();
        if let Some(store) = &*self.store.lock().unwrap() {
            for key in &keys {
                if store.get(Space::State, key.as_bytes()).unwrap().is_none() {
                    self.missed.lock().unwrap().push(key.clone());
                }
            }
        }
        self.entries.lock().unwrap().push((index, keys));
    }

    fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

pub fn settings() -> Settings {
    Settings::new("one", "127.0.0.1:8201", "http://127.0.0.1:8200")
}

pub async fn open_with(store: &Arc<dyn Store>, settings: Settings) -> (Replica, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let observer: Arc<dyn Observer> = Arc::clone(&seen) as Arc<dyn Observer>;
    (Replica::open(Arc::clone(store), settings, observer).await.unwrap(), seen)
}

pub async fn open(store: &Arc<dyn Store>) -> (Replica, Arc<Seen>) {
    open_with(store, settings()).await
}

pub async fn leading_with(store: &Arc<dyn Store>, settings: Settings) -> (Replica, Arc<Seen>) {
    let (replica, seen) = open_with(store, settings).await;
    replica.bootstrap().await.unwrap();
    (replica, seen)
}

pub async fn leading(store: &Arc<dyn Store>) -> (Replica, Arc<Seen>) {
    leading_with(store, settings()).await
}

pub fn put(key: &str, value: &str) -> Changeset {
    Changeset { checks: vec![], writes: vec![Write { key: key.as_bytes().to_vec(), value: Some(value.as_bytes().to_vec()) }] }
}

pub fn check(key: &str, version: u64, mut change: Changeset) -> Changeset {
    change.checks.push(Check::Version { key: key.as_bytes().to_vec(), version });
    change
}

pub fn read(replica: &Replica, key: &str) -> Option<(u64, String)> {
    let stored = replica.store().get(Space::State, key.as_bytes()).unwrap()?;
    let (version, bytes) = versioned(&stored).unwrap();
    Some((version, String::from_utf8(bytes.to_vec()).unwrap()))
}

pub fn log_of(store: &Arc<dyn Store>) -> Vec<u64> {
    let mut indexes = Vec::new();
    let visit = &mut |key: &[u8], _: &[u8]| {
        indexes.push(u64::from_be_bytes(key.try_into().unwrap()));
        ControlFlow::Continue(())
    };
    store.scan(Space::Log, Bound::Unbounded, Bound::Unbounded, visit).unwrap();
    indexes
}

pub fn log_bytes(store: &Arc<dyn Store>) -> usize {
    let mut bytes = 0;
    let visit = &mut |_: &[u8], value: &[u8]| {
        bytes += value.len();
        ControlFlow::Continue(())
    };
    store.scan(Space::Log, Bound::Unbounded, Bound::Unbounded, visit).unwrap();
    bytes
}

/// Yields until the condition holds; the test runner's own time limit ends it if it never does.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

pub fn copy(store: &Arc<dyn Store>) -> Arc<dyn Store> {
    let to = memory();
    transfer(store, &to, &Space::ALL);
    to
}

pub fn transfer(from: &Arc<dyn Store>, to: &Arc<dyn Store>, spaces: &[Space]) {
    let mut batch = Batch::default();
    for space in spaces {
        let visit = &mut |key: &[u8], value: &[u8]| {
            batch.put(*space, key, value);
            ControlFlow::Continue(())
        };
        from.scan(*space, Bound::Unbounded, Bound::Unbounded, visit).unwrap();
    }
    to.commit(batch, Durability::Synced).unwrap();
}

const HEALTHY: u32 = 0;
const FULL: u32 = 1;
const GONE: u32 = 2;

/// A memory store whose writes can be made to fail, and that counts its syncs.
#[derive(Default)]
pub struct Breaking {
    inner: MemoryStore,
    mode: AtomicU32,
    refused: AtomicU64,
    synced: AtomicU64,
    /// Commits that still succeed, plus one; 0: no limit.
    fuse: AtomicU64,
}

impl Breaking {
    pub fn fail(&self) {
        self.mode.store(GONE, Ordering::SeqCst);
    }

    pub fn fill(&self) {
        self.mode.store(FULL, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.mode.store(HEALTHY, Ordering::SeqCst);
        self.fuse.store(0, Ordering::SeqCst);
    }

    /// Fails every commit after the next `n`.
    pub fn fail_after(&self, n: u64) {
        self.fuse.store(n + 1, Ordering::SeqCst);
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::SeqCst)
    }
}

impl Store for Breaking {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.scan(space, from, to, visit)
    }

    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.inner.last(space)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let fuse = self.fuse.load(Ordering::SeqCst);
        match fuse {
            0 => {}
            1 => self.fail(),
            n => self.fuse.store(n - 1, Ordering::SeqCst),
        }
        match self.mode.load(Ordering::SeqCst) {
            HEALTHY => {
                if durability == Durability::Synced {
                    self.synced.fetch_add(1, Ordering::SeqCst);
                }
                self.inner.commit(batch, durability)
            }
            mode => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                Err(if mode == FULL {
                    StoreError::Full("/data".into())
                } else {
                    StoreError::Poisoned("the disk is gone".to_owned())
                })
            }
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.synced.fetch_add(1, Ordering::SeqCst);
        self.inner.sync()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.inner.snapshot()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.inner.disk_bytes()
    }

    fn engine(&self) -> &'static str {
        "breaking"
    }
}
