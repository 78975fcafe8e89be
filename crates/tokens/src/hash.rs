//! From a token to the key it is stored under: a keyed hash, so that neither the store nor an index ever holds a token.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::ID_CHARS;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits taken from each 64-bit word of a hash: 62^6 < 2^36, so the bias is below 2^-28.
const DIGITS_PER_WORD: usize = ID_CHARS / 4;

/// HMAC-SHA256 under the salt, ready to be used many times.
#[derive(Clone)]
pub(crate) struct Salt(Hmac<Sha256>);

impl Salt {
    /// From the salt's bytes. `None` cannot happen for HMAC, which takes keys of any length.
    pub(crate) fn new(salt: &[u8]) -> Option<Self> {
        Hmac::<Sha256>::new_from_slice(salt).ok().map(Self)
    }

    /// The storage key of a token, which is its accessor as well: 24 base62 digits of HMAC-SHA256(salt, id).
    pub(crate) fn key(&self, token: &str) -> String {
        self.digits(token.as_bytes())
    }

    /// The last segment of a token's lease id. It does not tell the accessor.
    pub(crate) fn lease_suffix(&self, key: &str) -> String {
        // Tokens hold no zero byte, so that this never meets the hash of a token.
        format!("h{}", self.digits(format!("\0lease\0{key}").as_bytes()))
    }

    fn digits(&self, message: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(message);
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        let mut out = String::with_capacity(ID_CHARS);
        for chunk in hash.chunks_exact(8) {
            let mut word = chunk.iter().fold(0u64, |word, b| (word << 8) | u64::from(*b));
            for _ in 0..DIGITS_PER_WORD {
                let digit = usize::try_from(word % 62).unwrap_or_default();
                out.push(char::from(BASE62.get(digit).copied().unwrap_or(b'0')));
                word /= 62;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_salt_and_token_and_shows_neither() {
        let a = Salt::new(b"salt-a").unwrap();
        let b = Salt::new(b"salt-b").unwrap();
        let key = a.key("hvs.x");
        assert_eq!(key.len(), 24);
        assert!(key.bytes().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(key, a.key("hvs.x"));
        assert_ne!(key, b.key("hvs.x"));
        assert_ne!(key, a.key("hvs.y"));
        assert_ne!(a.lease_suffix(&key).trim_start_matches('h'), key);
    }
}
