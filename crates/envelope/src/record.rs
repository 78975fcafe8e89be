//! AES-256-GCM records that carry the term of their key and are bound to the place they stand in.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use secret::{Entropy, EntropyError, SecretBytes};

/// An AES-256 key.
pub const KEY_BYTES: usize = 32;
/// The nonce size AES-GCM is defined for (NIST SP 800-38D §8.2).
pub const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TERM_BYTES: usize = 4;
const HEADER_BYTES: usize = TERM_BYTES + 1 + NONCE_BYTES;
/// How much longer a record is than its plaintext.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// Version 2 binds the name as associated data; version 1 (never written here) did not.
const VERSION: u8 = 2;

/// Why a record cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Too short to hold a header and a tag.
    #[error("record of {0} bytes is too short to be one")]
    Truncated(usize),
    /// Written by a newer program.
    #[error("record has format version {0}, this program knows version {VERSION}")]
    UnknownVersion(u8),
    /// Wrong key, wrong place, or changed bytes: GCM cannot tell which.
    #[error("record does not authenticate")]
    NotAuthentic,
    /// The record names another term than the key that was tried.
    #[error("record is of term {record}, key of term {key}")]
    WrongTerm {
        /// Term in the record.
        record: u32,
        /// Term of the key.
        key: u32,
    },
    /// A key of the wrong size.
    #[error("a key must be {KEY_BYTES} bytes, not {0}")]
    KeySize(usize),
    /// No randomness for the nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Bytes that went through [`DataKey::seal`], or that [`Ciphertext::parse`] found to have its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext(Vec<u8>);

impl Ciphertext {
    /// Checks the shape only; whether it opens is for the key to say.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, EnvelopeError> {
        if bytes.len() < OVERHEAD_BYTES {
            return Err(EnvelopeError::Truncated(bytes.len()));
        }
        match bytes.get(TERM_BYTES) {
            Some(&VERSION) => Ok(Self(bytes)),
            Some(&v) => Err(EnvelopeError::UnknownVersion(v)),
            None => Err(EnvelopeError::Truncated(bytes.len())),
        }
    }

    /// The term of the key that sealed it.
    #[must_use]
    pub fn term(&self) -> u32 {
        self.0.first_chunk::<TERM_BYTES>().map_or(0, |b| u32::from_be_bytes(*b))
    }

    /// The record's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The record's bytes, owned.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// One AES-256-GCM key with its term. `Debug` shows the term only.
pub struct DataKey {
    term: u32,
    bytes: SecretBytes,
    cipher: Aes256Gcm,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey(term {})", self.term)
    }
}

impl DataKey {
    /// A key of `term` from its 32 bytes.
    pub fn new(term: u32, bytes: SecretBytes) -> Result<Self, EnvelopeError> {
        let cipher = Aes256Gcm::new_from_slice(bytes.expose()).map_err(|_| EnvelopeError::KeySize(bytes.len()))?;
        Ok(Self { term, bytes, cipher })
    }

    /// A fresh random key.
    pub fn generate(term: u32, entropy: &dyn Entropy) -> Result<Self, EnvelopeError> {
        Self::new(term, SecretBytes::new(entropy.bytes(KEY_BYTES)?))
    }

    /// The term.
    #[must_use]
    pub fn term(&self) -> u32 {
        self.term
    }

    /// The key's bytes, for writing the keyring.
    #[must_use]
    pub fn bytes(&self) -> &SecretBytes {
        &self.bytes
    }

    /// Seals `plaintext` for the place `name`.
    pub fn seal(&self, name: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Result<Ciphertext, EnvelopeError> {
        let mut nonce = [0u8; NONCE_BYTES];
        entropy.fill(&mut nonce)?;
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: name })
            .map_err(|_| EnvelopeError::NotAuthentic)?;
        let mut out = Vec::with_capacity(HEADER_BYTES + sealed.len());
        out.extend_from_slice(&self.term.to_be_bytes());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(Ciphertext(out))
    }

    /// Opens a record that stands at `name`.
    pub fn open(&self, name: &[u8], record: &Ciphertext) -> Result<SecretBytes, EnvelopeError> {
        self.open_bytes(name, record.as_bytes())
    }

    /// Opens a record without owning it first.
    pub fn open_bytes(&self, name: &[u8], record: &[u8]) -> Result<SecretBytes, EnvelopeError> {
        let truncated = || EnvelopeError::Truncated(record.len());
        let (term, rest) = record.split_first_chunk::<TERM_BYTES>().ok_or_else(truncated)?;
        let (version, rest) = rest.split_first().ok_or_else(truncated)?;
        if *version != VERSION {
            return Err(EnvelopeError::UnknownVersion(*version));
        }
        let term = u32::from_be_bytes(*term);
        if term != self.term {
            return Err(EnvelopeError::WrongTerm { record: term, key: self.term });
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(truncated)?;
        self.cipher
            .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: name })
            .map(SecretBytes::new)
            .map_err(|_| EnvelopeError::NotAuthentic)
    }
}

/// The term in a record's header, without owning it; `None` if it is too short to have one.
#[must_use]
pub fn term_of(record: &[u8]) -> Option<u32> {
    record.first_chunk::<TERM_BYTES>().map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secret::SystemEntropy;

    fn key() -> DataKey {
        DataKey::generate(3, &SystemEntropy).unwrap()
    }

    #[test]
    fn opens_only_where_it_was_sealed() {
        let k = key();
        let c = k.seal(b"a/b", b"value", &SystemEntropy).unwrap();
        assert_eq!(c.term(), 3);
        assert_eq!(k.open(b"a/b", &c).unwrap().expose(), b"value");
        assert!(matches!(k.open(b"a/c", &c), Err(EnvelopeError::NotAuthentic)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let k = key();
        let good = k.seal(b"n", b"some value", &SystemEntropy).unwrap().into_bytes();
        for i in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(k.open_bytes(b"n", &bad).is_err(), "bit {i}");
        }
        for n in 0..good.len() {
            assert!(k.open_bytes(b"n", &good[..n]).is_err(), "cut to {n}");
        }
    }

    #[test]
    fn a_key_of_another_term_or_size_is_refused() {
        let c = key().seal(b"n", b"v", &SystemEntropy).unwrap();
        let other = DataKey::generate(4, &SystemEntropy).unwrap();
        assert!(matches!(other.open(b"n", &c), Err(EnvelopeError::WrongTerm { record: 3, key: 4 })));
        assert!(matches!(DataKey::new(1, SecretBytes::new(vec![0; 16])), Err(EnvelopeError::KeySize(16))));
        assert!(matches!(Ciphertext::parse(vec![0; 8]), Err(EnvelopeError::Truncated(8))));
        let mut newer = c.into_bytes();
        newer[4] = 9;
        assert!(matches!(Ciphertext::parse(newer), Err(EnvelopeError::UnknownVersion(9))));
    }

    #[test]
    fn nonces_do_not_repeat() {
        let k = key();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..4096 {
            let c = k.seal(b"n", b"", &SystemEntropy).unwrap().into_bytes();
            assert!(seen.insert(c[5..17].to_vec()));
        }
    }
}
