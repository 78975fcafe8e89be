//! Private keys: made, read, written and used. All arithmetic is aws-lc-rs.
//!
//! Deliberately absent: P-224 (the provider has none), RSA below 2048 bits, keys held elsewhere (KMS).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use der::Decode;
use der::asn1::{AnyRef, OctetStringRef};
use secret::SecretBytes;
use zeroize::Zeroizing;

use crate::pem;
use crate::public::{Hash, PublicKey, Scheme};

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// A NIST curve.
    Ec,
    /// Edwards curve 25519.
    Ed25519,
}

impl KeyType {
    /// The name in requests and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ec => "ec",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Parses a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Rsa, Self::Ec, Self::Ed25519].into_iter().find(|k| k.as_str() == text)
    }
}

/// A kind of key with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The kind.
    pub kind: KeyType,
    /// Bits; 0 for Ed25519.
    pub bits: u32,
}

/// Why a kind and size of key is refused; the texts are Vault's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// No such kind.
    #[error("unknown key type {0}")]
    UnknownType(String),
    /// RSA below 2048 bits.
    #[error("RSA keys < 2048 bits are unsafe and not supported: got {0}")]
    Unsafe(i64),
    /// RSA of an odd size.
    #[error("unsupported bit length for RSA key: {0}")]
    RsaBits(i64),
    /// No such curve.
    #[error("unsupported bit length for EC key: {0}")]
    EcBits(i64),
}

impl KeySpec {
    /// A kind by name and a size; 0 is the kind's default.
    pub fn parse(kind: &str, bits: i64) -> Result<Self, SpecError> {
        let kind = KeyType::parse(kind).ok_or_else(|| SpecError::UnknownType(kind.to_owned()))?;
        let bits = match (kind, bits) {
            (KeyType::Rsa, 0) => 2048,
            (KeyType::Rsa, 2048 | 3072 | 4096 | 8192) | (KeyType::Ec, 256 | 384 | 521) => u32::try_from(bits).unwrap_or(0),
            (KeyType::Rsa, n) if n < 2048 => return Err(SpecError::Unsafe(n)),
            (KeyType::Rsa, n) => return Err(SpecError::RsaBits(n)),
            (KeyType::Ec, 0) => 256,
            (KeyType::Ec, n) => return Err(SpecError::EcBits(n)),
            (KeyType::Ed25519, _) => 0,
        };
        Ok(Self { kind, bits })
    }
}

/// Why a private key cannot be made, read or used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The bytes are no key that this engine takes.
    #[error("unable to parse the private key")]
    Unreadable,
    /// The provider failed.
    #[error("the key operation failed")]
    Failed,
}

impl From<aws_lc_rs::error::Unspecified> for KeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Failed
    }
}

impl From<aws_lc_rs::error::KeyRejected> for KeyError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::Unreadable
    }
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A private key, ready for use. No `Debug`.
pub struct PrivateKey {
    spec: KeySpec,
    pair: Pair,
}

impl PrivateKey {
    /// A new key. Slow for RSA (tenths of a second and more): not for a thread that serves requests.
    pub fn generate(spec: KeySpec) -> Result<Self, KeyError> {
        let pair = match spec.kind {
            KeyType::Rsa => Pair::Rsa(Box::new(RsaKeyPair::generate(match spec.bits {
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                8192 => KeySize::Rsa8192,
                _ => KeySize::Rsa2048,
            })?)),
            KeyType::Ec => Pair::Ec(Box::new(EcdsaKeyPair::generate(curve(spec.bits))?)),
            KeyType::Ed25519 => Pair::Ed25519(Box::new(Ed25519KeyPair::generate()?)),
        };
        Ok(Self { spec, pair })
    }

    /// Reads PKCS#8, PKCS#1 (RSA) or RFC 5915 (EC); what it is shows in the bytes.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            let bits = u32::try_from(pair.public_modulus_len().saturating_mul(8)).unwrap_or(0);
            return Ok(Self { spec: KeySpec { kind: KeyType::Rsa, bits }, pair: Pair::Rsa(Box::new(pair)) });
        }
        for bits in [256, 384, 521] {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve(bits), der) {
                return Ok(Self { spec: KeySpec { kind: KeyType::Ec, bits }, pair: Pair::Ec(Box::new(pair)) });
            }
        }
        let pair = Ed25519KeyPair::from_pkcs8(der)?;
        Ok(Self { spec: KeySpec { kind: KeyType::Ed25519, bits: 0 }, pair: Pair::Ed25519(Box::new(pair)) })
    }

    /// Kind and size.
    #[must_use]
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let content = match &self.pair {
            Pair::Rsa(p) => p.public_key().as_ref(),
            Pair::Ec(p) => p.public_key().as_ref(),
            Pair::Ed25519(p) => p.public_key().as_ref(),
        };
        PublicKey::new(self.spec, content.to_vec())
    }

    /// PKCS#8, version 1.
    pub fn pkcs8(&self) -> Result<SecretBytes, KeyError> {
        Ok(match &self.pair {
            Pair::Rsa(p) => SecretBytes::from(AsDer::<Pkcs8V1Der<'_>>::as_der(p.as_ref())?.as_ref()),
            Pair::Ec(p) => SecretBytes::from(p.to_pkcs8v1()?.as_ref()),
            Pair::Ed25519(p) => SecretBytes::from(p.to_pkcs8v1()?.as_ref()),
        })
    }

    /// The form of the key's own kind with its PEM label: PKCS#1 for RSA, RFC 5915 for EC, PKCS#8 for Ed25519.
    pub fn traditional(&self) -> Result<(&'static str, SecretBytes), KeyError> {
        Ok(match &self.pair {
            Pair::Rsa(_) => ("RSA PRIVATE KEY", inner_key(self.pkcs8()?.expose())?),
            Pair::Ec(p) => ("EC PRIVATE KEY", SecretBytes::from(p.private_key().as_der()?.as_ref())),
            Pair::Ed25519(_) => ("PRIVATE KEY", self.pkcs8()?),
        })
    }

    /// As PEM, in the traditional form or as PKCS#8.
    pub fn pem(&self, as_pkcs8: bool) -> Result<Zeroizing<String>, KeyError> {
        let (label, der) = if as_pkcs8 { ("PRIVATE KEY", self.pkcs8()?) } else { self.traditional()? };
        Ok(Zeroizing::new(pem::encode(label, der.expose())))
    }

    /// How this key signs when `hash_bits` (0: the default) and PSS are wished. Only RSA has a choice.
    #[must_use]
    pub fn scheme(&self, hash_bits: u32, pss: bool) -> Scheme {
        let hash = match hash_bits {
            384 => Hash::Sha384,
            512 => Hash::Sha512,
            _ => Hash::Sha256,
        };
        match (self.spec.kind, self.spec.bits) {
            (KeyType::Rsa, _) if pss => Scheme::RsaPss(hash),
            (KeyType::Rsa, _) => Scheme::Rsa(hash),
            (KeyType::Ec, 384) => Scheme::Ecdsa(Hash::Sha384),
            (KeyType::Ec, 521) => Scheme::Ecdsa(Hash::Sha512),
            (KeyType::Ec, _) => Scheme::Ecdsa(Hash::Sha256),
            (KeyType::Ed25519, _) => Scheme::Ed25519,
        }
    }

    /// Signs; `scheme` must be one of this key's ([`Self::scheme`]).
    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(p) => {
                let encoding: &'static dyn RsaEncoding = match scheme {
                    Scheme::Rsa(Hash::Sha256) => &RSA_PKCS1_SHA256,
                    Scheme::Rsa(Hash::Sha384) => &RSA_PKCS1_SHA384,
                    Scheme::Rsa(Hash::Sha512) => &RSA_PKCS1_SHA512,
                    Scheme::RsaPss(Hash::Sha256) => &RSA_PSS_SHA256,
                    Scheme::RsaPss(Hash::Sha384) => &RSA_PSS_SHA384,
                    Scheme::RsaPss(Hash::Sha512) => &RSA_PSS_SHA512,
                    _ => return Err(KeyError::Failed),
                };
                let mut signature = vec![0; p.public_modulus_len()];
                p.sign(encoding, &rng, message, &mut signature)?;
                Ok(signature)
            }
            Pair::Ec(p) if matches!(scheme, Scheme::Ecdsa(_)) => Ok(p.sign(&rng, message)?.as_ref().to_vec()),
            Pair::Ed25519(p) if scheme == Scheme::Ed25519 => Ok(p.try_sign(message)?.as_ref().to_vec()),
            _ => Err(KeyError::Failed),
        }
    }
}

fn curve(bits: u32) -> &'static EcdsaSigningAlgorithm {
    match bits {
        384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => &ECDSA_P256_SHA256_ASN1_SIGNING,
    }
}

/// What PKCS#8 (RFC 5958) wraps.
#[derive(der::Sequence)]
struct Pkcs8<'a> {
    version: u8,
    algorithm: AnyRef<'a>,
    key: &'a OctetStringRef,
}

fn inner_key(pkcs8: &[u8]) -> Result<SecretBytes, KeyError> {
    let outer = Pkcs8::from_der(pkcs8).map_err(|_| KeyError::Unreadable)?;
    Ok(SecretBytes::from(outer.key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_in_vaults_words() {
        for (kind, bits, want) in [("rsa", 0, 2048), ("rsa", 4096, 4096), ("ec", 0, 256), ("ec", 521, 521), ("ed25519", 77, 0)] {
            assert_eq!(KeySpec::parse(kind, bits).unwrap().bits, want, "{kind} {bits}");
        }
        for (kind, bits, want) in [
            ("dsa", 0, "unknown key type dsa"),
            ("", 0, "unknown key type "),
            ("RSA", 2048, "unknown key type RSA"),
            ("rsa", 512, "RSA keys < 2048 bits are unsafe and not supported: got 512"),
            ("rsa", -1, "RSA keys < 2048 bits are unsafe and not supported: got -1"),
            ("rsa", 2049, "unsupported bit length for RSA key: 2049"),
            ("ec", 224, "unsupported bit length for EC key: 224"),
            ("ec", 255, "unsupported bit length for EC key: 255"),
        ] {
            assert_eq!(KeySpec::parse(kind, bits).unwrap_err().to_string(), want, "{kind} {bits}");
        }
    }

    #[test]
    fn every_form_that_is_written_is_read_again() {
        for (kind, bits) in [("rsa", 2048), ("ec", 256), ("ec", 384), ("ec", 521), ("ed25519", 0)] {
            let key = PrivateKey::generate(KeySpec::parse(kind, bits).unwrap()).unwrap();
            for as_pkcs8 in [true, false] {
                let text = key.pem(as_pkcs8).unwrap();
                let block = pem::decode(&text).unwrap().remove(0);
                let again = PrivateKey::from_der(&block.der).unwrap();
                assert_eq!(again.spec(), key.spec(), "{kind} {bits}");
                assert_eq!(again.public().spki(), key.public().spki(), "{kind} {bits}");
            }
        }
        for rubbish in [&b""[..], b"\x30\x00", &[0x30; 300]] {
            assert_eq!(PrivateKey::from_der(rubbish).err(), Some(KeyError::Unreadable));
        }
    }

    #[test]
    fn signatures_verify_and_foreign_schemes_are_refused() {
        for (kind, bits) in [("rsa", 2048), ("ec", 256), ("ec", 384), ("ec", 521), ("ed25519", 0)] {
            let key = PrivateKey::generate(KeySpec::parse(kind, bits).unwrap()).unwrap();
            for (hash, pss) in [(0, false), (384, false), (512, true)] {
                let scheme = key.scheme(hash, pss);
                let mut signature = key.sign(scheme, b"text").unwrap();
                assert!(key.public().verify(scheme, b"text", &signature), "{kind} {bits}");
                assert!(!key.public().verify(scheme, b"test", &signature), "{kind} {bits}");
                signature[10] ^= 1;
                assert!(!key.public().verify(scheme, b"text", &signature), "{kind} {bits}");
            }
            let foreign = if kind == "rsa" { Scheme::Ed25519 } else { Scheme::Rsa(Hash::Sha256) };
            assert_eq!(key.sign(foreign, b"text").err(), Some(KeyError::Failed));
        }
    }
}
