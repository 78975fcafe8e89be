//! Just enough of certificates and certificate requests: making a request, and reading whose key a certificate is for.

use super::der::{self, Reader};
use super::ec::Curve;
use super::hash::Hash;
use crate::kind::Family;

const CONTEXT_0: u8 = 0xa0;
const CONTEXT_3: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;
/// id-ce-basicConstraints, 2.5.29.19, without tag.
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// What is asked of a certificate.
pub(crate) struct Certificate<'a> {
    /// SubjectPublicKeyInfo.
    pub(crate) public_key: &'a [u8],
    /// Its basic constraints say that it may sign others.
    pub(crate) is_ca: bool,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate (RFC 5280 §4.1).
    pub(crate) fn parse(certificate: &'a [u8]) -> Option<Self> {
        let mut tbs = Reader::new(certificate).sequence()?.sequence()?;
        let _version = tbs.take(CONTEXT_0);
        tbs.take(der::INTEGER)?;
        // Signature algorithm, issuer, validity, subject.
        for _ in 0..4 {
            tbs.sequence()?;
        }
        let (tag, _, public_key) = tbs.any()?;
        if tag != der::SEQUENCE {
            return None;
        }
        let mut is_ca = false;
        while let Some((tag, content, _)) = tbs.any() {
            if tag == CONTEXT_3 {
                is_ca = says_ca(content)?;
            }
        }
        Some(Self { public_key, is_ca })
    }
}

fn says_ca(extensions: &[u8]) -> Option<bool> {
    let mut list = Reader::new(extensions).sequence()?;
    while !list.done() {
        let mut extension = list.sequence()?;
        let id = extension.take(der::OBJECT_ID)?;
        let _critical = extension.take(BOOLEAN);
        let value = extension.take(der::OCTET_STRING)?;
        if id == OID_BASIC_CONSTRAINTS {
            return Some(Reader::new(value).sequence()?.take(BOOLEAN).is_some_and(|b| b != [0]));
        }
    }
    Some(false)
}

/// CertificationRequestInfo (RFC 2986 §4.1) for a key, with names and attributes of another request if one is given.
pub(crate) fn request_body(template: Option<&[u8]>, public_key: &[u8]) -> Option<Vec<u8>> {
    let empty_name = der::sequence(&[]);
    let empty_attributes = der::value(CONTEXT_0, &[]);
    let (name, attributes) = match template {
        None => (empty_name.as_slice(), empty_attributes.as_slice()),
        Some(request) => {
            let mut info = Reader::new(request).sequence()?.sequence()?;
            info.take(der::INTEGER)?;
            let (name_tag, _, name) = info.any()?;
            let (key_tag, ..) = info.any()?;
            let attributes =
                if info.done() { empty_attributes.as_slice() } else { info.any().filter(|(t, ..)| *t == CONTEXT_0)?.2 };
            if (name_tag, key_tag) != (der::SEQUENCE, der::SEQUENCE) {
                return None;
            }
            (name, attributes)
        }
    };
    Some(der::sequence(&[&der::integer(&[]), name, public_key, attributes]))
}

/// CertificationRequest.
pub(crate) fn request(body: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    der::sequence(&[body, algorithm, &der::bit_string(signature)])
}

/// With which hash a key signs requests, and the AlgorithmIdentifier that says so.
pub(crate) fn signing(family: Family) -> (Hash, Vec<u8>) {
    let ecdsa = |last: u8| der::sequence(&[&der::value(der::OBJECT_ID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last])]);
    match family {
        Family::Ecdsa(Curve::P256) => (Hash::Sha256, ecdsa(2)),
        Family::Ecdsa(Curve::P384) => (Hash::Sha384, ecdsa(3)),
        Family::Ecdsa(Curve::P521) => (Hash::Sha512, ecdsa(4)),
        Family::Ed25519 => (Hash::Sha512, der::sequence(&[&der::value(der::OBJECT_ID, der::OID_ED25519)])),
        _ => {
            let id = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
            (Hash::Sha256, der::sequence(&[&der::value(der::OBJECT_ID, &id), der::NULL]))
        }
    }
}
