//! Certificates and certificate requests as they come in: read once, strictly, into what the engine asks of them.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Encode};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, ExtensionReq};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::constraints::NameConstraints;
use crate::names::{AltNames, OtherName};
use crate::oids;
use crate::public::{PublicKey, Scheme};

/// Why something cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// Not DER of the wanted kind.
    #[error("asn1: structure error")]
    Malformed,
    /// A key of a kind or size that is not known here.
    #[error("x509: unsupported public key")]
    Key,
    /// The signature is not the key's, or of a kind that is not believed.
    #[error("x509: invalid signature")]
    Signature,
}

/// `SEQUENCE { to be signed, algorithm, signature }`.
#[derive(der::Sequence)]
struct Signed<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate as it came.
    pub der: Vec<u8>,
    /// Serial number, big-endian.
    pub serial: Vec<u8>,
    /// The issuer's name, as it stands.
    pub issuer: Vec<u8>,
    /// The subject, as it stands.
    pub subject: Vec<u8>,
    /// The subject's key.
    pub key: PublicKey,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// May sign certificates.
    pub is_ca: bool,
    /// How many authorities may follow.
    pub path_len: Option<u8>,
    /// Key usage bits, if the extension is there.
    pub key_usage: Option<u16>,
    /// The key identifier: the extension's or the computed one.
    pub key_id: Vec<u8>,
    /// The signer's key identifier, if the extension is there.
    pub authority_key_id: Option<Vec<u8>>,
    /// What names it may sign for.
    pub constraints: NameConstraints,
    scheme: Option<Scheme>,
    content: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Reads DER.
    pub fn from_der(der: &[u8]) -> Result<Self, ReadError> {
        let malformed = |_: der::Error| ReadError::Malformed;
        let signed = Signed::from_der(der).map_err(malformed)?;
        let read = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let tbs = read.tbs_certificate();
        let key = PublicKey::parse(tbs.subject_public_key_info()).ok_or(ReadError::Key)?;
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let basic = extension::<BasicConstraints>(extensions, oids::BASIC_CONSTRAINTS)?;
        let usage = extension::<KeyUsage>(extensions, oids::KEY_USAGE)?;
        let subject_id = extension::<SubjectKeyIdentifier>(extensions, oids::SUBJECT_KEY_ID)?;
        let authority_id = extension::<AuthorityKeyIdentifier>(extensions, oids::AUTHORITY_KEY_ID)?;
        let constraints = find(extensions, oids::NAME_CONSTRAINTS).map(|e| NameConstraints::parse(e.extn_value.as_bytes()));
        Ok(Self {
            der: der.to_vec(),
            serial: tbs.serial_number().as_bytes().iter().copied().skip_while(|b| *b == 0).collect(),
            issuer: tbs.issuer().to_der().map_err(malformed)?,
            subject: tbs.subject().to_der().map_err(malformed)?,
            not_before: seconds(tbs.validity().not_before),
            not_after: seconds(tbs.validity().not_after),
            is_ca: basic.as_ref().is_some_and(|b| b.ca),
            path_len: basic.and_then(|b| b.path_len_constraint),
            key_usage: usage.map(|u| u.0.bits()),
            key_id: subject_id.map_or_else(|| key.id(), |s| s.0.as_bytes().to_vec()),
            authority_key_id: authority_id.and_then(|a| a.key_identifier).map(|k| k.as_bytes().to_vec()),
            constraints: constraints.unwrap_or_default(),
            scheme: Scheme::parse(&signed.algorithm),
            content: signed.content.to_der().map_err(malformed)?,
            signature: signed.signature.as_bytes().ok_or(ReadError::Malformed)?.to_vec(),
            key,
        })
    }

    /// Whether `parent`'s key signed this certificate and the names agree. Says nothing about validity or trust.
    #[must_use]
    pub fn is_signed_by(&self, parent: &Self) -> bool {
        self.issuer == parent.subject && self.scheme.is_some_and(|s| parent.key.verify(s, &self.content, &self.signature))
    }

    /// Whether it is its own issuer.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_signed_by(self)
    }

    /// Whether its key usage allows `bit`; without the extension everything is allowed.
    #[must_use]
    pub fn allows(&self, bit: u16) -> bool {
        self.key_usage.is_none_or(|bits| bits & bit != 0)
    }
}

/// A certificate request whose signature was checked: whoever sent it has the key.
#[derive(Debug, Clone)]
pub struct Request {
    /// The subject, as it stands.
    pub subject: Vec<u8>,
    /// The subject's last `CN`; empty for none.
    pub common_name: String,
    /// The subject's `serialNumber`; empty for none.
    pub serial_number: String,
    /// The key.
    pub key: PublicKey,
    /// Alternative names of the kinds this engine can check; others are left out.
    pub names: AltNames,
    /// Every requested extension, as it stands.
    pub extensions: Vec<Extension>,
}

impl Request {
    /// Reads DER and checks the signature.
    pub fn from_der(der: &[u8]) -> Result<Self, ReadError> {
        let malformed = |_: der::Error| ReadError::Malformed;
        let signed = Signed::from_der(der).map_err(malformed)?;
        let read = CertReq::from_der(der).map_err(malformed)?;
        let key = PublicKey::parse(&read.info.public_key).ok_or(ReadError::Key)?;
        let scheme = Scheme::parse(&signed.algorithm).ok_or(ReadError::Signature)?;
        let content = signed.content.to_der().map_err(malformed)?;
        let signature = signed.signature.as_bytes().ok_or(ReadError::Malformed)?;
        if !key.verify(scheme, &content, signature) {
            return Err(ReadError::Signature);
        }
        let mut extensions = Vec::new();
        for attribute in read.info.attributes.iter().filter(|a| a.oid == oids::EXTENSION_REQUEST) {
            for value in attribute.values.iter() {
                extensions.extend(ExtensionReq::from_der(&value.to_der().map_err(malformed)?).map_err(malformed)?.0);
            }
        }
        let names = extension::<Vec<GeneralName>>(&extensions, oids::SUBJECT_ALT_NAME)?.unwrap_or_default();
        Ok(Self {
            subject: read.info.subject.to_der().map_err(malformed)?,
            common_name: attribute(&read.info.subject, oids::COMMON_NAME),
            serial_number: attribute(&read.info.subject, oids::SERIAL_NUMBER),
            key,
            names: alt_names(&names),
            extensions,
        })
    }

    /// The requested extension of a kind, read.
    pub fn extension<T: for<'a> Decode<'a>>(&self, id: ObjectIdentifier) -> Result<Option<T>, ReadError> {
        extension(&self.extensions, id)
    }
}

/// The text of a subject's last attribute of a kind; empty for none.
fn attribute(name: &Name, id: ObjectIdentifier) -> String {
    name.iter().filter(|a| a.oid == id).last().map(text).unwrap_or_default()
}

fn text(attribute: &AttributeTypeAndValue) -> String {
    String::from_utf8_lossy(attribute.value.value()).into_owned()
}

fn find(extensions: &[Extension], id: ObjectIdentifier) -> Option<&Extension> {
    extensions.iter().find(|e| e.extn_id == id)
}

fn extension<T: for<'a> Decode<'a>>(extensions: &[Extension], id: ObjectIdentifier) -> Result<Option<T>, ReadError> {
    find(extensions, id).map(|e| T::from_der(e.extn_value.as_bytes()).map_err(|_| ReadError::Malformed)).transpose()
}

fn alt_names(names: &[GeneralName]) -> AltNames {
    let mut out = AltNames::default();
    for name in names {
        match name {
            GeneralName::DnsName(n) => out.dns.push(n.as_str().to_owned()),
            GeneralName::Rfc822Name(n) => out.emails.push(n.as_str().to_owned()),
            GeneralName::UniformResourceIdentifier(n) => out.uris.push(n.as_str().to_owned()),
            GeneralName::IpAddress(bytes) => out.ips.extend(address(bytes.as_bytes())),
            GeneralName::OtherName(o) => {
                if let Ok(value) = o.value.decode_as::<der::asn1::Utf8StringRef<'_>>() {
                    out.others.push(OtherName { oid: o.type_id, value: value.as_str().to_owned() });
                }
            }
            _ => {}
        }
    }
    out
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Into::into),
        _ => None,
    }
}

fn seconds(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asn1;
    use crate::draft::{Basic, Draft, Signer, request};
    use crate::keys::{KeySpec, KeyType, PrivateKey};
    use crate::names::Subject;

    fn key() -> PrivateKey {
        PrivateKey::generate(KeySpec { kind: KeyType::Ec, bits: 256 }).unwrap()
    }

    fn subject(name: &str) -> Vec<u8> {
        Subject { common_name: name.to_owned(), serial_number: "7".into(), ..Subject::default() }.to_der()
    }

    #[test]
    fn a_request_is_believed_only_with_its_own_signature() {
        let (own, other) = (key(), key());
        let names = AltNames { dns: vec!["a.test".into()], ips: vec!["10.0.0.1".parse().unwrap()], ..AltNames::default() };
        let der = request(&subject("a.test"), &names, &[], &own, own.scheme(0, false)).unwrap();
        let read = Request::from_der(&der).unwrap();
        assert_eq!((read.common_name.as_str(), read.serial_number.as_str(), &read.names), ("a.test", "7", &names));
        assert_eq!(read.key, own.public());
        // The same content with the signature of another key.
        let content = Signed::from_der(&der).unwrap().content.to_der().unwrap();
        let forged = crate::draft::seal(content, other.scheme(0, false), &other).unwrap();
        assert_eq!(Request::from_der(&forged).err(), Some(ReadError::Signature));
        for cut in [0, 1, der.len() / 2, der.len() - 1] {
            assert_eq!(Request::from_der(&der[..cut]).err(), Some(ReadError::Malformed), "{cut}");
        }
    }

    #[test]
    fn a_certificate_knows_its_signer_by_key_and_name() {
        let (root_key, leaf_key) = (key(), key());
        let signer =
            |name: &str| Signer { name: subject(name), key_id: root_key.public().id(), scheme: root_key.scheme(0, false) };
        let make =
            |draft: &Draft, by: &str| Certificate::from_der(&draft.sign(&[1, 2], &signer(by), &root_key).unwrap()).unwrap();
        let mut root = Draft::new(subject("root"), root_key.public(), 0, 4_000_000_000);
        root.basic = Basic::Authority(Some(3));
        root.key_usage = oids::KEY_CERT_SIGN;
        let root = make(&root, "root");
        assert!(root.is_self_signed() && root.is_ca && root.allows(oids::KEY_CERT_SIGN) && !root.allows(oids::CRL_SIGN));
        assert_eq!((root.path_len, root.not_after, root.serial.as_slice()), (Some(3), 4_000_000_000, &[1, 2][..]));
        let leaf = Draft::new(subject("leaf"), leaf_key.public(), 0, 1);
        assert!(make(&leaf, "root").is_signed_by(&root));
        assert!(!make(&leaf, "another").is_signed_by(&root), "same key, other name");
        let impostor = Draft::new(subject("root"), leaf_key.public(), 0, 1).sign(
            &[3],
            &Signer { name: subject("root"), key_id: leaf_key.public().id(), scheme: leaf_key.scheme(0, false) },
            &leaf_key,
        );
        let impostor = Certificate::from_der(&impostor.unwrap()).unwrap();
        assert!(!make(&leaf, "root").is_signed_by(&impostor), "same name, other key");
        assert!(!impostor.is_ca);
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_refused_and_nothing_panics(content in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            proptest::prop_assert!(Request::from_der(&content).is_err());
            proptest::prop_assert!(Certificate::from_der(&content).is_err());
            let framed = asn1::sequence(&[asn1::sequence(&[&content]), asn1::sequence::<Vec<u8>>(&[]), asn1::bits(&content)]);
            proptest::prop_assert!(Request::from_der(&framed).is_err());
            proptest::prop_assert!(Certificate::from_der(&framed).is_err());
        }
    }
}
