//! The root key at rest: under the key that shares make, or as whatever an outer seal made of it.
//!
//! Deliberately absent: outer seals themselves (`autoseal`; this room sees only their bytes), and who may exchange the key.

use std::sync::Arc;

use envelope::{Ciphertext, DataKey, EnvelopeError, KEY_BYTES, SealedName};
use secret::{Entropy, SecretBytes, Time};
use serde::{Deserialize, Serialize};
use shamir::{Threshold, split};
use storage::{Changeset, Check, PublicRecord, Space, Store, StoredBytes, versioned};

use crate::keyring::Keyring;
use crate::seal::{Barrier, BarrierError, Sealed, Unsealed, public};

/// Format of the data behind the barrier that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// The type of a seal whose key is made by shares.
pub const SHAMIR: &str = "shamir";
/// Where the root key lies behind the barrier once it was exchanged, so that nodes which were open meanwhile can follow.
const ROOT_BEHIND: &str = "core/master";

/// The shape of the seal, readable before it opens. Field names are Vault's `core/seal-config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealConfig {
    /// `shamir`, or the type of an outer seal.
    #[serde(rename = "type")]
    pub seal_type: String,
    /// Number of shares; 1 with an outer seal.
    pub secret_shares: u8,
    /// Number of shares that open; 1 with an outer seal.
    pub secret_threshold: u8,
    /// 1: the shares make the key that opens a stored root key.
    pub stored_shares: u8,
    /// Format of everything behind the barrier; newer is refused.
    #[serde(default)]
    pub format: u32,
}

impl SealConfig {
    /// Whether shares open it.
    #[must_use]
    pub fn is_shamir(&self) -> bool {
        self.seal_type == SHAMIR
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BarrierError> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|e| BarrierError::Damaged("core/seal-config", format!("JSON column {}", e.column())))?;
        if config.format > FORMAT {
            return Err(BarrierError::NewerFormat { found: config.format, known: FORMAT });
        }
        Ok(config)
    }
}

/// How many recovery shares there are beside an outer seal, readable while it is closed. Field names are Vault's
/// `core/recovery-config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryConfig {
    /// Number of shares.
    pub secret_shares: u8,
    /// Number of shares that decide.
    pub secret_threshold: u8,
}

impl From<Threshold> for RecoveryConfig {
    fn from(shape: Threshold) -> Self {
        Self { secret_shares: shape.shares(), secret_threshold: shape.threshold() }
    }
}

impl RecoveryConfig {
    /// The same as a shape.
    pub fn shape(self) -> Result<Threshold, BarrierError> {
        Ok(Threshold::new(u64::from(self.secret_shares), u64::from(self.secret_threshold))?)
    }

    /// Adds it to an entry.
    pub fn put(self, change: &mut Changeset) -> Result<(), BarrierError> {
        let bytes = serde_json::to_vec(&self).map_err(|e| BarrierError::Damaged("core/recovery-config", e.to_string()))?;
        change.put(StoredBytes::Public(PublicRecord::RecoveryConfig, bytes));
        Ok(())
    }
}

/// A fresh key and its shares, not in force yet.
pub struct FreshShares {
    key: SecretBytes,
    shape: Threshold,
    shares: Vec<SecretBytes>,
}

impl FreshShares {
    /// Makes them.
    pub fn generate(shape: Threshold, entropy: &dyn Entropy) -> Result<Self, BarrierError> {
        let key = SecretBytes::new(entropy.bytes(KEY_BYTES)?);
        let shares = split(&key, shape, entropy)?;
        Ok(Self { key, shape, shares })
    }

    /// The shares in Vault's format.
    #[must_use]
    pub fn shares(&self) -> &[SecretBytes] {
        &self.shares
    }

    /// The key they make.
    #[must_use]
    pub fn key(&self) -> &SecretBytes {
        &self.key
    }

    /// Their number and threshold.
    #[must_use]
    pub fn shape(&self) -> Threshold {
        self.shape
    }

    /// Whether this is the key they make.
    #[must_use]
    pub fn make(&self, joined: &SecretBytes) -> bool {
        self.key.ct_eq(joined.expose())
    }
}

/// The root key as it is to be stored, and the shape of the seal that belongs to it.
pub struct WrappedRoot {
    config: SealConfig,
    record: Vec<u8>,
}

impl WrappedRoot {
    /// Under the key that shares make.
    pub fn under_shares(
        root: &SecretBytes,
        share_key: &SecretBytes,
        shape: Threshold,
        entropy: &dyn Entropy,
    ) -> Result<Self, BarrierError> {
        let record = DataKey::new(1, share_key.clone())?.seal(PublicRecord::RootKey.name(), root.expose(), entropy)?.into_bytes();
        let config = SealConfig {
            seal_type: SHAMIR.into(),
            secret_shares: shape.shares(),
            secret_threshold: shape.threshold(),
            stored_shares: 1,
            format: FORMAT,
        };
        Ok(Self { config, record })
    }

    /// As an outer seal of this type made it.
    #[must_use]
    pub fn under_seal(seal_type: &str, record: Vec<u8>) -> Self {
        let seal_type = seal_type.to_owned();
        Self { config: SealConfig { seal_type, secret_shares: 1, secret_threshold: 1, stored_shares: 1, format: FORMAT }, record }
    }

    fn put(self, change: &mut Changeset) -> Result<(), BarrierError> {
        let config = serde_json::to_vec(&self.config).map_err(|e| BarrierError::Damaged("core/seal-config", e.to_string()))?;
        change.put(StoredBytes::Public(PublicRecord::SealConfig, config));
        change.put(StoredBytes::Public(PublicRecord::RootKey, self.record));
        Ok(())
    }
}

/// The keys of a barrier that nobody has stored yet.
pub struct NewBarrier {
    keyring: Keyring,
    store: Arc<dyn Store>,
}

impl NewBarrier {
    /// The root key, for the seal that is to keep it.
    #[must_use]
    pub fn root(&self) -> &SecretBytes {
        self.keyring.root()
    }

    /// The entry to propose, guarded by "nobody did this before", and the open barrier, so that the first records can be
    /// written in the same entry.
    pub fn finish(self, wrapped: WrappedRoot, entropy: &dyn Entropy) -> Result<(Changeset, Barrier<Unsealed>), BarrierError> {
        let mut change = Changeset::default();
        for record in [PublicRecord::SealConfig, PublicRecord::RootKey, PublicRecord::Keyring] {
            change.checks.push(Check::Version { key: record.name().to_vec(), version: 0 });
        }
        wrapped.put(&mut change)?;
        put_keyring(&self.keyring, entropy, &mut change)?;
        Ok((change, Barrier::opened(self.store, self.keyring)?))
    }
}

/// A fresh root key over the present data keys, not in force yet.
pub struct NextRoot {
    keyring: Keyring,
}

impl NextRoot {
    /// The root key, for the seal that is to keep it.
    #[must_use]
    pub fn root(&self) -> &SecretBytes {
        self.keyring.root()
    }
}

impl Barrier<Sealed> {
    /// Makes the keys of a new barrier.
    pub fn prepare(&self, now: Time, entropy: &dyn Entropy) -> Result<NewBarrier, BarrierError> {
        Ok(NewBarrier { keyring: Keyring::generate(now, entropy)?, store: Arc::clone(self.store_arc()) })
    }

    /// How many recovery shares there are; `None` if there are none.
    pub fn recovery_config(&self) -> Result<Option<RecoveryConfig>, BarrierError> {
        let Some((_, bytes)) = public(self.store_arc().as_ref(), PublicRecord::RecoveryConfig)? else { return Ok(None) };
        let config = serde_json::from_slice(&bytes);
        config.map(Some).map_err(|e| BarrierError::Damaged("core/recovery-config", format!("JSON column {}", e.column())))
    }

    /// The root key as stored, for the outer seal that made it.
    pub fn wrapped_root(&self) -> Result<Vec<u8>, BarrierError> {
        public(self.store_arc().as_ref(), PublicRecord::RootKey)?.map(|(_, bytes)| bytes).ok_or(BarrierError::Uninitialised)
    }

    /// Opens with the key that the shares make.
    pub fn unseal(&self, share_key: &SecretBytes) -> Result<Barrier<Unsealed>, BarrierError> {
        self.config()?.ok_or(BarrierError::Uninitialised)?;
        self.unseal_with_root(open_root(self.store_arc().as_ref(), share_key)?)
    }

    /// Opens with the root key itself.
    pub fn unseal_with_root(&self, root: SecretBytes) -> Result<Barrier<Unsealed>, BarrierError> {
        let store = Arc::clone(self.store_arc());
        let (_, sealed) = public(&*store, PublicRecord::Keyring)?
            .ok_or_else(|| BarrierError::Damaged("core/keyring", "it is missing".into()))?;
        let ring = DataKey::new(1, root)?
            .open_bytes(PublicRecord::Keyring.name(), &sealed)
            .map_err(|e| BarrierError::Damaged("core/keyring", e.to_string()))?;
        Barrier::opened(store, Keyring::from_plaintext(&ring)?)
    }
}

impl Barrier<Unsealed> {
    /// The barrier as it is stored now, with nothing remembered: for a state that was replaced as a whole.
    pub fn reopen(&self) -> Result<Self, BarrierError> {
        Barrier::new(self.shared_store()).unseal_with_root(self.keyring().root().clone())
    }

    /// Seals bytes for the place `context` so that every node with the same root key can open them, whatever data keys it has.
    pub fn seal_under_root(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        Ok(DataKey::new(1, self.keyring().root().clone())?.seal(context.as_bytes(), plaintext, entropy)?.into_bytes())
    }

    /// Opens what [`Barrier::seal_under_root`] made; [`BarrierError::WrongKey`] if that was another root key.
    pub fn open_under_root(&self, context: &str, sealed: &[u8]) -> Result<SecretBytes, BarrierError> {
        let key = DataKey::new(1, self.keyring().root().clone())?;
        key.open_bytes(context.as_bytes(), sealed).map_err(|_| BarrierError::WrongKey)
    }

    /// Whether this is the key that the shares make. For rekey and generate-root.
    pub fn verify(&self, share_key: &SecretBytes) -> Result<bool, BarrierError> {
        match open_root(self.store(), share_key) {
            Ok(root) => Ok(self.keyring().root().ct_eq(root.expose())),
            Err(BarrierError::WrongKey | BarrierError::Envelope(EnvelopeError::KeySize(_))) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// A fresh root key, so that nothing that was ever sealed under the old one opens the keyring of tomorrow.
    pub fn next_root(&self, entropy: &dyn Entropy) -> Result<NextRoot, BarrierError> {
        Ok(NextRoot { keyring: self.keyring().with_fresh_root(entropy)? })
    }

    /// The entry that puts the root key in force: the seal's shape, the wrapped key, the keyring under it, and a copy behind the
    /// barrier for nodes that are open; break-glass shares go on opening. It conflicts with any other change of these records.
    pub fn rekey(&self, next: &NextRoot, wrapped: WrappedRoot, entropy: &dyn Entropy) -> Result<Changeset, BarrierError> {
        let mut change = Changeset::default();
        for record in [PublicRecord::SealConfig, PublicRecord::RootKey, PublicRecord::Keyring] {
            let version = public(self.store(), record)?.map_or(0, |(v, _)| v);
            change.checks.push(Check::Version { key: record.name().to_vec(), version });
        }
        wrapped.put(&mut change)?;
        put_keyring(&next.keyring, entropy, &mut change)?;
        let ring = self.keyring();
        let key = ring.active_key().ok_or(BarrierError::Uninitialised)?;
        let copy = key.seal(ROOT_BEHIND.as_bytes(), next.root().expose(), entropy)?;
        change.put(StoredBytes::Sealed(self.root_behind_name()?, copy));
        self.carry_break_glass(next.root(), entropy, &mut change)?;
        Ok(change)
    }

    fn root_behind_name(&self) -> Result<SealedName, BarrierError> {
        let name = self.name(ROOT_BEHIND).map_err(|e| BarrierError::Damaged("core/master", e.to_string()))?;
        Ok((*name).clone())
    }

    /// The keyring as stored now, under the root key that is known or the one that was put behind the barrier since.
    pub(crate) fn stored_keyring(&self) -> Result<Keyring, BarrierError> {
        let (_, sealed) = public(self.store(), PublicRecord::Keyring)?
            .ok_or_else(|| BarrierError::Damaged("core/keyring", "it is missing".into()))?;
        let open = |root: SecretBytes| -> Result<SecretBytes, BarrierError> {
            Ok(DataKey::new(1, root)?.open_bytes(PublicRecord::Keyring.name(), &sealed)?)
        };
        let plain = match open(self.keyring().root().clone()) {
            Err(BarrierError::Envelope(EnvelopeError::NotAuthentic)) => open(self.root_behind()?)?,
            other => other?,
        };
        Ok(Keyring::from_plaintext(&plain)?)
    }

    fn root_behind(&self) -> Result<SecretBytes, BarrierError> {
        let name = self.root_behind_name()?;
        let stored = self.store().get(Space::State, name.as_bytes())?;
        let stored = stored.ok_or_else(|| BarrierError::Damaged("core/master", "it is missing".into()))?;
        let (_, sealed) = versioned(&stored)?;
        self.open_bytes(ROOT_BEHIND, sealed)
    }
}

fn open_root(store: &dyn Store, share_key: &SecretBytes) -> Result<SecretBytes, BarrierError> {
    let (_, sealed) = public(store, PublicRecord::RootKey)?.ok_or(BarrierError::Uninitialised)?;
    let sealed = Ciphertext::parse(sealed).map_err(|e| BarrierError::Damaged("core/hsm/barrier-unseal-keys", e.to_string()))?;
    match DataKey::new(1, share_key.clone())?.open(PublicRecord::RootKey.name(), &sealed) {
        Ok(root) => Ok(root),
        Err(EnvelopeError::NotAuthentic) => Err(BarrierError::WrongKey),
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn put_keyring(keyring: &Keyring, entropy: &dyn Entropy, change: &mut Changeset) -> Result<(), BarrierError> {
    let sealed =
        DataKey::new(1, keyring.root().clone())?.seal(PublicRecord::Keyring.name(), keyring.to_plaintext()?.expose(), entropy)?;
    change.put(StoredBytes::Public(PublicRecord::Keyring, sealed.into_bytes()));
    Ok(())
}
