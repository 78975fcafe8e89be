//! The life of the seal: initialise, unseal, seal, new shares, a new root token, and the age of keys.
//!
//! Deliberately absent: HTTP and the paths of `sys/` (`server-http`, `sys::seal`), and outer seals' own protocols (`autoseal`).

mod break_glass;
mod ceremony;
mod generate_root;
mod health;
mod init;
mod outer;
mod recipients;
mod rekey;
mod restore;
pub(crate) mod rotation;
mod status;
mod unseal;

use autoseal::SealFault;
use barrier::BarrierError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::EngineError;
use pgp_keys::EncryptError;
use replication::ProposeError;
use secret::SecretBytes;

pub use break_glass::BreakGlassProgress;
pub(crate) use ceremony::Ceremonies;
pub use ceremony::CeremonyError;
pub use generate_root::{GenerateRootRequest, GenerateRootStatus};
pub(crate) use health::SealHealth;
pub use init::{InitOutcome, InitRequest};
pub use outer::Seals;
pub(crate) use rekey::Backup;
pub use rekey::{RekeyRequest, RekeyResult, RekeyStatus, RekeyTarget, RekeyUpdate, VerifyStatus, VerifyUpdate};
pub use status::{Health, Leader, LeaderHeard, NodeState, SealStatus};

/// Shortest and longest share: 16 bytes is AES-128, 33 is a 256-bit key with its x (contract §2.1).
const SHARE_BYTES_MIN: usize = 16;
const SHARE_BYTES_MAX: usize = 33;

/// A share as typed: hexadecimal if it is and has a share's length, else base64.
#[must_use]
pub fn share_from_text(text: &str) -> Option<SecretBytes> {
    if let Some(bytes) = hex::decode(text).ok().filter(|b| (SHARE_BYTES_MIN..=SHARE_BYTES_MAX).contains(&b.len())) {
        return Some(SecretBytes::new(bytes));
    }
    BASE64_STANDARD.decode(text).ok().map(SecretBytes::new)
}

/// A share of another length is refused before it counts.
fn check_length(share: &SecretBytes) -> Result<(), String> {
    if share.len() < SHARE_BYTES_MIN {
        return Err(format!("key is shorter than minimum {SHARE_BYTES_MIN} bytes"));
    }
    if share.len() > SHARE_BYTES_MAX {
        return Err(format!("key is longer than maximum {SHARE_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Why initialising, unsealing or sealing fails.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Done before.
    #[error("Vault is already initialized")]
    AlreadyInitialised,
    /// Not done yet.
    #[error("Vault is not initialized")]
    Uninitialised,
    /// A bad number of shares, or bad keys to encrypt them for.
    #[error("invalid seal configuration: {0}")]
    Shape(String),
    /// The root token cannot be encrypted for that key.
    #[error("{0}")]
    RootTokenKey(String),
    /// A share, or the set of shares, is bad.
    #[error("invalid key: {0}")]
    Key(String),
    /// A parameter that this kind of seal has no use for.
    #[error("{0}")]
    NotApplicable(String),
    /// Recovery shares cannot be made like that.
    #[error("invalid recovery configuration: {0}")]
    Recovery(String),
    /// Nothing to move to or from.
    #[error("can't perform a seal migration, no migration seal found")]
    NoMigration,
    /// No break-glass shares were issued.
    #[error("there are no break-glass shares")]
    NoBreakGlass,
    /// Break-glass shares cannot be made like that.
    #[error("invalid break-glass configuration: {0}")]
    BreakGlass(String),
    /// Shares were given without consent to the exchange of the seal.
    #[error("migrate option not provided and seal migration is pending")]
    MigrationPending,
    /// The outer seal failed.
    #[error(transparent)]
    Outer(#[from] SealFault),
    /// The data is sealed by a seal that is not configured.
    #[error("the data is sealed by a {0} seal, which is not configured")]
    NoSeal(String),
    /// The node was taken into a cluster, whose data have not come yet.
    #[error("this node has begun to join a cluster; join again, or empty its data directory")]
    Joining,
    /// The others have taken this node out.
    #[error("node was removed from a HA cluster")]
    Removed,
    /// Reset while open.
    #[error("vault is unsealed")]
    IsUnsealed,
    /// Storage or cluster.
    #[error("{0}")]
    Internal(String),
}

impl From<ProposeError> for SealError {
    fn from(e: ProposeError) -> Self {
        Self::Internal(e.to_string())
    }
}

impl From<EngineError> for SealError {
    fn from(e: EngineError) -> Self {
        Self::Internal(e.to_string())
    }
}

impl From<BarrierError> for SealError {
    fn from(e: BarrierError) -> Self {
        Self::Internal(e.to_string())
    }
}

impl From<EncryptError> for SealError {
    fn from(e: EncryptError) -> Self {
        Self::Shape(e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_hex_or_base64() {
        let bytes = vec![0xab; 33];
        assert!(share_from_text(&hex::encode(&bytes)).unwrap().ct_eq(&bytes));
        assert!(share_from_text(&BASE64_STANDARD.encode(&bytes)).unwrap().ct_eq(&bytes));
        // Hex of another length is read as base64, as Vault does.
        assert_eq!(share_from_text("abcd").unwrap().len(), 3);
        assert!(share_from_text("not a key").is_none());
        assert!(share_from_text("é").is_none());
    }
}
