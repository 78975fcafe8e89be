//! The keyring: one data key a term, the key of names, and the root key that seals the ring itself.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envelope::{DataKey, EnvelopeError, KEY_BYTES, NameError, NameKey};
use secret::{Entropy, SecretBytes, Time};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Encryptions after which Vault rotates by itself: 90% of 2^32, the bound for random 96-bit nonces (NIST SP 800-38D §8.3).
pub const MAX_OPERATIONS: u64 = 3_865_470_566;

/// Why a keyring cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The JSON inside is not a keyring. Says where, never what.
    #[error("keyring is malformed: {0}")]
    Malformed(&'static str),
    /// Written by a newer program.
    #[error("keyring has format {0}, this program knows format {FORMAT}")]
    NewerFormat(u32),
    /// A key has the wrong size.
    #[error(transparent)]
    Key(#[from] EnvelopeError),
    /// The name key has the wrong size.
    #[error(transparent)]
    Name(#[from] NameError),
}

const FORMAT: u32 = 1;

/// When a key is rotated without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationConfig {
    /// Rotation by itself is on.
    pub enabled: bool,
    /// After this many encryptions.
    pub max_operations: u64,
    /// After this many seconds; 0 is never.
    pub interval_seconds: u64,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self { enabled: true, max_operations: MAX_OPERATIONS, interval_seconds: 0 }
    }
}

/// What may be told of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermInfo {
    /// The term, from 1.
    pub term: u32,
    /// When it became active.
    pub install_time: Time,
}

struct Term {
    key: DataKey,
    install_time: Time,
}

/// All keys of one unsealed barrier. `Debug` shows terms only.
pub struct Keyring {
    root: SecretBytes,
    name_bytes: SecretBytes,
    terms: BTreeMap<u32, Term>,
    /// When keys are rotated by themselves.
    pub rotation: RotationConfig,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring(terms {:?})", self.terms.keys().collect::<Vec<_>>())
    }
}

/// The plaintext inside the stored keyring. Field names follow Vault's (contract §10.3); `NameKey` and `Format` are ours.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    format: u32,
    master_key: Zeroizing<String>,
    name_key: Zeroizing<String>,
    keys: Vec<StoredKey>,
    rotation_config: RotationConfig,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoredKey {
    term: u32,
    version: u8,
    value: Zeroizing<String>,
    install_time: i64,
}

fn encode(key: &SecretBytes) -> Zeroizing<String> {
    Zeroizing::new(BASE64_STANDARD.encode(key.expose()))
}

fn decode(text: &str) -> Result<SecretBytes, KeyringError> {
    BASE64_STANDARD.decode(text).map(SecretBytes::new).map_err(|_| KeyringError::Malformed("a key is not base64"))
}

impl Keyring {
    /// A fresh ring with term 1.
    pub fn generate(now: Time, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let root = SecretBytes::new(entropy.bytes(KEY_BYTES).map_err(EnvelopeError::from)?);
        let name_bytes = SecretBytes::new(entropy.bytes(NameKey::BYTES).map_err(EnvelopeError::from)?);
        let first = Term { key: DataKey::generate(1, entropy)?, install_time: now };
        Ok(Self { root, name_bytes, terms: BTreeMap::from([(1, first)]), rotation: RotationConfig::default() })
    }

    /// The next ring: the same keys and a fresh active one.
    pub fn rotated(&self, now: Time, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let mut next = Self::from_plaintext(&self.to_plaintext()?)?;
        let term = next.active().term.saturating_add(1);
        next.terms.insert(term, Term { key: DataKey::generate(term, entropy)?, install_time: now });
        Ok(next)
    }

    /// The next ring: the same keys under a fresh root key.
    pub(crate) fn with_fresh_root(&self, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let mut next = Self::from_plaintext(&self.to_plaintext()?)?;
        next.root = SecretBytes::new(entropy.bytes(KEY_BYTES).map_err(EnvelopeError::from)?);
        Ok(next)
    }

    /// The next ring: the same keys and other rules of rotation.
    pub fn with_rotation(&self, rotation: RotationConfig) -> Result<Self, KeyringError> {
        let mut next = Self::from_plaintext(&self.to_plaintext()?)?;
        next.rotation = rotation;
        Ok(next)
    }

    /// The term that seals now.
    #[must_use]
    pub fn active(&self) -> TermInfo {
        self.terms.last_key_value().map_or(TermInfo { term: 0, install_time: Time::default() }, |(term, t)| TermInfo {
            term: *term,
            install_time: t.install_time,
        })
    }

    /// The key that seals now.
    pub(crate) fn active_key(&self) -> Option<&DataKey> {
        self.terms.last_key_value().map(|(_, t)| &t.key)
    }

    /// The key of a term.
    pub(crate) fn key(&self, term: u32) -> Option<&DataKey> {
        self.terms.get(&term).map(|t| &t.key)
    }

    /// The key of names.
    pub(crate) fn name_key(&self) -> Result<NameKey, KeyringError> {
        Ok(NameKey::new(self.name_bytes.clone())?)
    }

    /// The root key, which seals the ring.
    pub(crate) fn root(&self) -> &SecretBytes {
        &self.root
    }

    /// The JSON to seal.
    pub(crate) fn to_plaintext(&self) -> Result<SecretBytes, KeyringError> {
        let stored = Stored {
            format: FORMAT,
            master_key: encode(&self.root),
            name_key: encode(&self.name_bytes),
            keys: self
                .terms
                .iter()
                .map(|(term, t)| StoredKey {
                    term: *term,
                    version: 1,
                    value: encode(t.key.bytes()),
                    install_time: t.install_time.nanos(),
                })
                .collect(),
            rotation_config: self.rotation,
        };
        serde_json::to_vec(&stored).map(SecretBytes::new).map_err(|_| KeyringError::Malformed("cannot be encoded"))
    }

    /// Reads the JSON that was sealed.
    pub(crate) fn from_plaintext(bytes: &SecretBytes) -> Result<Self, KeyringError> {
        let stored: Stored =
            serde_json::from_slice(bytes.expose()).map_err(|_| KeyringError::Malformed("not a keyring's JSON"))?;
        if stored.format > FORMAT {
            return Err(KeyringError::NewerFormat(stored.format));
        }
        let mut terms = BTreeMap::new();
        for k in &stored.keys {
            let key = DataKey::new(k.term, decode(&k.value)?)?;
            terms.insert(k.term, Term { key, install_time: Time(k.install_time) });
        }
        if terms.is_empty() {
            return Err(KeyringError::Malformed("no key"));
        }
        Ok(Self {
            root: decode(&stored.master_key)?,
            name_bytes: decode(&stored.name_key)?,
            terms,
            rotation: stored.rotation_config,
        })
    }
}
