//! From version 1 to version 2, in steps.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use common::{List, Patch, Read, Update, say, scene};
use engine_kv::{KvV1, KvV2, needs_upgrade, upgrade_v1_to_v2};
use serde_json::json;
use storage::View;

const PENDING: &str = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly.";

#[tokio::test]
async fn every_secret_becomes_a_first_version() {
    let mut one = scene(KvV1::new());
    let odd: serde_json::Value = serde_json::from_str(r#"{"n":12345678901234567890123,"ttl":"1h"}"#).unwrap();
    for (path, data) in [
        ("old", json!({"a": "b"})),
        ("d/x", odd.clone()),
        ("d/y/z", json!({"k": 1})),
        ("d", json!({"k": 2})),
        ("config", json!({"k": 3})),
    ] {
        one.call(Update, path, data).await.unwrap();
    }
    let mut two = scene(KvV2::new());
    two.txn = one.txn.clone();
    assert!(needs_upgrade(&mut View::new(&mut two.txn, "")).unwrap());
    // Before the first step, and between steps, nothing that waits is answered with "not found" or written over.
    for (operation, path, data) in [
        (Read, "data/old", json!({})),
        (Read, "metadata/old", json!({})),
        (Read, "subkeys/old", json!({})),
        (Read, "config", json!({})),
        (List, "metadata/", json!({})),
        (Update, "data/old", json!({"data": {}})),
        (Patch, "data/old", json!({"data": {}})),
        (Update, "delete/old", json!({"versions": 1})),
        (Update, "metadata/old", json!({"max_versions": 1})),
        (common::Delete, "metadata/old", json!({})),
    ] {
        assert_eq!(say(&mut two, operation, path, data).await, json!([400, PENDING]), "{operation} {path}");
    }
    let now = two.now;
    assert!(!upgrade_v1_to_v2(&mut View::new(&mut two.txn, ""), now, 2).unwrap());
    assert_eq!(two.txn.keys().iter().filter(|k| k.starts_with("metadata/")).count(), 2);
    assert_eq!(say(&mut two, Read, "data/config", json!({})).await[1]["data"], json!({"k": 3}));
    assert_eq!(say(&mut two, Read, "data/old", json!({})).await, json!([400, PENDING]));
    let mut steps = 1;
    while !upgrade_v1_to_v2(&mut View::new(&mut two.txn, ""), now, 2).unwrap() {
        steps += 1;
        assert!(steps < 10);
    }
    assert_eq!(steps, 2);
    assert!(!needs_upgrade(&mut View::new(&mut two.txn, "")).unwrap());
    assert!(upgrade_v1_to_v2(&mut View::new(&mut two.txn, ""), now, 2).unwrap(), "again is harmless");
    assert!(two.txn.keys().iter().all(|k| k.starts_with("metadata/") || k.starts_with("latest/")), "{:?}", two.txn.keys());

    let by = json!({"actor": "kv_upgrade", "operation": "upgrade"});
    let t = "2027-01-15T08:00:00Z";
    assert_eq!(
        say(&mut two, Read, "metadata/old", json!({})).await,
        json!([200, {
            "cas_required": false, "created_time": t, "current_version": 1, "custom_metadata": null, "delete_version_after": "0s",
            "last_updated_by": by, "max_versions": 0, "oldest_version": 1, "updated_time": t,
            "versions": {"1": {"created_by": by, "created_time": t, "deleted_by": null, "deletion_time": "", "destroyed": false}},
        }])
    );
    let read = say(&mut two, Read, "data/d/x", json!({})).await;
    assert_eq!(read[1]["data"], odd);
    assert!(read.to_string().contains("12345678901234567890123"));
    assert_eq!(say(&mut two, List, "metadata/", json!({})).await, json!([200, {"keys": ["config", "d", "d/", "old"]}]));
    assert_eq!(say(&mut two, Update, "data/old", json!({"data": {}, "options": {"cas": 1}})).await[1]["version"], 2);
}

#[tokio::test]
async fn a_mount_without_secrets_is_ready_at_once() {
    let mut s = scene(KvV2::new());
    let now = s.now;
    assert!(!needs_upgrade(&mut View::new(&mut s.txn, "")).unwrap());
    assert!(upgrade_v1_to_v2(&mut View::new(&mut s.txn, ""), now, 0).unwrap());
    // A mount that held one once: the marker is left, one step clears it.
    let mut one = scene(KvV1::new());
    one.call(Update, "a", json!({"k": 1})).await.unwrap();
    one.call(common::Delete, "a", json!({})).await.unwrap();
    assert!(upgrade_v1_to_v2(&mut View::new(&mut one.txn, ""), now, 1).unwrap());
    assert!(one.txn.keys().is_empty());
}
