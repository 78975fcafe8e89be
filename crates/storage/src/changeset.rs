//! The atomic change: what a request read (by version) and what it writes. One changeset is one Raft entry.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use envelope::{Ciphertext, SealedName};
use serde::{Deserialize, Serialize};

use crate::{Batch, Space, Store, StoreError};

/// The only records that are not sealed by the barrier, because they are needed before it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicRecord {
    /// JSON of the seal's shape: type, shares, threshold.
    SealConfig,
    /// The root key, sealed under the key that the shares make.
    RootKey,
    /// The keyring, sealed under the root key.
    Keyring,
    /// JSON: how many recovery shares there are and how many decide, beside an outer seal.
    RecoveryConfig,
    /// JSON: how many break-glass shares there are beside an outer seal, and the root key, sealed under the key that they make.
    BreakGlass,
}

impl PublicRecord {
    /// All of them. The first three are there from the first entry on.
    pub const ALL: [Self; 5] = [Self::SealConfig, Self::RootKey, Self::Keyring, Self::RecoveryConfig, Self::BreakGlass];

    /// The plain name it stands under. Begins with `c`, sealed names begin with 0x01, so the two never meet.
    #[must_use]
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::SealConfig => b"core/seal-config",
            Self::RootKey => b"core/hsm/barrier-unseal-keys",
            Self::Keyring => b"core/keyring",
            Self::RecoveryConfig => b"core/recovery-config",
            Self::BreakGlass => b"core/break-glass",
        }
    }
}

/// What may be handed to the replicated state: bytes that are sealed, or one of the few public records.
#[derive(Debug, Clone)]
pub enum StoredBytes {
    /// A barrier record under a sealed name.
    Sealed(SealedName, Ciphertext),
    /// A public record: either plain (`SealConfig`, `RecoveryConfig`) or sealed under a key outside the keyring.
    Public(PublicRecord, Vec<u8>),
}

/// What must still hold when the change is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// The key has this version: the log index of the entry that last wrote it, 0 if it is absent.
    Version {
        /// The stored name.
        #[serde(with = "raw")]
        key: Vec<u8>,
        /// Log index, or 0 for "absent".
        version: u64,
    },
    /// The keys in `[from, to)` and their versions digest to this (see [`range_digest`]).
    Range {
        /// First key.
        #[serde(with = "raw")]
        from: Vec<u8>,
        /// First key behind the range.
        #[serde(with = "raw")]
        to: Vec<u8>,
        /// The digest when it was read.
        digest: u64,
    },
}

/// One key set or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The stored name.
    #[serde(with = "raw")]
    pub key: Vec<u8>,
    /// The stored bytes, or `None` to remove the key.
    #[serde(with = "raw::option")]
    pub value: Option<Vec<u8>>,
}

/// All that one request changes, with what it relied on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changeset {
    /// What was read.
    pub checks: Vec<Check>,
    /// What is written.
    pub writes: Vec<Write>,
}

impl Changeset {
    /// Adds a sealed or public record.
    pub fn put(&mut self, bytes: StoredBytes) {
        let (key, value) = match bytes {
            StoredBytes::Sealed(name, c) => (name.as_bytes().to_vec(), c.into_bytes()),
            StoredBytes::Public(record, value) => (record.name().to_vec(), value),
        };
        self.writes.push(Write { key, value: Some(value) });
    }

    /// Removes a sealed record.
    pub fn delete(&mut self, name: &SealedName) {
        self.writes.push(Write { key: name.as_bytes().to_vec(), value: None });
    }
}

const VERSION_BYTES: usize = 8;

/// Splits a stored value of [`Space::State`] into its version and its bytes.
pub fn versioned(stored: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    stored.split_first_chunk::<VERSION_BYTES>().map(|(v, rest)| (u64::from_be_bytes(*v), rest)).ok_or_else(|| {
        StoreError::Corrupt { what: "state".into(), detail: format!("a value of {} bytes has no version", stored.len()) }
    })
}

/// FNV-1a over key bytes, a length mark and the version; it guards against races, not against an adversary.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn key(&mut self, key: &[u8], version: u64) {
        self.bytes(key);
        self.bytes(&(key.len() as u64).to_be_bytes());
        self.bytes(&version.to_be_bytes());
    }
}

/// Digests the keys and versions in `[from, to)`: equal digests mean that no key came, went or changed.
pub fn range_digest(store: &dyn Store, from: &[u8], to: &[u8]) -> Result<u64, StoreError> {
    Overlay::new(store).range_digest(from, to)
}

/// Applies a changeset at log index `index`: adds its writes to `batch` and answers `true`, or answers `false` and adds
/// nothing if a check fails. `store` must show every earlier entry; to apply several entries in one batch use [`Overlay`].
pub fn apply(store: &dyn Store, change: &Changeset, index: u64, batch: &mut Batch) -> Result<bool, StoreError> {
    Overlay::new(store).apply(change, index, batch)
}

/// The committed state with the versions of a batch that is not committed yet laid over it, so that a run of entries
/// needs one commit. Holds the touched keys, not their values.
pub struct Overlay<'a> {
    store: &'a dyn Store,
    /// The version each key has after the pending batch, 0 for "removed".
    pending: BTreeMap<Vec<u8>, u64>,
}

impl<'a> Overlay<'a> {
    /// Nothing pending over `store`.
    #[must_use]
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, pending: BTreeMap::new() }
    }

    /// Adds the writes of `change` to `batch` under version `index` and answers `true`; if a check fails, adds nothing and
    /// answers `false`. Later calls see what earlier calls added. An error leaves the batch unusable.
    pub fn apply(&mut self, change: &Changeset, index: u64, batch: &mut Batch) -> Result<bool, StoreError> {
        for check in &change.checks {
            let holds = match check {
                Check::Version { key, version } => self.version(key)? == *version,
                Check::Range { from, to, digest } => self.range_digest(from, to)? == *digest,
            };
            if !holds {
                return Ok(false);
            }
        }
        for write in &change.writes {
            match &write.value {
                Some(value) => {
                    let mut stored = Vec::with_capacity(VERSION_BYTES + value.len());
                    stored.extend_from_slice(&index.to_be_bytes());
                    stored.extend_from_slice(value);
                    batch.put(Space::State, write.key.clone(), stored);
                    self.pending.insert(write.key.clone(), index);
                }
                None => {
                    batch.delete(Space::State, write.key.clone());
                    self.pending.insert(write.key.clone(), 0);
                }
            }
        }
        Ok(true)
    }

    /// The version of a key: the log index that last wrote it, 0 if it is absent.
    pub fn version(&self, key: &[u8]) -> Result<u64, StoreError> {
        if let Some(version) = self.pending.get(key) {
            return Ok(*version);
        }
        self.store.get(Space::State, key)?.map_or(Ok(0), |stored| Ok(versioned(&stored)?.0))
    }

    fn range_digest(&self, from: &[u8], to: &[u8]) -> Result<u64, StoreError> {
        let mut digest = Digest::new();
        if from >= to {
            return Ok(digest.0); // BTreeMap panics on a reversed range
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut pending = self.pending.range::<[u8], _>(range).peekable();
        let mut failed = None;
        self.store.scan(Space::State, range.0, range.1, &mut |key, stored| {
            while let Some((k, version)) = pending.next_if(|(k, _)| k.as_slice() < key) {
                if *version != 0 {
                    digest.key(k, *version);
                }
            }
            if let Some((k, version)) = pending.next_if(|(k, _)| k.as_slice() == key) {
                if *version != 0 {
                    digest.key(k, *version);
                }
                return ControlFlow::Continue(());
            }
            match versioned(stored) {
                Ok((version, _)) => {
                    digest.key(key, version);
                    ControlFlow::Continue(())
                }
                Err(e) => {
                    failed = Some(e);
                    ControlFlow::Break(())
                }
            }
        })?;
        for (k, version) in pending.filter(|(_, version)| **version != 0) {
            digest.key(k, *version);
        }
        failed.map_or(Ok(digest.0), Err)
    }
}

/// Byte strings as bytes: postcard writes the same octets as for a sequence of `u8`, but in one copy.
mod raw {
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    struct Ref<'a>(&'a [u8]);

    impl Serialize for Ref<'_> {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.serialize_bytes(self.0)
        }
    }

    struct Owned(Vec<u8>);

    impl<'de> Deserialize<'de> for Owned {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            d.deserialize_byte_buf(Bytes).map(Self)
        }
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, v: &[u8]) -> Result<Vec<u8>, E> {
            Ok(v.to_vec())
        }

        fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(v)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(b) = seq.next_element()? {
                bytes.push(b);
            }
            Ok(bytes)
        }
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        d.deserialize_byte_buf(Bytes)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Owned, Ref, Serialize, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
            bytes.as_deref().map(Ref).serialize(s)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<u8>>, D::Error> {
            Ok(Option::<Owned>::deserialize(d)?.map(|o| o.0))
        }
    }
}
