//! The root key in the hands of a node that has no data yet: it joins a cluster, and proves by this key that it may.
//!
//! Deliberately absent: how node and cluster talk (`server-core`), and outer seals (`autoseal` gives the key as bytes).

use envelope::{Ciphertext, DataKey, EnvelopeError};
use secret::{Entropy, SecretBytes};
use storage::PublicRecord;

use crate::seal::BarrierError;

/// A root key without a barrier.
pub struct BareRoot(DataKey);

impl BareRoot {
    /// The key itself, as an outer seal opened it.
    pub fn new(root: SecretBytes) -> Result<Self, BarrierError> {
        Ok(Self(DataKey::new(1, root)?))
    }

    /// Opens another node's stored root key with the key that the shares make; [`BarrierError::WrongKey`] if they make another.
    pub fn from_shares(stored: &[u8], share_key: &SecretBytes) -> Result<Self, BarrierError> {
        let damaged = |e: EnvelopeError| BarrierError::Damaged("core/hsm/barrier-unseal-keys", e.to_string());
        let sealed = Ciphertext::parse(stored.to_vec()).map_err(damaged)?;
        match DataKey::new(1, share_key.clone())?.open(PublicRecord::RootKey.name(), &sealed) {
            Ok(root) => Self::new(root),
            Err(EnvelopeError::NotAuthentic) => Err(BarrierError::WrongKey),
            Err(e) => Err(e.into()),
        }
    }

    /// Seals bytes for the place `context`, for `Barrier::open_under_root` of the cluster.
    pub fn seal(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        Ok(self.0.seal(context.as_bytes(), plaintext, entropy)?.into_bytes())
    }

    /// Opens what `Barrier::seal_under_root` made; [`BarrierError::WrongKey`] if that was another root key.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<SecretBytes, BarrierError> {
        self.0.open_bytes(context.as_bytes(), sealed).map_err(|_| BarrierError::WrongKey)
    }
}
