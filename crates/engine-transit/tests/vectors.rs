//! Formats, both ways: keys in Vault's backup form and what another implementation made of them (`vectors/make.py`), and the
//! example backup that Vault's documentation shows.

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

#[tokio::test]
async fn another_implementation_agrees() {
    let keys: Vec<Value> = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    assert!(keys.len() > 20);
    for key in keys {
        let mut scene = Scene::new();
        let name = key["name"].as_str().unwrap();
        assert_eq!(scene.write("restore", json!({ "backup": key["backup"] })).await, Value::Null, "{name}");
        for check in key["checks"].as_array().unwrap() {
            let (verb, rest) = check["path"].as_str().map(|p| p.split_once('/').unwrap_or((p, ""))).unwrap();
            let path = if rest.is_empty() { format!("{verb}/{name}") } else { format!("{verb}/{name}/{rest}") };
            assert_eq!(scene.write(&path, check["body"].clone()).await, check["want"], "{path} {}", check["body"]);
        }
        // What we back up is what we restored, and restores again.
        let ours = scene.read(&format!("backup/{name}")).await;
        let mut other = Scene::new();
        assert_eq!(other.write("restore/copy", json!({ "backup": ours["backup"] })).await, Value::Null, "{name}");
        for check in key["checks"].as_array().unwrap().iter().take(4) {
            let (verb, rest) = check["path"].as_str().map(|p| p.split_once('/').unwrap_or((p, ""))).unwrap();
            let path = if rest.is_empty() { format!("{verb}/copy") } else { format!("{verb}/copy/{rest}") };
            assert_eq!(other.write(&path, check["body"].clone()).await, check["want"], "{path}");
        }
    }
}

/// From the API documentation of `backup/` (a key made by Vault 0.9).
const DOCUMENTED: &str = "eyJwb2xpY3kiOnsibmFtZSI6ImFlcyIsImtleXMiOnsiMSI6eyJrZXkiOiJXK3k4Z0dOMHdiTDJLOU95NXFPN1laMGtjdzMvR0ZiNWM4STBzdlNMMnFNPSIsImhtYWNfa2V5IjoiUDBTcjh1YTJaZERNUTdPd2h4RGp1Z0U5d0JSR3Q2QXl6K0t4TzN5Z2M5ST0iLCJ0aW1lIjoiMjAxNy0xMi0wOFQxMTo1MDowOC42MTM4MzctMDU6MDAiLCJlY194IjpudWxsLCJlY195IjpudWxsLCJlY19kIjpudWxsLCJyc2Ffa2V5IjpudWxsLCJwdWJsaWNfa2V5IjoiIiwiY3JlYXRpb25fdGltZSI6MTUxMjc1MTgwOH19LCJkZXJpdmVkIjpmYWxzZSwia2RmIjowLCJjb252ZXJnZW50X2VuY3J5cHRpb24iOmZhbHNlLCJleHBvcnRhYmxlIjpmYWxzZSwibWluX2RlY3J5cHRpb25fdmVyc2lvbiI6MSwibWluX2VuY3J5cHRpb25fdmVyc2lvbiI6MCwibGF0ZXN0X3ZlcnNpb24iOjEsImFyY2hpdmVfdmVyc2lvbiI6MSwiZGVsZXRpb25fYWxsb3dlZCI6ZmFsc2UsImNvbnZlcmdlbnRfdmVyc2lvbiI6MCwidHlwZSI6MCwiYmFja3VwX2luZm8iOnsidGltZSI6IjIwMTctMTItMDhUMTE6NTA6MjkuMjI4MTU3LTA1OjAwIiwidmVyc2lvbiI6MX0sInJlc3RvcmVfaW5mbyI6bnVsbH0sImFyY2hpdmVkX2tleXMiOnsia2V5cyI6W3sia2V5IjpudWxsLCJobWFjX2tleSI6bnVsbCwidGltZSI6IjAwMDEtMDEtMDFUMDA6MDA6MDBaIiwiZWNfeCI6bnVsbCwiZWNfeSI6bnVsbCwiZWNfZCI6bnVsbCwicnNhX2tleSI6bnVsbCwicHVibGljX2tleSI6IiIsImNyZWF0aW9uX3RpbWUiOjB9LHsia2V5IjoiVyt5OGdHTjB3YkwySzlPeTVxTzdZWjBrY3czL0dGYjVjOEkwc3ZTTDJxTT0iLCJobWFjX2tleSI6IlAwU3I4dWEyWmRETVE3T3doeERqdWdFOXdCUkd0NkF5eitLeE8zeWdjOUk9IiwidGltZSI6IjIwMTctMTItMDhUMTE6NTA6MDguNjEzODM3LTA1OjAwIiwiZWNfeCI6bnVsbCwiZWNfeSI6bnVsbCwiZWNfZCI6bnVsbCwicnNhX2tleSI6bnVsbCwicHVibGljX2tleSI6IiIsImNyZWF0aW9uX3RpbWUiOjE1MTI3NTE4MDh9XX19Cg==";

#[tokio::test]
async fn the_documented_backup_restores() {
    let mut scene = Scene::new();
    assert_eq!(scene.write("restore", json!({ "backup": DOCUMENTED })).await, Value::Null);
    let key = scene.read("keys/aes").await;
    assert_eq!(key["keys"], json!({ "1": 1_512_751_808 }));
    assert_eq!(key["backup_info"], json!({ "time": "2017-12-08T16:50:29.228157Z", "version": 1 }));
    assert_eq!(key["restore_info"]["version"], 1);
    let ciphertext = scene.encrypted("aes", json!({})).await;
    assert_eq!(scene.write("decrypt/aes", json!({ "ciphertext": ciphertext })).await, json!({ "plaintext": "YQ==" }));
    // It was not exportable, and a restore does not make it so.
    assert_eq!(scene.read("backup/aes").await, "500: exporting is disallowed on the policy");
}

/// A certificate chain is taken if its leaf is for the key, and shown where Vault shows it.
#[tokio::test]
async fn certificate_chains_belong_to_their_keys() {
    let keys: Vec<Value> = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    let mut scene = Scene::new();
    for name in ["sign-ecdsa-p256", "sign-ecdsa-p384"] {
        let key = keys.iter().find(|k| k["name"] == name).unwrap();
        assert_eq!(scene.write("restore", json!({ "backup": key["backup"] })).await, Value::Null);
    }
    let chain = include_str!("vectors/chain.pem").trim();
    let (leaf, authority) = chain.split_at(chain.rfind("-----BEGIN").unwrap());
    let path = "keys/sign-ecdsa-p256/set-certificate";
    for (name, chain, why) in [
        ("sign-ecdsa-p384", chain.to_owned(), "leaf certificate public key does not match the selected key version"),
        ("sign-ecdsa-p256", authority.to_owned(), "certificate in the first element is not a valid leaf certificate"),
        ("sign-ecdsa-p256", format!("{leaf}{leaf}"), "certificate in the last element is not a valid CA certificate"),
    ] {
        let answer = scene.write(&format!("keys/{name}/set-certificate"), json!({ "certificate_chain": chain })).await;
        assert_eq!(answer, format!("400: failed to persist certificate chain: {why}"));
    }
    for chain in [leaf.trim(), chain] {
        let answer = scene.write(path, json!({ "certificate_chain": chain })).await;
        assert_eq!(answer["certificate_chain"], chain);
        assert_eq!(scene.read("keys/sign-ecdsa-p256").await["keys"]["1"]["certificate_chain"], chain);
        assert_eq!(scene.read("export/certificate-chain/sign-ecdsa-p256").await["keys"]["1"], chain);
    }
}
