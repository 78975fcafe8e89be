//! Public keys: checked when they are made, so that whatever holds one may verify with it.

use std::fmt;

use aws_lc_rs::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Sequence};
use rustls_pki_types::pem::{PemObject, SectionKind};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::algorithm::{Algorithm, Curve, KeyKind, ed25519};
use crate::limits::{PEM_MAX_BYTES, RSA_EXPONENT_MAX_BYTES, RSA_MODULUS_BITS};

const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const OID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const PKCS1_LABEL: &str = "-----BEGIN RSA PUBLIC KEY-----";
/// Bytes of an Ed25519 public key.
pub(crate) const ED25519_BYTES: usize = 32;

/// A public key with which signatures are checked: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) Key);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// Big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The uncompressed point: 4, x, y.
    Ec { curve: Curve, point: Vec<u8> },
    /// The compressed point.
    Ed25519(Vec<u8>),
}

/// Why something is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// There is no PEM block, or one of another kind.
    #[error("data does not contain any valid public keys")]
    NoKey,
    /// A certificate that cannot be read.
    #[error("x509: malformed certificate")]
    Certificate,
    /// Neither RSA, nor one of the three curves, nor Ed25519.
    #[error("unsupported kind of public key")]
    Kind,
    /// An RSA modulus or exponent outside of the bounds.
    #[error("RSA public key must have 2048 to 8192 bits and an odd exponent above 1")]
    RsaSize,
    /// Coordinates that are not a point of the curve, or of another length.
    #[error("public key is not a point of its curve")]
    NotOnCurve,
}

#[derive(Sequence)]
struct Pkcs1<'a> {
    n: UintRef<'a>,
    e: UintRef<'a>,
}

impl PublicKey {
    /// Reads the first PEM block: `PUBLIC KEY` (SubjectPublicKeyInfo), `RSA PUBLIC KEY` (PKCS#1) or `CERTIFICATE`, whose key is
    /// taken and of which nothing else is looked at.
    pub fn from_pem(text: &str) -> Result<Self, PublicKeyError> {
        if text.len() > PEM_MAX_BYTES {
            return Err(PublicKeyError::NoKey);
        }
        // The PEM reader skips labels it does not know, and PKCS#1's is one.
        let pkcs1 = text.trim_start().starts_with(PKCS1_LABEL);
        let text = if pkcs1 { text.replace("RSA PUBLIC KEY", "PUBLIC KEY") } else { text.to_owned() };
        let block = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).next();
        let (kind, bytes) = block.and_then(Result::ok).ok_or(PublicKeyError::NoKey)?;
        match kind {
            SectionKind::PublicKey if pkcs1 => from_pkcs1(&bytes),
            SectionKind::PublicKey => Self::from_spki(&bytes),
            SectionKind::Certificate => Self::from_certificate(&bytes),
            _ => Err(PublicKeyError::NoKey),
        }
    }

    /// Reads a SubjectPublicKeyInfo (DER).
    pub fn from_spki(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(bytes).map_err(|_| PublicKeyError::NoKey)?;
        let key = info.subject_public_key.as_bytes().ok_or(PublicKeyError::NoKey)?;
        match info.algorithm.oid {
            OID_RSA => from_pkcs1(key),
            OID_EC => {
                let curve = match info.algorithm.parameters_oid() {
                    Ok(OID_P256) => Curve::P256,
                    Ok(OID_P384) => Curve::P384,
                    Ok(OID_P521) => Curve::P521,
                    _ => return Err(PublicKeyError::Kind),
                };
                Self::ec(curve, key.to_vec())
            }
            OID_ED25519 => Self::ed25519(key.to_vec()),
            _ => Err(PublicKeyError::Kind),
        }
    }

    /// Takes the key out of a certificate (DER). Its dates and signature are not looked at: who configures a certificate as a
    /// key trusts the key.
    pub fn from_certificate(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let certificate = x509_cert::Certificate::from_der(bytes).map_err(|_| PublicKeyError::Certificate)?;
        let info = certificate.tbs_certificate().subject_public_key_info();
        Self::from_spki(&der::Encode::to_der(info).map_err(|_| PublicKeyError::Certificate)?)
    }

    /// Whether keys of this kind work with this algorithm.
    #[must_use]
    pub fn works_with(&self, algorithm: Algorithm) -> bool {
        self.kind() == algorithm.key_kind()
    }

    /// Whether the signature (in the form of JWS) is this key's for the message. A key of another kind than the algorithm's says
    /// no.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.works_with(algorithm) {
            return false;
        }
        match (&self.0, algorithm.rsa_parameters()) {
            (Key::Rsa { n, e }, Some(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Key::Ec { curve, point }, None) => {
                UnparsedPublicKey::new(curve.verification(), point).verify(message, signature).is_ok()
            }
            (Key::Ed25519(key), None) => UnparsedPublicKey::new(ed25519(), key).verify(message, signature).is_ok(),
            _ => false,
        }
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match &self.0 {
            Key::Rsa { .. } => KeyKind::Rsa,
            Key::Ec { curve, .. } => KeyKind::Ec(*curve),
            Key::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// From big-endian numbers; leading zeros go.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, PublicKeyError> {
        let (n, e) = (trimmed(n), trimmed(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        let odd = |number: &[u8]| number.last().is_some_and(|b| b % 2 == 1);
        let small = e.len() > RSA_EXPONENT_MAX_BYTES || e == [1];
        if !RSA_MODULUS_BITS.contains(&bits) || !odd(&n) || !odd(&e) || small {
            return Err(PublicKeyError::RsaSize);
        }
        Ok(Self(Key::Rsa { n, e }))
    }

    /// From an uncompressed point.
    pub(crate) fn ec(curve: Curve, point: Vec<u8>) -> Result<Self, PublicKeyError> {
        let well = point.first() == Some(&4) && point.len() == 2 * curve.bytes() + 1;
        if !well || UnparsedPublicKey::new(curve.verification(), &point).parse().is_err() {
            return Err(PublicKeyError::NotOnCurve);
        }
        Ok(Self(Key::Ec { curve, point }))
    }

    /// From a compressed point.
    pub(crate) fn ed25519(key: Vec<u8>) -> Result<Self, PublicKeyError> {
        if key.len() != ED25519_BYTES || UnparsedPublicKey::new(ed25519(), &key).parse().is_err() {
            return Err(PublicKeyError::NotOnCurve);
        }
        Ok(Self(Key::Ed25519(key)))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.kind())
    }
}

fn from_pkcs1(bytes: &[u8]) -> Result<PublicKey, PublicKeyError> {
    let key = Pkcs1::from_der(bytes).map_err(|_| PublicKeyError::NoKey)?;
    PublicKey::rsa(key.n.as_bytes(), key.e.as_bytes())
}

fn trimmed(big_endian: &[u8]) -> Vec<u8> {
    big_endian.iter().copied().skip_while(|b| *b == 0).collect()
}
