//! Logins, renewals, roles and revocation lists as the core sees them, with chains that `rcgen` makes.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use api_types::Operation::{Delete, List, Read, Update};
use auth_cert::{Cert, Fetch, FetchError};
use engine::BoxFuture;
use engine::testing::Harness;
use rcgen::{
    BasicConstraints, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use secret::Time;
use serde_json::{Value, json};

use common::{Authority, CONSTRAINED, UNTRUSTED, authority, client, login, params, renew, request, root, signed, trust};

/// A published list that tests change.
#[derive(Default)]
struct Published(Mutex<Option<Vec<u8>>>);

impl Fetch for Published {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        let body = self.0.lock().unwrap().clone();
        Box::pin(async move { body.ok_or_else(|| FetchError("nobody answers".into())) })
    }

    fn ask_ocsp<'a>(&'a self, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async { Err(FetchError("no responder".into())) })
    }
}

fn scene() -> (Harness<Cert>, Arc<Published>) {
    let published = Arc::new(Published::default());
    let h = Harness::new(Cert::new(Arc::clone(&published) as Arc<dyn Fetch>));
    (h, published)
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_logs_in_with_vaults_metadata() {
    let (mut h, _) = scene();
    let root = root("root");
    let mut p = client("web.test", 258);
    p.key_identifier_method = KeyIdMethod::PreSpecified(vec![0xab, 0x01]);
    p.use_authority_key_identifier_extension = true;
    p.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], b"\x0c\x05hello".to_vec())];
    let leaf = signed(&p, &root);
    trust(&mut h, "WEB", &root.pem(), json!({"token_policies": "p1", "allowed_metadata_extensions": "1.2.3.4,1.9.9"})).await;
    for name in ["", "web", "WEB"] {
        let auth = login(&mut h, &[&leaf], name).await.unwrap();
        assert_eq!(auth.display_name, "web");
        assert_eq!(auth.policies, ["p1"]);
        let alias = auth.alias.unwrap();
        assert_eq!((alias.name.as_str(), alias.metadata.len()), ("web.test", 0));
        let keys: Vec<_> = auth.metadata.keys().map(String::as_str).collect();
        assert_eq!(keys, ["1-2-3-4", "authority_key_id", "cert_name", "common_name", "serial_number", "subject_key_id"]);
        assert_eq!((auth.metadata["1-2-3-4"].as_str(), auth.metadata["serial_number"].as_str()), ("hello", "258"));
        assert_eq!(auth.metadata["cert_name"], "web");
    }
    h.call(Update, "config", json!({"enable_identity_alias_metadata": true})).await.unwrap();
    let alias = login(&mut h, &[&leaf], "").await.unwrap().alias.unwrap();
    assert_eq!(alias.metadata["common_name"], "web.test");
}

#[tokio::test]
async fn cve_class_j_what_no_role_trusts_is_refused() {
    let (mut h, _) = scene();
    let (good, bad) = (root("root"), root("root"));
    trust(&mut h, "web", &good.pem(), json!({})).await;
    assert!(login(&mut h, &[&signed(&client("a", 2), &good)], "").await.is_ok());
    assert_eq!(login(&mut h, &[&signed(&client("a", 2), &good)], "none").await.err().as_deref(), Some(UNTRUSTED));
    let mut expired = client("a", 2);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let mut later = client("a", 2);
    later.not_before = rcgen::date_time_ymd(2039, 1, 1);
    let mut server = client("a", 2);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (what, cert) in [
        ("another authority of the same name", signed(&client("a", 2), &bad)),
        ("expired", signed(&expired, &good)),
        ("not yet valid", signed(&later, &good)),
        ("for servers", signed(&server, &good)),
        ("signed by itself", client("a", 2).self_signed(&KeyPair::generate().unwrap()).unwrap()),
    ] {
        assert_eq!(login(&mut h, &[&cert], "").await.err().as_deref(), Some(UNTRUSTED), "{what}");
    }
    // A chain over an intermediate that may not sign.
    let leaf_key = KeyPair::generate().unwrap();
    let middle = client("middle", 3).signed_by(&leaf_key, &good).unwrap();
    let middle_issuer = Issuer::new(client("middle", 3), leaf_key);
    let below = signed(&client("a", 4), &middle_issuer);
    assert_eq!(login(&mut h, &[&below, &middle], "").await.err().as_deref(), Some(UNTRUSTED));
    let mut plain = request(&[], json!({}));
    assert_eq!(h.send(plain.clone(), "login").await.unwrap_err().to_string(), "client certificate must be supplied");
    plain.connection.tls = false;
    assert_eq!(h.send(plain, "login").await.unwrap_err().to_string(), "tls connection required");
    let mut rubbish = request(&[], json!({}));
    rubbish.connection.client_certificates = vec![b"rubbish".to_vec()];
    assert_eq!(h.send(rubbish, "login").await.unwrap_err().to_string(), UNTRUSTED);
}

#[tokio::test]
async fn cve_class_j_a_trusted_leaf_is_that_certificate_and_not_its_key_or_name() {
    let (mut h, _) = scene();
    let key = KeyPair::generate().unwrap();
    let own = client("web", 7).self_signed(&key).unwrap();
    trust(&mut h, "web", &own.pem(), json!({})).await;
    assert!(login(&mut h, &[&own], "").await.is_ok());
    let mut signs = authority("web", 7);
    signs.key_usages.clear();
    let as_issuer = Issuer::new(client("web", 7), KeyPair::generate().unwrap());
    for (what, cert) in [
        ("same key, other name", client("admin", 8).self_signed(&key).unwrap()),
        ("same key, same name, another serial", client("web", 9).self_signed(&key).unwrap()),
        ("same name and serial, another key", client("web", 7).self_signed(&KeyPair::generate().unwrap()).unwrap()),
        ("signed by its name", signed(&client("a", 2), &as_issuer)),
        ("the same key as an authority", signs.self_signed(&key).unwrap()),
    ] {
        assert_eq!(login(&mut h, &[&cert], "").await.err().as_deref(), Some(UNTRUSTED), "{what}");
    }
    // A leaf that is trusted does not vouch for what its key signs.
    let issuer = Issuer::new(client("web", 7), key);
    let child = signed(&client("admin", 3), &issuer);
    assert_eq!(login(&mut h, &[&child, &own], "").await.err().as_deref(), Some(UNTRUSTED));
    h.now = Time::from_unix(2_300_000_000);
    assert_eq!(login(&mut h, &[&own], "").await.err().as_deref(), Some(UNTRUSTED), "expired by now");
}

#[tokio::test]
async fn cve_class_j_an_authority_is_held_to_its_validity_and_path_length() {
    let (mut h, _) = scene();
    let mut p = authority("root", 1);
    p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = CertifiedIssuer::self_signed(p, KeyPair::generate().unwrap()).unwrap();
    let middle = CertifiedIssuer::signed_by(authority("middle", 2), KeyPair::generate().unwrap(), &short).unwrap();
    let (direct, below) = (signed(&client("a", 3), &short), signed(&client("a", 4), &middle));
    trust(&mut h, "web", &short.pem(), json!({})).await;
    assert!(login(&mut h, &[&direct], "").await.is_ok());
    assert_eq!(login(&mut h, &[&below, middle.as_ref()], "").await.err().as_deref(), Some(UNTRUSTED));
    // Trusting the intermediate itself is enough, and without it no chain is found.
    trust(&mut h, "web", &middle.pem(), json!({})).await;
    assert!(login(&mut h, &[&below], "").await.is_ok());
    let mut old = authority("old", 1);
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let old = CertifiedIssuer::self_signed(old, KeyPair::generate().unwrap()).unwrap();
    trust(&mut h, "web", &old.pem(), json!({})).await;
    assert_eq!(login(&mut h, &[&signed(&client("a", 3), &old)], "").await.err().as_deref(), Some(UNTRUSTED));
}

#[tokio::test]
async fn every_constraint_must_be_met() {
    let (mut h, _) = scene();
    let root = root("root");
    let mut p = client("web.test", 2);
    p.distinguished_name.push(DnType::OrganizationalUnitName, "eng");
    p.distinguished_name.push(DnType::OrganizationName, "Org");
    p.subject_alt_names = vec![
        SanType::DnsName("a.test".try_into().unwrap()),
        SanType::Rfc822Name("x@y.z".try_into().unwrap()),
        SanType::URI("spiffe://a/b".try_into().unwrap()),
    ];
    p.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], b"\x0c\x05hello".to_vec())];
    let leaf = signed(&p, &root);
    for (field, pattern, good) in [
        ("allowed_names", "nope", false),
        ("allowed_names", "*.test", true),
        ("allowed_names", "x@*", true),
        ("allowed_names", "spiffe://*", false),
        ("allowed_common_names", "a.test", false),
        ("allowed_common_names", "WEB.test", false),
        ("allowed_common_names", "web.*", true),
        ("allowed_dns_sans", "b*", false),
        ("allowed_dns_sans", "b*,a.*", true),
        ("allowed_email_sans", "x@*", true),
        ("allowed_email_sans", "z@*", false),
        ("allowed_uri_sans", "spiffe://a/*", true),
        ("allowed_uri_sans", "spiffe://b/*", false),
        ("allowed_organizational_units", "en*", true),
        ("allowed_organizational_units", "ops", false),
        ("allowed_organizations", "Org", true),
        ("allowed_organizations", "Other", false),
        ("required_extensions", "1.2.3.4:hello", true),
        ("required_extensions", "1.2.3.4:*,1.2.3.4:h*", true),
        ("required_extensions", "1.2.3.4:*,1.2.3.5:*", false),
        ("required_extensions", "1.2.3.4:x", false),
        ("required_extensions", "hex:1.2.3.4:0C05*", true),
        ("required_extensions", "hex:1.2.3.4:0c06*", false),
        ("required_extensions", "garbage", false),
    ] {
        h.call(Delete, "certs/web", json!({})).await.unwrap();
        trust(&mut h, "web", &root.pem(), json!({ field: pattern })).await;
        let got = login(&mut h, &[&leaf], "").await;
        assert_eq!(got.as_ref().err().map(String::as_str), (!good).then_some(CONSTRAINED), "{field} {pattern}");
    }
    h.call(Delete, "certs/web", json!({})).await.unwrap();
    trust(&mut h, "web", &root.pem(), json!({"token_bound_cidrs": "10.0.0.0/8"})).await;
    assert_eq!(login(&mut h, &[&leaf], "").await.err().as_deref(), Some("permission denied"));
}

#[tokio::test]
async fn cve_class_j_renewal_needs_the_very_certificate_while_its_role_trusts_it() {
    let (mut h, _) = scene();
    let root = root("root");
    let key = KeyPair::generate().unwrap();
    let leaf = client("web", 2).signed_by(&key, &root).unwrap();
    let same_key = client("web", 3).signed_by(&key, &root).unwrap();
    let sibling = signed(&client("web", 2), &root);
    trust(&mut h, "web", &root.pem(), json!({"token_policies": "p", "token_ttl": 60})).await;
    let auth = login(&mut h, &[&leaf], "").await.unwrap();
    assert_eq!(renew(&mut h, &[&leaf], &auth).unwrap().ttl, Duration::from_secs(60));
    for (what, chain) in [("none", vec![]), ("same key", vec![&same_key]), ("sibling", vec![&sibling])] {
        assert!(renew(&mut h, &chain, &auth).is_err(), "{what}");
    }
    h.call(Update, "config", json!({"disable_binding": true})).await.unwrap();
    assert!(renew(&mut h, &[&sibling], &auth).is_ok());
    h.call(Update, "config", json!({"disable_binding": false})).await.unwrap();
    let now = h.now;
    h.now = Time::from_unix(2_300_000_000);
    assert!(renew(&mut h, &[&leaf], &auth).is_err(), "expired by now");
    h.now = now;
    h.call(Update, "crls/x", json!({"crl": crl(&root, &[2], 2039)})).await.unwrap();
    assert!(renew(&mut h, &[&leaf], &auth).is_err(), "revoked by now");
    h.call(Delete, "crls/x", json!({})).await.unwrap();
    assert!(renew(&mut h, &[&leaf], &auth).is_ok());
    h.call(Update, "certs/web", json!({"token_policies": "q"})).await.unwrap();
    assert_eq!(renew(&mut h, &[&leaf], &auth).unwrap_err().to_string(), "policies have changed, not renewing");
    h.call(Delete, "certs/web", json!({})).await.unwrap();
    assert!(renew(&mut h, &[&leaf], &auth).is_err(), "no role");
}

fn crl(by: &Authority, serials: &[u64], next_year: i32) -> String {
    let revoked = serials.iter().map(|s| RevokedCertParams {
        serial_number: SerialNumber::from(*s),
        revocation_time: rcgen::date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(next_year, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(by).unwrap().pem().unwrap()
}

#[tokio::test]
async fn cve_class_j_a_revoked_certificate_is_refused_from_the_first_request_on() {
    let (mut h, published) = scene();
    let root = root("root");
    let middle = CertifiedIssuer::signed_by(authority("middle", 40), KeyPair::generate().unwrap(), &root).unwrap();
    let (leaf, below) = (signed(&client("a", 2), &root), signed(&client("a", 3), &middle));
    trust(&mut h, "web", &root.pem(), json!({})).await;
    h.call(Update, "crls/X", json!({"crl": crl(&root, &[2, 99], 2025)})).await.unwrap();
    assert_eq!(h.data(Read, "crls/x", json!({})).await.unwrap()["serials"], json!({"2": {}, "99": {}}));
    assert_eq!(h.data(List, "crls", json!({})).await.unwrap()["keys"], json!(["x"]));
    assert!(login(&mut h, &[&below, middle.as_ref()], "").await.is_ok());
    // Another instance over the same storage, as after a start.
    let mut started = Harness { engine: Cert::new(published.clone()), ..scene().0 };
    std::mem::swap(&mut started.txn, &mut h.txn);
    assert_eq!(login(&mut started, &[&leaf], "").await.err().as_deref(), Some(CONSTRAINED));
    started.call(Update, "crls/x", json!({"crl": crl(&root, &[40], 2025)})).await.unwrap();
    assert_eq!(login(&mut started, &[&below, middle.as_ref()], "").await.err().as_deref(), Some(CONSTRAINED), "intermediate");
    assert!(login(&mut started, &[&leaf], "").await.is_ok());
    started.call(Delete, "crls/x", json!({})).await.unwrap();
    for op in [Read, Delete] {
        assert_eq!(started.error(op, "crls/x", json!({})).await, "no such CRL x");
    }
}

#[tokio::test]
async fn a_published_list_is_fetched_anew_when_it_is_due_and_kept_when_nobody_answers() {
    let (mut h, published) = scene();
    let root = root("root");
    let leaf = signed(&client("a", 2), &root);
    trust(&mut h, "web", &root.pem(), json!({})).await;
    assert!(h.error(Update, "crls/x", json!({"url": "http://c.test/x"})).await.contains("nobody answers"));
    *published.0.lock().unwrap() = Some(crl(&root, &[9], 2028).into_bytes());
    h.call(Update, "crls/x", json!({"url": "http://c.test/x"})).await.unwrap();
    assert!(login(&mut h, &[&leaf], "").await.is_ok());
    *published.0.lock().unwrap() = Some(crl(&root, &[2], 2029).into_bytes());
    assert!(login(&mut h, &[&leaf], "").await.is_ok(), "not due");
    h.now = Time::from_unix(1_845_000_000); // June 2028
    assert_eq!(login(&mut h, &[&leaf], "").await.err().as_deref(), Some(CONSTRAINED));
    *published.0.lock().unwrap() = None;
    h.now = Time::from_unix(1_900_000_000);
    assert_eq!(login(&mut h, &[&leaf], "").await.err().as_deref(), Some(CONSTRAINED), "the old list stays");
}

#[tokio::test]
async fn roles_and_settings_are_refused_in_vaults_words() {
    let (mut h, _) = scene();
    let root = root("root").pem();
    let mut server = params("s", 2);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = server.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    for (path, data, text) in [
        ("certs/x", json!({}), "failed to parse certificate"),
        ("certs/x", json!({"certificate": "garbage"}), "failed to parse certificate"),
        (
            "certs/x",
            json!({"certificate": format!("{root}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}),
            "failed to parse certificate",
        ),
        (
            "certs/x",
            json!({"certificate": server}),
            "nonCA certificates should have TLS client authentication set as an extended key usage",
        ),
        (
            "certs/x",
            json!({"certificate": root, "token_ttl": "2h", "token_max_ttl": "1h"}),
            "'token_ttl' cannot be greater than 'token_max_ttl'",
        ),
        ("certs/x", json!({"certificate": root, "ocsp_max_retries": -1}), "ocsp_max_retries can not be a negative number"),
        ("config", json!({"ocsp_cache_size": 1}), "invalid cache size, must be >= 2 and <= 100000"),
        ("config", json!({"role_cache_size": 10_001}), "invalid role cache size, must be <= 10000 or -1 to disable role caching"),
        ("crls/x", json!({}), "one of 'crl' or 'url' must be provided"),
        ("crls/x", json!({"crl": "zz"}), "failed to parse CRL: asn1: structure error"),
        ("crls/x", json!({"url": ":"}), "invalid CRL url: relative URL without a base"),
        ("crls/x", json!({"url": "ftp://x/"}), "unsupported protocol scheme \"ftp\""),
        ("crls/x", json!({"url": "file:///etc/passwd"}), "unsupported protocol scheme \"file\""),
    ] {
        assert_eq!(h.error(Update, path, data.clone()).await, text, "{path} {data}");
    }
    assert!(h.call(Read, "certs/x", json!({})).await.unwrap().is_none());
    let long = h.call(Update, "certs/x", json!({"certificate": root, "ttl": "99999h"})).await.unwrap().unwrap();
    assert_eq!(long.warnings, ["Given ttl of 359996400 seconds is greater than current mount/system default of 2764800 seconds"]);
    let shown = h.data(Read, "certs/x", json!({})).await.unwrap();
    assert_eq!((&shown["ttl"], &shown["token_ttl"]), (&json!(359_996_400), &json!(359_996_400)));
    assert_eq!(
        (&shown["display_name"], &shown["allowed_names"], &shown["certificate"]),
        (&json!("x"), &Value::Null, &json!(root))
    );
}
