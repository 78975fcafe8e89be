//! Revocation and its lists. Known failure of this class: CVE-2022-41316 (the list of before a restart is forgotten).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use api_types::Operation;
use common::{body, der_of, end_lease, get, post, refused, role, text, with_root};
use der::Decode;
use serde_json::json;
use std::time::Duration;
use x509_cert::crl::CertificateList;

async fn listed(h: &mut common::Pkis) -> Vec<String> {
    let der = body(h.call(Operation::Read, "crl", json!({})).await);
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&der).unwrap();
    let entries = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
    entries.iter().map(|e| hex(e.serial_number.as_bytes())).collect()
}

async fn issued(h: &mut common::Pkis) -> api_types::Map {
    role(h, "r", json!({ "allow_any_name": true })).await;
    post(h, "issue/r", json!({ "common_name": "a.test", "ttl": "10h" })).await
}

#[tokio::test]
async fn a_revoked_certificate_is_on_the_list_at_once_and_after_a_restart() {
    let mut h = with_root().await;
    let serial = text(&issued(&mut h).await, "serial_number");
    assert!(listed(&mut h).await.is_empty());
    let first = post(&mut h, "revoke", json!({ "serial_number": serial })).await;
    assert_eq!(listed(&mut h).await, std::slice::from_ref(&serial));
    // Another spelling, and a second time: the same answer, no second entry.
    h.now = h.now.plus(Duration::from_secs(60));
    let again = post(&mut h, "revoke", json!({ "serial_number": serial.replace(':', "-").to_uppercase() })).await;
    assert_eq!(first, again);
    h.engine = engine_pki::Pki::new();
    assert_eq!(listed(&mut h).await, std::slice::from_ref(&serial));
    let shown = get(&mut h, &format!("cert/{serial}")).await;
    assert_eq!(shown["revocation_time"], first["revocation_time"]);
    let revoked = h.data(Operation::List, "certs/revoked", json!({})).await.unwrap();
    assert_eq!(revoked["keys"], json!([serial]));
}

#[tokio::test]
async fn lists_are_renewed_before_they_end() {
    let mut h = with_root().await;
    let first = body(h.call(Operation::Read, "crl", json!({})).await);
    h.now = h.now.plus(Duration::from_secs(3600));
    assert_eq!(body(h.call(Operation::Read, "crl", json!({})).await), first, "kept in memory");
    h.now = h.now.plus(Duration::from_secs(40 * 3600));
    let second = body(h.call(Operation::Read, "crl", json!({})).await);
    assert_ne!(second, first);
    get(&mut h, "crl/rotate").await;
    h.now = h.now.plus(Duration::from_secs(1));
    assert_ne!(body(h.call(Operation::Read, "crl", json!({})).await), second);
    let pem = String::from_utf8(body(h.call(Operation::Read, "crl/pem", json!({})).await)).unwrap();
    assert_eq!(der_of(&pem), body(h.call(Operation::Read, "crl", json!({})).await));
}

#[tokio::test]
async fn rotation_needs_a_token_and_a_disabled_list_is_empty() {
    let mut h = with_root().await;
    let serial = text(&issued(&mut h).await, "serial_number");
    post(&mut h, "revoke", json!({ "serial_number": serial })).await;
    let root = std::mem::take(&mut h.caller);
    for path in ["crl/rotate", "crl/rotate-delta"] {
        assert_eq!(h.error(Operation::Read, path, json!({})).await, "permission denied");
    }
    h.caller = root;
    post(&mut h, "config/crl", json!({ "disable": true })).await;
    assert!(listed(&mut h).await.is_empty());
    post(&mut h, "config/crl", json!({ "disable": false })).await;
    assert_eq!(listed(&mut h).await, [serial]);
    post(&mut h, "config/crl", json!({ "max_crl_entries": 0 })).await;
    assert!(h.error(Operation::Read, "crl", json!({})).await.contains("max_crl_entries"));
    post(&mut h, "config/crl", json!({ "max_crl_entries": -1 })).await;
    assert_eq!(listed(&mut h).await.len(), 1);
}

#[tokio::test]
async fn deltas_are_served_when_enabled() {
    let mut h = with_root().await;
    assert!(body(h.call(Operation::Read, "crl/delta", json!({})).await).is_empty());
    post(&mut h, "config/crl", json!({ "auto_rebuild": true, "enable_delta": true })).await;
    let delta = body(h.call(Operation::Read, "crl/delta", json!({})).await);
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&delta).unwrap();
    let extensions = list.tbs_cert_list.crl_extensions.unwrap();
    assert!(extensions.iter().any(|e| e.extn_id.to_string() == "2.5.29.27" && e.critical), "{extensions:?}");
    assert!(text(&get(&mut h, "issuer/root/crl").await, "crl").starts_with("-----BEGIN X509 CRL-----"));
}

#[tokio::test]
async fn only_what_was_issued_here_can_be_revoked() {
    let mut h = with_root().await;
    let mut other = with_root().await;
    let leaf = issued(&mut h).await;
    let foreign = issued(&mut other).await;
    let root = get(&mut h, "cert/ca").await;
    for (data, want) in [
        (json!({}), "must be provided"),
        (json!({ "serial_number": "00:11" }), "not found"),
        (json!({ "serial_number": "../role/r" }), "not found"),
        (json!({ "serial_number": text(&leaf, "serial_number"), "certificate": text(&leaf, "certificate") }), "not both"),
        (json!({ "certificate": "x" }), "could not be parsed"),
        (json!({ "certificate": text(&foreign, "certificate").replacen("MII", "MIJ", 1) }), "could not be parsed"),
        (json!({ "certificate": text(&root, "certificate") }), "to its own CRL is not allowed"),
    ] {
        let said = refused(&mut h, "revoke", data.clone()).await;
        assert!(said.contains(want), "{data}: {said}");
    }
    // Both mounts draw the same serials from the seeded entropy: the same number is another certificate.
    let said = refused(&mut h, "revoke", json!({ "certificate": text(&foreign, "certificate") })).await;
    assert!(said.contains("differs") || said.contains("not signed by any issuer"), "{said}");
    assert!(listed(&mut h).await.is_empty());
    post(&mut h, "revoke", json!({ "certificate": text(&leaf, "certificate") })).await;
    assert_eq!(listed(&mut h).await, [text(&leaf, "serial_number")]);
}

#[tokio::test]
async fn a_certificate_that_is_not_kept_is_revoked_by_showing_it() {
    let mut h = with_root().await;
    role(&mut h, "r", json!({ "allow_any_name": true, "no_store": true })).await;
    let leaf = post(&mut h, "issue/r", json!({ "common_name": "a.test" })).await;
    let serial = text(&leaf, "serial_number");
    assert!(h.call(Operation::Read, &format!("cert/{serial}"), json!({})).await.unwrap().is_none());
    assert!(refused(&mut h, "revoke", json!({ "serial_number": serial })).await.contains("not found"));
    post(&mut h, "revoke", json!({ "certificate": text(&leaf, "certificate") })).await;
    assert_eq!(listed(&mut h).await, [serial]);
}

#[tokio::test]
async fn the_key_proves_the_right_to_revoke() {
    let mut h = with_root().await;
    let (leaf, other) = (issued(&mut h).await, issued(&mut h).await);
    let serial = text(&leaf, "serial_number");
    for (key, want) in
        [(text(&other, "private_key"), "does not match"), ("x".into(), "no data found"), (String::new(), "must be provided")]
    {
        let said = refused(&mut h, "revoke-with-key", json!({ "serial_number": serial, "private_key": key })).await;
        assert!(said.contains(want), "{said}");
    }
    assert!(listed(&mut h).await.is_empty());
    post(&mut h, "revoke-with-key", json!({ "serial_number": serial, "private_key": text(&leaf, "private_key") })).await;
    assert_eq!(listed(&mut h).await, [serial]);
}

#[tokio::test]
async fn the_end_of_a_lease_revokes() {
    let mut h = with_root().await;
    role(&mut h, "r", json!({ "allow_any_name": true, "generate_lease": true })).await;
    let response = h.call(Operation::Update, "issue/r", json!({ "common_name": "a", "ttl": "2h" })).await.unwrap().unwrap();
    let secret = response.secret.unwrap();
    assert!(secret.register && !secret.renewable);
    assert_eq!(secret.ttl, Duration::from_secs(7200));
    end_lease(&mut h, &secret.internal).await.unwrap();
    end_lease(&mut h, &secret.internal).await.unwrap();
    assert_eq!(listed(&mut h).await, [secret.internal["serial_number"].as_str().unwrap()]);
    // One that is over needs no entry, one that says nothing is the server's fault.
    let response = h.call(Operation::Update, "issue/r", json!({ "common_name": "b", "ttl": "2h" })).await.unwrap().unwrap();
    h.now = h.now.plus(Duration::from_secs(7201));
    end_lease(&mut h, &response.secret.unwrap().internal).await.unwrap();
    assert_eq!(listed(&mut h).await.len(), 1);
    assert!(end_lease(&mut h, &api_types::Map::new()).await.is_err());
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    let response = h.call(Operation::Update, "issue/r", json!({ "common_name": "a" })).await.unwrap().unwrap();
    assert!(response.secret.is_none());
}

#[tokio::test]
async fn tidying_forgets_only_what_is_over() {
    let mut h = with_root().await;
    let (kept, gone) = (issued(&mut h).await, issued(&mut h).await);
    post(&mut h, "revoke", json!({ "serial_number": text(&gone, "serial_number") })).await;
    let all = json!({ "tidy_cert_store": true, "tidy_revoked_certs": true, "safety_buffer": "1h" });
    post(&mut h, "tidy", all.clone()).await;
    assert_eq!(listed(&mut h).await.len(), 1, "nothing was over yet");
    h.now = h.now.plus(Duration::from_secs(11 * 3600 + 1));
    post(&mut h, "tidy", json!({ "tidy_cert_store": false })).await;
    assert_eq!(listed(&mut h).await.len(), 1, "nothing was asked for");
    let response = h.call(Operation::Update, "tidy", all).await.unwrap().unwrap();
    assert_eq!(response.kind, engine::Kind::Accepted);
    assert!(listed(&mut h).await.is_empty());
    for leaf in [kept, gone] {
        assert!(h.call(Operation::Read, &format!("cert/{}", text(&leaf, "serial_number")), json!({})).await.unwrap().is_none());
    }
    let status = get(&mut h, "tidy-status").await;
    assert_eq!((&status["state"], &status["cert_store_deleted_count"]), (&json!("Finished"), &json!(2)));
    assert!(refused(&mut h, "tidy", json!({ "tidy_cert_store": true, "safety_buffer": 0 })).await.contains("greater than zero"));
}
