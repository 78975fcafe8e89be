//! Outer seals: who keeps the root key when no shares do, so that a server opens by itself (contract §8.5, §10.2).
//!
//! A seal turns the root key into a [`Blob`] and back. `static` does so with a key from the machine, `transit` asks the transit
//! engine of another server, `awskms` asks AWS KMS. Deliberately absent: when to unseal and what a blob is stored as (`server-core`), Shamir's shares
//! (`shamir`), and the ciphers (`envelope`).

mod awskms;
mod blob;
mod fixed;
mod transit;

use std::future::Future;
use std::pin::Pin;

use secret::{Entropy, SecretBytes};

pub use awskms::{AwsKmsConfig, AwsKmsSeal};
pub use blob::Blob;
pub use fixed::{KeyError, StaticSeal};
pub use transit::{TransitConfig, TransitSeal};

/// A boxed future, so that seals of different kinds stand behind one pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a seal did not answer. The texts never hold a key.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SealFault {
    /// It cannot be reached or is not ready; trying again later may help.
    #[error("the {seal} seal does not answer: {why}")]
    Away {
        /// Type of the seal.
        seal: &'static str,
        /// What happened.
        why: String,
    },
    /// It refused. Trying again does not help before something is changed.
    #[error("the {seal} seal refused: {why}")]
    Refused {
        /// Type of the seal.
        seal: &'static str,
        /// What happened.
        why: String,
    },
    /// The blob was not made by this seal, or it is damaged.
    #[error("the {0} seal cannot open this key: {1}")]
    Foreign(&'static str, String),
}

/// A keeper of the root key.
pub trait SealWrapper: Send + Sync {
    /// `static`, `transit`, `awskms`.
    fn seal_type(&self) -> &'static str;

    /// Hides `plain`. What comes out needs this seal to open.
    fn wrap<'a>(&'a self, plain: &'a SecretBytes, entropy: &'a dyn Entropy) -> BoxFuture<'a, Result<Blob, SealFault>>;

    /// Opens what [`SealWrapper::wrap`] made.
    fn open<'a>(&'a self, blob: &'a Blob) -> BoxFuture<'a, Result<SecretBytes, SealFault>>;

    /// Whether the blob was made with the key that is in use now; if not, it is to be made anew.
    fn is_current(&self, blob: &Blob) -> bool;

    /// Works for as long as the server runs (renewing a token); returns at once if there is nothing to do.
    fn keep_alive(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
