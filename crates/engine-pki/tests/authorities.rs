//! Roots, intermediates, keys and imports.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use api_types::Operation;
use common::{bare, body, csr, get, post, read, refused, role, text, with_root};
use serde_json::json;
use x509_cert::ext::pkix::BasicConstraints;

fn path_length(pem: &str) -> Option<u8> {
    let (_, basic) = read(pem).tbs_certificate().get_extension::<BasicConstraints>().unwrap().unwrap();
    assert!(basic.ca);
    basic.path_len_constraint
}

#[tokio::test]
async fn every_kind_of_key_makes_a_root() {
    let mut h = bare();
    for (kind, bits, label) in [
        ("rsa", 2048, "RSA PRIVATE KEY"),
        ("ec", 256, "EC PRIVATE KEY"),
        ("ec", 384, "EC PRIVATE KEY"),
        ("ec", 521, "EC PRIVATE KEY"),
        ("ed25519", 0, "PRIVATE KEY"),
    ] {
        let ask = json!({ "common_name": "R", "key_type": kind, "key_bits": bits });
        let exported = post(&mut h, "root/generate/exported", ask.clone()).await;
        assert!(text(&exported, "private_key").starts_with(&format!("-----BEGIN {label}-----")), "{kind}");
        assert_eq!(exported["private_key_type"], json!(kind));
        if kind != "rsa" {
            assert!(!post(&mut h, "root/generate/internal", ask).await.contains_key("private_key"), "{kind}");
        }
    }
    // The first stays the default one.
    let issuers = h.data(Operation::List, "issuers", json!({})).await.unwrap();
    assert_eq!(issuers["keys"].as_array().unwrap().len(), 9);
    assert_eq!(issuers["key_info"].as_object().unwrap().values().filter(|i| i["is_default"] == json!(true)).count(), 1);
}

#[tokio::test]
async fn what_is_no_root_is_refused() {
    let mut h = with_root().await;
    for (kind, ask, want) in [
        ("odd", json!({}), "path parameter must be"),
        ("kms", json!({}), "not supported"),
        ("internal", json!({ "key_type": "dsa" }), "unsupported hash signature algorithm for keyType dsa: 0"),
        ("internal", json!({ "key_type": "ec", "key_bits": 100 }), "unsupported bit length for EC key: 100"),
        ("internal", json!({ "key_bits": 1024 }), "RSA keys < 2048 bits"),
        ("internal", json!({ "format": "odd" }), "path parameter must be"),
        ("internal", json!({ "issuer_name": "root" }), "issuer name already in use"),
        ("internal", json!({ "issuer_name": "default" }), "reserved keyword"),
        ("internal", json!({ "issuer_name": "a/b" }), "invalid characters"),
        ("internal", json!({ "key_name": "Default" }), "reserved keyword"),
        ("internal", json!({ "max_path_length": 300 }), "max_path_length"),
        ("internal", json!({ "permitted_ip_ranges": "10" }), "invalid CIDR"),
        ("internal", json!({ "signature_bits": 1 }), "unsupported hash signature algorithm: 1"),
        ("existing", json!({ "key_ref": "none" }), "unable to find PKI key for reference: none"),
    ] {
        let said = refused(&mut h, &format!("root/generate/{kind}"), ask.clone()).await;
        assert!(said.contains(want), "{kind} {ask}: {said}");
    }
    assert_eq!(
        h.data(Operation::List, "keys", json!({})).await.unwrap()["keys"].as_array().unwrap().len(),
        1,
        "no key was left behind"
    );
}

#[tokio::test]
async fn path_lengths_only_shrink() {
    let mut h = bare();
    post(&mut h, "root/generate/internal", json!({ "common_name": "R", "key_type": "ec", "max_path_length": 1, "ttl": "700h" }))
        .await;
    let request = csr(json!({ "common_name": "I" })).await;
    let signed = post(&mut h, "root/sign-intermediate", json!({ "csr": request, "common_name": "I" })).await;
    assert_eq!(path_length(&text(&signed, "certificate")), Some(0));
    let wide = json!({ "csr": request, "common_name": "I", "max_path_length": 1 });
    assert!(refused(&mut h, "root/sign-intermediate", wide).await.contains("max path length"));
    let mut end = bare();
    post(
        &mut end,
        "root/generate/internal",
        json!({ "common_name": "R", "key_type": "ec", "max_path_length": 0, "ttl": "700h" }),
    )
    .await;
    assert!(refused(&mut end, "root/sign-intermediate", json!({ "csr": request })).await.contains("path length of zero"));
}

#[tokio::test]
async fn an_intermediate_is_signed_taken_in_and_chained() {
    let mut root = with_root().await;
    let mut h = bare();
    let made = post(&mut h, "intermediate/generate/internal", json!({ "common_name": "Int", "key_type": "ec" })).await;
    let ask = json!({ "csr": text(&made, "csr"), "common_name": "Int", "ttl": "600h", "permitted_dns_domains": ".a.test" });
    let signed = post(&mut root, "root/sign-intermediate", ask).await;
    let chain: Vec<String> = signed["ca_chain"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()).collect();
    let taken = post(&mut h, "intermediate/set-signed", json!({ "certificate": chain.join("\n") })).await;
    assert_eq!(taken["imported_issuers"].as_array().unwrap().len(), 2);
    let again = post(&mut h, "intermediate/set-signed", json!({ "certificate": chain.join("\n") })).await;
    assert_eq!((&again["imported_issuers"], again["existing_issuers"].as_array().unwrap().len()), (&json!(null), 2));
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    let leaf = post(&mut h, "issue/r", json!({ "common_name": "x.a.test", "ttl": "1h" })).await;
    assert_eq!(leaf["ca_chain"], json!(chain));
    let without =
        post(&mut h, "issue/r", json!({ "common_name": "x.a.test", "ttl": "1h", "remove_roots_from_chain": true })).await;
    assert_eq!(without["ca_chain"], json!([chain[0]]));
    assert_eq!(body(h.call(Operation::Read, "ca_chain", json!({})).await), chain.join("\n").into_bytes());
    // Constraints of the intermediate hold for every entry; a request's names are names too.
    for outside in ["a.test", "b.test", "x.a.test.evil"] {
        let wish = json!({ "common_name": outside, "ttl": "1h" });
        assert!(refused(&mut h, "issue/r", wish.clone()).await.contains("name constraints"), "{outside}");
        let request = csr(wish).await;
        for path in ["sign/r", "sign-verbatim", "root/sign-intermediate"] {
            let sent = json!({ "csr": request, "ttl": "1h", "common_name": outside });
            assert!(refused(&mut h, path, sent).await.contains("name constraints"), "{path} {outside}");
        }
    }
    // The root that came along has no key here.
    let ids = taken["imported_issuers"].as_array().unwrap();
    let keyless = ids.iter().find(|id| taken["mapping"][id.as_str().unwrap()] == json!("")).unwrap().as_str().unwrap();
    assert!(
        refused(&mut h, &format!("issuer/{keyless}/issue/r"), json!({ "common_name": "x.a.test" }))
            .await
            .contains("its key is not here")
    );
}

#[tokio::test]
async fn imports_take_authorities_and_keys_and_nothing_else() {
    let mut source = bare();
    let root = post(&mut source, "root/generate/exported", json!({ "common_name": "R", "key_type": "ec", "ttl": "700h" })).await;
    role(&mut source, "r", json!({ "allow_any_name": true })).await;
    let leaf = post(&mut source, "issue/r", json!({ "common_name": "a", "ttl": "1h" })).await;
    let (certificate, key) = (text(&root, "certificate"), text(&root, "private_key"));
    let mut h = bare();
    for (path, field, sent, want) in [
        ("config/ca", "pem_bundle", String::new(), "no data"),
        ("config/ca", "pem_bundle", "x".into(), "no data found"),
        ("config/ca", "pem_bundle", text(&leaf, "certificate"), "not a CA certificate"),
        ("issuers/import/cert", "pem_bundle", format!("{certificate}\n{key}"), "private keys found"),
        ("intermediate/set-signed", "certificate", key.clone(), "private keys found"),
        ("keys/import", "pem_bundle", certificate.clone(), "no private key"),
        ("keys/import", "pem_bundle", format!("{key}\n{key}"), "only a single key"),
        (
            "config/ca",
            "pem_bundle",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into(),
            "unable to parse the private key",
        ),
    ] {
        let mut data = json!({});
        data[field] = sent.into();
        let said = refused(&mut h, path, data).await;
        assert!(said.contains(want), "{path}: {said}");
    }
    assert!(h.data(Operation::List, "issuers", json!({})).await.unwrap().is_empty());
    // Certificate first, key later: they find each other.
    let taken = post(&mut h, "issuers/import/cert", json!({ "pem_bundle": certificate })).await;
    let id = taken["imported_issuers"][0].as_str().unwrap().to_owned();
    let key_id = text(&post(&mut h, "keys/import", json!({ "pem_bundle": key, "key_name": "k" })).await, "key_id");
    assert_eq!(text(&get(&mut h, &format!("issuer/{id}")).await, "key_id"), key_id);
    role(&mut h, "r", json!({ "allow_any_name": true })).await;
    post(&mut h, "issue/r", json!({ "common_name": "a", "ttl": "1h" })).await;
    assert!(h.error(Operation::Delete, "key/k", json!({})).await.contains("Key in Use by Issuer"));
    assert!(
        h.call(Operation::Delete, &format!("issuer/{id}"), json!({})).await.unwrap().unwrap().warnings[0]
            .contains("default issuer")
    );
    assert_eq!(refused(&mut h, "issue/r", json!({ "common_name": "a" })).await, "no default issuer currently configured");
    h.call(Operation::Delete, "key/k", json!({})).await.unwrap();
    assert!(h.data(Operation::List, "keys", json!({})).await.unwrap().is_empty());
}

#[tokio::test]
async fn deleting_everything_and_signing_roots_need_sudo() {
    let mut h = with_root().await;
    let root = text(&get(&mut h, "cert/ca").await, "certificate");
    let own = post(&mut bare(), "root/generate/internal", json!({ "common_name": "Old", "key_type": "ec" })).await;
    h.caller.is_root = false;
    h.caller.sudo = false;
    assert_eq!(h.error(Operation::Delete, "root", json!({})).await, "permission denied");
    assert_eq!(refused(&mut h, "root/sign-self-issued", json!({ "certificate": root })).await, "permission denied");
    h.caller.sudo = true;
    let signed = post(&mut h, "root/sign-self-issued", json!({ "certificate": text(&own, "certificate") })).await;
    let (before, after) = (read(&text(&own, "certificate")), read(&text(&signed, "certificate")));
    assert_eq!(before.tbs_certificate().subject(), after.tbs_certificate().subject());
    assert_eq!(after.tbs_certificate().issuer().to_string(), "CN=Root");
    h.call(Operation::Delete, "root", json!({})).await.unwrap();
    assert!(h.data(Operation::List, "issuers", json!({})).await.unwrap().is_empty());
    assert!(body(h.call(Operation::Read, "ca/pem", json!({})).await).is_empty());
}

#[tokio::test]
async fn private_keys_are_shown_once_and_never_again() {
    let mut h = bare();
    let made = post(
        &mut h,
        "root/generate/exported",
        json!({ "common_name": "R", "key_type": "ec", "key_name": "k", "issuer_name": "i" }),
    )
    .await;
    let secret: Vec<String> = text(&made, "private_key").lines().skip(1).take(1).map(str::to_owned).collect();
    for path in ["key/k", "issuer/i", "issuer/i/json", "cert/ca", "cert/ca_chain", "config/keys", "config/issuers"] {
        let shown = serde_json::to_string(&get(&mut h, path).await).unwrap();
        assert!(!shown.contains(&secret[0]) && !shown.contains("PRIVATE KEY"), "{path}");
    }
    let existing = post(&mut h, "root/generate/existing", json!({ "common_name": "S", "key_ref": "k" })).await;
    assert!(!existing.contains_key("private_key"));
    assert_eq!(existing["key_id"], made["key_id"]);
}

#[tokio::test]
async fn a_signed_request_keeps_its_own_values_only_when_told_to() {
    let mut h = with_root().await;
    let request = csr(json!({ "common_name": "Own", "organization": "Corp", "alt_names": "own.test" })).await;
    let plain = post(&mut h, "root/sign-intermediate", json!({ "csr": request, "common_name": "Given" })).await;
    let certificate = read(&text(&plain, "certificate"));
    assert_eq!(certificate.tbs_certificate().subject().to_string(), "CN=Given");
    assert_eq!(common::names(&certificate), ["DNS:Given"]);
    let own = json!({ "csr": request, "common_name": "Given", "use_csr_values": true, "max_path_length": 2, "skid": "01:02" });
    let own = post(&mut h, "issuer/root/sign-intermediate", own).await;
    let certificate = read(&text(&own, "certificate"));
    assert_eq!(certificate.tbs_certificate().subject().to_string(), "CN=Own,O=Corp");
    assert_eq!(common::names(&certificate), ["DNS:Own", "DNS:own.test"]);
    assert_eq!(path_length(&text(&own, "certificate")), Some(2));
    let id = certificate.tbs_certificate().get_extension::<x509_cert::ext::pkix::SubjectKeyIdentifier>().unwrap().unwrap().1;
    assert_eq!(id.0.as_bytes(), [1, 2]);
    for skid in ["xyz", "1", "0g"] {
        assert!(
            refused(&mut h, "root/sign-intermediate", json!({ "csr": request, "skid": skid })).await.contains("SKID"),
            "{skid}"
        );
    }
}
