//! What an engine sees: a plaintext map inside one transaction, through a window on its own prefix.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use secret::SecretBytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::StoreError;

/// Why a read or write inside a transaction fails.
#[derive(Debug, thiserror::Error)]
pub enum TxnError {
    /// The store below.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not open or decode; `what` names the place without its secret parts.
    #[error("corrupt record ({what}): {detail}")]
    Corrupt {
        /// Which kind of record.
        what: String,
        /// What failed.
        detail: String,
    },
    /// The barrier was sealed meanwhile.
    #[error("Vault is sealed")]
    Sealed,
    /// A key that cannot be kept, whoever made it up; the text says why and is fit for the client.
    #[error("{0}")]
    Name(&'static str),
}

/// A decrypted value as the cache holds it: shared, wiped when the last holder drops it, with its decoded form beside it.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    bytes: SecretBytes,
    decoded: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({:?})", self.0.bytes)
    }
}

impl Record {
    /// Wraps plaintext.
    #[must_use]
    pub fn new(bytes: SecretBytes) -> Self {
        Self(Arc::new(Inner { bytes, decoded: OnceLock::new() }))
    }

    /// The plaintext.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes.expose()
    }

    /// The value decoded from JSON, decoded at most once for all readers of this record.
    pub fn decode<T: DeserializeOwned + Any + Send + Sync>(&self) -> Result<Arc<T>, TxnError> {
        let corrupt = |detail: String| TxnError::Corrupt { what: std::any::type_name::<T>().to_owned(), detail };
        if let Some(Ok(value)) = self.0.decoded.get().map(|found| Arc::clone(found).downcast::<T>()) {
            return Ok(value);
        }
        // serde_json's message can quote the input, so only the position is kept.
        let value: T = serde_json::from_slice(self.bytes())
            .map_err(|e| corrupt(format!("JSON error at line {}, column {}", e.line(), e.column())))?;
        let value = Arc::new(value);
        // A second type for the same record (a migration) simply is not cached.
        let _ = self.0.decoded.set(Arc::<T>::clone(&value));
        Ok(value)
    }
}

/// The sorted names directly below a folder, shared by all who read them, with their JSON beside them.
#[derive(Debug, Default)]
pub struct Listing {
    names: Vec<String>,
    json: OnceLock<Arc<RawValue>>,
}

impl Listing {
    /// Wraps sorted names.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self { names, json: OnceLock::new() }
    }

    /// The names, ascending.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// `{"keys": [names]}` in Go's JSON, encoded at most once; `None` if there are no names.
    #[must_use]
    pub fn keys_json(&self) -> Option<Arc<RawValue>> {
        if self.names.is_empty() {
            return None;
        }
        if let Some(known) = self.json.get() {
            return Some(Arc::clone(known));
        }
        let mut text = String::from("{\"keys\":");
        text.push_str(&api_types::json::to_string(&self.names).ok()?);
        text.push('}');
        let raw: Arc<RawValue> = Arc::from(RawValue::from_string(text).ok()?);
        Some(Arc::clone(self.json.get_or_init(|| raw)))
    }
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Only names greater than this one.
    pub after: Option<String>,
    /// At most this many names.
    pub limit: Option<usize>,
}

/// One page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageNames {
    /// The names, in the order in which the pages of this folder come.
    pub names: Vec<String>,
    /// Whether that is the order of the names; else it is the order of storage, in which a page costs the same in a folder of any size.
    pub sorted: bool,
}

/// One request's reads and writes. Reads see the request's own writes. Nothing is kept until the core commits it.
///
/// Keys are `/`-separated paths. Implementations record what was read, so that the commit can be refused when it changed.
pub trait Transaction: Send {
    /// The value at `key`.
    fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError>;

    /// Sets `key`.
    fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError>;

    /// Removes `key`, present or not.
    fn delete(&mut self, key: &str) -> Result<(), TxnError>;

    /// The names directly below `prefix` (which is empty or ends in `/`), ascending, folders with a trailing `/`.
    /// A name that is both a key and a folder appears twice: `a` and `a/`.
    fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError>;

    /// A page of a listing, where the page is all that is looked at: `after` is a name, there or not, and pages that each begin after
    /// the last name of the one before make up the whole.
    fn page(&mut self, prefix: &str, page: &Page) -> Result<PageNames, TxnError> {
        Ok(PageNames { names: self.list(prefix, page)?, sorted: true })
    }

    /// Everything read or written so far is void: the state under the transaction was replaced, and nothing is to be checked
    /// against it or written to it.
    fn void(&mut self) {}

    /// The whole listing of a folder without a copy, where an implementation keeps one.
    fn list_shared(&mut self, prefix: &str) -> Result<Arc<Listing>, TxnError> {
        Ok(Arc::new(Listing::new(self.list(prefix, &Page::default())?)))
    }
}

/// A window on the part of a transaction below one prefix: all that an engine can reach.
pub struct View<'a> {
    txn: &'a mut dyn Transaction,
    prefix: String,
}

impl<'a> View<'a> {
    /// A window on everything below `prefix`, which is empty or ends in `/`.
    pub fn new(txn: &'a mut dyn Transaction, prefix: impl Into<String>) -> Self {
        Self { txn, prefix: prefix.into() }
    }

    /// A narrower window for as long as `self` is borrowed.
    pub fn below(&mut self, prefix: &str) -> View<'_> {
        View { txn: &mut *self.txn, prefix: format!("{}{prefix}", self.prefix) }
    }

    /// See [`Transaction::void`].
    pub fn void(&mut self) {
        self.txn.void();
    }

    fn full(&self, key: &str) -> String {
        let mut full = String::with_capacity(self.prefix.len() + key.len());
        full.push_str(&self.prefix);
        full.push_str(key);
        full
    }

    /// The value at `key`.
    pub fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError> {
        let full = self.full(key);
        self.txn.get(&full)
    }

    /// The value at `key`, decoded from JSON once and shared.
    pub fn get_json<T: DeserializeOwned + Any + Send + Sync>(&mut self, key: &str) -> Result<Option<Arc<T>>, TxnError> {
        self.get(key)?.map(|r| r.decode::<T>()).transpose()
    }

    /// Sets `key`.
    pub fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError> {
        let full = self.full(key);
        self.txn.put(&full, value)
    }

    /// Sets `key` to the JSON of `value`.
    pub fn put_json<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), TxnError> {
        let bytes = serde_json::to_vec(value).map_err(|_| TxnError::Corrupt {
            what: std::any::type_name::<T>().to_owned(),
            detail: "cannot be encoded".to_owned(),
        })?;
        self.put(key, SecretBytes::new(bytes))
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &str) -> Result<(), TxnError> {
        let full = self.full(key);
        self.txn.delete(&full)
    }

    /// The names directly below `prefix`, see [`Transaction::list`].
    pub fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError> {
        let full = self.full(prefix);
        self.txn.list(&full, page)
    }

    /// A page of a listing, see [`Transaction::page`].
    pub fn page(&mut self, prefix: &str, page: &Page) -> Result<PageNames, TxnError> {
        let full = self.full(prefix);
        self.txn.page(&full, page)
    }

    /// The whole listing of a folder without a copy.
    pub fn list_shared(&mut self, prefix: &str) -> Result<Arc<Listing>, TxnError> {
        let full = self.full(prefix);
        self.txn.list_shared(&full)
    }

    /// Removes up to `limit` keys at any depth below `prefix`; answers whether everything is gone.
    pub fn delete_below(&mut self, prefix: &str, limit: usize) -> Result<bool, TxnError> {
        let mut left = limit;
        self.delete_some(prefix, &mut left)
    }

    fn delete_some(&mut self, prefix: &str, left: &mut usize) -> Result<bool, TxnError> {
        for name in self.list(prefix, &Page::default())? {
            if *left == 0 {
                return Ok(false);
            }
            let key = format!("{prefix}{name}");
            if name.ends_with('/') {
                if !self.delete_some(&key, left)? {
                    return Ok(false);
                }
            } else {
                self.delete(&key)?;
                *left -= 1;
            }
        }
        Ok(true)
    }
}
