//! `hmac-sha256:…`: how a device writes a value that only somebody who already knows it can recognise.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, Serializer};
use sha2::Sha256;

const PREFIX: &[u8; 12] = b"hmac-sha256:";
/// Prefix and 32 bytes in hexadecimal.
const TEXT_LEN_BYTES: usize = 76;

/// A device's keyed hash. The key is the text of the device's salt.
#[derive(Clone)]
pub(crate) struct Hasher(Hmac<Sha256>);

impl Hasher {
    pub(crate) fn new(salt: &secret::SecretString) -> Self {
        #[expect(clippy::expect_used, reason = "RFC 2104 takes keys of any length; the error belongs to other MACs")]
        Self(Hmac::new_from_slice(salt.expose().as_bytes()).expect("HMAC takes any key"))
    }

    /// `hmac-sha256:` and 64 lower-case hexadecimal digits.
    pub(crate) fn hash(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.digits(text)).into_owned()
    }

    fn digits(&self, text: &str) -> [u8; TEXT_LEN_BYTES] {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let mut out = [0u8; TEXT_LEN_BYTES];
        let (prefix, digits) = out.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        // The lengths are both constants, so there is no error to speak of.
        let _ = hex::encode_to_slice(mac.finalize().into_bytes(), digits);
        out
    }
}

/// A text on its way into a line: plain, or hashed while it is written.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) hasher: Option<&'a Hasher>,
}

impl Text<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.hasher {
            None => serializer.serialize_str(self.text),
            Some(hasher) => match std::str::from_utf8(&hasher.digits(self.text)) {
                Ok(hashed) => serializer.serialize_str(hashed),
                Err(_) => Err(serde::ser::Error::custom("hash is not text")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_hmac_that_openssl_computes() {
        let hasher = Hasher::new(&"key".into());
        // RFC-style vector: HMAC_SHA256("key", "The quick brown fox jumps over the lazy dog").
        assert_eq!(
            hasher.hash("The quick brown fox jumps over the lazy dog"),
            "hmac-sha256:f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        );
    }

    #[test]
    fn another_salt_gives_another_hash_and_a_long_salt_is_no_error() {
        let long = "s".repeat(500);
        assert_ne!(Hasher::new(&"a".into()).hash("x"), Hasher::new(&"b".into()).hash("x"));
        assert_eq!(Hasher::new(&long.as_str().into()).hash("").len(), TEXT_LEN_BYTES);
    }
}
