//! KV version 1, endpoint by endpoint.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use std::time::Duration;

use common::{Delete, List, Patch, Read, Update, say, scene};
use engine_kv::KvV1;
use serde_json::json;

#[tokio::test]
async fn a_secret_is_replaced_as_a_whole_and_keeps_its_digits() {
    let mut s = scene(KvV1::new());
    let first: serde_json::Value =
        serde_json::from_str(r#"{"n":12345678901234567890123,"f":0.10,"o":{"x":[1,null]},"h":"<&>"}"#).unwrap();
    assert_eq!(say(&mut s, Update, "a", first.clone()).await, json!(["nothing"]));
    let read = say(&mut s, Read, "a", json!({})).await;
    assert_eq!(read, json!([200, first]));
    assert!(read.to_string().contains("12345678901234567890123") && read.to_string().contains("0.10"));
    say(&mut s, Update, "a", json!({"user": "bob"})).await;
    assert_eq!(say(&mut s, Read, "a", json!({})).await, json!([200, {"user": "bob"}]));
    assert_eq!(say(&mut s, Delete, "a", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Delete, "a", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Read, "a", json!({})).await, json!(["nothing"]));
}

#[tokio::test]
async fn refusals() {
    let mut s = scene(KvV1::new());
    for (operation, path, data, want) in [
        (Update, "e", json!({}), json!([400, "missing data fields"])),
        (Update, "e", json!(null), json!([400, "missing data fields"])),
        (Update, "", json!({"a": "b"}), json!([400, "missing path"])),
        (Update, "", json!({}), json!([400, "missing path"])),
        (Patch, "t", json!({"a": "b"}), json!(["unsupported operation"])),
        (Read, "", json!({}), json!(["nothing"])),
        (Read, "none", json!({}), json!(["nothing"])),
        (Read, "dir/", json!({}), json!(["nothing"])),
        (Delete, "", json!({}), json!(["nothing"])),
        (List, "none/", json!({}), json!([200, {}])),
    ] {
        assert_eq!(say(&mut s, operation, path, data).await, want, "{operation} {path}");
    }
    assert!(s.txn.keys().is_empty(), "refused requests must not write: {:?}", s.txn.keys());
}

#[tokio::test]
async fn names_of_fields_are_the_clients_own() {
    let mut s = scene(KvV1::new());
    let secret = json!({"path": "p", "after": {"x": 1}, "limit": "many", "version": [], "data": "d"});
    assert_eq!(say(&mut s, Update, "odd/é ü\"/x", secret.clone()).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Read, "odd/é ü\"/x", json!({})).await, json!([200, secret]));
    // Names that version 2 or the engine itself use in storage.
    for path in ["config", "metadata/a", "unversioned", "plain/a", "latest/a"] {
        say(&mut s, Update, path, json!({"p": path})).await;
        assert_eq!(say(&mut s, Read, path, json!({})).await, json!([200, {"p": path}]));
    }
}

#[tokio::test]
async fn folders_list_and_page() {
    let mut s = scene(KvV1::new());
    for path in ["a", "a b", "dir/b", "dir/c/d", "dir", "z"] {
        say(&mut s, Update, path, json!({"k": "v"})).await;
    }
    for (path, query, want) in [
        ("", json!({}), json!(["a", "a b", "dir", "dir/", "z"])),
        ("dir/", json!({}), json!(["b", "c/"])),
        ("dir", json!({}), json!(["b", "c/"])),
        ("", json!({"limit": "2"}), json!(["a", "a b"])),
        ("", json!({"after": "a b", "limit": 2}), json!(["dir", "dir/"])),
        ("", json!({"after": "dir/"}), json!(["z"])),
        ("", json!({"limit": "-1"}), json!(["a", "a b", "dir", "dir/", "z"])),
        ("", json!({"limit": "x"}), json!(["a", "a b", "dir", "dir/", "z"])),
    ] {
        assert_eq!(say(&mut s, List, path, query.clone()).await, json!([200, {"keys": want}]), "{path} {query}");
    }
    assert_eq!(say(&mut s, List, "", json!({"after": "zz"})).await, json!([200, {}]));
}

#[tokio::test]
async fn a_ttl_in_the_data_is_shown_as_the_lease() {
    let mut s = scene(KvV1::new());
    for (data, seconds) in [
        (json!({"a": 1}), 2_764_800),
        (json!({"ttl": "1h"}), 3600),
        (json!({"ttl": 90}), 90),
        (json!({"ttl": "90"}), 90),
        (json!({"ttl": "2d"}), 172_800),
        (json!({"lease": "30s"}), 30),
        (json!({"ttl": "1m", "lease": "30s"}), 60),
        (json!({"ttl": "soon"}), 2_764_800),
        (json!({"ttl": "-5s"}), 2_764_800),
        (json!({"ttl": 1.5}), 2_764_800),
        (json!({"ttl": {"x": 1}}), 2_764_800),
    ] {
        s.call(Update, "t", data.clone()).await.unwrap();
        let secret = s.call(Read, "t", json!({})).await.unwrap().unwrap().secret.unwrap();
        assert_eq!(secret.ttl, Duration::from_secs(seconds), "{data}");
        assert!(!secret.renewable && !secret.register && secret.lease_id.is_empty());
    }
}

#[tokio::test]
async fn existence_tells_create_from_update() {
    use engine::Backend as _;
    let engine = KvV1::new();
    assert_eq!(engine.patterns().len(), 1);
    let mut s = scene(engine);
    s.call(Update, "x/y", json!({"a": 1})).await.unwrap();
    for (path, want) in [("x/y", true), ("x", false), ("x/", false), ("x/y/z", false), ("", false)] {
        assert_eq!(exists(&mut s, path), Some(want), "{path}");
    }
}

fn exists(s: &mut engine::testing::Harness<KvV1>, path: &str) -> Option<bool> {
    struct Alone;
    impl engine::System for Alone {
        fn mount_by_accessor(&self, _: &str) -> Option<std::sync::Arc<engine::Mount>> {
            None
        }
    }
    let request = engine::Request::new(Update, path);
    let mut call = engine::Call {
        request: &request,
        operation: Update,
        path,
        fields: engine::Fields::default(),
        view: storage::View::new(&mut s.txn, ""),
        mount: &s.mount,
        caller: &s.caller,
        now: s.now,
        entropy: &s.entropy,
        system: &Alone,
    };
    engine::Backend::exists(&s.engine, &mut call).unwrap()
}
