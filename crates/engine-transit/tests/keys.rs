//! The life of a key: versions, settings, archive, trimming, rotation, removal.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails may panic"
)]

mod common;

use std::time::Duration;

use common::{CIPHERS, Delete, List, Scene};
use serde_json::{Value, json};

#[tokio::test]
async fn versions_are_used_as_the_minima_say() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    let mut texts = vec![s.encrypted("k", json!({})).await];
    for n in 2..=4 {
        assert_eq!(s.write("keys/k/rotate", json!({})).await["latest_version"], n);
        texts.push(s.encrypted("k", json!({})).await);
    }
    for (i, text) in texts.iter().enumerate() {
        assert!(text.as_str().unwrap().starts_with(&format!("vault:v{}:", i + 1)), "{text}");
    }
    let settings = s.write("keys/k/config", json!({ "min_decryption_version": 3, "min_encryption_version": 3 })).await;
    assert_eq!(settings["keys"].as_object().unwrap().keys().collect::<Vec<_>>(), ["3", "4"]);
    let too_old = "400: ciphertext or signature version is disallowed by policy (too old)";
    for (i, text) in texts.iter().enumerate() {
        let answer = s.write("decrypt/k", json!({ "ciphertext": text })).await;
        assert_eq!(answer, if i < 2 { json!(too_old) } else { json!({ "plaintext": "YQ==" }) }, "version {}", i + 1);
    }
    for (version, want) in [
        (-1, "400: requested version for encryption is negative"),
        (2, "400: requested version for encryption is less than the minimum encryption key version"),
        (5, "400: requested version for encryption is higher than the latest key version"),
    ] {
        assert_eq!(s.write("encrypt/k", json!({ "plaintext": "", "key_version": version })).await, want);
    }
    assert_eq!(s.write("encrypt/k", json!({ "plaintext": "", "key_version": 3 })).await["key_version"], 3);
    // Lowered again, the old versions are back from the archive.
    s.write("keys/k/config", json!({ "min_decryption_version": 1 })).await;
    assert_eq!(s.read("keys/k").await["keys"].as_object().unwrap().len(), 4);
    for text in &texts {
        assert_eq!(s.write("decrypt/k", json!({ "ciphertext": text })).await, json!({ "plaintext": "YQ==" }));
    }
}

#[tokio::test]
async fn settings_that_contradict_are_refused_and_change_nothing() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    s.write("keys/k/rotate", json!({})).await;
    let before = s.read("keys/k").await;
    for (settings, want) in [
        (json!({ "min_decryption_version": -1 }), "400: min decryption version cannot be negative"),
        (json!({ "min_decryption_version": 3 }), "400: cannot set min decryption version of 3, latest key version is 2"),
        (json!({ "min_encryption_version": -1 }), "400: min encryption version cannot be negative"),
        (json!({ "min_encryption_version": 3 }), "400: cannot set min encryption version of 3, latest key version is 2"),
        (
            json!({ "min_encryption_version": 1, "min_decryption_version": 2, "deletion_allowed": true }),
            "400: cannot set min encryption/decryption values; min encryption version of 1 must be greater than or equal to \
             min decryption version of 2",
        ),
        (json!({ "auto_rotate_period": "59m" }), "400: auto rotate period must be 0 to disable or at least an hour"),
    ] {
        assert_eq!(s.write("keys/k/config", settings.clone()).await, want, "{settings}");
        assert_eq!(s.read("keys/k").await, before, "{settings}");
    }
    assert_eq!(s.write("keys/none/config", json!({})).await, "400: no existing key named none could be found");
    let zero = s.write("keys/k/config", json!({ "min_decryption_version": 0 })).await;
    assert_eq!(zero["min_decryption_version"], 1);
    assert_eq!(zero["warnings"], json!(["since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1"]));
}

#[tokio::test]
async fn what_may_leave_cannot_be_made_secret_again() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    for name in ["exportable", "allow_plaintext_backup"] {
        assert_eq!(s.write("keys/k/config", json!({ name: true })).await[name], true);
        assert_eq!(s.write("keys/k/config", json!({ name: false })).await[name], true);
    }
}

#[tokio::test]
async fn trimming_removes_for_good() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({ "exportable": true, "allow_plaintext_backup": true })).await;
    let old = s.encrypted("k", json!({})).await;
    for _ in 0..3 {
        s.write("keys/k/rotate", json!({})).await;
    }
    s.write("keys/k/config", json!({ "min_decryption_version": 3, "min_encryption_version": 4 })).await;
    for (wanted, want) in [
        (json!(0), "400: minimum available version should be positive"),
        (json!(-1), "400: minimum available version cannot be decremented"),
        (json!(5), "400: minimum available version cannot be greater than minmum encryption version"),
        (json!(4), "400: minimum available version cannot be greater than minimum decryption version"),
        (Value::Null, "400: missing min_available_version"),
    ] {
        assert_eq!(s.write("keys/k/trim", json!({ "min_available_version": wanted })).await, want);
    }
    assert_eq!(s.write("keys/k/trim", json!({ "min_available_version": 2 })).await["min_available_version"], 2);
    assert_eq!(
        s.write("keys/k/trim", json!({ "min_available_version": 1 })).await,
        "400: minimum available version cannot be decremented"
    );
    assert_eq!(
        s.write("keys/k/config", json!({ "min_decryption_version": 1, "min_encryption_version": 1 })).await,
        "400: min encryption version should not be less than min available version"
    );
    assert_eq!(
        s.write("keys/k/config", json!({ "min_decryption_version": 1 })).await,
        "400: min decryption version should not be less then min available version"
    );
    assert_eq!(s.write("keys/k/config", json!({ "min_decryption_version": 2 })).await["keys"].as_object().unwrap().len(), 3);
    assert_eq!(
        s.write("decrypt/k", json!({ "ciphertext": old })).await,
        "400: ciphertext or signature version is disallowed by policy (too old)"
    );
    // The backup of a trimmed key restores with the same versions.
    let backup = s.read("backup/k").await["backup"].clone();
    assert_eq!(s.write("restore/copy", json!({ "backup": backup })).await, Value::Null);
    let (mut a, mut b) = (s.read("keys/k").await, s.read("keys/copy").await);
    for key in [&mut a, &mut b] {
        key.as_object_mut().unwrap().retain(|k, _| k != "name" && k != "restore_info");
    }
    assert_eq!(a, b);
}

#[tokio::test]
async fn rotation_happens_at_the_first_use_after_the_period() {
    for kind in CIPHERS {
        let mut s = Scene::new();
        s.key("k", kind, json!({ "auto_rotate_period": "2h" })).await;
        let first = s.encrypted("k", json!({})).await;
        s.0.now = s.0.now.plus(Duration::from_secs(2 * 3600));
        assert!(s.encrypted("k", json!({})).await.as_str().unwrap().starts_with("vault:v1:"));
        s.0.now = s.0.now.plus(Duration::from_secs(1));
        // Reading old ciphertexts is no use of a new version.
        assert_eq!(s.write("decrypt/k", json!({ "ciphertext": first })).await, json!({ "plaintext": "YQ==" }));
        assert!(s.encrypted("k", json!({})).await.as_str().unwrap().starts_with("vault:v2:"));
        assert!(s.encrypted("k", json!({})).await.as_str().unwrap().starts_with("vault:v2:"));
        s.0.now = s.0.now.plus(Duration::from_secs(10 * 3600));
        assert_eq!(s.read("keys/k").await["latest_version"], 3);
        s.write("keys/k/config", json!({ "auto_rotate_period": 0 })).await;
        s.0.now = s.0.now.plus(Duration::from_secs(100 * 3600));
        assert_eq!(s.read("keys/k").await["latest_version"], 3);
    }
}

#[tokio::test]
async fn a_key_goes_only_if_it_may_and_then_wholly() {
    let mut s = Scene::new();
    s.key("k", "aes256-gcm96", json!({})).await;
    s.write("keys/k/rotate", json!({})).await;
    s.write("keys/k/config", json!({ "min_decryption_version": 2 })).await;
    assert_eq!(s.ask(Delete, "keys/k", json!({})).await, "400: error deleting policy k: deletion is not allowed for this key");
    assert_eq!(s.ask(Delete, "keys/x", json!({})).await, "400: error deleting policy x: could not delete key; not found");
    s.write("keys/k/config", json!({ "deletion_allowed": true })).await;
    assert_eq!(s.ask(Delete, "keys/k", json!({})).await, Value::Null);
    assert_eq!(s.read("keys/k").await, Value::Null);
    assert_eq!(s.ask(List, "keys/", json!({})).await, json!({}));
    // A new key of the name does not find the old archive.
    s.key("k", "aes256-gcm96", json!({})).await;
    assert_eq!(s.read("keys/k").await["keys"].as_object().unwrap().len(), 1);
    assert_eq!(s.write("keys/x/rotate", json!({})).await, "400: key not found");
    assert_eq!(s.write("keys/x/trim", json!({})).await, "400: invalid key name");
}

#[tokio::test]
async fn lists_come_in_pages_on_request() {
    let mut s = Scene::new();
    for name in ["a", "b", "c"] {
        s.key(name, "aes256-gcm96", json!({})).await;
    }
    for (page, want) in [
        (json!({}), json!(["a", "b", "c"])),
        (json!({ "after": "a" }), json!(["b", "c"])),
        (json!({ "after": "a", "limit": 1 }), json!(["b"])),
        (json!({ "limit": "2" }), json!(["a", "b"])),
    ] {
        assert_eq!(s.ask(List, "keys/", page.clone()).await, json!({ "keys": want }), "{page}");
    }
}

#[tokio::test]
async fn creation_refuses_what_makes_no_sense() {
    let mut s = Scene::new();
    for (body, want) in [
        (json!({ "type": "AES256-GCM96" }), "400: unknown key type AES256-GCM96"),
        (json!({ "type": "aes256-gcm96", "key_size": 32 }), "400: key_size is not valid for algorithm aes256-gcm96"),
        (json!({ "type": "hmac", "key_size": 513 }), "400: invalid key_size 513"),
        (json!({ "type": "hmac", "key_size": -32 }), "400: invalid key_size -32"),
        (
            json!({ "type": "ecdsa-p256", "derived": true }),
            "500: key derivation and convergent encryption not supported for keys of type ecdsa-p256",
        ),
        (
            json!({ "type": "hmac", "key_size": 32, "derived": true }),
            "500: key derivation and convergent encryption not supported for keys of type hmac",
        ),
        (
            json!({ "type": "ed25519", "derived": true, "convergent_encryption": true }),
            "500: convergent encryption not supported for keys of type ed25519",
        ),
        (json!({ "auto_rotate_period": 3599 }), "400: auto rotate period must be 0 to disable or at least an hour"),
    ] {
        assert_eq!(s.write("keys/k", body.clone()).await, want, "{body}");
        assert_eq!(s.read("keys/k").await, Value::Null, "{body}");
    }
}
