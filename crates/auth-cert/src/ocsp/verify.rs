//! Whether an answer may be believed (RFC 6960 §3.2): that it speaks of this certificate, that its signer may speak for the
//! issuer, and that it is fresh.
//!
//! Who may speak: the issuer itself, a certificate that the role names (`ocsp_ca_certificates`), or a responder whose
//! certificate one of those issued, for OCSP signing by name. Nothing that only comes along with the answer is believed
//! (CVE-2024-2660).

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use secret::Time;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::{Decode, Encode};

use crate::crl::Crls;
use crate::ocsp::wire::{self, Answer, CertId, ReadError, Responder, Statement, sha1};
use crate::presented::{Presented, serial_of};

/// `id-kp-OCSPSigning` (1.3.6.1.5.5.7.3.9), content of its DER.
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];
/// How far a responder's clock may be ahead of ours.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);
/// Oldest answer without `nextUpdate` that is believed when the role sets no age: such a responder signs when it is asked, so
/// an older answer is an old one played again.
const UNBOUNDED_AGE_MAX: Duration = Duration::from_secs(3600);
/// Certificates of an answer that are looked at; a responder needs one.
const CERTIFICATES_MAX: usize = 8;

/// Whose word counts, and for which certificate.
pub struct Question<'a> {
    /// The certificate that is asked about.
    pub id: CertId,
    /// The issuer first, then what the role names besides. DER.
    pub authorities: Vec<Presented>,
    /// Oldest `thisUpdate`; zero for no bound of the role.
    pub age_max: Duration,
    /// The time of the question.
    pub now: Time,
    /// What the mount's lists revoke: a responder may be revoked too.
    pub crls: &'a Crls,
}

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// It cannot be read, or says that there is none.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It speaks of others, or twice.
    #[error("the answer is not about this certificate alone")]
    OtherCertificate,
    /// Signed by nobody who may speak for the issuer, or not at all.
    #[error("no responder that may speak for the issuer signed the answer")]
    Signature,
    /// From the future.
    #[error("the answer is not valid yet")]
    Early,
    /// Too old.
    #[error("the answer is stale")]
    Stale,
}

/// Names and key of a certificate, as answers refer to them.
struct Named {
    subject: Vec<u8>,
    key_hash: Vec<u8>,
}

impl Named {
    fn of(der: &[u8]) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = read.tbs_certificate();
        let key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
        Some(Self { subject: tbs.subject().to_der().ok()?, key_hash: sha1(key) })
    }

    fn is(&self, responder: &Responder) -> bool {
        match responder {
            Responder::Name(name) => *name == self.subject,
            Responder::Key(hash) => *hash == self.key_hash,
        }
    }
}

/// What the answer says of the certificate, if it may be believed.
pub fn believe(der: &[u8], question: &Question<'_>) -> Result<Statement, Disbelief> {
    let answer = wire::read(der)?;
    if !is_signed(&answer, question) {
        return Err(Disbelief::Signature);
    }
    let mut about = answer.statements.into_iter().filter(|s| s.of.names_same(&question.id));
    let (Some(statement), None) = (about.next(), about.next()) else { return Err(Disbelief::OtherCertificate) };
    fresh(&statement, question)?;
    Ok(statement)
}

fn fresh(statement: &Statement, question: &Question<'_>) -> Result<(), Disbelief> {
    let now = question.now;
    if statement.this_update > now.plus(CLOCK_SKEW_MAX) {
        return Err(Disbelief::Early);
    }
    let age = now.since(statement.this_update);
    let age_max = match (question.age_max, statement.next_update) {
        (Duration::ZERO, None) => UNBOUNDED_AGE_MAX,
        (Duration::ZERO, Some(_)) => Duration::MAX,
        (bound, _) => bound,
    };
    let over = statement.next_update.is_some_and(|next| next < now || next < statement.this_update);
    if over || age > age_max { Err(Disbelief::Stale) } else { Ok(()) }
}

fn is_signed(answer: &Answer, question: &Question<'_>) -> bool {
    let by = |der: &[u8]| {
        Named::of(der).is_some_and(|named| named.is(&answer.responder))
            && verifies(der, &answer.algorithm, &answer.tbs, &answer.signature)
    };
    question.authorities.iter().any(|authority| authority.is_current(question.now) && by(&authority.der))
        || answer.certificates.iter().take(CERTIFICATES_MAX).any(|der| may_speak(der, question) && by(der))
}

/// Whether an authority issued the certificate for OCSP signing.
fn may_speak(der: &[u8], question: &Question<'_>) -> bool {
    let responder_der = CertificateDer::from(der);
    let Ok(responder) = EndEntityCert::try_from(&responder_der) else { return false };
    if serial_of(der).is_none_or(|serial| question.crls.revoked(&serial)) {
        return false;
    }
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(question.now.unix()).unwrap_or_default()));
    question.authorities.iter().filter(|a| a.is_ca && a.is_current(question.now)).any(|authority| {
        let authority_der = CertificateDer::from(authority.der.as_slice());
        let Ok(anchor) = anchor_from_trusted_cert(&authority_der) else { return false };
        let usage = KeyUsage::required(OCSP_SIGNING);
        responder.verify_for_usage(ALL_VERIFICATION_ALGS, &[anchor], &[], time, usage, None, None).is_ok()
    })
}

/// Whether the key of the certificate `signer` made the signature. `algorithm` is the content of the algorithm identifier.
fn verifies(signer: &[u8], algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let signer_der = CertificateDer::from(signer);
    let Ok(signer) = EndEntityCert::try_from(&signer_der) else { return false };
    ALL_VERIFICATION_ALGS
        .iter()
        .filter(|known| known.signature_alg_id().as_ref() == algorithm)
        .any(|known| signer.verify_signature(*known, message, signature).is_ok())
}

/// Whether `issuer` is a CA that issued `certificate`: name and signature.
pub fn is_issuer(issuer: &Presented, certificate: &[u8]) -> bool {
    let Ok(read) = x509_cert::Certificate::from_der(certificate) else { return false };
    let Some(named) = Named::of(&issuer.der) else { return false };
    let parts = (read.tbs_certificate().to_der(), read.tbs_certificate().issuer().to_der(), read.signature_algorithm().to_der());
    let (Ok(tbs), Ok(name), Ok(algorithm)) = parts else { return false };
    let Ok(algorithm) = x509_cert::der::asn1::AnyRef::from_der(&algorithm) else { return false };
    let signature = read.signature().as_bytes().unwrap_or_default();
    issuer.is_ca && name == named.subject && verifies(&issuer.der, algorithm.value(), &tbs, signature)
}

/// How responders know a certificate.
pub fn id_of(certificate: &[u8], issuer: &Presented) -> Option<CertId> {
    let read = x509_cert::Certificate::from_der(certificate).ok()?;
    let issuer = x509_cert::Certificate::from_der(&issuer.der).ok()?;
    let key = issuer.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    let tbs = read.tbs_certificate();
    CertId::new(&tbs.issuer().to_der().ok()?, key, tbs.serial_number().clone())
}
