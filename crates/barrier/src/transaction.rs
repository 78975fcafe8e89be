//! One request's reads and writes, in plaintext, over sealed state.

use std::collections::BTreeMap;
use std::sync::Arc;

use envelope::SealedName;
use secret::{Entropy, SecretBytes};
use storage::{
    Changeset, Check, Listing, Page, PageNames, Record, Space, StoredBytes, Transaction, TxnError, range_digest, versioned,
};

use crate::cache::Versioned;
use crate::{Barrier, BarrierError, Unsealed};

/// A transaction. Nothing is kept until its [`Txn::finish`]ed changeset is proposed and applied.
pub struct Txn {
    barrier: Arc<Barrier<Unsealed>>,
    reads: BTreeMap<Arc<SealedName>, u64>,
    listed: BTreeMap<String, Arc<Listing>>,
    writes: BTreeMap<String, Option<Record>>,
    /// The barrier's count of replacements when it began.
    replacements: u64,
}

impl Txn {
    pub(crate) fn new(barrier: Arc<Barrier<Unsealed>>) -> Self {
        let replacements = barrier.replacements();
        Self { barrier, reads: BTreeMap::new(), listed: BTreeMap::new(), writes: BTreeMap::new(), replacements }
    }

    /// Whether the state stood still for all of it: it was not replaced by a snapshot's meanwhile.
    fn is_of_one_state(&self) -> bool {
        self.replacements.is_multiple_of(2) && self.barrier.replacements() == self.replacements
    }

    /// Whether anything is to be written.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Forgets the writes and keeps the reads: the request failed but must still have seen one consistent state.
    pub fn discard_writes(&mut self) {
        self.writes.clear();
    }

    /// Whether everything read is still as it was read, so that the reads were of one instant. A request that only read
    /// runs anew if not.
    pub fn is_consistent(&self) -> Result<bool, TxnError> {
        if !self.is_of_one_state() {
            return Ok(false);
        }
        if self.reads.len() + self.listed.len() < 2 {
            return Ok(true);
        }
        for (name, version) in &self.reads {
            if self.barrier.version(name)? != *version {
                return Ok(false);
            }
        }
        for (folder, names) in &self.listed {
            if self.barrier.listing(folder)?.names() != names.names() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entry to propose: checks for what was read, sealed records for what was written. `None` if a listing changed or the state
    /// was replaced meanwhile, which is a conflict already.
    pub fn finish(self, entropy: &dyn Entropy) -> Result<Option<Changeset>, BarrierError> {
        if !self.is_of_one_state() {
            return Ok(None);
        }
        let mut change = Changeset::default();
        for (name, version) in &self.reads {
            change.checks.push(Check::Version { key: name.as_bytes().to_vec(), version: *version });
        }
        for (folder, names) in &self.listed {
            let sealed = self.barrier.name(folder).map_err(corrupt)?;
            let (from, to) = (sealed.as_bytes().to_vec(), sealed.after_subtree());
            let digest = range_digest(self.barrier.store(), &from, &to)?;
            if self.barrier.listing(folder).map_err(corrupt)?.names() != names.names() {
                return Ok(None);
            }
            change.checks.push(Check::Range { from, to, digest });
        }
        let puts = self.writes.values().filter(|v| v.is_some()).count();
        self.barrier.count_writes(puts as u64, (self.writes.len() - puts) as u64);
        let ring = self.barrier.keyring();
        let key = ring.active_key().ok_or(BarrierError::Uninitialised)?;
        for (path, value) in &self.writes {
            let name = self.barrier.name(path).map_err(corrupt)?;
            match value {
                Some(record) => {
                    let sealed = key.seal(path.as_bytes(), record.bytes(), entropy)?;
                    change.put(StoredBytes::Sealed((*name).clone(), sealed));
                }
                None => change.delete(&name),
            }
        }
        Ok(Some(change))
    }
}

fn corrupt(e: TxnError) -> BarrierError {
    match e {
        TxnError::Store(e) => BarrierError::Store(e),
        other => BarrierError::Damaged("state", other.to_string()),
    }
}

impl Barrier<Unsealed> {
    fn version(&self, name: &SealedName) -> Result<u64, TxnError> {
        if let Some(found) = self.caches().record(name) {
            return Ok(found.version);
        }
        Ok(match self.store().get(Space::State, name.as_bytes())? {
            Some(stored) => versioned(&stored)?.0,
            None => 0,
        })
    }

    fn read(&self, path: &str, name: &SealedName) -> Result<Versioned, TxnError> {
        if let Some(found) = self.caches().record(name) {
            return Ok(found);
        }
        let noted = self.caches().note(name);
        let found = match self.store().get(Space::State, name.as_bytes())? {
            Some(stored) => {
                let (version, sealed) = versioned(&stored)?;
                Versioned { version, record: Some(Record::new(self.open_record(path, sealed)?)) }
            }
            None => Versioned { version: 0, record: None },
        };
        self.caches().keep_record(&noted, name, &found);
        Ok(found)
    }

    /// Sorted names directly below `folder`, as applied.
    pub(crate) fn listing(&self, folder: &str) -> Result<Arc<Listing>, TxnError> {
        let sealed = self.name(folder)?;
        if let Some(found) = self.caches().listing(&sealed) {
            return Ok(found);
        }
        let noted = self.caches().note(&sealed);
        let mut names = self.names_from(&sealed, sealed.as_bytes().to_vec(), usize::MAX)?;
        names.sort_unstable();
        let names = Arc::new(Listing::new(names));
        self.caches().keep_listing(&noted, &sealed, &names);
        Ok(names)
    }
}

impl Transaction for Txn {
    fn void(&mut self) {
        self.reads.clear();
        self.listed.clear();
        self.writes.clear();
    }

    fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError> {
        if let Some(written) = self.writes.get(key) {
            return Ok(written.clone());
        }
        self.barrier.count_get();
        let name = self.barrier.name(key)?;
        let found = self.barrier.read(key, &name)?;
        // The first version seen counts: a later, different one means that the request did not see one state.
        self.reads.entry(name).or_insert(found.version);
        Ok(found.record)
    }

    fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError> {
        self.barrier.name(key)?;
        self.writes.insert(key.to_owned(), Some(Record::new(value)));
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<(), TxnError> {
        self.barrier.name(key)?;
        self.writes.insert(key.to_owned(), None);
        Ok(())
    }

    fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError> {
        self.barrier.count_list();
        let stored = self.barrier.listing(prefix)?;
        // A page claims nothing about the rest of the folder, so only whole listings are checked at commit.
        if page.limit.is_none() && page.after.is_none() {
            self.listed.entry(prefix.to_owned()).or_insert_with(|| Arc::clone(&stored));
        }
        let own = self.own_names(prefix)?;
        if own.is_empty() {
            return Ok(paged(stored.names().iter(), page));
        }
        let mut names: BTreeMap<&str, bool> = stored.names().iter().map(|n| (n.as_str(), true)).collect();
        for (name, there) in &own {
            names.insert(name, *there);
        }
        let merged: Vec<String> = names.into_iter().filter(|(_, there)| *there).map(|(n, _)| n.to_owned()).collect();
        Ok(paged(merged.iter(), page))
    }

    /// Claims nothing about the folder, so nothing of it is checked at commit.
    fn page(&mut self, prefix: &str, page: &Page) -> Result<PageNames, TxnError> {
        let Some(limit) = page.limit.filter(|_| self.own_names(prefix).is_ok_and(|own| own.is_empty())) else {
            return Ok(PageNames { names: self.list(prefix, page)?, sorted: true });
        };
        self.barrier.count_list();
        self.barrier.page(prefix, page, limit)
    }

    fn list_shared(&mut self, prefix: &str) -> Result<Arc<Listing>, TxnError> {
        if !self.own_names(prefix)?.is_empty() {
            return Ok(Arc::new(Listing::new(self.list(prefix, &Page::default())?)));
        }
        let stored = self.barrier.listing(prefix)?;
        self.listed.entry(prefix.to_owned()).or_insert_with(|| Arc::clone(&stored));
        Ok(stored)
    }
}

impl Txn {
    /// Names below `prefix` that this transaction itself adds (`true`) or removes (`false`).
    fn own_names(&self, prefix: &str) -> Result<BTreeMap<String, bool>, TxnError> {
        let mut own: BTreeMap<String, bool> = BTreeMap::new();
        let below = self.writes.range(prefix.to_owned()..).take_while(|(k, _)| k.starts_with(prefix));
        let mut removed_in: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in below {
            let Some(rest) = key.strip_prefix(prefix).filter(|r| !r.is_empty()) else { continue };
            let name = rest.split_inclusive('/').next().unwrap_or(rest).to_owned();
            match value {
                Some(_) => {
                    own.insert(name, true);
                }
                None if !name.ends_with('/') => {
                    own.entry(name).or_insert(false);
                }
                None => *removed_in.entry(name).or_default() += 1,
            }
        }
        for folder in removed_in.into_keys() {
            // A folder is gone when nothing is left below it: neither stored nor written here.
            if !own.contains_key(&folder) && self.is_emptied(&format!("{prefix}{folder}"))? {
                own.insert(folder, false);
            }
        }
        Ok(own)
    }

    fn is_emptied(&self, folder: &str) -> Result<bool, TxnError> {
        for name in self.barrier.listing(folder)?.names() {
            let key = format!("{folder}{name}");
            let gone =
                if name.ends_with('/') { self.is_emptied(&key)? } else { self.writes.get(&key).is_some_and(Option::is_none) };
            if !gone {
                return Ok(false);
            }
        }
        Ok(!self.writes.range(folder.to_owned()..).take_while(|(k, _)| k.starts_with(folder)).any(|(_, v)| v.is_some()))
    }
}

pub(crate) fn paged<'n>(names: impl Iterator<Item = &'n String>, page: &Page) -> Vec<String> {
    names
        .skip_while(|n| page.after.as_ref().is_some_and(|after| *n <= after))
        .take(page.limit.unwrap_or(usize::MAX))
        .cloned()
        .collect()
}
