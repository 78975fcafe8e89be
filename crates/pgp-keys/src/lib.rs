//! OpenPGP public keys, as `sys/init`, `sys/rekey` and `sys/generate-root` take them: a share or a root token is encrypted for the
//! holder of a key before it leaves the server. The packets and their cryptography are rPGP's; here are the choice of the
//! encryption key and the words of the errors (Vault's, contract §2.1).
//!
//! Deliberately absent: decryption, signing and private keys. Nothing here can open a message, so the timing of RSA
//! decryption (RUSTSEC-2023-0071) has no place to happen; see `docs/advisories.md`.

mod certificate;
mod source;

pub use certificate::{EncryptError, KeyError, PublicKey};
