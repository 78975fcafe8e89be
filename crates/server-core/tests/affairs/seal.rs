use api_types::Operation;
use secret::SecretBytes;
use serde_json::{Value, json};
use server_core::{NodeState, SealError};

use crate::common::Server;
use crate::{ask, get, post, token_with};

#[tokio::test]
async fn sealing_needs_update_and_sudo() {
    let s = Server::start().await;
    let weak = token_with(&s, "weak", r#"path "sys/seal" { capabilities = ["update"] }"#).await;
    for (token, text) in [
        ("", "permission denied"),
        ("hvs.unknown", "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"),
        (weak.as_str(), "1 error occurred:\n\t* permission denied\n\n"),
    ] {
        let seen = ask(&s, Operation::Update, "sys/seal", Value::Null, token).await;
        assert_eq!((seen.status, seen.error()), (403, text));
        assert_eq!(s.core.state(), NodeState::Active);
    }
    let strong = token_with(&s, "strong", r#"path "sys/seal" { capabilities = ["update", "sudo"] }"#).await;
    assert_eq!(ask(&s, Operation::Update, "sys/seal", Value::Null, &strong).await.status, 204);
    assert_eq!(s.core.state(), NodeState::Sealed);
    let seen = get(&s, "sys/key-status").await;
    assert_eq!((seen.status, seen.error()), (503, "Vault is sealed"));
    s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
    assert_eq!(get(&s, "sys/key-status").await.status, 200);
}

#[tokio::test]
async fn a_rotated_key_serves_old_and_new_records_also_after_unseal() {
    let s = Server::start().await;
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    assert_eq!(post(&s, "kv/old", json!({ "v": 1 })).await.status, 204);
    let before = get(&s, "sys/key-status").await;
    assert_eq!(before.data()["term"], 1);
    assert!(before.data()["encryptions"].as_u64().unwrap() > 0);
    assert_eq!(before.body["term"], 1, "old paths show the keys twice");
    assert_eq!(post(&s, "sys/rotate", json!({})).await.status, 204);
    let after = get(&s, "sys/key-status").await;
    assert_eq!(after.data()["term"], 2);
    assert_eq!(after.data()["encryptions"], 0, "a new key has sealed nothing yet");
    assert_eq!(post(&s, "kv/new", json!({ "v": 2 })).await.status, 204);
    s.core.seal().await;
    s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
    assert_eq!(get(&s, "sys/key-status").await.data()["term"], 2);
    assert_eq!(get(&s, "kv/old").await.data()["v"], 1);
    assert_eq!(get(&s, "kv/new").await.data()["v"], 2);
    let plain = token_with(&s, "plain", r#"path "sys/rotate" { capabilities = ["update"] }"#).await;
    assert_eq!(ask(&s, Operation::Update, "sys/rotate", Value::Null, &plain).await.status, 403);
}

#[tokio::test]
async fn a_repeated_request_rotates_once() {
    let s = Server::start().await;
    let request = crate::request(Operation::Update, "sys/rotate", Value::Null, &s.root);
    assert_eq!(crate::send(&s, request.clone()).await.status, 204);
    assert_eq!(crate::send(&s, request).await.status, 204);
    assert_eq!(get(&s, "sys/key-status").await.data()["term"], 2);
}

#[tokio::test]
async fn rules_of_rotation() {
    let s = Server::start().await;
    let shown = json!({ "enabled": true, "interval": 0, "max_operations": 3_865_470_566u64 });
    assert_eq!(get(&s, "sys/rotate/config").await.data(), &shown);
    for (body, text) in [
        (json!({ "max_operations": 10 }), "max_operations must be in the range [1000000,3865470566]"),
        (json!({ "max_operations": 3_865_470_567u64 }), "max_operations must be in the range [1000000,3865470566]"),
        (json!({ "max_operations": -1 }), "max_operations must be in the range [1000000,3865470566]"),
        (json!({ "interval": "1h" }), "interval must be greater or equal to 24h0m0s"),
        (json!({ "interval": "23h59m59s" }), "interval must be greater or equal to 24h0m0s"),
    ] {
        let seen = post(&s, "sys/rotate/config", body.clone()).await;
        assert_eq!((seen.status, seen.error()), (400, text), "{body}");
    }
    let seen = post(&s, "sys/rotate/config", json!({ "interval": "soon" })).await;
    assert!(
        seen.status == 400 && seen.error().starts_with("Field validation failed: error converting input for field \"interval\"")
    );
    assert_eq!(get(&s, "sys/rotate/config").await.data(), &shown, "nothing of it was kept");
    assert_eq!(post(&s, "sys/rotate/config", json!({ "max_operations": 2_000_000, "interval": "48h" })).await.status, 204);
    assert_eq!(post(&s, "sys/rotate/config", json!({ "enabled": false })).await.status, 204);
    let shown = json!({ "enabled": true, "interval": "48h0m0s", "max_operations": 2_000_000 });
    assert_eq!(get(&s, "sys/rotate/config").await.data(), &shown);
    assert_eq!(post(&s, "sys/rotate/config", json!({ "interval": 0 })).await.status, 204);
    assert_eq!(get(&s, "sys/rotate/config").await.data()["interval"], 0);
    assert_eq!(get(&s, "sys/key-status").await.data()["term"], 1, "rules rotate nothing");
}

#[tokio::test]
async fn status_paths() {
    let s = Server::start().await;
    assert_eq!(post(&s, "sys/step-down", Value::Null).await.status, 204);
    assert_eq!(s.core.state(), NodeState::Active);
    let seen = get(&s, "sys/seal-backend-status").await;
    assert_eq!(seen.body, json!({ "healthy": true, "backends": [{ "name": "shamir", "healthy": true }], "fully_wrapped": true }));
    assert_eq!(ask(&s, Operation::Read, "sys/seal-backend-status", Value::Null, "").await.status, 200, "open");
    let seen = get(&s, "sys/ha-status").await;
    let node = &seen.data()["nodes"][0];
    assert_eq!((&node["active_node"], &node["api_address"]), (&json!(true), &json!("http://127.0.0.1:8200")));
    assert_eq!(node["cluster_address"], "https://127.0.0.1:8201");
    let mut keys: Vec<&String> = node.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "active_node",
            "api_address",
            "clock_skew_ms",
            "cluster_address",
            "echo_duration_ms",
            "hostname",
            "last_echo",
            "replication_primary_canary_age_ms",
            "upgrade_version",
            "version"
        ]
    );
    assert_eq!(seen.body["nodes"], seen.data()["nodes"]);
    for path in ["sys/ha-status", "sys/key-status", "sys/rotate/config"] {
        assert_eq!(ask(&s, Operation::Read, path, Value::Null, "").await.error(), "permission denied", "{path}");
    }
}

#[tokio::test]
async fn a_table_of_devices_that_do_not_come_up_keeps_the_server_sealed() {
    use secret::{ManualClock, SystemEntropy, Time};
    use server_core::{Core, CoreConfig};
    use std::sync::Arc;
    let store: Arc<dyn storage::Store> = Arc::new(storage::MemoryStore::default());
    let start = async |prefixing: bool| {
        let config = CoreConfig { allow_audit_log_prefixing: prefixing, ..CoreConfig::default() };
        let settings = replication::Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let registry = crate::common::registry();
        Core::start(Arc::clone(&store), settings, config, registry, clock, Arc::new(SystemEntropy)).await.unwrap()
    };
    let core = start(true).await;
    let request = server_core::InitRequest { secret_shares: 1, secret_threshold: 1, ..server_core::InitRequest::default() };
    let made = core.init(request).await.unwrap();
    let share = made.shares.into_iter().next().unwrap().expose().to_vec();
    core.unseal(SecretBytes::new(share.clone()), false).await.unwrap();
    let options = json!({ "file_path": "discard", "prefix": "x: " });
    let body = json!({ "type": "file", "options": options });
    let request = crate::request(Operation::Update, "sys/audit/p", body, made.root_token.expose());
    let answer = core.handle(request).await.into_inner();
    assert!(matches!(answer, server_core::Answer::Response { .. }), "{answer:?}");
    core.shutdown().await;
    drop(core);
    let core = start(false).await;
    let refused = core.unseal(SecretBytes::new(share), false).await.unwrap_err();
    assert!(matches!(&refused, SealError::Internal(text) if text == "failed to setup audit table"), "{refused}");
    assert_eq!(core.state(), NodeState::Sealed);
    assert!(!core.audit().has_devices());
}
