//! Every path against every kind of key with input of every wrong type: refusals, never a panic, never a secret.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails may panic"
)]

mod common;

use common::{Delete, List, Read, Scene, Update};
use engine::Backend;
use serde_json::{Value, json};

const NAMES: [&str; 7] = ["plain", "derived", "conv", "ed", "ec", "rsa", "mac"];

async fn scene() -> Scene {
    let mut s = Scene::new();
    s.key("plain", "aes256-gcm96", json!({})).await;
    s.key("derived", "chacha20-poly1305", json!({ "derived": true })).await;
    s.key("conv", "aes128-gcm96", json!({ "derived": true, "convergent_encryption": true })).await;
    s.key("ed", "ed25519", json!({ "derived": true })).await;
    s.key("ec", "ecdsa-p256", json!({})).await;
    s.key("rsa", "rsa-2048", json!({})).await;
    s.key("mac", "hmac", json!({ "key_size": 32 })).await;
    s
}

fn wrong_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("!"),
        json!("YQ=="),
        json!("vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        json!("vault:v1:MAYCAQACAQA="),
        json!("é\u{0}\n"),
        json!([]),
        json!([{}]),
        json!([{ "input": "YQ==", "plaintext": "YQ==", "ciphertext": "vault:v1:AA==", "signature": "vault:v1:AA==", "hmac": "vault:v1:AA==" }]),
        json!([[]]),
        json!({}),
    ]
}

#[tokio::test]
async fn no_input_panics_or_leaks() {
    let mut s = scene().await;
    let secrets = secrets(&mut s).await;
    assert!(secrets.len() >= NAMES.len());
    let patterns = Backend::patterns(&s.0.engine);
    let mut asked = 0;
    for (pattern, _) in patterns {
        // Making RSA keys again and again would only make this slow.
        if pattern.ends_with("/rotate") || pattern == "wrapping_key" {
            continue;
        }
        for name in NAMES {
            let path = pattern
                .replace("{name}", name)
                .replace("{name...}", name)
                .replace("{plaintext}", "plaintext")
                .replace("{type}", "signing-key")
                .replace("{destination}", "rsa")
                .replace("{source}", name)
                .replace("{version...}", "1")
                .replace("{urlalgorithm...}", "sha3-224")
                .replace("{urlbytes...}", "all/3")
                .replace("/?", "/");
            for field in [
                "plaintext",
                "ciphertext",
                "input",
                "signature",
                "hmac",
                "context",
                "nonce",
                "key_version",
                "batch_input",
                "associated_data",
                "backup",
                "public_key",
                "csr",
                "certificate_chain",
                "salt_length",
                "bits",
                "version",
                "min_decryption_version",
                "min_available_version",
                "prehashed",
                "padding_scheme",
                "bytes",
                "format",
            ] {
                for value in wrong_values() {
                    let mut body = json!({ "plaintext": "YQ==", "input": "YQ==", "context": "YQ==" });
                    body[field] = value;
                    for operation in [Update, Read, List] {
                        let answer = s.ask(operation, &path, body.clone()).await.to_string();
                        assert!(secrets.iter().all(|k| !answer.contains(k.as_str())), "{path} {body} leaks");
                        asked += 1;
                    }
                }
            }
            let _ = s.ask(Delete, &path, json!({})).await;
        }
    }
    assert!(asked > 10_000);
}

/// The secrets of all keys as they would look in an answer.
async fn secrets(s: &mut Scene) -> Vec<String> {
    let mut out = Vec::new();
    for name in NAMES {
        let record: Value = serde_json::from_slice(s.0.txn_get(&format!("policy/{name}")).as_slice()).unwrap();
        let entry = &record["keys"]["1"];
        for field in ["key", "hmac_key"] {
            if let Some(text) = entry[field].as_str() {
                out.push(text.to_owned());
            }
        }
        if let Some(number) = entry["ec_d"].as_number() {
            out.push(number.to_string());
        }
    }
    out
}

trait Stored {
    fn txn_get(&mut self, key: &str) -> Vec<u8>;
}

impl Stored for engine::testing::Harness<engine_transit::Transit> {
    fn txn_get(&mut self, key: &str) -> Vec<u8> {
        use storage::Transaction;
        self.txn.get(key).unwrap().unwrap().bytes().to_vec()
    }
}
