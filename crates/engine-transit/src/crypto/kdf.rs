//! Key derivation from a key and a context.
//!
//! New keys use HKDF-SHA256 with the context as `info`. The counter mode of NIST SP 800-108 over HMAC-SHA256 is what Vault
//! used before 0.3 and is read from old backups only.

use aws_lc_rs::hkdf;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::hash::Hash;
use crate::fault::Fault;

/// Which derivation a key uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kdf {
    /// 0 in stored policies, and what those hold that never derive.
    #[default]
    HmacSha256Counter,
    /// 1.
    HkdfSha256,
}

impl Kdf {
    /// Derives `length` bytes.
    pub(crate) fn derive(self, key: &[u8], context: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, Fault> {
        match self {
            Self::HkdfSha256 => {
                let mut out = Zeroizing::new(vec![0; length]);
                let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
                prk.expand(&[context], Length(length))?.fill(&mut out)?;
                Ok(out)
            }
            // Whatever is asked for, this mode gives 256 bits: one round, counter 0.
            Self::HmacSha256Counter => {
                let input = [&0u32.to_be_bytes()[..], context, &256u32.to_be_bytes()].concat();
                Ok(Zeroizing::new(Hash::Sha256.mac(key, &input).unwrap_or_default()))
            }
        }
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Serialize for Kdf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(if *self == Self::HkdfSha256 { 1 } else { 0 })
    }
}

impl<'de> Deserialize<'de> for Kdf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::HmacSha256Counter),
            1 => Ok(Self::HkdfSha256),
            _ => Err(de::Error::custom("unsupported key derivation mode")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_without_salt_is_rfc_5869_case_3() {
        let out = Kdf::HkdfSha256.derive(&[0x0b; 22], b"", 42).unwrap();
        assert_eq!(hex::encode(&*out), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    }

    #[test]
    fn contexts_and_keys_separate() {
        for kdf in [Kdf::HkdfSha256, Kdf::HmacSha256Counter] {
            let one = kdf.derive(b"key", b"a", 32).unwrap();
            assert_eq!(one, kdf.derive(b"key", b"a", 32).unwrap());
            assert_ne!(one, kdf.derive(b"key", b"b", 32).unwrap());
            assert_ne!(one, kdf.derive(b"kez", b"a", 32).unwrap());
        }
    }
}
