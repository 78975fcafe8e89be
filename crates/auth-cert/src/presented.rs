//! A certificate, read once into what this method asks of it. Reading says nothing about trust.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Tag, Tagged};
use secret::Time;
use sha2::{Digest, Sha256};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// A certificate as the client offered it or a role names it.
#[derive(Debug, Clone)]
pub struct Presented {
    /// As it came.
    pub der: Vec<u8>,
    /// Serial number in decimal, as Vault shows it.
    pub serial: String,
    /// The subject's last common name; empty for none.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// The subject's organizational units.
    pub units: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// The key identifier extension; empty for none.
    pub subject_key_id: Vec<u8>,
    /// The signer's key identifier; empty for none.
    pub authority_key_id: Vec<u8>,
    /// Object identifier and content of every extension.
    pub extensions: Vec<(String, Vec<u8>)>,
    /// May sign certificates: says so, and its key usage does not forbid it.
    pub is_ca: bool,
    /// How many authorities may stand below.
    pub path_len: Option<u8>,
    /// Good for TLS clients: says so or says nothing of usage.
    pub for_clients: bool,
    not_before: i64,
    not_after: i64,
}

impl Presented {
    /// Reads DER; `None` if it is no certificate.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = read.tbs_certificate();
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let names = |id: ObjectIdentifier| -> Vec<String> {
            tbs.subject().iter().filter(|a| a.oid == id).map(|a| String::from_utf8_lossy(a.value.value()).into_owned()).collect()
        };
        let basic = extension::<BasicConstraints>(extensions)?;
        let usage = extension::<KeyUsage>(extensions)?;
        let purposes = extension::<ExtendedKeyUsage>(extensions)?;
        let subject_id = extension::<SubjectKeyIdentifier>(extensions)?;
        let authority_id = extension::<AuthorityKeyIdentifier>(extensions)?;
        let mut out = Self {
            der: der.to_vec(),
            serial: decimal(tbs.serial_number().as_bytes()),
            common_name: names(COMMON_NAME).pop().unwrap_or_default(),
            organizations: names(ORGANIZATION),
            units: names(ORGANIZATIONAL_UNIT),
            dns: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            subject_key_id: subject_id.map(|s| s.0.as_bytes().to_vec()).unwrap_or_default(),
            authority_key_id: authority_id.and_then(|a| a.key_identifier).map(|k| k.as_bytes().to_vec()).unwrap_or_default(),
            extensions: extensions.iter().map(|e| (e.extn_id.to_string(), e.extn_value.as_bytes().to_vec())).collect(),
            is_ca: basic.as_ref().is_some_and(|b| b.ca) && usage.is_none_or(|u| u.0.contains(KeyUsages::KeyCertSign)),
            path_len: basic.and_then(|b| b.path_len_constraint),
            for_clients: purposes.is_none_or(|p| p.0.iter().any(|id| *id == CLIENT_AUTH || *id == ANY_USAGE)),
            not_before: seconds(tbs.validity().not_before),
            not_after: seconds(tbs.validity().not_after),
        };
        for name in extension::<SubjectAltName>(extensions)?.map(|s| s.0).unwrap_or_default() {
            match name {
                GeneralName::DnsName(n) => out.dns.push(n.as_str().to_owned()),
                GeneralName::Rfc822Name(n) => out.emails.push(n.as_str().to_owned()),
                GeneralName::UniformResourceIdentifier(n) => out.uris.push(n.as_str().to_owned()),
                _ => {}
            }
        }
        Some(out)
    }

    /// Whether `now` lies in its validity.
    #[must_use]
    pub fn is_current(&self, now: Time) -> bool {
        (self.not_before..=self.not_after).contains(&now.unix())
    }

    /// SHA-256 of the whole certificate, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.der))
    }

    /// The content of the first extension of a kind.
    #[must_use]
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        self.extensions.iter().find(|(id, _)| id == oid).map(|(_, content)| content.as_slice())
    }
}

/// The text of an extension whose content is some ASN.1 string; `None` for anything else.
#[must_use]
pub fn string_of(content: &[u8]) -> Option<String> {
    let any = AnyRef::from_der(content).ok()?;
    let is_text =
        matches!(any.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString | Tag::NumericString);
    if is_text { String::from_utf8(any.value().to_vec()).ok() } else { None }
}

/// A big-endian number in decimal, as Go writes it. Takes time quadratic in the length, which X.509 bounds to 20 bytes and the
/// caller's record size otherwise.
#[must_use]
pub fn decimal(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 10).unwrap_or_default();
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
    }
    digits.iter().rev().map(|d| char::from(b'0' + d)).collect()
}

/// `None` if the extension is there but broken, so that nobody takes it for absent.
fn extension<T: for<'a> Decode<'a> + der::oid::AssociatedOid>(extensions: &[Extension]) -> Option<Option<T>> {
    match extensions.iter().find(|e| e.extn_id == T::OID) {
        None => Some(None),
        Some(e) => T::from_der(e.extn_value.as_bytes()).ok().map(Some),
    }
}

fn seconds(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// The serial number of a chain's certificate as `webpki` gives it.
#[must_use]
pub fn serial_of(der: &[u8]) -> Option<String> {
    let read = x509_cert::Certificate::from_der(der).ok()?;
    let bytes = read.tbs_certificate().serial_number().to_der().ok()?;
    let any = AnyRef::from_der(&bytes).ok()?;
    Some(decimal(any.value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_shown_as_go_shows_them() {
        for (bytes, text) in [
            (&[][..], "0"),
            (&[0], "0"),
            (&[255], "255"),
            (&[0, 1, 0], "256"),
            (&[0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 1], "16045690981097406465"),
        ] {
            assert_eq!(decimal(bytes), text);
        }
    }

    #[test]
    fn only_strings_are_strings() {
        assert_eq!(string_of(b"\x0c\x05hello").as_deref(), Some("hello"));
        assert_eq!(string_of(b"\x13\x02ab").as_deref(), Some("ab"));
        for not in [&b"\x04\x05hello"[..], b"", b"\x0c\x05hell", b"\x0c\x01\xff", b"hello"] {
            assert_eq!(string_of(not), None, "{not:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_no_certificate(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            proptest::prop_assert!(Presented::from_der(&bytes).is_none());
        }
    }
}
