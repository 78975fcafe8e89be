//! Keys that come and go: export, wrapped export, import, backup, restore, certificates.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails may panic"
)]

mod common;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::Scene;
use serde_json::{Value, json};

const ALL: [(&str, &str); 9] = [
    ("aes", "aes256-gcm96"),
    ("aes128", "aes128-gcm96"),
    ("cha", "chacha20-poly1305"),
    ("ed", "ed25519"),
    ("p256", "ecdsa-p256"),
    ("p384", "ecdsa-p384"),
    ("p521", "ecdsa-p521"),
    ("rsa", "rsa-2048"),
    ("mac", "hmac"),
];

async fn full(s: &mut Scene) {
    for (name, kind) in ALL {
        let mut more = json!({ "exportable": true, "allow_plaintext_backup": true });
        if kind == "hmac" {
            more["key_size"] = 32.into();
        }
        s.key(name, kind, more).await;
    }
}

/// Something that both of two copies of a key do alike.
async fn proof(s: &mut Scene, kind: &str, made_by: &str, checked_by: &str) -> Value {
    match kind {
        "hmac" => {
            let mac = s.write(&format!("hmac/{made_by}"), json!({ "input": "YQ==" })).await["hmac"].clone();
            s.write(&format!("verify/{checked_by}"), json!({ "input": "YQ==", "hmac": mac })).await
        }
        "ed25519" | "ecdsa-p256" | "ecdsa-p384" | "ecdsa-p521" => {
            let signature = s.write(&format!("sign/{made_by}"), json!({ "input": "YQ==" })).await["signature"].clone();
            s.write(&format!("verify/{checked_by}"), json!({ "input": "YQ==", "signature": signature })).await
        }
        _ => {
            let ciphertext = s.encrypted(made_by, json!({})).await;
            let opened = s.write(&format!("decrypt/{checked_by}"), json!({ "ciphertext": ciphertext })).await;
            json!({ "valid": opened == json!({ "plaintext": "YQ==" }) })
        }
    }
}

/// Every kind leaves by `byok-export` and comes back by `import`, and is the same key then.
#[tokio::test]
async fn wrapped_keys_arrive() {
    let mut s = Scene::new();
    full(&mut s).await;
    let public = s.read("wrapping_key").await["public_key"].clone();
    assert_eq!(s.read("wrapping_key").await["public_key"], public, "made once");
    let wrapping = json!({ "type": "rsa-4096", "public_key": public });
    assert_eq!(s.write("keys/dest/import", wrapping).await, Value::Null);
    for (i, (name, kind)) in ALL.into_iter().enumerate() {
        let hash = ["SHA1", "SHA256", "SHA384", "SHA512"][i % 4];
        let out = s.ask(common::Read, &format!("byok-export/dest/{name}"), json!({ "hash": hash })).await;
        let body = json!({ "type": kind, "ciphertext": out["keys"]["1"], "hash_function": hash });
        assert_eq!(s.write(&format!("keys/{name}-copy/import"), body).await, Value::Null, "{kind} {out}");
        let copy = format!("{name}-copy");
        assert_eq!(proof(&mut s, kind, name, &copy).await, json!({ "valid": true }), "{kind}");
        assert_eq!(proof(&mut s, kind, &copy, name).await, json!({ "valid": true }), "{kind}");
        let shown = s.read(&format!("keys/{copy}")).await;
        assert_eq!((&shown["imported_key"], &shown["imported_key_allow_rotation"]), (&json!(true), &json!(false)));
        let refused = format!("500: imported key {copy} does not allow rotation within Vault");
        assert_eq!(s.write(&format!("keys/{copy}/rotate"), json!({})).await, refused);
    }
    let out = s.read("byok-export/dest/aes/latest").await["keys"]["1"].clone();
    let mut bent = BASE64_STANDARD.decode(out.as_str().unwrap()).unwrap();
    for at in [0, 100, 511, 512, 530] {
        bent[at] ^= 1;
        let body = json!({ "type": "aes256-gcm96", "ciphertext": BASE64_STANDARD.encode(&bent) });
        assert_eq!(s.write("keys/bent/import", body).await, "500: the imported key cannot be unwrapped", "byte {at}");
        bent[at] ^= 1;
    }
    for (path, body, want) in [
        ("keys/x/import", json!({}), "500: provided ciphertext is too short"),
        (
            "keys/x/import",
            json!({ "ciphertext": out, "public_key": "x" }),
            "500: only one of the following fields, ciphertext and public_key, can be set",
        ),
        ("keys/x/import", json!({ "ciphertext": out, "hash_function": "md5" }), "400: unknown hash function: md5"),
        (
            "keys/x/import",
            json!({ "ciphertext": out, "type": "aes128-gcm96" }),
            "500: invalid key size 32 bytes for key type aes128-gcm96",
        ),
        (
            "keys/x/import",
            json!({ "ciphertext": out, "type": "rsa-2048" }),
            "500: error parsing asymmetric key: expected a PKCS#8 RSA key",
        ),
        ("keys/x/import", json!({ "ciphertext": out, "type": "rot13" }), "400: unknown key type: rot13"),
        (
            "keys/x/import",
            json!({ "ciphertext": out, "auto_rotate_period": "1h" }),
            "500: allow_rotation must be set to true if auto-rotation is enabled",
        ),
        (
            "keys/aes/import",
            json!({ "ciphertext": out }),
            "500: the import path cannot be used with an existing key; use import-version to rotate an existing imported key",
        ),
        ("keys/x/import", json!({ "public_key": "x" }), "500: provided type does not support public_key import"),
        ("keys/x/import", json!({ "public_key": "x", "type": "rsa-2048" }), "500: error parsing public key: not in PEM format"),
        (
            "keys/x/import",
            json!({ "public_key": public, "type": "rsa-2048" }),
            "500: invalid key size: expected 256 bytes, got 512 bytes",
        ),
        (
            "keys/x/import",
            json!({ "public_key": public, "type": "ed25519" }),
            "500: error parsing public key: expected a key of type ed25519",
        ),
        (
            "keys/aes/import_version",
            json!({ "ciphertext": out }),
            "500: the import_version endpoint can only be used with an imported key",
        ),
        (
            "keys/x/import_version",
            json!({ "ciphertext": out }),
            "500: no key found with name x; to import a new key, use the import/ endpoint",
        ),
    ] {
        assert_eq!(s.write(path, body).await, want, "{path}");
    }
    assert_eq!(s.write("keys/aes-copy/import_version", json!({ "ciphertext": out })).await, Value::Null);
    assert_eq!(s.read("keys/aes-copy").await["latest_version"], 2);
}

#[tokio::test]
async fn a_public_key_verifies_and_is_completed_by_its_private_half() {
    let mut s = Scene::new();
    full(&mut s).await;
    let wrapping = json!({ "type": "rsa-4096", "public_key": s.read("wrapping_key").await["public_key"] });
    s.write("keys/dest/import", wrapping).await;
    for (name, kind) in ALL.into_iter().filter(|(n, _)| matches!(*n, "ed" | "p256" | "rsa")) {
        let public = s.ask(common::Read, &format!("export/public-key/{name}"), json!({ "format": "pem" })).await;
        let half = format!("{name}-half");
        let body = json!({ "type": kind, "public_key": public["keys"]["1"] });
        assert_eq!(s.write(&format!("keys/{half}/import"), body.clone()).await, Value::Null, "{kind}");
        assert_eq!(
            s.write(&format!("sign/{half}"), json!({ "input": "" })).await,
            "500: requested version for signing does not contain a private part"
        );
        let signature = s.write(&format!("sign/{name}"), json!({ "input": "YQ==" })).await["signature"].clone();
        let asked = json!({ "input": "YQ==", "signature": signature });
        assert_eq!(s.write(&format!("verify/{half}"), asked).await, json!({ "valid": true }));
        s.key("other", kind, json!({ "exportable": true })).await;
        let wrong = s.read("byok-export/dest/other").await["keys"]["1"].clone();
        let path = format!("keys/{half}/import_version");
        let refused = s.write(&path, json!({ "ciphertext": wrong, "version": 1 })).await;
        assert_eq!(refused, "500: cannot import key, key pair does not match");
        let right = s.read(&format!("byok-export/dest/{name}")).await["keys"]["1"].clone();
        assert_eq!(s.write(&path, json!({ "ciphertext": right })).await, Value::Null);
        assert_eq!(s.read(&format!("keys/{half}")).await["latest_version"], 1, "completed, not added");
        assert!(s.write(&format!("sign/{half}"), json!({ "input": "" })).await["signature"].is_string());
        let again = s.write(&path, json!({ "ciphertext": right, "version": 1 })).await;
        assert_eq!(again, "500: private key imported, key version cannot be updated");
        s.write("keys/other/config", json!({ "deletion_allowed": true })).await;
        s.ask(common::Delete, "keys/other", json!({})).await;
    }
}

#[tokio::test]
async fn exports_have_their_forms() {
    let mut s = Scene::new();
    full(&mut s).await;
    for (path, begin) in [
        ("signing-key/rsa", "-----BEGIN RSA PRIVATE KEY-----"),
        ("encryption-key/rsa", "-----BEGIN RSA PRIVATE KEY-----"),
        ("signing-key/p521", "-----BEGIN EC PRIVATE KEY-----"),
        ("public-key/rsa", "-----BEGIN PUBLIC KEY-----"),
        ("public-key/p384", "-----BEGIN PUBLIC KEY-----"),
    ] {
        let text = s.read(&format!("export/{path}")).await["keys"]["1"].as_str().unwrap().to_owned();
        assert!(text.starts_with(begin) && text.ends_with("-----"), "{path}");
    }
    for (path, length) in [
        ("encryption-key/aes", 32),
        ("encryption-key/aes128", 16),
        ("signing-key/ed", 64),
        ("public-key/ed", 32),
        ("hmac-key/rsa", 32),
        ("hmac-key/mac", 32),
    ] {
        let text = s.read(&format!("export/{path}/v1")).await["keys"]["1"].as_str().unwrap().to_owned();
        assert_eq!(BASE64_STANDARD.decode(text).unwrap().len(), length, "{path}");
    }
    for (path, format, want) in [
        ("encryption-key/mac", "", "400: encryption not supported for the key"),
        ("public-key/aes", "", "500: unknown key type aes256-gcm96 for export type public-key"),
        ("certificate-chain/aes", "", "400: certificate chain not supported for keys that do not support signing"),
        ("certificate-chain/rsa", "", "500: selected key version does not have a certificate chain imported"),
        ("signing-key/rsa", "raw", "500: unknown key format; supported values are ``, `der`, or `pem`"),
        ("hmac-key/rsa", "pem", "500: unknown format for HMAC key; supported values are `` or `raw`"),
        ("signing-key/rsa", "jwk", "400: invalid format: jwk"),
        ("signing-key/rsa/x", "", "400: invalid key version"),
        ("signing-key/rsa/0", "", "400: version for export is below minimum decryption version"),
        ("signing-key/rsa/2", "", "400: version does not exist or cannot be found"),
    ] {
        assert_eq!(s.ask(common::Read, &format!("export/{path}"), json!({ "format": format })).await, want, "{path}");
    }
    s.key("secret", "rsa-2048", json!({})).await;
    for part in ["encryption-key", "signing-key", "hmac-key"] {
        assert_eq!(s.read(&format!("export/{part}/secret")).await, "400: private key material is not exportable");
    }
    assert_eq!(s.read("byok-export/rsa/secret").await, "400: key is not exportable");
    assert_eq!(s.read("byok-export/aes/rsa").await, "500: unsupported key type in use; must be a rsa key");
    assert_eq!(s.read("byok-export/none/rsa").await, "500: no such destination key to export to");
    assert_eq!(s.read("byok-export/rsa/none").await, "500: no such source key for export");
    assert!(s.read("export/public-key/secret").await["keys"]["1"].is_string());
}

#[tokio::test]
async fn backups_restore_whole_keys() {
    let mut s = Scene::new();
    full(&mut s).await;
    for (name, kind) in ALL {
        for _ in 0..2 {
            s.write(&format!("keys/{name}/rotate"), json!({})).await;
        }
        s.write(&format!("keys/{name}/config"), json!({ "min_decryption_version": 2 })).await;
        let backup = s.read(&format!("backup/{name}")).await["backup"].clone();
        let copy = format!("{name}-copy");
        assert_eq!(s.write(&format!("restore/{copy}"), json!({ "backup": backup })).await, Value::Null, "{kind}");
        assert_eq!(proof(&mut s, kind, name, &copy).await, json!({ "valid": true }), "{kind}");
        // The archive came along.
        let lowered = s.write(&format!("keys/{copy}/config"), json!({ "min_decryption_version": 1 })).await;
        if kind != "hmac" {
            assert_eq!(lowered["keys"].as_object().unwrap().len(), 3, "{kind}");
        }
        let again = s.write("restore", json!({ "backup": backup })).await;
        assert_eq!(again, format!("500: key {name:?} already exists"));
        assert_eq!(s.write("restore", json!({ "backup": backup, "force": true })).await, Value::Null);
    }
}

#[tokio::test]
async fn what_is_no_backup_is_refused_without_being_quoted() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({ "exportable": true })).await;
    assert_eq!(s.read("backup/k").await, "500: plaintext backup is disallowed on the policy");
    assert_eq!(s.read("backup/none").await, "500: key \"none\" not found");
    s.write("keys/k/config", json!({ "allow_plaintext_backup": true })).await;
    let text = s.read("backup/k").await["backup"].as_str().unwrap().to_owned();
    let good: Value = serde_json::from_slice(&BASE64_STANDARD.decode(text).unwrap()).unwrap();
    let secret = good["policy"]["keys"]["1"]["key"].as_str().unwrap().to_owned();
    for (pointer, value, want) in [
        ("/policy/latest_version", json!(0), "500: latest version of 0 is less than 1"),
        ("/policy/latest_version", json!(7), "500: versions of the key are missing or out of range"),
        ("/policy/latest_version", json!(i64::MAX), "500: latest version of 9223372036854775807 is greater than 2147483648"),
        ("/policy/min_decryption_version", json!(-1), "500: minimum decryption version of -1 is less than 1"),
        ("/policy/min_decryption_version", json!(2), "500: minimum decryption version of 2 is greater than the latest version 1"),
        ("/policy/keys", json!({}), "500: versions of the key are missing or out of range"),
        ("/policy/keys/1/key", json!("YQ=="), "500: could not derive enc key, length not correct"),
        ("/policy/name", json!("a/b"), "500: key names cannot be paths"),
        ("/policy/name", json!(""), "500: key names cannot be paths"),
        ("/policy/type", json!(1), "500: stored key is not consistent"),
        ("/policy/type", json!(99), "500: the backup is not of the expected form at line 1, column "),
        ("/policy/keys/1/key", json!({ "secret": secret }), "500: the backup is not of the expected form at line 1, column "),
    ] {
        let mut bent = good.clone();
        bent["policy"]["name"] = "other".into();
        *bent.pointer_mut(pointer).unwrap() = value;
        let answer = s.write("restore", json!({ "backup": BASE64_STANDARD.encode(bent.to_string()) })).await;
        let answer = answer.as_str().unwrap_or_else(|| panic!("{pointer}: {answer}"));
        assert!(answer.starts_with(want) && !answer.contains(&secret), "{pointer}: {answer}");
    }
    for backup in ["!", "YQ==", "bnVsbA==", "e30="] {
        let answer = s.write("restore", json!({ "backup": backup })).await;
        assert!(answer.as_str().unwrap().starts_with("500: "), "{backup}: {answer}");
    }
    assert_eq!(s.write("restore", json!({})).await, "400: 'backup' must be supplied");
    assert_eq!(
        s.write("restore/a/b", json!({ "backup": BASE64_STANDARD.encode(good.to_string()) })).await,
        "500: key names cannot be paths"
    );
}

#[tokio::test]
async fn requests_for_certificates_are_signed_by_the_key() {
    let mut s = Scene::new();
    full(&mut s).await;
    for name in ["ed", "p256", "p384", "p521", "rsa"] {
        let first = s.write(&format!("keys/{name}/csr"), json!({})).await;
        let pem = first["csr"].as_str().unwrap_or_else(|| panic!("{name}: {first}")).to_owned();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        // A request of another key keeps its names and gets this key: here they are the same.
        let second = s.write(&format!("keys/{name}/csr"), json!({ "csr": pem })).await;
        assert_eq!(info(&pem), info(second["csr"].as_str().unwrap()), "{name}");
    }
    for (path, data, want) in [
        ("keys/none/csr", json!({}), "400: key with provided name 'none' not found"),
        ("keys/aes/csr", json!({}), "400: key type 'aes256-gcm96' does not support signing"),
        ("keys/rsa/csr", json!({ "version": 2 }), "400: no such key version"),
        ("keys/rsa/csr", json!({ "csr": "x" }), "400: could not decode PEM CSR"),
        (
            "keys/rsa/set-certificate",
            json!({ "certificate_chain": "x" }),
            "400: provided certificate chain did not contain any valid PEM encoded certificate",
        ),
        (
            "keys/rsa/set-certificate",
            json!({ "certificate_chain": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----" }),
            "400: could not parse a certificate in the certificate chain",
        ),
    ] {
        assert_eq!(s.write(path, data).await, want, "{path}");
    }
}

/// The part of a request before its signature: from the version (0) and the empty name on, as far as all keys have it.
fn info(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    let der = BASE64_STANDARD.decode(text).unwrap();
    let start = der.windows(5).position(|w| w == [2, 1, 0, 0x30, 0]).unwrap();
    assert!(start < 10);
    der[start..start + 49].to_vec()
}
