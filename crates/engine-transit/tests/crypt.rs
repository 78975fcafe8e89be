//! Encryption, decryption, rewrapping, data keys, batches.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails may panic"
)]

mod common;

use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::{CIPHERS, Scene};
use serde_json::{Value, json};

/// CVE-2023-4680: nobody but keys of the oldest convergent form, which cannot be made any more, takes a nonce.
#[tokio::test]
async fn a_nonce_from_the_caller_is_refused() {
    let mut s = Scene::new();
    let refused = json!("400: provided nonce not allowed for this key");
    for (i, kind) in CIPHERS.into_iter().chain(["rsa-2048"]).enumerate() {
        s.key(&format!("plain{i}"), kind, json!({})).await;
        let mut names = vec![(format!("plain{i}"), json!({}))];
        if kind != "rsa-2048" {
            s.key(&format!("conv{i}"), kind, json!({ "derived": true, "convergent_encryption": true })).await;
            names.push((format!("conv{i}"), json!({ "context": "YWJj" })));
        }
        for (name, extra) in names {
            let ciphertext = s.encrypted(&name, extra.clone()).await;
            let mut body = extra.clone();
            body["ciphertext"] = ciphertext.clone();
            body["nonce"] = "AAAAAAAAAAAAAAAA".into();
            assert_eq!(s.write(&format!("decrypt/{name}"), body).await, json!({ "plaintext": "YQ==" }), "harmless: {name}");
            for (path, more) in [
                ("encrypt", json!({ "plaintext": "YQ==" })),
                ("datakey/plaintext", json!({})),
                ("rewrap", json!({ "ciphertext": ciphertext })),
            ] {
                let mut body = extra.clone();
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                body["nonce"] = "AAAAAAAAAAAAAAAA".into();
                assert_eq!(s.write(&format!("{path}/{name}"), body.clone()).await, refused, "{path} {name}");
                if !path.starts_with("datakey") {
                    let results = s.write(&format!("{path}/{name}"), json!({ "batch_input": [body] })).await;
                    assert_eq!(results["batch_results"][0]["error"], "provided nonce not allowed for this key", "{path} {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nonces_do_not_repeat_unless_all_is_the_same() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    s.key("c", "aes256-gcm96", json!({ "derived": true, "convergent_encryption": true })).await;
    let mut nonces = HashSet::new();
    for _ in 0..2000 {
        let text = s.encrypted("k", json!({})).await;
        let bytes = BASE64_STANDARD.decode(text.as_str().unwrap().trim_start_matches("vault:v1:")).unwrap();
        assert!(nonces.insert(bytes[..12].to_vec()));
    }
    let same = s.encrypted("c", json!({ "context": "YWJj" })).await;
    assert_eq!(s.encrypted("c", json!({ "context": "YWJj" })).await, same);
    assert_ne!(s.encrypted("c", json!({ "context": "YWJk" })).await, same);
    let other = s.write("encrypt/c", json!({ "context": "YWJj", "plaintext": "Yg==" })).await;
    assert_ne!(other["ciphertext"].as_str().unwrap()[..20], same.as_str().unwrap()[..20]);
}

#[tokio::test]
async fn bent_ciphertexts_do_not_open() {
    let mut s = Scene::new();
    s.key("k", "chacha20-poly1305", json!({})).await;
    s.write("keys/k/rotate", json!({})).await;
    let text = s.encrypted("k", json!({ "key_version": 1 })).await;
    let text = text.as_str().unwrap();
    assert_eq!(
        s.write("decrypt/k", json!({ "ciphertext": text.replace("v1", "v2") })).await,
        "400: cipher: message authentication failed"
    );
    for (bent, want) in [
        ("vault:v3:AAAA", "invalid ciphertext: version is too new"),
        ("vault:v-1:AAAA", "ciphertext or signature version is disallowed by policy (too old)"),
        ("vault:v1", "invalid ciphertext: wrong number of fields"),
        ("vault:1:AAAA", "invalid ciphertext: no prefix"),
        ("Vault:v1:AAAA", "invalid ciphertext: no prefix"),
        ("vault:v99999999999999999999:AAAA", "invalid ciphertext: version number could not be decoded"),
        ("vault:v1:", "invalid ciphertext length"),
        ("vault:v1:AAAAAAAAAAAAAAAA", "cipher: message authentication failed"),
    ] {
        assert_eq!(s.write("decrypt/k", json!({ "ciphertext": bent })).await, format!("400: {want}"), "{bent}");
    }
}

/// CVE-2026-55776: derived keys without a context, wherever one is needed.
#[tokio::test]
async fn derived_keys_need_their_context_everywhere() {
    let mut s = Scene::new();
    let missing = "missing 'context' for key derivation; the key was created using a derived key, which means additional, \
                   per-request information must be included in order to perform operations with the key";
    for (i, kind) in CIPHERS.into_iter().enumerate() {
        let name = format!("k{i}");
        s.key(&name, kind, json!({ "derived": true })).await;
        let text = s.encrypted(&name, json!({ "context": "YWJj" })).await;
        for (path, body) in [
            ("encrypt", json!({ "plaintext": "" })),
            ("decrypt", json!({ "ciphertext": text })),
            ("rewrap", json!({ "ciphertext": text })),
            ("datakey/wrapped", json!({})),
        ] {
            assert_eq!(s.write(&format!("{path}/{name}"), body).await, format!("400: {missing}"), "{path}");
        }
        let wrong = s.write(&format!("decrypt/{name}"), json!({ "ciphertext": text, "context": "YWJk" })).await;
        assert_eq!(wrong, "400: cipher: message authentication failed");
        let right = s.write(&format!("decrypt/{name}"), json!({ "ciphertext": text, "context": "YWJj" })).await;
        assert_eq!(right, json!({ "plaintext": "YQ==" }));
    }
    s.key("ed", "ed25519", json!({ "derived": true })).await;
    assert_eq!(s.write("sign/ed", json!({ "input": "" })).await, format!("500: error deriving key: {missing}"));
    let body = json!({ "input": "", "signature": "vault:v1:AAAA" });
    assert_eq!(s.write("verify/ed", body).await, format!("500: error deriving key: {missing}"));
    assert_eq!(s.read("keys/ed").await["keys"]["1"]["public_key"], "");
}

#[tokio::test]
async fn rewrapping_moves_to_the_newest_version() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    let old = s.encrypted("k", json!({})).await;
    s.write("keys/k/rotate", json!({})).await;
    let new = s.write("rewrap/k", json!({ "ciphertext": old })).await;
    assert_eq!(new["key_version"], 2);
    assert_eq!(s.write("decrypt/k", json!({ "ciphertext": new["ciphertext"] })).await, json!({ "plaintext": "YQ==" }));
    let batch = json!({ "batch_input": [{ "ciphertext": old, "reference": "r" }, { "ciphertext": "garbage" }, {}] });
    let results = s.write("rewrap/k", batch).await["batch_results"].clone();
    assert_eq!((&results[0]["key_version"], &results[0]["reference"]), (&json!(2), &json!("r")));
    assert_eq!(results[1], json!({ "error": "invalid ciphertext: no prefix", "reference": "" }));
    assert_eq!(results[2], json!({ "error": "missing ciphertext to decrypt", "reference": "" }));
}

#[tokio::test]
async fn batches_keep_their_order_and_tell_of_failures_by_status() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    let batch = json!([{ "plaintext": "YQ==", "reference": "one" }, { "plaintext": "Yg==", "associated_data": "YWFk" }]);
    let sealed = s.write("encrypt/k", json!({ "batch_input": batch })).await["batch_results"].clone();
    assert_eq!(sealed[0]["reference"], "one");
    let items = json!([
        { "ciphertext": sealed[0]["ciphertext"] },
        { "ciphertext": sealed[1]["ciphertext"], "associated_data": "YWFk", "reference": "two" },
    ]);
    assert_eq!(
        s.write("decrypt/k", json!({ "batch_input": items })).await["batch_results"],
        json!([{ "plaintext": "YQ==", "reference": "" }, { "plaintext": "Yg==", "reference": "two" }])
    );
    let half = json!([{ "ciphertext": sealed[0]["ciphertext"] }, { "ciphertext": sealed[1]["ciphertext"] }]);
    let want = json!([
        { "plaintext": "YQ==", "reference": "" },
        { "error": "cipher: message authentication failed", "plaintext": "", "reference": "" },
    ]);
    for (code, status, warned) in
        [(Value::Null, 400, false), (json!(207), 207, false), (json!(600), 400, true), (json!(100), 400, true)]
    {
        let answer = s.write("decrypt/k", json!({ "batch_input": half, "partial_failure_response_code": code })).await;
        assert_eq!((&answer["status"], &answer["batch_results"]), (&json!(status), &want), "{code}");
        assert_eq!(answer["warnings"].is_array(), warned, "{code}");
    }
    let none = json!({ "batch_input": [{ "ciphertext": "x" }], "partial_failure_response_code": 207 });
    assert_eq!(s.write("decrypt/k", none).await["status"], 400);
}

#[tokio::test]
async fn batches_that_are_none_are_refused() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    let parse = "500: failed to parse batch input: ";
    for (batch, want) in [
        (json!([]), "400: missing batch input to process".to_owned()),
        (json!("x"), format!("{parse}source data must be an array or slice, got string")),
        (json!([1]), format!("{parse}[0] expected a map, got 'json.Number'")),
        (json!([{}]), format!("{parse}1 error(s) decoding:\n\n* '[0].plaintext' missing plaintext to encrypt")),
        (
            json!([{ "plaintext": 7 }, { "plaintext": "", "key_version": [] }]),
            format!(
                "{parse}2 error(s) decoding:\n\n* '[0].plaintext' expected type 'string', got unconvertible type \
                 'json.Number'\n* '[1].key_version' expected type 'int', got unconvertible type '[]interface {{}}'"
            ),
        ),
        (
            json!([{ "plaintext": "", "context": "YQ==" }, { "plaintext": "" }]),
            "400: context should be set either in all the request blocks or in none".to_owned(),
        ),
    ] {
        assert_eq!(s.write("encrypt/k", json!({ "batch_input": batch })).await, want, "{batch}");
    }
}

/// A partial failure must not undo the key that the good half is encrypted with.
#[tokio::test]
async fn a_key_made_by_a_half_failed_batch_stays() {
    let mut s = Scene::new();
    let answer = s.write("encrypt/new", json!({ "batch_input": [{ "plaintext": "YQ==" }, { "plaintext": "!" }] })).await;
    assert_eq!(answer["status"], 400);
    let ciphertext = answer["batch_results"][0]["ciphertext"].clone();
    assert_eq!(s.write("decrypt/new", json!({ "ciphertext": ciphertext })).await, json!({ "plaintext": "YQ==" }));
}

#[tokio::test]
async fn keys_are_made_by_use_unless_that_is_switched_off() {
    let mut s = Scene::new();
    s.encrypted("derived", json!({ "context": "YWJj", "convergent_encryption": true })).await;
    let made = s.read("keys/derived").await;
    assert_eq!((&made["derived"], &made["convergent_encryption"]), (&json!(true), &json!(true)));
    for (body, want) in [
        (json!({ "type": "ed25519" }), "400: key type ed25519 not supported for this operation"),
        (json!({ "type": "hmac" }), "400: key type hmac not supported for this operation"),
        (json!({ "type": "x" }), "400: unknown key type x"),
        (
            json!({ "convergent_encryption": true }),
            "400: convergent encryption requires derivation to be enabled, so context is required",
        ),
        (
            json!({ "type": "rsa-2048", "context": "YQ==" }),
            "500: key derivation and convergent encryption not supported for keys of type rsa-2048",
        ),
    ] {
        let mut body = body;
        body["plaintext"] = "".into();
        assert_eq!(s.write("encrypt/x", body).await, want);
    }
    assert_eq!(s.read("config/keys").await, json!({ "disable_upsert": false }));
    assert_eq!(s.write("config/keys", json!({ "disable_upsert": true })).await, json!({ "disable_upsert": true }));
    assert_eq!(s.write("encrypt/other", json!({ "plaintext": "" })).await, "400: encryption key not found");
    assert_eq!(s.read("keys/other").await, Value::Null);
}

#[tokio::test]
async fn associated_data_and_padding_belong_to_their_kinds() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    s.key("rsa", "rsa-2048", json!({})).await;
    for (path, body, want) in [
        (
            "encrypt/rsa",
            json!({ "plaintext": "", "associated_data": "YQ==" }),
            "400: '[0].associated_data' provided for non-AEAD cipher suite rsa-2048",
        ),
        (
            "encrypt/k",
            json!({ "plaintext": "", "padding_scheme": "oaep" }),
            "400: '[0].padding_scheme' invalid: unsupported key type aes256-gcm96 for padding scheme",
        ),
        (
            "encrypt/k",
            json!({ "plaintext": "", "associated_data": "!" }),
            "500: unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0",
        ),
        ("encrypt/k", json!({ "plaintext": "", "context": "!" }), "400: illegal base64 data at input byte 0"),
        (
            "encrypt/rsa",
            json!({ "plaintext": BASE64_STANDARD.encode([0; 191]) }),
            "500: failed to RSA encrypt the plaintext: crypto/rsa: message too long for RSA key size",
        ),
        (
            "decrypt/rsa",
            json!({ "ciphertext": "vault:v1:AAAA" }),
            "500: failed to RSA decrypt the ciphertext: crypto/rsa: decryption error",
        ),
    ] {
        assert_eq!(s.write(path, body.clone()).await, want, "{path} {body}");
    }
    let longest = BASE64_STANDARD.encode([7; 190]);
    let text = s.write("encrypt/rsa", json!({ "plaintext": longest })).await["ciphertext"].clone();
    assert_eq!(s.write("decrypt/rsa", json!({ "ciphertext": text })).await, json!({ "plaintext": longest }));
    // The padding is not guessed, and a wrong one tells nothing new.
    assert_eq!(
        s.write("decrypt/rsa", json!({ "ciphertext": text, "padding_scheme": "pkcs1v15" })).await,
        "500: failed to RSA decrypt the ciphertext: crypto/rsa: decryption error"
    );
}
