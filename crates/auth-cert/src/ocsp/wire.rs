//! OCSP's messages (RFC 6960 §4): the question about one certificate, and a basic answer taken apart. Strict DER; a message with
//! anything left over, or in a form that is not asked for, is none. Reading says nothing about belief (`verify`).
//!
//! Deliberately absent: nonces (an answer may be kept, so its times say how fresh it is) and signed questions.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::{Any, AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetString, OctetStringRef};
use der::{Decode, Encode, Sequence, Tag, TagNumber, Tagged};
use secret::Time;
use x509_cert::AlgorithmIdentifier;
use x509_cert::ext::Extension;
use x509_cert::serial_number::SerialNumber;

/// `id-sha1`; what every responder knows certificates by. No signature depends on it.
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// `OCSPResponseStatus` for an answer that is one.
const SUCCESSFUL: u8 = 0;

/// Names one certificate: its issuer's name and key, hashed, and its serial number.
#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub struct CertId {
    hash_algorithm: AlgorithmIdentifier,
    issuer_name_hash: OctetString,
    issuer_key_hash: OctetString,
    serial_number: SerialNumber,
}

#[derive(Sequence)]
struct OneRequest {
    cert: CertId,
}

#[derive(Sequence)]
struct TbsRequest {
    list: Vec<OneRequest>,
}

#[derive(Sequence)]
struct OcspRequest {
    tbs: TbsRequest,
}

/// Something signed: a certificate and a basic answer begin alike.
#[derive(Sequence)]
struct SignedAnswer<'a> {
    tbs: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<Vec<Any>>,
}

#[derive(Sequence)]
struct OcspResponse<'a> {
    status: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct ResponseData<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "first_version")]
    version: u8,
    responder: AnyRef<'a>,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct SingleResponse {
    cert: CertId,
    status: Any,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

/// What is said of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not revoked.
    Good,
    /// Revoked, or on hold.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// What is said, and for how long.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Of which certificate.
    pub of: CertId,
    /// What.
    pub status: Status,
    /// When it was known to be true.
    pub this_update: Time,
    /// When something newer will be known.
    pub next_update: Option<Time>,
}

/// Who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Responder {
    /// The DER of its subject.
    Name(Vec<u8>),
    /// SHA-1 of its public key.
    Key(Vec<u8>),
}

/// An answer, taken apart and not yet believed.
pub struct Answer {
    /// Who says it.
    pub responder: Responder,
    /// What it says.
    pub statements: Vec<Statement>,
    /// What is signed.
    pub tbs: Vec<u8>,
    /// How: the content of the algorithm identifier.
    pub algorithm: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// Certificates that came along, DER.
    pub certificates: Vec<Vec<u8>>,
}

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The responder says that it cannot answer (`OCSPResponseStatus`).
    #[error("the responder could not answer (status {0})")]
    Unanswered(u8),
    /// Anything else.
    #[error("the answer is malformed")]
    Malformed,
}

impl CertId {
    /// Of a certificate whose issuer has this name (DER, as the certificate has it) and this key (the bits).
    pub fn new(issuer_name: &[u8], issuer_key: &[u8], serial_number: SerialNumber) -> Option<Self> {
        Some(Self {
            hash_algorithm: AlgorithmIdentifier { oid: SHA1, parameters: Some(AnyRef::NULL.into()) },
            issuer_name_hash: OctetString::new(sha1(issuer_name)).ok()?,
            issuer_key_hash: OctetString::new(sha1(issuer_key)).ok()?,
            serial_number,
        })
    }

    /// Whether both name the same certificate. The hash's parameters may be NULL or absent.
    pub fn names_same(&self, other: &Self) -> bool {
        self.hash_algorithm.oid == other.hash_algorithm.oid
            && self.issuer_name_hash == other.issuer_name_hash
            && self.issuer_key_hash == other.issuer_key_hash
            && self.serial_number == other.serial_number
    }

    /// The question about it.
    pub fn question(&self) -> Option<Vec<u8>> {
        OcspRequest { tbs: TbsRequest { list: vec![OneRequest { cert: self.clone() }] } }.to_der().ok()
    }
}

/// Takes an answer apart.
pub fn read(der: &[u8]) -> Result<Answer, ReadError> {
    let outer = OcspResponse::from_der(der).map_err(|_| ReadError::Malformed)?;
    match (outer.status.tag(), outer.status.value()) {
        (Tag::Enumerated, [SUCCESSFUL]) => {}
        (Tag::Enumerated, [other]) => return Err(ReadError::Unanswered(*other)),
        _ => return Err(ReadError::Malformed),
    }
    outer.bytes.filter(|b| b.kind == BASIC).and_then(|b| basic(b.response.as_bytes())).ok_or(ReadError::Malformed)
}

fn basic(der: &[u8]) -> Option<Answer> {
    let signed = SignedAnswer::from_der(der).ok()?;
    let tbs = signed.tbs.to_der().ok()?;
    let data = ResponseData::from_der(&tbs).ok()?;
    if data.version != first_version() || signed.algorithm.tag() != Tag::Sequence || is_critical(&data.extensions) {
        return None;
    }
    let statements: Option<Vec<_>> = data.responses.into_iter().map(statement).collect();
    let certificates: Result<Vec<_>, _> = signed.certificates.unwrap_or_default().iter().map(Encode::to_der).collect();
    Some(Answer {
        responder: responder(data.responder)?,
        statements: statements?,
        algorithm: signed.algorithm.value().to_vec(),
        signature: signed.signature.as_bytes()?.to_vec(),
        certificates: certificates.ok()?,
        tbs,
    })
}

fn responder(id: AnyRef<'_>) -> Option<Responder> {
    match id.tag() {
        Tag::ContextSpecific { constructed: true, number: TagNumber(1) } => {
            AnyRef::from_der(id.value()).ok().filter(|name| name.tag() == Tag::Sequence)?;
            Some(Responder::Name(id.value().to_vec()))
        }
        Tag::ContextSpecific { constructed: true, number: TagNumber(2) } => {
            Some(Responder::Key(<&OctetStringRef>::from_der(id.value()).ok()?.as_bytes().to_vec()))
        }
        _ => None,
    }
}

fn statement(single: SingleResponse) -> Option<Statement> {
    if is_critical(&single.extensions) {
        return None;
    }
    let status = match (single.status.tag(), single.status.value()) {
        (Tag::ContextSpecific { constructed: false, number: TagNumber(0) }, []) => Status::Good,
        (Tag::ContextSpecific { constructed: true, number: TagNumber(1) }, _) => Status::Revoked,
        (Tag::ContextSpecific { constructed: false, number: TagNumber(2) }, []) => Status::Unknown,
        _ => return None,
    };
    let next_update = match single.next_update {
        Some(next) => Some(time(next)?),
        None => None,
    };
    Some(Statement { of: single.cert, status, this_update: time(single.this_update)?, next_update })
}

fn time(time: GeneralizedTime) -> Option<Time> {
    Some(Time::from_unix(i64::try_from(time.to_unix_duration().as_secs()).ok()?))
}

/// None that may be critical is known here.
fn is_critical(extensions: &Option<Vec<Extension>>) -> bool {
    extensions.iter().flatten().any(|e| e.critical)
}

fn first_version() -> u8 {
    0
}

/// SHA-1, for names only.
pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_what_openssl_asks() {
        let serial = SerialNumber::new(&[7]).unwrap();
        let question = CertId::new(b"name", b"key", serial).unwrap().question().unwrap();
        let want = format!(
            "30423040303e303c303a300906052b0e03021a05000414{}0414{}020107",
            hex::encode(sha1(b"name")),
            hex::encode(sha1(b"key"))
        );
        assert_eq!(hex::encode(question), want);
    }

    #[test]
    fn what_is_no_answer_is_told_apart_from_no_answer_given() {
        for (hex_text, want) in [
            ("30030a0103", ReadError::Unanswered(3)),
            ("30030a0106", ReadError::Unanswered(6)),
            ("30030a0100", ReadError::Malformed),
            ("3003020103", ReadError::Malformed),
            ("30040a020003", ReadError::Malformed),
            ("30030a010300", ReadError::Malformed),
            ("", ReadError::Malformed),
        ] {
            assert_eq!(read(&hex::decode(hex_text).unwrap()).err(), Some(want), "{hex_text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_no_answer(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            proptest::prop_assert!(read(&bytes).is_err());
        }
    }
}
