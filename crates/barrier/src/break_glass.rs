//! Break-glass shares: beside an outer seal, a second way to the root key for the day that the seal is gone. They make a key; the
//! root key stands sealed under it in the open, as a Shamir seal's does. The key itself stands behind the barrier, where the root
//! key can be had anyway, so that an exchange of the root key takes this copy along in the same entry: shares never go stale.
//!
//! Deliberately absent: who may issue or take them back (`server-core`). Nothing here happens unless it is asked for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envelope::{Ciphertext, DataKey, EnvelopeError, SealedName};
use secret::{Entropy, SecretBytes};
use serde::{Deserialize, Serialize};
use shamir::Threshold;
use storage::{Changeset, Check, PublicRecord, Space, StoredBytes, Write, versioned};

use crate::root::FreshShares;
use crate::seal::{Barrier, BarrierError, Sealed, Unsealed, public};

/// Where the key that the shares make lies behind the barrier.
const KEY_BEHIND: &str = "core/break-glass-key";
const PLACE: &str = "core/break-glass";

/// The public record.
#[derive(Serialize, Deserialize)]
struct Stored {
    secret_shares: u8,
    secret_threshold: u8,
    /// The root key under the key that the shares make, base64.
    root: String,
}

/// How many break-glass shares there are, readable while closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakGlassConfig {
    /// Number of shares.
    pub secret_shares: u8,
    /// Number of shares that open.
    pub secret_threshold: u8,
}

impl BreakGlassConfig {
    /// The same as a shape.
    pub fn shape(self) -> Result<Threshold, BarrierError> {
        Ok(Threshold::new(u64::from(self.secret_shares), u64::from(self.secret_threshold))?)
    }
}

impl Stored {
    fn parse(bytes: &[u8]) -> Result<Self, BarrierError> {
        serde_json::from_slice(bytes).map_err(|e| BarrierError::Damaged(PLACE, format!("JSON column {}", e.column())))
    }

    fn seal(shape: Threshold, key: &SecretBytes, root: &SecretBytes, entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        let sealed = DataKey::new(1, key.clone())?.seal(PublicRecord::BreakGlass.name(), root.expose(), entropy)?;
        let stored = Self {
            secret_shares: shape.shares(),
            secret_threshold: shape.threshold(),
            root: BASE64_STANDARD.encode(sealed.into_bytes()),
        };
        serde_json::to_vec(&stored).map_err(|e| BarrierError::Damaged(PLACE, e.to_string()))
    }

    fn open(&self, key: &SecretBytes) -> Result<SecretBytes, BarrierError> {
        let damaged = |e: String| BarrierError::Damaged(PLACE, e);
        let sealed = BASE64_STANDARD.decode(&self.root).map_err(|e| damaged(e.to_string()))?;
        let sealed = Ciphertext::parse(sealed).map_err(|e| damaged(e.to_string()))?;
        match DataKey::new(1, key.clone()).and_then(|k| k.open(PublicRecord::BreakGlass.name(), &sealed)) {
            Ok(root) => Ok(root),
            Err(EnvelopeError::NotAuthentic | EnvelopeError::KeySize(_)) => Err(BarrierError::WrongKey),
            Err(e) => Err(e.into()),
        }
    }
}

impl Barrier<Sealed> {
    /// How many break-glass shares there are; `None` if there are none.
    pub fn break_glass(&self) -> Result<Option<BreakGlassConfig>, BarrierError> {
        let Some((_, bytes)) = public(self.store_arc().as_ref(), PublicRecord::BreakGlass)? else { return Ok(None) };
        let stored = Stored::parse(&bytes)?;
        Ok(Some(BreakGlassConfig { secret_shares: stored.secret_shares, secret_threshold: stored.secret_threshold }))
    }

    /// Opens with the key that break-glass shares make.
    pub fn unseal_with_break_glass(&self, key: &SecretBytes) -> Result<Barrier<Unsealed>, BarrierError> {
        let stored = public(self.store_arc().as_ref(), PublicRecord::BreakGlass)?.ok_or(BarrierError::WrongKey)?;
        self.unseal_with_root(Stored::parse(&stored.1)?.open(key)?)
    }
}

impl Barrier<Unsealed> {
    /// The entry that puts these shares in force; those before them open nothing any more. It conflicts with an exchange of the
    /// root key and with any other change of the shares.
    pub fn issue_break_glass(&self, fresh: &FreshShares, entropy: &dyn Entropy) -> Result<Changeset, BarrierError> {
        let mut change = self.checked()?;
        let record = Stored::seal(fresh.shape(), fresh.key(), self.keyring().root(), entropy)?;
        change.put(StoredBytes::Public(PublicRecord::BreakGlass, record));
        let ring = self.keyring();
        let active = ring.active_key().ok_or(BarrierError::Uninitialised)?;
        let kept = active.seal(KEY_BEHIND.as_bytes(), fresh.key().expose(), entropy)?;
        change.put(StoredBytes::Sealed(self.key_name()?, kept));
        Ok(change)
    }

    /// The entry that takes the shares back; `None` if there are none.
    pub fn revoke_break_glass(&self) -> Result<Option<Changeset>, BarrierError> {
        if public(self.store(), PublicRecord::BreakGlass)?.is_none() {
            return Ok(None);
        }
        let mut change = self.checked()?;
        self.drop_break_glass(&mut change)?;
        Ok(Some(change))
    }

    /// Takes the shares back within another entry.
    pub fn drop_break_glass(&self, change: &mut Changeset) -> Result<(), BarrierError> {
        change.writes.retain(|w| w.key != PublicRecord::BreakGlass.name());
        change.writes.push(Write { key: PublicRecord::BreakGlass.name().to_vec(), value: None });
        change.delete(&self.key_name()?);
        Ok(())
    }

    /// Takes the copy along where the root key is exchanged for `next`.
    pub(crate) fn carry_break_glass(
        &self,
        next: &SecretBytes,
        entropy: &dyn Entropy,
        change: &mut Changeset,
    ) -> Result<(), BarrierError> {
        let present = public(self.store(), PublicRecord::BreakGlass)?;
        let version = present.as_ref().map_or(0, |(v, _)| *v);
        change.checks.push(Check::Version { key: PublicRecord::BreakGlass.name().to_vec(), version });
        let Some((_, bytes)) = present else { return Ok(()) };
        let stored = Stored::parse(&bytes)?;
        let shape = Threshold::new(u64::from(stored.secret_shares), u64::from(stored.secret_threshold))?;
        let record = Stored::seal(shape, &self.key_behind()?, next, entropy)?;
        change.put(StoredBytes::Public(PublicRecord::BreakGlass, record));
        Ok(())
    }

    fn checked(&self) -> Result<Changeset, BarrierError> {
        let mut change = Changeset::default();
        for record in [PublicRecord::RootKey, PublicRecord::BreakGlass] {
            let version = public(self.store(), record)?.map_or(0, |(v, _)| v);
            change.checks.push(Check::Version { key: record.name().to_vec(), version });
        }
        Ok(change)
    }

    fn key_behind(&self) -> Result<SecretBytes, BarrierError> {
        let stored = self.store().get(Space::State, self.key_name()?.as_bytes())?;
        let stored = stored.ok_or_else(|| BarrierError::Damaged(KEY_BEHIND, "it is missing".into()))?;
        let (_, sealed) = versioned(&stored)?;
        self.open_bytes(KEY_BEHIND, sealed)
    }

    fn key_name(&self) -> Result<SealedName, BarrierError> {
        let name = self.name(KEY_BEHIND).map_err(|e| BarrierError::Damaged(KEY_BEHIND, e.to_string()))?;
        Ok((*name).clone())
    }
}
