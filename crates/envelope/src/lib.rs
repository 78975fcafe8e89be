//! The barrier's record and the sealing of names: the only room that names a cipher.
//!
//! A record is Vault's own layout (contract §10.3), so that a later importer can read a Vault snapshot:
//!
//! ```text
//! term (u32 BE) | version = 2 (u8) | nonce (12) | AES-256-GCM ciphertext | tag (16)      AAD = the plaintext name
//! ```
//!
//! A name is sealed segment by segment, so that children of a folder are one range and nothing readable is on disk:
//!
//! ```text
//! sealed("a/b") = seg("", "a/") seg(sealed("a/"), "b")        seg(parent, s) = length (u16 BE) | AES-256-SIV(s; AAD = parent)
//! ```
//!
//! Deliberately absent: where keys come from, where records go, and any notion of "sealed" or "unsealed".

mod name;
mod record;

pub use name::{NameError, NameKey, SealedName};
pub use record::{Ciphertext, DataKey, EnvelopeError, KEY_BYTES, NONCE_BYTES, OVERHEAD_BYTES, term_of};
