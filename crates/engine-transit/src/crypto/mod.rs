//! The algorithms, without storage or requests: each file does one family of keys.
//!
//! AWS-LC does the work. [`rsa_padding`] is the one place with arithmetic of our own, and says why.

pub(crate) mod aead;
pub(crate) mod der;
pub(crate) mod ec;
pub(crate) mod ed25519;
pub(crate) mod hash;
pub(crate) mod kdf;
pub(crate) mod number;
pub(crate) mod rsa;
pub(crate) mod rsa_padding;
pub(crate) mod x509;
