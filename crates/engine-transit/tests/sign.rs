//! Signatures, MACs, hashes and random bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails may panic"
)]

mod common;

use common::Scene;
use serde_json::{Value, json};

const SIGNERS: [&str; 5] = ["ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"];
const HASHES: [&str; 9] =
    ["sha1", "sha2-224", "sha2-256", "sha2-384", "sha2-512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"];

#[tokio::test]
async fn whatever_is_signed_verifies_and_nothing_else_does() {
    let mut s = Scene::new();
    for kind in SIGNERS {
        s.key(kind, kind, json!({})).await;
        s.write(&format!("keys/{kind}/rotate"), json!({})).await;
        for hash in HASHES {
            for more in [
                json!({}),
                json!({ "marshaling_algorithm": "jws" }),
                json!({ "signature_algorithm": "pkcs1v15" }),
                json!({ "salt_length": "hash" }),
                json!({ "salt_length": "11" }),
            ] {
                if kind != "rsa-2048" && (more.get("salt_length").is_some() || more.get("signature_algorithm").is_some()) {
                    continue;
                }
                let mut body = more;
                body["input"] = "bWVzc2FnZQ==".into();
                let signed = s.write(&format!("sign/{kind}/{hash}"), body.clone()).await;
                let text = signed["signature"].as_str().unwrap_or_else(|| panic!("{kind} {hash} {body}: {signed}")).to_owned();
                assert!(text.starts_with("vault:v2:"));
                for (change, valid) in [
                    (json!({}), true),
                    (json!({ "input": "bWVzc2FnZg==" }), false),
                    (json!({ "signature": text.replace("v2", "v1") }), false),
                ] {
                    let mut asked = body.clone();
                    asked["signature"] = text.clone().into();
                    asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
                    let answer = s.write(&format!("verify/{kind}/{hash}"), asked.clone()).await;
                    assert_eq!(answer, json!({ "valid": valid }), "{kind} {hash} {asked}");
                }
            }
        }
    }
}

#[tokio::test]
async fn refusals() {
    let mut s = Scene::new();
    s.key("rsa", "rsa-2048", json!({})).await;
    s.key("ec", "ecdsa-p521", json!({})).await;
    s.key("aes", "aes256-gcm96", json!({})).await;
    let long = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
    for (path, body, want) in [
        ("sign/aes", json!({}), "400: key type aes256-gcm96 does not support signing"),
        ("sign/rsa/none", json!({}), "400: hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15"),
        ("sign/rsa", json!({ "salt_length": "-2" }), "400: salt length is invalid: -2"),
        ("sign/rsa", json!({ "salt_length": "223" }), "500: requested salt length 223 is invalid"),
        ("sign/rsa", json!({ "input": "YQ==", "prehashed": true }), "500: crypto/rsa: input must be hashed message"),
        ("sign/rsa", json!({ "key_version": -1 }), "500: requested version for signing is negative"),
        ("sign/rsa", json!({ "context": "!" }), "400: failed to base64-decode context"),
        (
            "sign/ec",
            json!({ "input": long, "prehashed": true }),
            "500: input of more than 64 bytes cannot be signed with this curve",
        ),
        ("verify/none", json!({ "signature": "x" }), "400: signature verification key not found"),
        ("verify/aes", json!({ "signature": "x" }), "400: key type aes256-gcm96 does not support verification"),
        (
            "verify/rsa",
            json!({ "signature": "vault:v1:AAAA", "salt_length": "223" }),
            "400: requested salt length 223 is invalid",
        ),
        (
            "verify/rsa",
            json!({ "signature": "vault:v0:AAAA" }),
            "400: ciphertext or signature version is disallowed by policy (too old)",
        ),
        ("verify/rsa", json!({ "signature": "vault:vx:AAAA" }), "400: invalid signature: version number could not be decoded"),
        ("verify/rsa", json!({ "signature": "vault:v1" }), "400: invalid signature: wrong number of fields"),
        ("verify/rsa", json!({ "signature": "vault:v1:!" }), "400: invalid base64 signature value"),
        ("verify/ec", json!({ "signature": "vault:v1:AAAA" }), "400: supplied signature is invalid"),
        ("verify/ec", json!({ "signature": "x", "hmac": "y" }), "400: provide one of 'signature', 'hmac' or 'cmac'"),
        (
            "verify/rsa",
            json!({ "signature": "vault:v1:AAAA", "signature_algorithm": "x" }),
            "500: unsupported rsa signature algorithm x",
        ),
    ] {
        assert_eq!(s.write(path, body.clone()).await, want, "{path} {body}");
    }
    // Bytes that are no signature at all are merely not valid.
    for signature in ["vault:v1:AAAA", "vault:v1:"] {
        assert_eq!(s.write("verify/rsa", json!({ "signature": signature })).await, json!({ "valid": false }));
    }
    let jws = json!({ "signature": "vault:v1:", "marshaling_algorithm": "jws" });
    assert_eq!(s.write("verify/ec", jws).await, json!({ "valid": false }));
}

#[tokio::test]
async fn derived_ed25519_has_a_key_per_context() {
    let mut s = Scene::new();
    s.key("ed", "ed25519", json!({ "derived": true })).await;
    let a = s.write("sign/ed", json!({ "input": "YQ==", "context": "YQ==" })).await;
    let b = s.write("sign/ed", json!({ "input": "YQ==", "context": "Yg==" })).await;
    assert_ne!(a["public_key"], b["public_key"]);
    let shown = s.ask(common::Read, "keys/ed", json!({ "context": "YQ==" })).await;
    assert_eq!(shown["keys"]["1"]["public_key"], a["public_key"]);
    for (context, valid) in [("YQ==", true), ("Yg==", false)] {
        let body = json!({ "input": "YQ==", "context": context, "signature": a["signature"] });
        assert_eq!(s.write("verify/ed", body).await, json!({ "valid": valid }));
    }
    let batch = json!({ "batch_input": [{ "input": "YQ==", "context": "YQ==", "reference": "x" }, {}] });
    assert_eq!(
        s.write("sign/ed", batch).await["batch_results"],
        json!([
            { "signature": a["signature"], "publickey": a["public_key"], "key_version": 1, "reference": "x" },
            { "error": "missing input", "key_version": 0, "reference": "" },
        ])
    );
}

#[tokio::test]
async fn macs_follow_their_versions() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    let one = s.write("hmac/k", json!({ "input": "YQ==" })).await["hmac"].clone();
    s.write("keys/k/rotate", json!({})).await;
    let two = s.write("hmac/k/sha2-512", json!({ "input": "YQ==" })).await["hmac"].clone();
    assert!(two.as_str().unwrap().starts_with("vault:v2:"));
    assert_eq!(s.write("hmac/k", json!({ "input": "YQ==", "key_version": 1 })).await, json!({ "hmac": one }));
    for (path, body, want) in [
        ("verify/k", json!({ "input": "YQ==", "hmac": one }), json!({ "valid": true })),
        ("verify/k/sha2-512", json!({ "input": "YQ==", "hmac": two }), json!({ "valid": true })),
        ("verify/k", json!({ "input": "YQ==", "hmac": two }), json!({ "valid": false })),
        ("verify/k", json!({ "input": "Yg==", "hmac": one }), json!({ "valid": false })),
        ("verify/k", json!({ "input": "YQ==", "hmac": one.as_str().unwrap().replace("v1", "v2") }), json!({ "valid": false })),
        ("verify/k", json!({ "hmac": one }), json!("400: missing input")),
        ("verify/k", json!({ "input": "YQ==", "hmac": "x" }), json!("400: invalid HMAC to verify: no prefix")),
        ("verify/k", json!({ "input": "YQ==", "hmac": "vault:v1" }), json!("400: invalid HMAC: wrong number of fields")),
        (
            "verify/k",
            json!({ "input": "YQ==", "hmac": "vault:vx:" }),
            json!("400: invalid HMAC: version number could not be decoded"),
        ),
        ("verify/k", json!({ "input": "YQ==", "hmac": "vault:v3:" }), json!("400: invalid HMAC: version is too new")),
        (
            "verify/k",
            json!({ "input": "YQ==", "hmac": "vault:v0:" }),
            json!("400: cannot verify HMAC: version is too old (disallowed by policy)"),
        ),
        ("verify/k/none", json!({ "input": "YQ==", "hmac": one }), json!("400: invalid hash algorithm \"none\"")),
        ("hmac/k", json!({}), json!("400: missing input for HMAC")),
        ("hmac/k", json!({ "input": "!" }), json!("400: unable to decode input as base64: illegal base64 data at input byte 0")),
        ("hmac/k/md5", json!({ "input": "" }), json!("400: unsupported algorithm \"md5\"")),
        ("hmac/k", json!({ "input": "", "key_version": 3 }), json!("400: key version does not exist; latest key version is 2")),
        ("hmac/none", json!({ "input": "" }), json!("400: encryption key not found")),
    ] {
        assert_eq!(s.write(path, body.clone()).await, want, "{path} {body}");
    }
    let batch = json!({ "batch_input": [{ "input": "YQ==", "hmac": one }, { "input": "Yg==", "hmac": one }, { "hmac": one }] });
    assert_eq!(
        s.write("verify/k", batch).await["batch_results"],
        json!([{ "valid": true, "reference": "" }, { "reference": "" }, { "error": "missing input", "reference": "" }])
    );
    let mixed = json!({ "batch_input": [{ "input": "", "hmac": one }, { "input": "", "signature": "x" }] });
    assert!(s.write("verify/k", mixed).await.as_str().unwrap().starts_with("400: elements of batch_input must all provide"));
    s.write("keys/k/config", json!({ "min_encryption_version": 2 })).await;
    assert_eq!(
        s.write("hmac/k", json!({ "input": "", "key_version": 1 })).await,
        "400: cannot generate HMAC: version is too old (disallowed by policy)"
    );
}

#[tokio::test]
async fn tools() {
    let mut s = Scene::new();
    for (path, body, length) in [
        ("random", json!({}), 44),
        ("random/8", json!({ "format": "hex" }), 16),
        ("random/all/20", json!({}), 28),
        ("random/platform", json!({ "bytes": "64" }), 88),
        ("random/-1", json!({}), 44),
    ] {
        let random = s.write(path, body).await["random_bytes"].clone();
        assert_eq!(random.as_str().map(str::len), Some(length), "{path}");
    }
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(s.write("hash", json!({ "input": "aGVsbG8=" })).await, json!({ "sum": sha256 }));
    let other = json!({ "input": "aGVsbG8=", "algorithm": "sha2-512" });
    assert_eq!(s.write("hash/sha2-256", other).await, json!({ "sum": sha256 }));
    for (path, body, want) in [
        ("random/0", json!({}), "400: \"bytes\" cannot be less than 1"),
        ("random", json!({ "bytes": 131_073 }), "400: \"bytes\" should be less than 131072"),
        ("random", json!({ "format": "x" }), "400: unsupported encoding format \"x\"; must be \"hex\" or \"base64\""),
        ("random/dice/8", json!({}), "400: unsupported entropy source \"dice\"; must be \"platform\" or \"seal\", or \"all\""),
        ("random/zero", json!({}), "400: error parsing url-set byte count: strconv.Atoi: parsing \"zero\": invalid syntax"),
        ("hash", json!({}), "400: input missing"),
        ("hash", json!({ "input": "!" }), "400: unable to decode input as base64: illegal base64 data at input byte 0"),
        ("hash/md5", json!({ "input": "" }), "400: unsupported algorithm md5"),
        ("hash", json!({ "input": "", "format": "x" }), "400: unsupported encoding format x; must be \"hex\" or \"base64\""),
    ] {
        assert_eq!(s.write(path, body).await, want, "{path}");
    }
    assert_eq!(s.read("cache-config").await, json!({ "size": 0 }));
    assert_eq!(s.write("cache-config", json!({ "size": 9 })).await, "400: size must be 0 or a value greater or equal to 10");
    assert_eq!(s.write("cache-config", json!({ "size": 10 })).await, json!({ "size": 10 }));
    assert_eq!(s.read("cache-config").await, json!({ "size": 10 }));
    let _: Value = s.read("keys/none").await;
}
