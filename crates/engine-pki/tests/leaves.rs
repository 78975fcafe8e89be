//! What a role allows, through every way in. Known failures of this class: CVE-2023-0665, GHSA-g892-p242-8g86 (an address from
//! a request that the role forbids), CVE-2024-7594 (empty taken for any), CVE-2023-5077.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use api_types::Operation;
use common::{csr, names, post, read, refused, role, text, with_root};
use serde_json::{Value, json};
use std::time::Duration;

/// The same wish through `issue`, through `sign` with the names in the request, through `sign` with the names in the call,
/// and through the issuer's own paths. Answers what each said; empty for success.
async fn everywhere(h: &mut common::Pkis, wish: Value) -> Vec<String> {
    let mut out = Vec::new();
    for path in ["issue/r", "issuer/root/issue/r"] {
        out.push(outcome(h, path, wish.clone()).await);
    }
    let request = csr(wish.clone()).await;
    let plain = csr(json!({})).await;
    for path in ["sign/r", "issuer/root/sign/r"] {
        out.push(outcome(h, path, json!({ "csr": request })).await);
    }
    let mut sent = wish;
    sent["csr"] = plain.into();
    out.push(outcome(h, "sign/by-call", sent).await);
    out
}

async fn outcome(h: &mut common::Pkis, path: &str, data: Value) -> String {
    match h.call(Operation::Update, path, data).await {
        Ok(_) => String::new(),
        Err(e) => e.to_string(),
    }
}

async fn roles(h: &mut common::Pkis, fields: Value) {
    role(h, "r", fields.clone()).await;
    let mut by_call = fields;
    by_call["use_csr_common_name"] = false.into();
    by_call["use_csr_sans"] = false.into();
    role(h, "by-call", by_call).await;
}

#[tokio::test]
async fn every_constraint_holds_through_every_entry() {
    let mut h = with_root().await;
    let sub = json!({ "allowed_domains": "a.test", "allow_subdomains": true });
    let none = json!({});
    let no_ip = json!({ "allowed_domains": "a.test", "allow_subdomains": true, "allow_ip_sans": false });
    let any = json!({ "allow_any_name": true });
    for (role, wish, allowed) in [
        (&sub, json!({ "common_name": "x.a.test" }), true),
        (&sub, json!({ "common_name": "x.a.test", "alt_names": "y.a.test", "ip_sans": "10.0.0.1" }), true),
        (&sub, json!({ "common_name": "a.test" }), false),
        (&sub, json!({ "common_name": "x.b.test" }), false),
        (&sub, json!({ "common_name": "x.a.test", "alt_names": "x.b.test" }), false),
        (&sub, json!({ "common_name": "x.a.test", "alt_names": "m@b.test" }), false),
        (&sub, json!({ "common_name": "x.a.test", "uri_sans": "spiffe://a" }), false),
        (&sub, json!({ "common_name": "x.a.test", "other_sans": "1.2.3;UTF8:x" }), false),
        (&sub, json!({ "common_name": "x.a.test", "serial_number": "7" }), false),
        (&sub, json!({ "alt_names": "x.a.test" }), false),
        (&none, json!({ "common_name": "x.a.test" }), false),
        (&none, json!({ "common_name": "localhost", "alt_names": "x" }), false),
        (&no_ip, json!({ "common_name": "x.a.test", "ip_sans": "10.0.0.1" }), false),
        (&no_ip, json!({ "common_name": "x.a.test", "ip_sans": "::1" }), false),
        (&any, json!({ "common_name": "x.b.test", "alt_names": "m@c.test" }), true),
        (&any, json!({ "common_name": "x.b.test", "uri_sans": "spiffe://a" }), false),
        (&any, json!({ "common_name": "x.b.test", "other_sans": "1.2.3;UTF8:x" }), false),
    ] {
        roles(&mut h, role.clone()).await;
        for said in everywhere(&mut h, wish.clone()).await {
            assert_eq!(said.is_empty(), allowed, "{role} {wish}: {said}");
        }
    }
}

#[tokio::test]
async fn the_certificate_says_what_was_allowed_and_no_more() {
    let mut h = with_root().await;
    role(&mut h, "r", json!({ "allow_any_name": true, "ou": "Unit", "client_flag": false })).await;
    let wish = json!({ "common_name": "a.test", "alt_names": "b.test,m@a.test", "ip_sans": "10.0.0.1", "ttl": "1h" });
    let issued = post(&mut h, "issue/r", wish.clone()).await;
    let certificate = read(&text(&issued, "certificate"));
    assert_eq!(names(&certificate), ["DNS:a.test", "DNS:b.test", "IP", "email:m@a.test"]);
    assert_eq!(certificate.tbs_certificate().subject().to_string(), "CN=a.test,OU=Unit");
    assert!(certificate.tbs_certificate().get_extension::<x509_cert::ext::pkix::BasicConstraints>().unwrap().is_none());
    assert!(text(&issued, "private_key").starts_with("-----BEGIN EC PRIVATE KEY-----"));
    // A request may ask for what it likes: only names are taken, and a key is never answered.
    let asks = csr(json!({ "common_name": "a.test", "organization": "Evil", "add_basic_constraints": true })).await;
    let signed = post(&mut h, "sign/r", json!({ "csr": asks, "alt_names": "c.test" })).await;
    let certificate = read(&text(&signed, "certificate"));
    assert_eq!(names(&certificate), ["DNS:a.test"], "names of the call do not count when the request's do");
    assert_eq!(certificate.tbs_certificate().subject().to_string(), "CN=a.test,OU=Unit");
    assert!(certificate.tbs_certificate().get_extension::<x509_cert::ext::pkix::BasicConstraints>().unwrap().is_none());
    assert!(!signed.contains_key("private_key"));
}

#[tokio::test]
async fn verbatim_takes_names_but_makes_no_authority() {
    let mut h = with_root().await;
    let request =
        csr(json!({ "common_name": "any.test", "organization": "Corp", "alt_names": "b.test", "ip_sans": "10.0.0.1" })).await;
    for path in ["sign-verbatim", "sign-verbatim/", "issuer/root/sign-verbatim"] {
        let certificate = read(&text(&post(&mut h, path, json!({ "csr": request })).await, "certificate"));
        assert_eq!(names(&certificate), ["DNS:any.test", "DNS:b.test", "IP"], "{path}");
        assert_eq!(certificate.tbs_certificate().subject().to_string(), "CN=any.test,O=Corp");
        let aki = certificate.tbs_certificate().get_extension::<x509_cert::ext::pkix::AuthorityKeyIdentifier>().unwrap();
        assert!(aki.is_some(), "{path}");
    }
    let authority = csr(json!({ "common_name": "ca", "add_basic_constraints": true })).await;
    assert!(refused(&mut h, "sign-verbatim", json!({ "csr": authority })).await.contains("certificate authority"));
    assert_eq!(refused(&mut h, "sign-verbatim/none", json!({ "csr": request })).await, "unknown role: none");
    // Of a role, lives count.
    role(&mut h, "short", json!({ "max_ttl": "1h" })).await;
    let short = post(&mut h, "sign-verbatim/short", json!({ "csr": request, "ttl": "20h" })).await;
    assert_eq!(short["expiration"], json!(h.now.unix() + 3600));
}

#[tokio::test]
async fn keys_from_outside_must_fit_the_role() {
    let mut h = with_root().await;
    for (role_fields, key, allowed) in [
        (json!({ "key_type": "ec", "key_bits": 256 }), json!({ "key_type": "ec", "key_bits": 256 }), true),
        (json!({ "key_type": "ec", "key_bits": 256 }), json!({ "key_type": "ec", "key_bits": 384 }), true),
        (json!({ "key_type": "ec", "key_bits": 384 }), json!({ "key_type": "ec", "key_bits": 256 }), false),
        (json!({ "key_type": "ec" }), json!({ "key_type": "ed25519" }), false),
        (json!({ "key_type": "ed25519" }), json!({ "key_type": "ec" }), false),
        (json!({ "key_type": "rsa" }), json!({ "key_type": "ec" }), false),
        (json!({ "key_type": "any" }), json!({ "key_type": "ed25519" }), true),
    ] {
        let mut fields = role_fields.clone();
        fields["allow_any_name"] = true.into();
        role(&mut h, "r", fields).await;
        let mut wish = key.clone();
        wish["common_name"] = "a.test".into();
        let said = outcome(&mut h, "sign/r", json!({ "csr": csr(wish).await })).await;
        assert_eq!(said.is_empty(), allowed, "{role_fields} {key}: {said}");
    }
    role(&mut h, "r", json!({ "key_type": "any", "allow_any_name": true })).await;
    assert!(refused(&mut h, "issue/r", json!({ "common_name": "a" })).await.contains("only signing"));
    for bad in ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"] {
        assert!(refused(&mut h, "sign/r", json!({ "csr": bad })).await.contains("c"), "{bad}");
        assert!(refused(&mut h, "sign-verbatim", json!({ "csr": bad })).await.contains("c"), "{bad}");
    }
}

#[tokio::test]
async fn no_leaf_outlives_its_issuer_unless_told_so() {
    let mut h = with_root().await;
    h.mount.max_lease_ttl = Duration::from_secs(9000 * 3600);
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    let long = json!({ "common_name": "a", "ttl": "800h" });
    let end_of_root = h.now.unix() + 700 * 3600;
    assert!(
        refused(&mut h, "issue/r", long.clone()).await.starts_with("cannot satisfy request, as TTL would result in notAfter of ")
    );
    let absolute = json!({ "common_name": "a", "not_after": "2099-01-01T00:00:00Z" });
    assert!(refused(&mut h, "issue/r", absolute).await.contains("beyond the expiration of the CA certificate"));
    assert!(
        refused(&mut h, "issue/r", json!({ "common_name": "a", "not_after": "2020-01-01T00:00:00Z" })).await.contains("expired")
    );
    assert!(
        refused(&mut h, "issue/r", json!({ "common_name": "a", "not_after": "2027-01-01T00:00:00Z", "ttl": "1h" }))
            .await
            .contains("Both")
    );
    for (behavior, end) in [("truncate", end_of_root), ("permit", h.now.unix() + 800 * 3600)] {
        h.data(Operation::Patch, "issuer/root", json!({ "leaf_not_after_behavior": behavior })).await.unwrap();
        assert_eq!(post(&mut h, "issue/r", long.clone()).await["expiration"], json!(end), "{behavior}");
    }
    assert!(
        h.error(Operation::Patch, "issuer/root", json!({ "leaf_not_after_behavior": "odd" })).await.contains("Unknown value")
    );
}

#[tokio::test]
async fn an_issuer_signs_only_what_it_may() {
    let mut h = with_root().await;
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    let ask = json!({ "common_name": "a" });
    let request = csr(ask.clone()).await;
    let entries = [("issue/r", ask), ("sign/r", json!({ "csr": request })), ("sign-verbatim", json!({ "csr": request }))];
    h.data(Operation::Patch, "issuer/root", json!({ "usage": "read-only,crl-signing" })).await.unwrap();
    for (path, data) in &entries {
        assert!(refused(&mut h, path, data.clone()).await.starts_with("requested usage issuing-certificates"), "{path}");
    }
    h.data(Operation::Patch, "issuer/root", json!({ "usage": "issuing-certificates" })).await.unwrap();
    for (path, data) in &entries {
        assert_eq!(outcome(&mut h, path, data.clone()).await, "", "{path}");
    }
    post(&mut h, "issuer/root/revoke", json!({})).await;
    for (path, data) in &entries {
        assert!(refused(&mut h, path, data.clone()).await.starts_with("requested usage"), "{path}");
    }
    let again = h.error(Operation::Patch, "issuer/root", json!({ "usage": "issuing-certificates" })).await;
    assert!(again.contains("was revoked"), "{again}");
    assert_eq!(
        refused(&mut h, "issuer/none/issue/r", json!({ "common_name": "a" })).await,
        "unable to find PKI issuer for reference: none"
    );
    assert_eq!(refused(&mut common::bare(), "issue/r", json!({ "common_name": "a" })).await, "unknown role: r");
}

#[tokio::test]
async fn bad_names_are_refused_before_anything_is_made() {
    let mut h = with_root().await;
    role(
        &mut h,
        "r",
        json!({ "allow_any_name": true, "enforce_hostnames": false, "allowed_uri_sans": "*", "allowed_other_sans": "*" }),
    )
    .await;
    for wish in [
        json!({ "common_name": "a", "ip_sans": "10.0.0.256" }),
        json!({ "common_name": "a", "uri_sans": "::bad" }),
        json!({ "common_name": "a", "uri_sans": "http://ü.test/ü" }),
        json!({ "common_name": "a", "other_sans": "1.2.3" }),
        json!({ "common_name": "a", "other_sans": "1.2.3;DER:x" }),
        json!({ "common_name": "a", "other_sans": "x;UTF8:x" }),
        json!({ "common_name": "a\u{0}b" }),
        json!({ "common_name": "a", "alt_names": "ü@a.test" }),
        json!({ "common_name": "a", "format": "p12" }),
        json!({ "common_name": "a", "alt_names": (0..1001).map(|n| format!("n{n}")).collect::<Vec<_>>() }),
        json!({}),
    ] {
        let said = refused(&mut h, "issue/r", wish.clone()).await;
        assert!(!said.starts_with("no error"), "{wish}: {said}");
    }
    let listed = h.data(Operation::List, "certs", json!({})).await.unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "the root alone");
}

#[tokio::test]
async fn every_format_holds_the_same_things() {
    let mut h = with_root().await;
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    let labels = |text: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.strip_prefix("-----BEGIN ")).map(|l| l.trim_end_matches('-').to_owned()).collect()
    };
    let bundle =
        post(&mut h, "issue/r", json!({ "common_name": "a", "format": "pem_bundle", "private_key_format": "pkcs8" })).await;
    assert_eq!(labels(&text(&bundle, "certificate")), ["EC PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]);
    assert_eq!(labels(&text(&bundle, "private_key")), ["PRIVATE KEY"]);
    let request = csr(json!({ "common_name": "a" })).await;
    let signed = post(&mut h, "sign/r", json!({ "csr": request, "format": "pem_bundle" })).await;
    assert_eq!(labels(&text(&signed, "certificate")), ["CERTIFICATE", "CERTIFICATE"]);
    let der = post(&mut h, "issue/r", json!({ "common_name": "a", "format": "der" })).await;
    let issuer = der::Encode::to_der(&read(&text(&bundle, "issuing_ca"))).unwrap();
    assert_eq!(common::der_of(&text(&der, "issuing_ca")), issuer);
    assert_eq!(common::der_of(der["ca_chain"][0].as_str().unwrap()), issuer);
    assert_eq!(names(&read(&text(&der, "certificate"))), ["DNS:a"]);
    assert!(common::der_of(&text(&der, "private_key")).starts_with(&[0x30]), "RFC 5915");
}
