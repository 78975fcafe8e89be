//! The hash algorithms by Vault's names, and HMAC over each.

use aws_lc_rs::{digest, hmac};
use hmac_rustcrypto::{KeyInit, Mac, SimpleHmac};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

/// A hash algorithm, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    None,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

const HASHES: [(Hash, &str, usize); 10] = [
    (Hash::None, "none", 0),
    (Hash::Sha1, "sha1", 20),
    (Hash::Sha224, "sha2-224", 28),
    (Hash::Sha256, "sha2-256", 32),
    (Hash::Sha384, "sha2-384", 48),
    (Hash::Sha512, "sha2-512", 64),
    (Hash::Sha3_224, "sha3-224", 28),
    (Hash::Sha3_256, "sha3-256", 32),
    (Hash::Sha3_384, "sha3-384", 48),
    (Hash::Sha3_512, "sha3-512", 64),
];

impl Hash {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        HASHES.iter().find(|(_, n, _)| *n == name).map(|(hash, ..)| *hash)
    }

    /// Bytes of the result; 0 for none.
    pub(crate) fn length(self) -> usize {
        HASHES.iter().find(|(hash, ..)| *hash == self).map_or(0, |(.., n)| *n)
    }

    fn native(self) -> Option<(&'static digest::Algorithm, hmac::Algorithm)> {
        Some(match self {
            Self::Sha1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha224 => (&digest::SHA224, hmac::HMAC_SHA224),
            Self::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256),
            Self::Sha384 => (&digest::SHA384, hmac::HMAC_SHA384),
            Self::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512),
            _ => return None,
        })
    }

    /// The hash of the parts one after the other; with none, the parts themselves.
    pub(crate) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        if let Some((algorithm, _)) = self.native() {
            let mut context = digest::Context::new(algorithm);
            parts.iter().for_each(|p| context.update(p));
            return context.finish().as_ref().to_vec();
        }
        match self {
            Self::Sha3_224 => sponge::<Sha3_224>(parts),
            Self::Sha3_256 => sponge::<Sha3_256>(parts),
            Self::Sha3_384 => sponge::<Sha3_384>(parts),
            Self::Sha3_512 => sponge::<Sha3_512>(parts),
            _ => parts.concat(),
        }
    }

    /// HMAC; nothing if there is no hash.
    pub(crate) fn mac(self, key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
        if let Some((_, algorithm)) = self.native() {
            return Some(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec());
        }
        macro_rules! mac {
            ($hash:ty) => {{
                let mut mac = <SimpleHmac<$hash> as KeyInit>::new_from_slice(key).ok()?;
                mac.update(data);
                Some(mac.finalize().into_bytes().to_vec())
            }};
        }
        match self {
            Self::Sha3_224 => mac!(Sha3_224),
            Self::Sha3_256 => mac!(Sha3_256),
            Self::Sha3_384 => mac!(Sha3_384),
            Self::Sha3_512 => mac!(Sha3_512),
            _ => None,
        }
    }
}

fn sponge<D: sha3::Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new();
    parts.iter().for_each(|p| hash.update(p));
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_results() {
        for (hash, name, length) in HASHES {
            assert_eq!(Hash::parse(name), Some(hash));
            if hash == Hash::None {
                assert_eq!(hash.of(&[b"ab", b"c"]), b"abc");
                assert_eq!(hash.mac(b"key", b"data"), None);
            } else {
                assert_eq!(hash.of(&[b"abc"]).len(), length, "{name}");
                assert_eq!(hash.of(&[b"ab", b"c"]), hash.of(&[b"abc"]), "{name}");
                assert_eq!(hash.mac(b"key", b"data").map(|m| m.len()), Some(length), "{name}");
            }
        }
        for wrong in ["", "md5", "SHA2-256", "sha256", "sha2-257"] {
            assert_eq!(Hash::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn known_answers() {
        // FIPS 180-4 and FIPS 202 examples for "abc"; RFC 4231 case 2 for the MAC.
        assert_eq!(hex::encode(Hash::Sha256.of(&[b"abc"])), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex::encode(Hash::Sha3_224.of(&[b"abc"])), "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf");
        assert_eq!(
            hex::encode(Hash::Sha256.mac(b"Jefe", b"what do ya want for nothing?").unwrap()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
