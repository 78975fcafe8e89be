//! Sealed and unsealed, and the way between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use envelope::{EnvelopeError, NameKey, SealedName, term_of};
use secret::{Entropy, EntropyError, SecretBytes, Time};
use shamir::ShamirError;
use storage::{Changeset, Check, PublicRecord, Space, Store, StoreError, TxnError, versioned};

use crate::cache::Caches;
use crate::keyring::{Keyring, KeyringError, RotationConfig};
use crate::root::{SealConfig, put_keyring};
use crate::transaction::Txn;

/// Longest path of a record. Sealed it stays below the 64 KiB that a key of the stores may have.
const NAME_BYTES_MAX: usize = 32 << 10;
/// Most segments of a path. Each is sealed together with all before it, so the work grows with the square; paths as they occur
/// have ten.
const NAME_SEGMENTS_MAX: usize = 256;

/// Why the barrier does not open, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    /// Not initialised.
    #[error("Vault is not initialized")]
    Uninitialised,
    /// The key opens nothing: the shares were not a right set.
    #[error("failed to decrypt keys from storage: cipher: message authentication failed")]
    WrongKey,
    /// A public record is damaged.
    #[error("the record {0} is damaged: {1}")]
    Damaged(&'static str, String),
    /// The data was written by a newer program.
    #[error("the data has format {found}, this program knows format {known}")]
    NewerFormat {
        /// Found in storage.
        found: u32,
        /// Known here.
        known: u32,
    },
    /// A key or record.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The shares.
    #[error(transparent)]
    Shamir(#[from] ShamirError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The state of a barrier nobody has opened.
#[derive(Debug)]
pub struct Sealed;

/// The state of an open barrier: it holds the keys and what was decrypted with them. Dropping it wipes them.
pub struct Unsealed {
    keyring: ArcSwap<Keyring>,
    names: NameKey,
    caches: Caches,
    counters: Counters,
    /// The stored keyring does not open any more.
    is_lost: AtomicBool,
    /// Rises before the state is replaced as a whole, and again afterwards: odd in between.
    replacements: AtomicU64,
}

/// Running totals, for key-status and metrics. Each is exact by itself; together they are not of one instant.
#[derive(Debug, Default)]
struct Counters {
    gets: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    lists: AtomicU64,
    /// Encryptions under the active key that this node has not noted yet, and the term that key has: both totals start anew with
    /// the next term.
    encryptions: AtomicU64,
    /// Those under the same key that are noted, of all nodes.
    noted: AtomicU64,
    term: AtomicU64,
}

/// What an open barrier has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read by transactions, absent ones included.
    pub gets: u64,
    /// Records written.
    pub puts: u64,
    /// Records removed.
    pub deletes: u64,
    /// Folders listed.
    pub lists: u64,
    /// Encryptions under the key that is active now: those of all nodes that [`Barrier::recall_encryptions`] was told of, and this
    /// node's own since.
    pub encryptions: u64,
}

/// A barrier over a store, in one of two states.
pub struct Barrier<S> {
    store: Arc<dyn Store>,
    state: S,
}

/// A counter that rises with every record of a watched part of the state that an applied entry touches, and leaps when the state was
/// replaced. Derived values (compiled policies, the router) are rebuilt when it moved.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<AtomicU64>);

impl Watch {
    /// The present count.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// After a change of unknown size: further than any number of single changes.
    pub(crate) fn leap(&self) {
        self.0.fetch_add(1 << 32, Ordering::AcqRel);
    }
}

pub(crate) fn public(store: &dyn Store, record: PublicRecord) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    match store.get(Space::State, record.name())? {
        Some(stored) => versioned(&stored).map(|(v, bytes)| Some((v, bytes.to_vec()))),
        None => Ok(None),
    }
}

impl Barrier<Sealed> {
    /// A barrier over applied state.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, state: Sealed }
    }

    /// The shape of the seal; `None` before initialisation.
    pub fn config(&self) -> Result<Option<SealConfig>, BarrierError> {
        let Some((_, bytes)) = public(&*self.store, PublicRecord::SealConfig)? else { return Ok(None) };
        SealConfig::parse(&bytes).map(Some)
    }

    pub(crate) fn store_arc(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

impl Unsealed {
    fn new(keyring: Keyring) -> Result<Self, BarrierError> {
        let names = keyring.name_key()?;
        let counters = Counters { term: AtomicU64::new(u64::from(keyring.active().term)), ..Counters::default() };
        let is_lost = AtomicBool::new(false);
        let (caches, replacements) = (Caches::new(), AtomicU64::new(0));
        Ok(Self { keyring: ArcSwap::from_pointee(keyring), names, caches, counters, is_lost, replacements })
    }
}

impl Barrier<Unsealed> {
    pub(crate) fn opened(store: Arc<dyn Store>, keyring: Keyring) -> Result<Self, BarrierError> {
        Ok(Self { store, state: Unsealed::new(keyring)? })
    }

    /// Begins a transaction.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Txn {
        Txn::new(Arc::clone(self))
    }

    /// The keyring as it is now.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        self.state.keyring.load_full()
    }

    /// The entry that adds a data key; [`Barrier::reload`] takes it up once it is applied.
    pub fn rotate(&self, now: Time, entropy: &dyn Entropy) -> Result<Changeset, BarrierError> {
        self.replace_keyring(&self.keyring().rotated(now, entropy)?, entropy)
    }

    /// The entry that sets when keys rotate by themselves.
    pub fn set_rotation(&self, rotation: RotationConfig, entropy: &dyn Entropy) -> Result<Changeset, BarrierError> {
        self.replace_keyring(&self.keyring().with_rotation(rotation)?, entropy)
    }

    fn replace_keyring(&self, next: &Keyring, entropy: &dyn Entropy) -> Result<Changeset, BarrierError> {
        let version = public(&*self.store, PublicRecord::Keyring)?.map_or(0, |(v, _)| v);
        let mut change = Changeset::default();
        change.checks.push(Check::Version { key: PublicRecord::Keyring.name().to_vec(), version });
        put_keyring(next, entropy, &mut change)?;
        Ok(change)
    }

    /// Reads the keyring anew; every node does when an entry touched it.
    pub fn reload(&self) -> Result<(), BarrierError> {
        let next = match self.stored_keyring() {
            Ok(next) => next,
            Err(e) => {
                self.state.is_lost.store(true, Ordering::Release);
                return Err(e);
            }
        };
        let term = u64::from(next.active().term);
        self.state.keyring.store(Arc::new(next));
        self.state.is_lost.store(false, Ordering::Release);
        if self.state.counters.term.swap(term, Ordering::AcqRel) != term {
            self.state.counters.encryptions.store(0, Ordering::Release);
            self.state.counters.noted.store(0, Ordering::Release);
        }
        Ok(())
    }

    /// Whether the keyring was exchanged without this node being able to follow: it was away while the root key changed more than
    /// once, or the state is another cluster's. What is written now cannot be read here; the node is to be sealed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.state.is_lost.load(Ordering::Acquire)
    }

    /// What was done here since the barrier was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let c = &self.state.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            gets: get(&c.gets),
            puts: get(&c.puts),
            deletes: get(&c.deletes),
            lists: get(&c.lists),
            encryptions: get(&c.encryptions).saturating_add(get(&c.noted)),
        }
    }

    /// So many encryptions are noted for this term. If more are known already, or another term is active, nothing changes.
    pub fn recall_encryptions(&self, term: u32, noted: u64) {
        let c = &self.state.counters;
        if c.term.load(Ordering::Acquire) == u64::from(term) {
            c.noted.fetch_max(noted, Ordering::AcqRel);
        }
    }

    /// The active term, and this node's encryptions under its key that are in no note yet.
    #[must_use]
    pub fn unnoted_encryptions(&self) -> (u32, u64) {
        let c = &self.state.counters;
        let term = u32::try_from(c.term.load(Ordering::Acquire)).unwrap_or(u32::MAX);
        (term, c.encryptions.load(Ordering::Acquire))
    }

    /// The note for this term is now `total`, with `own` of this node's in it.
    pub fn noted_encryptions(&self, term: u32, own: u64, total: u64) {
        let c = &self.state.counters;
        if c.term.load(Ordering::Acquire) == u64::from(term) {
            c.noted.fetch_max(total, Ordering::AcqRel);
            // Never fails: the closure always gives a number.
            let _ = c.encryptions.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| Some(n.saturating_sub(own)));
        }
    }

    /// An applied entry touched these stored keys.
    pub fn touched<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        for key in keys {
            if key == PublicRecord::Keyring.name() {
                // A failure is remembered: see `is_lost`.
                let _ = self.reload();
            }
            self.state.caches.touched(key);
        }
    }

    /// The state is about to be replaced as a whole, record by record: what is read from now on, or was read by a transaction that
    /// has not ended yet, need not belong together. [`Barrier::reset`] is the end of it.
    pub fn replacing(&self) {
        self.state.replacements.fetch_or(1, Ordering::AcqRel);
    }

    /// Everything may have changed (a snapshot was installed).
    pub fn reset(&self) {
        let _ = self.reload();
        self.state.caches.reset();
        // To the next even number, whether or not it was announced.
        self.state.replacements.fetch_or(1, Ordering::AcqRel);
        self.state.replacements.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the state is being replaced at present.
    #[must_use]
    pub fn is_being_replaced(&self) -> bool {
        !self.replacements().is_multiple_of(2)
    }

    /// Odd while the state is being replaced; another number than before if it was.
    pub(crate) fn replacements(&self) -> u64 {
        self.state.replacements.load(Ordering::Acquire)
    }

    /// Counts the applied entries that touch anything below `folder` (which is empty or ends in `/`).
    pub fn watch(&self, folder: &str) -> Result<Watch, TxnError> {
        Ok(self.state.caches.watch(self.name(folder)?.as_bytes().to_vec()))
    }

    /// Seals bytes that are no record, such as a batch token, for the place `context`.
    pub fn seal_bytes(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        let ring = self.keyring();
        let key = ring.active_key().ok_or(KeyringError::Malformed("no key"))?;
        self.count_encryptions(1);
        Ok(key.seal(context.as_bytes(), plaintext, entropy)?.into_bytes())
    }

    /// Opens what [`Barrier::seal_bytes`] made.
    pub fn open_bytes(&self, context: &str, sealed: &[u8]) -> Result<SecretBytes, BarrierError> {
        let term = term_of(sealed).ok_or(EnvelopeError::Truncated(sealed.len()))?;
        let ring = self.keyring();
        let key = ring.key(term).ok_or(EnvelopeError::NotAuthentic)?;
        Ok(key.open_bytes(context.as_bytes(), sealed)?)
    }

    /// Counts encryptions under the active key.
    pub fn count_encryptions(&self, n: u64) {
        self.state.counters.encryptions.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn count_writes(&self, puts: u64, deletes: u64) {
        self.state.counters.puts.fetch_add(puts, Ordering::Relaxed);
        self.state.counters.deletes.fetch_add(deletes, Ordering::Relaxed);
        self.count_encryptions(puts);
    }

    pub(crate) fn count_get(&self) {
        self.state.counters.gets.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_list(&self) {
        self.state.counters.lists.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn caches(&self) -> &Caches {
        &self.state.caches
    }

    pub(crate) fn names(&self) -> &NameKey {
        &self.state.names
    }

    /// The stored name of a path, sealed at most once while it stays in the cache.
    pub(crate) fn name(&self, path: &str) -> Result<Arc<SealedName>, TxnError> {
        if let Some(name) = self.caches().name(path) {
            return Ok(name);
        }
        if path.len() > NAME_BYTES_MAX {
            return Err(TxnError::Name("the path is too long"));
        }
        if path.bytes().filter(|b| *b == b'/').count() >= NAME_SEGMENTS_MAX {
            return Err(TxnError::Name("the path has too many segments"));
        }
        self.seal_name(path)
    }

    /// Calls itself once for each segment.
    fn seal_name(&self, path: &str) -> Result<Arc<SealedName>, TxnError> {
        if let Some(name) = self.caches().name(path) {
            return Ok(name);
        }
        let name = match path.trim_end_matches('/').rfind('/').and_then(|at| path.split_at_checked(at + 1)) {
            // The folder's own name is likely there already, so only the last segment is sealed.
            Some((folder, last)) => self.state.names.child(&*self.seal_name(folder)?, last),
            None if path.is_empty() => Ok(SealedName::root()),
            None => self.state.names.child(&SealedName::root(), path),
        };
        let name = Arc::new(name.map_err(|e| TxnError::Corrupt { what: "name".into(), detail: e.to_string() })?);
        self.caches().keep_name(path, &name);
        Ok(name)
    }

    pub(crate) fn open_record(&self, path: &str, stored: &[u8]) -> Result<SecretBytes, TxnError> {
        self.open_bytes(path, stored).map_err(|e| TxnError::Corrupt { what: place(path), detail: e.to_string() })
    }
}

/// The readable part of a path for error texts: its first two segments, never the name of a secret.
fn place(path: &str) -> String {
    path.splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
}
