//! Public keys and signature algorithms: their DER forms, key identifiers and verification.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Encode};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::asn1;
use crate::keys::{KeySpec, KeyType};
use crate::oids;

/// A hash inside a signature. SHA-1 is not here: what it signed is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => oids::SHA256,
            Self::Sha384 => oids::SHA384,
            Self::Sha512 => oids::SHA512,
        }
    }

    fn length_bytes(self) -> u64 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSA, PKCS#1 version 1.5.
    Rsa(Hash),
    /// RSA-PSS, salt as long as the hash.
    RsaPss(Hash),
    /// ECDSA on the key's curve.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
}

impl Scheme {
    /// The `AlgorithmIdentifier`.
    #[must_use]
    pub fn algorithm(self) -> Vec<u8> {
        let rsa = |id: ObjectIdentifier| asn1::sequence(&[asn1::oid(&id), asn1::null()]);
        let bare = |id: ObjectIdentifier| asn1::sequence(&[asn1::oid(&id)]);
        match self {
            Self::Rsa(Hash::Sha256) => rsa(oids::SHA256_RSA),
            Self::Rsa(Hash::Sha384) => rsa(oids::SHA384_RSA),
            Self::Rsa(Hash::Sha512) => rsa(oids::SHA512_RSA),
            Self::RsaPss(hash) => {
                let digest = asn1::sequence(&[asn1::oid(&hash.oid()), asn1::null()]);
                let mask = asn1::sequence(&[asn1::oid(&oids::MGF1), digest.clone()]);
                let parameters = asn1::sequence(&[
                    asn1::explicit(0, &digest),
                    asn1::explicit(1, &mask),
                    asn1::explicit(2, &asn1::number(hash.length_bytes())),
                ]);
                asn1::sequence(&[asn1::oid(&oids::RSA_PSS), parameters])
            }
            Self::Ecdsa(Hash::Sha256) => bare(oids::ECDSA_SHA256),
            Self::Ecdsa(Hash::Sha384) => bare(oids::ECDSA_SHA384),
            Self::Ecdsa(Hash::Sha512) => bare(oids::ECDSA_SHA512),
            Self::Ed25519 => bare(oids::ED25519),
        }
    }

    /// Reads an `AlgorithmIdentifier`; `None` for what is not believed here (SHA-1, MD5, odd PSS parameters).
    #[must_use]
    pub fn parse(algorithm: &AlgorithmIdentifierOwned) -> Option<Self> {
        use Hash::{Sha256, Sha384, Sha512};
        let of = |scheme: fn(Hash) -> Self| {
            let known = [Sha256, Sha384, Sha512].into_iter().map(scheme);
            let wanted = algorithm.to_der().ok()?;
            known.into_iter().find(|s| s.algorithm() == wanted)
        };
        match algorithm.oid {
            oids::SHA256_RSA => Some(Self::Rsa(Sha256)),
            oids::SHA384_RSA => Some(Self::Rsa(Sha384)),
            oids::SHA512_RSA => Some(Self::Rsa(Sha512)),
            oids::ECDSA_SHA256 => Some(Self::Ecdsa(Sha256)),
            oids::ECDSA_SHA384 => Some(Self::Ecdsa(Sha384)),
            oids::ECDSA_SHA512 => Some(Self::Ecdsa(Sha512)),
            oids::ED25519 => Some(Self::Ed25519),
            oids::RSA_PSS => of(Self::RsaPss),
            _ => None,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spec: KeySpec,
    content: Vec<u8>,
}

#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl PublicKey {
    /// From the content of the bit string: an `RSAPublicKey`, an uncompressed point, or 32 bytes.
    #[must_use]
    pub fn new(spec: KeySpec, content: Vec<u8>) -> Self {
        Self { spec, content }
    }

    /// Reads a `SubjectPublicKeyInfo`; `None` for kinds this engine does not know.
    #[must_use]
    pub fn parse(spki: &SubjectPublicKeyInfoOwned) -> Option<Self> {
        let content = spki.subject_public_key.as_bytes()?.to_vec();
        let spec = match spki.algorithm.oid {
            oids::RSA => {
                let key = RsaPublicKey::from_der(&content).ok()?;
                let first = key.modulus.as_bytes().first()?;
                let bits =
                    key.modulus.as_bytes().len().checked_mul(8)?.checked_sub(usize::try_from(first.leading_zeros()).ok()?)?;
                KeySpec { kind: KeyType::Rsa, bits: u32::try_from(bits).ok()? }
            }
            oids::EC => {
                let curve: ObjectIdentifier = spki.algorithm.parameters.as_ref()?.decode_as().ok()?;
                let bits = match curve {
                    oids::P256 => 256,
                    oids::P384 => 384,
                    oids::P521 => 521,
                    _ => return None,
                };
                KeySpec { kind: KeyType::Ec, bits }
            }
            oids::ED25519 if content.len() == 32 => KeySpec { kind: KeyType::Ed25519, bits: 0 },
            _ => return None,
        };
        Some(Self { spec, content })
    }

    /// Kind and size.
    #[must_use]
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = match (self.spec.kind, self.spec.bits) {
            (KeyType::Rsa, _) => asn1::sequence(&[asn1::oid(&oids::RSA), asn1::null()]),
            (KeyType::Ec, 384) => asn1::sequence(&[asn1::oid(&oids::EC), asn1::oid(&oids::P384)]),
            (KeyType::Ec, 521) => asn1::sequence(&[asn1::oid(&oids::EC), asn1::oid(&oids::P521)]),
            (KeyType::Ec, _) => asn1::sequence(&[asn1::oid(&oids::EC), asn1::oid(&oids::P256)]),
            (KeyType::Ed25519, _) => asn1::sequence(&[asn1::oid(&oids::ED25519)]),
        };
        asn1::sequence(&[algorithm, asn1::bits(&self.content)])
    }

    /// The key identifier of RFC 5280 §4.2.1.2, method 1: SHA-1 of the bit string. It names the key, it protects nothing.
    #[must_use]
    pub fn id(&self) -> Vec<u8> {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.content).as_ref().to_vec()
    }

    /// Whether the signature is this key's over the message.
    #[must_use]
    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        use Hash::{Sha256, Sha384, Sha512};
        let algorithm: &'static dyn VerificationAlgorithm = match (self.spec.kind, scheme, self.spec.bits) {
            (KeyType::Rsa, Scheme::Rsa(Sha256), _) => &RSA_PKCS1_2048_8192_SHA256,
            (KeyType::Rsa, Scheme::Rsa(Sha384), _) => &RSA_PKCS1_2048_8192_SHA384,
            (KeyType::Rsa, Scheme::Rsa(Sha512), _) => &RSA_PKCS1_2048_8192_SHA512,
            (KeyType::Rsa, Scheme::RsaPss(Sha256), _) => &RSA_PSS_2048_8192_SHA256,
            (KeyType::Rsa, Scheme::RsaPss(Sha384), _) => &RSA_PSS_2048_8192_SHA384,
            (KeyType::Rsa, Scheme::RsaPss(Sha512), _) => &RSA_PSS_2048_8192_SHA512,
            (KeyType::Ec, Scheme::Ecdsa(Sha256), 256) => &ECDSA_P256_SHA256_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha384), 256) => &ECDSA_P256_SHA384_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha512), 256) => &ECDSA_P256_SHA512_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha256), 384) => &ECDSA_P384_SHA256_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha384), 384) => &ECDSA_P384_SHA384_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha512), 384) => &ECDSA_P384_SHA512_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha256), 521) => &ECDSA_P521_SHA256_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha384), 521) => &ECDSA_P521_SHA384_ASN1,
            (KeyType::Ec, Scheme::Ecdsa(Sha512), 521) => &ECDSA_P521_SHA512_ASN1,
            (KeyType::Ed25519, Scheme::Ed25519, _) => &ED25519,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, &self.content).verify(message, signature).is_ok()
    }
}
