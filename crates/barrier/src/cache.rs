//! Decrypted records and sorted listings, dropped by the keys that an applied entry touched.
//!
//! A reader that misses notes the key's epoch before it reads the store and may insert only if the epoch is still the same;
//! an applied entry raises the epoch and removes the key under the same lock. So nothing older than an acknowledged
//! write can be served, and no engine needs an invalidation hook.

use std::hash::BuildHasher;
use std::sync::Arc;

use envelope::SealedName;
use parking_lot::{Mutex, RwLock};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use storage::{Listing, Record};

use crate::seal::Watch;

/// Bytes of decrypted records kept. Big enough for tens of thousands of tokens and hot secrets, small beside the budget of
/// 64 MiB for the whole server.
const RECORDS_BYTES: u64 = 16 << 20;
/// Bytes of names kept in sorted listings.
const LISTINGS_BYTES: u64 = 6 << 20;
/// Bytes of sealed names kept so that a path is sealed once. Names come from anybody who can ask for a path, so what is
/// bounded is their bytes, not their number.
const NAMES_BYTES: u64 = 4 << 20;
/// Locks that order inserts against removals. More than threads, so that they rarely meet.
const EPOCHS_COUNT: usize = 256;
/// Bookkeeping of one entry, counted into its weight.
const ENTRY_BYTES: u64 = 96;

/// A key as the cache knows it: version 0 is "absent".
#[derive(Clone)]
pub(crate) struct Versioned {
    pub(crate) version: u64,
    pub(crate) record: Option<Record>,
}

#[derive(Clone)]
struct RecordWeight;

impl Weighter<SealedName, Versioned> for RecordWeight {
    fn weight(&self, name: &SealedName, value: &Versioned) -> u64 {
        let record = value.record.as_ref().map_or(0, |r| r.bytes().len() * 2);
        ENTRY_BYTES + name.as_bytes().len() as u64 + record as u64
    }
}

#[derive(Clone)]
struct ListingWeight;

impl Weighter<SealedName, Arc<Listing>> for ListingWeight {
    fn weight(&self, name: &SealedName, names: &Arc<Listing>) -> u64 {
        let text: usize = names.names().iter().map(|n| 2 * n.len() + 28).sum();
        ENTRY_BYTES + name.as_bytes().len() as u64 + text as u64
    }
}

#[derive(Clone)]
struct NameWeight;

impl Weighter<String, Arc<SealedName>> for NameWeight {
    fn weight(&self, path: &String, name: &Arc<SealedName>) -> u64 {
        ENTRY_BYTES + path.len() as u64 + name.as_bytes().len() as u64
    }
}

pub(crate) struct Caches {
    records: Cache<SealedName, Versioned, RecordWeight>,
    listings: Cache<SealedName, Arc<Listing>, ListingWeight>,
    names: Cache<String, Arc<SealedName>, NameWeight>,
    epochs: Vec<Mutex<u64>>,
    hasher: std::hash::RandomState,
    watches: RwLock<Vec<(Vec<u8>, Watch)>>,
}

/// A noted epoch: permission to insert what is read now, if nothing is applied meanwhile.
pub(crate) struct Noted {
    slot: usize,
    epoch: u64,
}

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            records: Cache::with_weighter(32 << 10, RECORDS_BYTES, RecordWeight),
            listings: Cache::with_weighter(1 << 10, LISTINGS_BYTES, ListingWeight),
            names: Cache::with_weighter(16 << 10, NAMES_BYTES, NameWeight),
            epochs: (0..EPOCHS_COUNT).map(|_| Mutex::new(0)).collect(),
            hasher: std::hash::RandomState::new(),
            watches: RwLock::new(Vec::new()),
        }
    }

    pub(crate) fn watch(&self, prefix: Vec<u8>) -> Watch {
        let watch = Watch::default();
        self.watches.write().push((prefix, watch.clone()));
        watch
    }

    pub(crate) fn name(&self, path: &str) -> Option<Arc<SealedName>> {
        self.names.get(path)
    }

    pub(crate) fn keep_name(&self, path: &str, name: &Arc<SealedName>) {
        self.names.insert(path.to_owned(), Arc::clone(name));
    }

    pub(crate) fn record(&self, name: &SealedName) -> Option<Versioned> {
        self.records.get(name)
    }

    pub(crate) fn listing(&self, folder: &SealedName) -> Option<Arc<Listing>> {
        self.listings.get(folder)
    }

    fn slot(&self, name: &[u8]) -> usize {
        // EPOCHS_COUNT is far below 2^32, so the cast after the remainder loses nothing.
        (self.hasher.hash_one(name) % EPOCHS_COUNT as u64) as usize
    }

    pub(crate) fn note(&self, name: &SealedName) -> Noted {
        let slot = self.slot(name.as_bytes());
        Noted { slot, epoch: self.epochs.get(slot).map_or(0, |e| *e.lock()) }
    }

    pub(crate) fn keep_record(&self, noted: &Noted, name: &SealedName, value: &Versioned) {
        if let Some(epoch) = self.epochs.get(noted.slot) {
            let now = epoch.lock();
            if *now == noted.epoch {
                self.records.insert(name.clone(), value.clone());
            }
        }
    }

    pub(crate) fn keep_listing(&self, noted: &Noted, folder: &SealedName, names: &Arc<Listing>) {
        if let Some(epoch) = self.epochs.get(noted.slot) {
            let now = epoch.lock();
            if *now == noted.epoch {
                self.listings.insert(folder.clone(), Arc::clone(names));
            }
        }
    }

    /// An entry that touched `key` was applied: the record and the listings of every folder above it are stale.
    pub(crate) fn touched(&self, key: &[u8]) {
        for (prefix, watch) in self.watches.read().iter() {
            if key.starts_with(prefix) {
                watch.raise();
            }
        }
        let Some(name) = SealedName::from_stored(key) else { return };
        self.forget(&name, |name| {
            self.records.remove(name);
        });
        for folder in name.folders() {
            self.forget(&folder, |folder| {
                self.listings.remove(folder);
            });
        }
    }

    fn forget(&self, name: &SealedName, remove: impl FnOnce(&SealedName)) {
        if let Some(epoch) = self.epochs.get(self.slot(name.as_bytes())) {
            let mut now = epoch.lock();
            *now += 1;
            remove(name);
        }
    }

    /// Everything may have changed.
    pub(crate) fn reset(&self) {
        for (_, watch) in self.watches.read().iter() {
            watch.leap();
        }
        for epoch in &self.epochs {
            *epoch.lock() += 1;
        }
        self.records.clear();
        self.listings.clear();
    }
}
