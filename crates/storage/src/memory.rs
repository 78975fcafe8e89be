//! The map in memory: the reference for the suites, and the store behind `storage "inmem"` and `-dev`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use secret::SecretBytes;

use crate::{Batch, BatchOp, Durability, Page, Record, Snapshot, Space, Store, StoreError, Transaction, TxnError};

type Tree = BTreeMap<Vec<u8>, Bytes>;

#[derive(Clone, Default)]
struct Trees {
    state: Tree,
    log: Tree,
    meta: Tree,
}

impl Trees {
    fn tree(&self, space: Space) -> &Tree {
        match space {
            Space::State => &self.state,
            Space::Log => &self.log,
            Space::Meta => &self.meta,
        }
    }

    fn tree_mut(&mut self, space: Space) -> &mut Tree {
        match space {
            Space::State => &mut self.state,
            Space::Log => &mut self.log,
            Space::Meta => &mut self.meta,
        }
    }

    fn scan(&self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>, visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
        if let (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) = (from, to)
            && a >= b
            && !(a == b && matches!((from, to), (Bound::Included(_), Bound::Included(_))))
        {
            return; // BTreeMap panics on an empty or reversed range
        }
        for (k, v) in self.tree(space).range::<[u8], _>((from, to)) {
            if visit(k, v).is_break() {
                return;
            }
        }
    }
}

/// A [`Store`] that forgets everything when dropped.
#[derive(Default)]
pub struct MemoryStore(RwLock<Trees>);

struct MemorySnapshot(Trees);

impl Snapshot for MemorySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.tree(space).get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.scan(space, from, to, visit);
        Ok(())
    }
}

impl Store for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).tree(space).get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).scan(space, from, to, visit);
        Ok(())
    }

    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let trees = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(trees.tree(space).last_key_value().map(|(k, v)| (Bytes::copy_from_slice(k), v.clone())))
    }

    fn commit(&self, batch: Batch, _: Durability) -> Result<(), StoreError> {
        let mut trees = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for op in batch.ops {
            match op {
                BatchOp::Put(space, key, value) => {
                    trees.tree_mut(space).insert(key, Bytes::from(value));
                }
                BatchOp::Delete(space, key) => {
                    trees.tree_mut(space).remove(&key);
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(MemorySnapshot(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())))
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn engine(&self) -> &'static str {
        "memory"
    }
}

/// A [`Transaction`] over a plain map, for the tests of engines: writes take effect at once.
#[derive(Default, Clone)]
pub struct MemoryTransaction(BTreeMap<String, Record>);

impl MemoryTransaction {
    /// Every key held, ascending.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Transaction for MemoryTransaction {
    fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError> {
        Ok(self.0.get(key).cloned())
    }

    fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError> {
        self.0.insert(key.to_owned(), Record::new(value));
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<(), TxnError> {
        self.0.remove(key);
        Ok(())
    }

    fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError> {
        let mut names: Vec<String> = self
            .0
            .keys()
            .filter_map(|k| k.strip_prefix(prefix))
            .filter(|rest| !rest.is_empty())
            .map(|rest| rest.split_inclusive('/').next().unwrap_or(rest).to_owned())
            .filter(|name| page.after.as_ref().is_none_or(|after| name > after))
            .collect();
        names.sort();
        names.dedup();
        names.truncate(page.limit.unwrap_or(usize::MAX));
        Ok(names)
    }
}
