//! OCSP answers, DER by hand, and responders that give them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_cert::{Fetch, FetchError};
use der::asn1::{AnyRef, GeneralizedTime};
use der::{Decode, Encode};
use engine::BoxFuture;
use rcgen::{CustomExtension, KeyPair, SigningKey};

use super::{Authority, client};

/// 2025-10-09.
pub const NOW: i64 = 1_760_000_000;
pub const HOUR: i64 = 3600;
pub const GOOD: &[u8] = &[0x80, 0];
pub const UNKNOWN: &[u8] = &[0x82, 0];

pub type Answering = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, FetchError> + Send + Sync>;

/// Responders by URL; they are handed the `CertID` of the question.
#[derive(Default)]
pub struct Responders {
    pub answering: Mutex<HashMap<String, Answering>>,
    pub asked: Mutex<Vec<String>>,
}

impl Responders {
    pub fn set(&self, url: &str, answering: impl Fn(&[u8]) -> Result<Vec<u8>, FetchError> + Send + Sync + 'static) {
        self.answering.lock().unwrap().insert(url.to_owned(), Arc::new(answering));
    }

    pub fn say(&self, url: &str, answer: Answer) {
        self.set(url, move |id| Ok(answer.der(id)));
    }

    /// How many questions came since the last call.
    pub fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

impl Fetch for Responders {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async { Err(FetchError("no list".into())) })
    }

    fn ask_ocsp<'a>(&'a self, url: &'a str, question: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        self.asked.lock().unwrap().push(url.to_owned());
        let answering = self.answering.lock().unwrap().get(url).cloned();
        let said = answering.map_or_else(|| Err(FetchError("connection refused".into())), |a| a(cert_id(question)));
        Box::pin(async move {
            tokio::task::yield_now().await;
            said
        })
    }
}

pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap();
    let mut out = vec![tag];
    match length {
        0..128 => out.push(u8::try_from(length).unwrap()),
        128..256 => out.extend([0x81, u8::try_from(length).unwrap()]),
        _ => out.extend([&[0x82][..], &length.to_be_bytes()].concat()),
    }
    out.extend(content);
    out
}

/// `OCSPRequest { tbsRequest { requestList { Request { CertID } } } }`, the only one.
pub fn cert_id(question: &[u8]) -> &[u8] {
    let mut inner = question;
    for _ in 0..4 {
        inner = AnyRef::from_der(inner).unwrap().value();
    }
    inner
}

pub fn time(unix: i64) -> Vec<u8> {
    GeneralizedTime::from_unix_duration(Duration::from_secs(unix.try_into().unwrap())).unwrap().to_der().unwrap()
}

pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

pub fn by_name(cert: &[u8]) -> Vec<u8> {
    let read = x509_cert::Certificate::from_der(cert).unwrap();
    tlv(0xa1, &[&read.tbs_certificate().subject().to_der().unwrap()])
}

pub fn by_key(cert: &[u8]) -> Vec<u8> {
    let read = x509_cert::Certificate::from_der(cert).unwrap();
    let bits = read.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    tlv(0xa2, &[&tlv(4, &[&sha1(bits)])])
}

pub fn revoked() -> Vec<u8> {
    tlv(0xa1, &[&time(NOW - 9 * HOUR)])
}

/// An answer to be made. Times are seconds from [`NOW`].
#[derive(Clone)]
pub struct Answer {
    pub key: Arc<KeyPair>,
    pub responder: Vec<u8>,
    pub status: Vec<u8>,
    pub this: i64,
    pub next: Option<i64>,
    pub certificates: Vec<Vec<u8>>,
    /// Changes the `CertID`.
    pub id: fn(Vec<u8>) -> Vec<u8>,
    /// Changes the whole after it is signed.
    pub spoil: fn(Vec<u8>) -> Vec<u8>,
    pub extensions: Vec<u8>,
}

impl Answer {
    pub fn new(key: &KeyPair, cert: &[u8], status: &[u8]) -> Self {
        Self {
            key: Arc::new(KeyPair::try_from(key.serialized_der()).unwrap()),
            responder: by_name(cert),
            status: status.to_vec(),
            this: -HOUR,
            next: Some(HOUR),
            certificates: Vec::new(),
            id: |id| id,
            spoil: |der| der,
            extensions: Vec::new(),
        }
    }

    pub fn by(issuer: &Authority, status: &[u8]) -> Self {
        Self::new(issuer.key(), issuer.der(), status)
    }

    pub fn der(&self, id: &[u8]) -> Vec<u8> {
        let next = self.next.map(|n| tlv(0xa0, &[&time(NOW + n)])).unwrap_or_default();
        let single = tlv(0x30, &[&(self.id)(id.to_vec()), &self.status, &time(NOW + self.this), &next]);
        let tbs = tlv(0x30, &[&self.responder, &time(NOW + self.this), &tlv(0x30, &[&single]), &self.extensions]);
        // ecdsa-with-SHA256
        let algorithm = tlv(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let signature = tlv(3, &[&[0], &self.key.sign(&tbs).unwrap()]);
        let certificates: Vec<&[u8]> = self.certificates.iter().map(Vec::as_slice).collect();
        let along = if certificates.is_empty() { vec![] } else { tlv(0xa0, &[&tlv(0x30, &certificates)]) };
        let basic = tlv(0x30, &[&tbs, &algorithm, &signature, &along]);
        let kind = [6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
        (self.spoil)(tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&tlv(0x30, &[&kind, &tlv(4, &[&basic])])])]))
    }
}

/// A client that names responders.
pub fn with_aia(name: &str, serial: u64, urls: &[&str]) -> rcgen::CertificateParams {
    let one = |url: &&str| tlv(0x30, &[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1], &tlv(0x86, &[url.as_bytes()])]);
    let all: Vec<Vec<u8>> = urls.iter().map(one).collect();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let mut p = client(name, serial);
    p.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tlv(0x30, &all))];
    p
}
