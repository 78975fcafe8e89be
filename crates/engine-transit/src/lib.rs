//! Transit: encryption, signatures, HMAC, hashing and random bytes with named keys that never leave the server.
//!
//! Mounted as `transit`. Ciphertexts, signatures, HMACs and backups have Vault's formats (`vault:v<n>:…`), and keys are
//! stored in Vault's JSON, so that either server reads what the other wrote. Key types: those of Vault CE.
//!
//! A key rotates automatically at the first use after its period, not by a clock.
//!
//! Deliberately absent: key types of Vault Enterprise (CMAC, ML-DSA, SLH-DSA, hybrid, managed keys), Ed25519ph, SHA-224 in the
//! wrapping of imports, a cache of its own (the server's record cache keeps decoded keys with their ciphers ready).

mod cipher;
mod codec;
mod crypto;
mod fault;
mod kind;
mod limits;
mod pace;
mod paths;
mod policy;
mod record;
mod signature;
mod store;

use engine::{Engine, PathTable};

/// The engine; its keys are in each mount's storage.
pub struct Transit {
    table: PathTable<Self>,
}

impl Transit {
    /// The engine.
    #[must_use]
    pub fn new() -> Self {
        Self { table: paths::table() }
    }
}

impl Default for Transit {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Transit {
    const TYPE: &'static str = "transit";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}
