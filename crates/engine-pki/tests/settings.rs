//! Roles and settings: what is kept, what is refused, what follows.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use api_types::Operation;
use common::{bare, get, post, read, refused, role, text, with_root};
use serde_json::json;

#[tokio::test]
async fn a_role_is_written_as_a_whole_and_patched_in_part() {
    let mut h = bare();
    role(&mut h, "r", json!({ "allowed_domains": ["a.test"], "ttl": "1h" })).await;
    let patched = h.data(Operation::Patch, "roles/r", json!({ "max_ttl": "2h" })).await.unwrap();
    assert_eq!(
        (&patched["allowed_domains"], &patched["ttl"], &patched["max_ttl"]),
        (&json!(["a.test"]), &json!(3600), &json!(7200))
    );
    let written = post(&mut h, "roles/r", json!({ "key_type": "ec" })).await;
    assert_eq!((&written["allowed_domains"], &written["ttl"]), (&json!([]), &json!(0)));
    assert_eq!(get(&mut h, "roles/r").await, written);
    assert!(h.error(Operation::Patch, "roles/none", json!({})).await.contains("Unable to fetch role"));
    h.call(Operation::Delete, "roles/r", json!({})).await.unwrap();
    assert!(h.call(Operation::Read, "roles/r", json!({})).await.unwrap().is_none());
}

#[tokio::test]
async fn a_role_without_its_issuer_is_kept_and_says_so() {
    let mut h = bare();
    for (reference, want) in
        [("default", "no default issuing certificate"), ("later", "no issuing certificate currently has that name")]
    {
        let answer = h.call(Operation::Update, "roles/r", json!({ "issuer_ref": reference })).await.unwrap().unwrap();
        assert!(answer.warnings[0].contains(want), "{:?}", answer.warnings);
    }
    let mut h = with_root().await;
    for reference in ["default", "root", ""] {
        let answer = h.call(Operation::Update, "roles/r", json!({ "issuer_ref": reference })).await.unwrap().unwrap();
        assert!(answer.warnings.is_empty(), "{reference}: {:?}", answer.warnings);
    }
}

#[tokio::test]
async fn roles_that_mean_nothing_are_refused() {
    let mut h = bare();
    for (fields, want) in [
        (json!({ "key_type": "dsa" }), "unknown key type dsa"),
        (json!({ "key_type": "rsa", "key_bits": 1024 }), "RSA keys < 2048"),
        (json!({ "ttl": "2h", "max_ttl": "1h" }), "must be less than"),
        (json!({ "signature_bits": 100 }), "unsupported hash"),
        (json!({ "ext_key_usage_oids": "x" }), "valid oid"),
        (json!({ "policy_identifiers": "x" }), "neither a valid OID"),
        (json!({ "cn_validations": "odd" }), "cn_validations"),
        (json!({ "cn_validations": "disabled,email" }), "disabled"),
        (json!({ "serial_number_source": "odd" }), "serial_number_source"),
        (json!({ "allowed_other_sans": "1.2.3" }), "other SAN"),
        (json!({ "ttl": "soon" }), "Field validation failed"),
        (json!({ "allow_any_name": "maybe" }), "Field validation failed"),
    ] {
        let said = refused(&mut h, "roles/r", fields.clone()).await;
        assert!(said.contains(want), "{fields}: {said}");
    }
    assert!(h.call(Operation::Read, "roles/r", json!({})).await.unwrap().is_none());
}

#[tokio::test]
async fn urls_reach_the_certificates() {
    let mut h = with_root().await;
    post(&mut h, "config/cluster", json!({ "path": "https://c.test/v1/pki" })).await;
    let urls = json!({ "issuing_certificates": "{{cluster_path}}/issuer/{{issuer_id}}/der", "enable_templating": true });
    post(&mut h, "config/urls", urls).await;
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    let leaf = read(&text(&post(&mut h, "issue/r", json!({ "common_name": "a" })).await, "certificate"));
    let id = get(&mut h, "config/issuers").await["default"].as_str().unwrap().to_owned();
    let der = der::Encode::to_der(&leaf).unwrap();
    let wanted = format!("https://c.test/v1/pki/issuer/{id}/der");
    assert!(der.windows(wanted.len()).any(|w| w == wanted.as_bytes()));
    // A template without a value stops the issue instead of going out as it is.
    post(&mut h, "config/urls", json!({ "ocsp_servers": "{{cluster_aia_path}}/ocsp" })).await;
    assert!(refused(&mut h, "issue/r", json!({ "common_name": "a" })).await.contains("cluster_aia_path"));
    for (path, data) in [
        ("config/urls", json!({ "ocsp_servers": "::x", "enable_templating": false })),
        ("config/urls", json!({ "crl_distribution_points": "http://ü.test" })),
        ("config/cluster", json!({ "path": "x" })),
        ("issuer/root", json!({ "ocsp_servers": "::x" })),
    ] {
        assert!(!refused(&mut h, path, data.clone()).await.starts_with("no error"), "{path} {data}");
    }
}

#[tokio::test]
async fn settings_of_lists_and_tidying_are_checked() {
    let mut h = bare();
    for (path, data, want) in [
        ("config/crl", json!({ "expiry": "never" }), "given expiry could not be decoded: time: "),
        ("config/crl", json!({ "expiry": "-1h" }), "could not be decoded"),
        ("config/crl", json!({ "expiry": "0s" }), "could not be decoded"),
        ("config/crl", json!({ "ocsp_expiry": "x" }), "given ocsp_expiry could not be decoded"),
        ("config/crl", json!({ "enable_delta": true }), "Delta CRLs cannot be enabled"),
        ("config/crl", json!({ "auto_rebuild": true, "auto_rebuild_grace_period": "72h" }), "strictly shorter"),
        (
            "config/crl",
            json!({ "auto_rebuild": true, "enable_delta": true, "delta_rebuild_interval": "80h" }),
            "strictly shorter",
        ),
        ("config/crl", json!({ "unified_crl": true }), "not supported"),
        ("config/acme", json!({ "enabled": true }), "not supported"),
        ("config/auto-tidy", json!({ "enabled": true }), "no tidy operations"),
        ("config/auto-tidy", json!({ "pause_duration": "x" }), "pause_duration"),
        ("config/auto-tidy", json!({ "interval_duration": 0 }), "interval_duration"),
        ("config/issuers", json!({ "default": "" }), "must be non-empty"),
        ("config/issuers", json!({ "default": "default" }), "can't be 'default'"),
        ("config/issuers", json!({ "default": "none" }), "unable to find PKI issuer"),
        ("config/keys", json!({ "default": "none" }), "unable to find PKI key"),
        ("root/replace", json!({}), "unable to find PKI issuer for reference: next"),
        ("tidy-cancel", json!({}), "cannot be cancelled"),
    ] {
        let said = refused(&mut h, path, data.clone()).await;
        assert!(said.contains(want), "{path} {data}: {said}");
    }
    assert_eq!(get(&mut h, "config/crl").await["expiry"], json!("72h"), "nothing of that was kept");
}

#[tokio::test]
async fn a_rotation_makes_the_next_issuer_the_default() {
    let mut h = with_root().await;
    let next = post(&mut h, "root/rotate/internal", json!({ "common_name": "Next", "key_type": "ec" })).await;
    assert_eq!(next["issuer_name"], json!("next"));
    assert_ne!(get(&mut h, "config/issuers").await["default"], next["issuer_id"]);
    post(&mut h, "root/replace", json!({})).await;
    assert_eq!(get(&mut h, "config/issuers").await["default"], next["issuer_id"]);
    // Names move with the issuer, and only one has a name.
    assert!(h.error(Operation::Patch, "issuer/root", json!({ "issuer_name": "next" })).await.contains("already in use"));
    h.data(Operation::Patch, "issuer/root", json!({ "issuer_name": "old" })).await.unwrap();
    assert_eq!(text(&get(&mut h, "issuer/old").await, "issuer_name"), "old");
    assert!(h.error(Operation::Read, "issuer/root", json!({})).await.contains("unable to find"));
    let chained = h.error(Operation::Patch, "issuer/old", json!({ "manual_chain": "next" })).await;
    assert!(chained.contains("must begin with the issuer itself"), "{chained}");
    let both = h.data(Operation::Patch, "issuer/old", json!({ "manual_chain": ["old", "next"] })).await.unwrap();
    assert_eq!(both["ca_chain"].as_array().unwrap().len(), 2);
}
