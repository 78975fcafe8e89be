//! ECDSA over the NIST curves. The input is what was hashed elsewhere, of any length, as Go's `ecdsa.Sign` takes it: too long
//! is cut on the right, too short counts as a smaller number.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
    KeyPair, UnparsedPublicKey,
};
use zeroize::Zeroizing;

use super::der;
use crate::fault::Fault;

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Go's name of it, which Vault shows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate or scalar.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }

    /// The digest AWS-LC is told that the input is; only its length matters.
    fn carrier(self) -> &'static digest::Algorithm {
        match self {
            Self::P256 => &digest::SHA256,
            Self::P384 => &digest::SHA384,
            Self::P521 => &digest::SHA512,
        }
    }

    /// The input as a digest of the carrier's length that stands for the same number.
    fn digest(self, input: &[u8]) -> Result<Digest, Fault> {
        let length = self.carrier().output_len();
        let cut = match (self, input.get(..length)) {
            (Self::P521, _) if input.len() > length => {
                return Err(Fault::caller(format!("input of more than {length} bytes cannot be signed with this curve")));
            }
            (_, Some(front)) => front,
            (_, None) => input,
        };
        let mut bytes = vec![0; length.saturating_sub(cut.len())];
        bytes.extend_from_slice(cut);
        Ok(Digest::import_less_safe(&bytes, self.carrier())?)
    }

    /// SubjectPublicKeyInfo of an uncompressed point.
    pub(crate) fn public_der(self, point: &[u8]) -> Vec<u8> {
        der::sequence(&[&self.algorithm(), &der::bit_string(point)])
    }

    /// AlgorithmIdentifier of keys on this curve.
    fn algorithm(self) -> Vec<u8> {
        der::sequence(&[&der::value(der::OBJECT_ID, der::OID_EC), &der::value(der::OBJECT_ID, self.oid())])
    }

    /// ECPrivateKey (RFC 5915); `named` puts the curve inside, for use outside of PKCS#8.
    pub(crate) fn private_der(self, scalar: &[u8], point: &[u8], named: bool) -> Zeroizing<Vec<u8>> {
        let secret = Zeroizing::new(der::value(der::OCTET_STRING, scalar));
        let curve = if named { der::value(0xa0, &der::value(der::OBJECT_ID, self.oid())) } else { Vec::new() };
        let public = der::value(0xa1, &der::bit_string(point));
        Zeroizing::new(der::sequence(&[&der::integer(&[1]), &secret, &curve, &public]))
    }

    /// PKCS#8 PrivateKeyInfo.
    pub(crate) fn pkcs8(self, scalar: &[u8], point: &[u8]) -> Zeroizing<Vec<u8>> {
        let inner = Zeroizing::new(der::value(der::OCTET_STRING, &self.private_der(scalar, point, false)));
        Zeroizing::new(der::sequence(&[&der::integer(&[]), &self.algorithm(), &inner]))
    }

    /// The point of a SubjectPublicKeyInfo, if it is on this curve.
    pub(crate) fn point_of(self, spki: &[u8]) -> Option<Vec<u8>> {
        let (algorithm, parameters, point) = der::public_key_parts(spki)?;
        if algorithm != der::OID_EC || parameters != der::value(der::OBJECT_ID, self.oid()) || point.first() != Some(&4) {
            return None;
        }
        UnparsedPublicKey::new(self.verification(), point).parse().ok()?;
        Some(point.to_vec())
    }
}

/// A key ready for use; without its private half it only verifies.
pub(crate) struct EcKey {
    curve: Curve,
    pair: Option<EcdsaKeyPair>,
    point: Vec<u8>,
}

/// What is kept of a key.
pub(crate) struct EcParts {
    pub(crate) scalar: Zeroizing<Vec<u8>>,
    pub(crate) x: Vec<u8>,
    pub(crate) y: Vec<u8>,
}

impl EcKey {
    /// A fresh key.
    pub(crate) fn generate(curve: Curve) -> Result<EcParts, Fault> {
        parts(curve, &EcdsaKeyPair::generate(curve.signing())?)
    }

    /// The key inside a PKCS#8 document.
    pub(crate) fn from_pkcs8(curve: Curve, pkcs8: &[u8]) -> Result<EcParts, Fault> {
        let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), pkcs8).map_err(|_| {
            Fault::server(format!("error parsing asymmetric key: expected a PKCS#8 key on curve {}", curve.name()))
        })?;
        parts(curve, &pair)
    }

    /// Prepares a key from what is kept.
    pub(crate) fn new(curve: Curve, scalar: Option<&[u8]>, point: Vec<u8>) -> Result<Self, Fault> {
        let pair = scalar
            .map(|s| EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), s, &point))
            .transpose()
            .map_err(|_| Fault::server("stored key is not consistent"))?;
        Ok(Self { curve, pair, point })
    }

    /// Signs; the answer is DER.
    pub(crate) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Fault> {
        let pair = self.pair.as_ref().ok_or_else(no_private_half)?;
        Ok(pair.sign_digest(&self.curve.digest(input)?)?.as_ref().to_vec())
    }

    /// Whether the signature (DER) is good.
    pub(crate) fn verify(&self, input: &[u8], signature: &[u8]) -> Result<bool, Fault> {
        let digest = self.curve.digest(input)?;
        Ok(UnparsedPublicKey::new(self.curve.verification(), &self.point).verify_digest(&digest, signature).is_ok())
    }

    /// DER to the two numbers side by side, as JWS wants them.
    pub(crate) fn fixed(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let (r, s) = numbers(signature)?;
        let n = self.curve.bytes();
        let mut out = vec![0; n.checked_sub(r.len())?];
        out.extend_from_slice(r);
        out.resize(out.len() + n.checked_sub(s.len())?, 0);
        out.extend_from_slice(s);
        Some(out)
    }

    /// Reverses [`Self::fixed`]. Halves of any length are taken, as numbers; the verification decides.
    pub(crate) fn der_of_fixed(&self, signature: &[u8]) -> Vec<u8> {
        let (r, s) = signature.split_at_checked(signature.len() / 2).unwrap_or_default();
        der::sequence(&[&der::integer(r), &der::integer(s)])
    }
}

/// The complaint about a key of which only the public half was imported.
pub(crate) fn no_private_half() -> Fault {
    Fault::caller("requested version for signing does not contain a private part")
}

/// The two numbers of a DER signature that holds nothing else.
pub(crate) fn numbers(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = der::Reader::new(signature);
    let mut inner = outer.sequence()?;
    let pair = (inner.unsigned()?, inner.unsigned()?);
    (inner.done() && outer.done()).then_some(pair)
}

fn parts(curve: Curve, pair: &EcdsaKeyPair) -> Result<EcParts, Fault> {
    let secret = pair.private_key().as_be_bytes()?;
    let point = pair.public_key().as_ref();
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at_checked(curve.bytes()).ok_or_else(|| Fault::server("unexpected form of a public key"))?;
    Ok(EcParts { scalar: Zeroizing::new(secret.as_ref().to_vec()), x: x.to_vec(), y: y.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(curve: Curve) -> EcKey {
        let p = EcKey::generate(curve).unwrap();
        EcKey::new(curve, Some(&p.scalar), [&[4][..], &p.x, &p.y].concat()).unwrap()
    }

    #[test]
    fn signs_inputs_of_every_length_and_both_forms_verify() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let key = key(curve);
            for length in [0, 1, 20, 32, 48, 64] {
                let input = vec![0xa5; length];
                let der = key.sign(&input).unwrap();
                assert!(key.verify(&input, &der).unwrap(), "{curve:?} {length}");
                let fixed = key.fixed(&der).unwrap();
                assert_eq!(fixed.len(), 2 * curve.bytes());
                assert!(key.verify(&input, &key.der_of_fixed(&fixed)).unwrap());
                let other = vec![0x5a; length.max(1)];
                assert!(!key.verify(&other, &der).unwrap(), "{curve:?} {length}");
            }
            assert!(!key.verify(&[1; 32], &key.sign(&[2; 32]).unwrap()).unwrap());
            for bad in [&b""[..], b"\x30\x00", &[0; 64], &key.der_of_fixed(&[0; 64])] {
                assert!(!key.verify(&[1; 32], bad).unwrap());
            }
        }
    }

    #[test]
    fn p256_cuts_long_input_like_go() {
        let key = key(Curve::P256);
        let signature = key.sign(&[7; 64]).unwrap();
        assert!(key.verify(&[7; 32], &signature).unwrap());
        assert!(key.verify(&[&[7; 32][..], &[9; 32]].concat(), &signature).unwrap());
    }

    #[test]
    fn documents_read_back_and_other_curves_do_not() {
        let p = EcKey::generate(Curve::P384).unwrap();
        let point = [&[4][..], &p.x, &p.y].concat();
        let back = EcKey::from_pkcs8(Curve::P384, &Curve::P384.pkcs8(&p.scalar, &point)).unwrap();
        assert_eq!((back.x, back.y, back.scalar), (p.x.clone(), p.y.clone(), p.scalar.clone()));
        let spki = Curve::P384.public_der(&point);
        assert_eq!(Curve::P384.point_of(&spki), Some(point.clone()));
        assert_eq!(Curve::P256.point_of(&spki), None);
        assert!(EcKey::from_pkcs8(Curve::P256, &Curve::P384.pkcs8(&p.scalar, &point)).is_err());
        let mut off_curve = point;
        *off_curve.last_mut().unwrap() ^= 1;
        assert_eq!(Curve::P384.point_of(&Curve::P384.public_der(&off_curve)), None);
    }
}
