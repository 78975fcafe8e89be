//! A mounted engine with an authority, and eyes for its answers.
#![allow(dead_code, reason = "each test file uses its part")]

use api_types::{Map, Operation};
use der::Decode;
use engine::testing::Harness;
use engine::{Call, Engine, EngineError, Fields, Mount, Outcome, Request, System};
use engine_pki::Pki;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::View;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

pub type Pkis = Harness<Pki>;

/// An engine without an issuer; certificates live a day unless they are told otherwise.
pub fn bare() -> Pkis {
    let mut h = Harness::new(Pki::new());
    h.mount.default_lease_ttl = std::time::Duration::from_secs(24 * 3600);
    h
}

/// An engine with an EC root named `root`.
pub async fn with_root() -> Pkis {
    let mut h = bare();
    let root = json!({ "common_name": "Root", "key_type": "ec", "issuer_name": "root", "ttl": "700h" });
    h.data(Operation::Update, "root/generate/internal", root).await.unwrap();
    h
}

/// Writes a role.
pub async fn role(h: &mut Pkis, name: &str, fields: Value) {
    let mut all = json!({ "key_type": "ec" });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    h.data(Operation::Update, &format!("roles/{name}"), all).await.unwrap();
}

/// Posts and takes `data`.
pub async fn post(h: &mut Pkis, path: &str, data: Value) -> Map {
    h.data(Operation::Update, path, data).await.unwrap()
}

/// Posts and takes the error.
pub async fn refused(h: &mut Pkis, path: &str, data: Value) -> String {
    h.error(Operation::Update, path, data).await
}

/// Reads and takes `data`.
pub async fn get(h: &mut Pkis, path: &str) -> Map {
    h.data(Operation::Read, path, json!({})).await.unwrap()
}

/// A request with these names, made by an engine of its own; the key is new.
pub async fn csr(fields: Value) -> String {
    let mut all = json!({ "key_type": "ec" });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    text(&post(&mut bare(), "intermediate/generate/internal", all).await, "csr")
}

pub fn text(map: &Map, name: &str) -> String {
    map.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {map:?}")).to_owned()
}

/// The body of a raw answer.
pub fn body(answer: Outcome) -> Vec<u8> {
    match answer.unwrap().unwrap().kind {
        engine::Kind::Bare { body, .. } => body,
        other => panic!("not raw: {other:?}"),
    }
}

pub fn der_of(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let inner: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(inner).unwrap()
}

pub fn read(pem: &str) -> Certificate {
    Certificate::from_der(&der_of(pem)).unwrap()
}

/// Alternative names as `DNS:x`, `email:x`, `URI:x`, `IP`, `other`; sorted.
pub fn names(certificate: &Certificate) -> Vec<String> {
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>().unwrap();
    let mut out: Vec<String> = found
        .map(|(_, san)| san.0)
        .unwrap_or_default()
        .iter()
        .map(|n| match n {
            GeneralName::DnsName(n) => format!("DNS:{}", n.as_str()),
            GeneralName::Rfc822Name(n) => format!("email:{}", n.as_str()),
            GeneralName::UniformResourceIdentifier(n) => format!("URI:{}", n.as_str()),
            GeneralName::IpAddress(_) => "IP".to_owned(),
            _ => "other".to_owned(),
        })
        .collect();
    out.sort();
    out
}

struct Nothing;

impl System for Nothing {
    fn mount_by_accessor(&self, _: &str) -> Option<Arc<Mount>> {
        None
    }
}

/// Ends a lease.
pub async fn end_lease(h: &mut Pkis, internal: &Map) -> Result<(), EngineError> {
    let request = Request::new(Operation::Revoke, "test/");
    let mut call = Call {
        operation: Operation::Revoke,
        request: &request,
        path: "",
        fields: Fields::default(),
        view: View::new(&mut h.txn, ""),
        mount: &h.mount,
        caller: &h.caller,
        now: h.now,
        entropy: &h.entropy,
        system: &Nothing,
    };
    h.engine.revoke_secret(&mut call, internal).await
}
