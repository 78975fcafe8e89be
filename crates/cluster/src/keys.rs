//! The ring of the cluster's certificate authorities.
//!
//! A generation is introduced (everybody trusts it, nobody signs with it), adopted once every member has it (everybody signs with
//! it), and retired when all certificates of the generation before have ended. So there is no instant at which two nodes that have
//! applied different entries of the log refuse each other.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secret::{Entropy, EntropyError, SecretBytes, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::limits::{ADOPTION_WAIT, AUTHORITY_USE, CLOCK_SKEW, LEAF_LIFE};

/// Why there are no keys, or they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The stored ring has no authority, or a key that is none.
    #[error("the stored keys of the cluster are damaged: {0}")]
    Damaged(&'static str),
    /// A certificate could not be made.
    #[error("making a cluster certificate: {0}")]
    Certificate(String),
}

/// The certificate authorities of a cluster, oldest first. Stored as JSON behind the barrier; whoever has them is the cluster.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClusterKeys {
    generations: Vec<Generation>,
}

/// One certificate authority. Its certificate is not stored: every node makes it from the key, since verifiers look at name and key only.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Generation {
    pub(crate) id: u64,
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    pub(crate) key: SecretBytes,
    created: Time,
    /// Since when it signs.
    adopted: Option<Time>,
}

impl ClusterKeys {
    /// The ring of a new cluster: one authority, in use.
    ///
    /// # Errors
    /// [`KeysError::Entropy`].
    pub fn first(now: Time, entropy: &dyn Entropy) -> Result<Self, KeysError> {
        Ok(Self { generations: vec![Generation { adopted: Some(now), ..Generation::new(1, now, entropy)? }] })
    }

    /// The next ring if a step is due, for a leader's round: at most one step a call. `everybody_has_it`: every member, learners
    /// included, has applied the entry that wrote this ring.
    ///
    /// # Errors
    /// [`KeysError::Entropy`].
    pub fn tended(&self, now: Time, entropy: &dyn Entropy, everybody_has_it: bool) -> Result<Option<Self>, KeysError> {
        if !everybody_has_it {
            return Ok(None);
        }
        let introduced = self.newest().map_or(now, |g| g.created);
        if let Some(next) = self.with_adopted(now).filter(|_| now.since(introduced) >= ADOPTION_WAIT) {
            return Ok(Some(next));
        }
        match self.without_retired(now) {
            Some(next) => Ok(Some(next)),
            None if self.generations.len() == 1 && self.newest().is_some_and(|g| now.since(g.created) >= AUTHORITY_USE) => {
                self.with_next(now, entropy).map(Some)
            }
            None => Ok(None),
        }
    }

    /// With one more authority, which everybody trusts and nobody signs with yet.
    ///
    /// # Errors
    /// [`KeysError::Entropy`].
    pub fn with_next(&self, now: Time, entropy: &dyn Entropy) -> Result<Self, KeysError> {
        let id = self.newest().map_or(1, |g| g.id.saturating_add(1));
        let mut next = self.clone();
        next.generations.push(Generation::new(id, now, entropy)?);
        Ok(next)
    }

    /// With the newest authority signing. To be called only when every member has applied the entry that introduced it. `None`:
    /// it signs already.
    #[must_use]
    pub fn with_adopted(&self, now: Time) -> Option<Self> {
        let mut next = self.clone();
        let newest = next.generations.last_mut().filter(|g| g.adopted.is_none())?;
        newest.adopted = Some(now);
        Some(next)
    }

    /// Without the authorities whose last certificates have ended. To be called only when every member has applied the entry that
    /// adopted the newest. `None`: nothing is over yet.
    #[must_use]
    pub fn without_retired(&self, now: Time) -> Option<Self> {
        let signer = self.signer().ok()?;
        let over = signer.adopted.is_some_and(|since| now.since(since) >= OVERLAP);
        if !over || self.generations.first().is_some_and(|g| g.id == signer.id) {
            return None;
        }
        let mut next = self.clone();
        next.generations.retain(|g| g.id >= signer.id);
        Some(next)
    }

    /// Whether this ring is `before` or came from it: it has that one's newest authority. A restored backup may hold an older ring, or
    /// another cluster's, under which the living nodes would not find each other.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        before.newest().is_some_and(|last| self.generations.iter().any(|g| g.id == last.id && g.key.ct_eq(last.key.expose())))
    }

    /// The authority that signs: the newest that everybody trusts.
    pub(crate) fn signer(&self) -> Result<&Generation, KeysError> {
        self.generations.iter().rev().find(|g| g.adopted.is_some()).ok_or(KeysError::Damaged("no authority is in use"))
    }

    /// All that are trusted.
    pub(crate) fn trusted(&self) -> &[Generation] {
        &self.generations
    }

    fn newest(&self) -> Option<&Generation> {
        self.generations.last()
    }
}

/// From the adoption of an authority to the end of the last certificate of the one before.
const OVERLAP: Duration = LEAF_LIFE.saturating_add(CLOCK_SKEW);

/// Draws of a private scalar; one in 2^32 lies outside the group's order.
const KEY_DRAWS_MAX: usize = 8;

/// Bytes of a P-256 scalar.
const SCALAR_BYTES: usize = 32;

impl Generation {
    fn new(id: u64, now: Time, entropy: &dyn Entropy) -> Result<Self, KeysError> {
        Ok(Self { id, key: draw_key(entropy)?, created: now, adopted: None })
    }
}

/// A P-256 key in PKCS#8, version 1. Out of the given entropy, so that a simulation repeats itself.
pub(crate) fn draw_key(entropy: &dyn Entropy) -> Result<SecretBytes, KeysError> {
    for _ in 0..KEY_DRAWS_MAX {
        let mut scalar = Zeroizing::new([0; SCALAR_BYTES]);
        entropy.fill(scalar.as_mut())?;
        let key = PrivateKey::from_private_key(&ECDH_P256, scalar.as_ref());
        if let Ok(der) = key.and_then(|k| AsDer::<Pkcs8V1Der<'_>>::as_der(&k).map_err(Into::into)) {
            return Ok(SecretBytes::from(der.as_ref()));
        }
    }
    Err(EntropyError.into())
}

fn write_key<S: Serializer>(key: &SecretBytes, to: S) -> Result<S::Ok, S::Error> {
    Zeroizing::new(BASE64_STANDARD.encode(key.expose())).serialize(to)
}

fn read_key<'de, D: Deserializer<'de>>(from: D) -> Result<SecretBytes, D::Error> {
    let text = Zeroizing::<String>::deserialize(from)?;
    // The decoder's own error would show bytes of the key.
    BASE64_STANDARD.decode(text.as_bytes()).map(SecretBytes::new).map_err(|_| serde::de::Error::custom("not base64"))
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The one that signs has a star.
        let signer = self.signer().map_or(0, |g| g.id);
        let shown = self.generations.iter().map(|g| format!("{}{}", g.id, if g.id == signer { "*" } else { "" }));
        f.write_str("[")?;
        f.write_str(&shown.collect::<Vec<_>>().join(", "))?;
        f.write_str("]")
    }
}
