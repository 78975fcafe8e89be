//! Chains that `rcgen` makes, and logins with them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "helpers of tests may fail loudly; no test needs all of them"
)]

pub mod answers;

use api_types::Operation::Update;
use auth_cert::Cert;
use engine::testing::Harness;
use engine::{Auth, EngineError, Request};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use serde_json::{Value, json};

pub const UNTRUSTED: &str = "invalid certificate or no client certificate supplied";
pub const CONSTRAINED: &str = "no chain matching all constraints could be found for this login certificate";

pub fn params(name: &str, serial: u64) -> CertificateParams {
    let mut p = CertificateParams::default();
    p.distinguished_name = rcgen::DistinguishedName::new();
    p.distinguished_name.push(DnType::CommonName, name);
    p.serial_number = Some(SerialNumber::from(serial));
    p.not_before = rcgen::date_time_ymd(2020, 1, 1);
    p.not_after = rcgen::date_time_ymd(2040, 1, 1);
    p
}

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str, serial: u64) -> CertificateParams {
    let mut p = params(name, serial);
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    p
}

pub fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority(name, 1), KeyPair::generate().unwrap()).unwrap()
}

pub fn client(name: &str, serial: u64) -> CertificateParams {
    let mut p = params(name, serial);
    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    p
}

pub fn signed(p: &CertificateParams, by: &Issuer<'_, KeyPair>) -> rcgen::Certificate {
    p.signed_by(&KeyPair::generate().unwrap(), by).unwrap()
}

pub fn request(chain: &[&rcgen::Certificate], data: Value) -> Request {
    let mut request = Request::new(Update, "test/login");
    request.connection.tls = true;
    request.connection.remote_addr = "127.0.0.1".parse().ok();
    request.connection.client_certificates = chain.iter().map(|c| c.der().to_vec()).collect();
    request.data = data.as_object().unwrap().clone();
    request
}

pub async fn login(h: &mut Harness<Cert>, chain: &[&rcgen::Certificate], name: &str) -> Result<Auth, String> {
    let answer = h.send(request(chain, json!({ "name": name })), "login").await.map_err(|e| e.to_string())?;
    Ok(*answer.unwrap().auth.unwrap())
}

pub async fn trust(h: &mut Harness<Cert>, name: &str, pem: &str, more: Value) {
    let mut data = json!({ "certificate": pem });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    h.call(Update, &format!("certs/{name}"), data).await.unwrap();
}

pub fn renew(h: &mut Harness<Cert>, chain: &[&rcgen::Certificate], auth: &Auth) -> Result<Auth, EngineError> {
    let request = request(chain, json!({}));
    let mut auth = auth.clone();
    h.renew_by(&request, &mut auth).map(|()| auth)
}
