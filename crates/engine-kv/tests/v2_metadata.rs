//! KV version 2: settings of keys and mounts, history, attribution, listings.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use common::{Delete, List, Patch, Read, Update, holders, say, scene};
use engine::testing::Harness;
use engine_kv::KvV2;
use serde_json::{Value, json};
use std::time::Duration;

async fn put(s: &mut Harness<KvV2>, path: &str, data: Value) {
    s.call(Update, &format!("data/{path}"), json!({ "data": data })).await.unwrap();
}

fn by(operation: &str) -> Value {
    json!({"actor": "root", "client_id": "0DHqvq2D77kL2/JTPSZkTMJbkFVmUu0TzMi0jiXcFy8=", "operation": operation})
}

#[tokio::test]
async fn history_tells_who_did_what() {
    let mut s = scene(KvV2::new());
    for v in 1..=3 {
        put(&mut s, "k", json!({"v": v})).await;
        s.now = s.now.plus(Duration::from_secs(1));
    }
    s.call(Update, "delete/k", json!({"versions": [2]})).await.unwrap();
    s.caller.entity_id = "e-7".into();
    s.caller.display_name = "userpass-ann".into();
    s.call(Delete, "data/k", json!({})).await.unwrap();
    let ann = |operation: &str| json!({"actor": "userpass-ann", "client_id": "e-7", "entity_id": "e-7", "operation": operation});
    let t = |sec: u32| format!("2027-01-15T08:00:0{sec}Z");
    let mut want = json!({
        "cas_required": false, "created_time": t(0), "current_version": 3, "custom_metadata": null, "delete_version_after": "0s",
        "last_updated_by": ann("delete"), "max_versions": 0, "oldest_version": 0, "updated_time": t(2),
        "versions": {
            "1": {"created_by": by("create"), "created_time": t(0), "deleted_by": null, "deletion_time": "", "destroyed": false},
            "2": {"created_by": by("update"), "created_time": t(1), "deleted_by": by("update"), "deletion_time": t(3), "destroyed": false},
            "3": {"created_by": by("update"), "created_time": t(2), "deleted_by": ann("delete"), "deletion_time": t(3), "destroyed": false},
        },
    });
    assert_eq!(say(&mut s, Read, "metadata/k", json!({})).await, json!([200, want]));
    s.call(Update, "undelete/k", json!({"versions": [3]})).await.unwrap();
    s.call(Update, "destroy/k", json!({"versions": [1]})).await.unwrap();
    want["last_updated_by"] = ann("undelete");
    want["versions"]["3"]["deleted_by"] = json!(null);
    want["versions"]["3"]["deletion_time"] = json!("");
    want["versions"]["1"]["destroyed"] = json!(true);
    assert_eq!(say(&mut s, Read, "metadata/k", json!({})).await, json!([200, want]));
    s.call(Patch, "data/k", json!({"data": {"w": 1}})).await.unwrap();
    let meta = s.data(Read, "metadata/k", json!({})).await.unwrap();
    assert_eq!((&meta["last_updated_by"], &meta["versions"]["4"]["created_by"]), (&ann("patch"), &ann("patch")));
}

#[tokio::test]
async fn settings_come_before_or_after_versions() {
    let mut s = scene(KvV2::new());
    assert_eq!(say(&mut s, Read, "metadata/p", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Update, "metadata/p", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Update, "metadata/p", json!({"unknown": 1})).await, json!(["nothing"]));
    assert!(s.txn.keys().is_empty(), "a write that says nothing makes no key");
    let all = json!({"max_versions": "3", "cas_required": "true", "delete_version_after": "30m", "custom_metadata": {"a": "1", "n": 5, "b": true}});
    assert_eq!(say(&mut s, Update, "metadata/p", all).await, json!(["nothing"]));
    let mut want = json!({
        "cas_required": true, "created_time": "2027-01-15T08:00:00Z", "current_version": 0, "custom_metadata": {"a": "1", "b": "1", "n": "5"},
        "delete_version_after": "30m0s", "last_updated_by": null, "max_versions": 3, "oldest_version": 0,
        "updated_time": "2027-01-15T08:00:00Z", "versions": {},
    });
    assert_eq!(say(&mut s, Read, "metadata/p", json!({})).await, json!([200, want]));
    assert_eq!(say(&mut s, Read, "data/p", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Delete, "data/p", json!({})).await, json!(["nothing"]));
    s.now = s.now.plus(Duration::from_secs(9));
    s.call(Update, "metadata/p", json!({"custom_metadata": {"z": "1"}})).await.unwrap();
    want["custom_metadata"] = json!({"z": "1"});
    assert_eq!(say(&mut s, Read, "metadata/p", json!({})).await, json!([200, want]));
    s.call(
        Update,
        "metadata/p",
        json!({"custom_metadata": null, "max_versions": -1, "delete_version_after": null, "cas_required": false}),
    )
    .await
    .unwrap();
    let meta = s.data(Read, "metadata/p", json!({})).await.unwrap();
    assert_eq!(
        (&meta["custom_metadata"], &meta["max_versions"], &meta["delete_version_after"], &meta["cas_required"]),
        (&json!(null), &json!(4_294_967_295_u32), &json!("0s"), &json!(false))
    );
}

#[tokio::test]
async fn custom_metadata_is_shown_with_every_version() {
    let mut s = scene(KvV2::new());
    put(&mut s, "k", json!({"v": 1})).await;
    put(&mut s, "k", json!({"v": 2})).await;
    s.call(Update, "metadata/k", json!({"custom_metadata": {"owner": "ops"}})).await.unwrap();
    for query in [json!({}), json!({"version": 1}), json!({"version": 2})] {
        assert_eq!(say(&mut s, Read, "data/k", query).await[1]["metadata"]["custom_metadata"], json!({"owner": "ops"}));
    }
    let written = s.data(Update, "data/k", json!({"data": {}})).await.unwrap();
    assert_eq!(written["custom_metadata"], json!({"owner": "ops"}));
    s.call(Patch, "metadata/k", json!({"custom_metadata": null})).await.unwrap();
    assert_eq!(say(&mut s, Read, "data/k", json!({})).await[1]["metadata"]["custom_metadata"], json!(null));
}

#[tokio::test]
async fn patch_changes_only_what_it_names() {
    let mut s = scene(KvV2::new());
    assert_eq!(say(&mut s, Patch, "metadata/p", json!({"max_versions": 3})).await, json!([404, ""]));
    s.call(Update, "metadata/p", json!({"max_versions": 3, "cas_required": true, "custom_metadata": {"a": "1", "b": "2"}}))
        .await
        .unwrap();
    // (patch, max_versions, cas_required, delete_version_after, custom_metadata)
    for (patch, max, cas, life, custom) in [
        (json!({}), 3, true, "0s", json!({"a": "1", "b": "2"})),
        (json!({"custom_metadata": {"a": null, "c": "3", "gone": null}}), 3, true, "0s", json!({"b": "2", "c": "3"})),
        (json!({"max_versions": 7, "delete_version_after": "1h"}), 7, true, "1h0m0s", json!({"b": "2", "c": "3"})),
        (json!({"delete_version_after": "0s", "cas_required": null}), 7, false, "0s", json!({"b": "2", "c": "3"})),
        (json!({"custom_metadata": {"n": 5}}), 7, false, "0s", json!({"b": "2", "c": "3", "n": "5"})),
        (json!({"custom_metadata": null, "max_versions": null}), 0, false, "0s", json!(null)),
    ] {
        assert_eq!(say(&mut s, Patch, "metadata/p", patch.clone()).await, json!(["nothing"]), "{patch}");
        let m = s.data(Read, "metadata/p", json!({})).await.unwrap();
        let got = (&m["max_versions"], &m["cas_required"], &m["delete_version_after"], &m["custom_metadata"]);
        assert_eq!(got, (&json!(max), &json!(cas), &json!(life), &custom), "{patch}");
    }
}

#[tokio::test]
async fn refusals_name_the_field() {
    let mut s = scene(KvV2::new());
    put(&mut s, "i", json!({"v": 1})).await;
    let before: Vec<String> = holders(&mut s, "");
    for operation in [Update, Patch] {
        for (data, field) in [
            (json!({"max_versions": "x"}), "max_versions"),
            (json!({"cas_required": "perhaps"}), "cas_required"),
            (json!({"delete_version_after": "-5s"}), "delete_version_after"),
            (json!({"delete_version_after": "soon"}), "delete_version_after"),
            (json!({"custom_metadata": "text"}), "custom_metadata"),
            (json!({"custom_metadata": {"": "x"}}), "custom_metadata validation failed"),
            (json!({"custom_metadata": {"k": ""}}), "custom_metadata validation failed"),
            (json!({"custom_metadata": {"k": {"nested": "x"}}}), "custom_metadata validation failed"),
            (json!({"custom_metadata": {"tab\t": "x"}}), "custom_metadata validation failed"),
        ] {
            let got = say(&mut s, operation, "metadata/i", data.clone()).await;
            assert_eq!(got[0], 400, "{operation} {data}: {got}");
            assert!(got[1].as_str().unwrap().contains(field), "{operation} {data}: {got}");
        }
        assert_eq!(say(&mut s, operation, "metadata/", json!({"max_versions": 1})).await, json!([400, "missing path"]));
    }
    // A wrong body is wrong even where there is no key.
    assert_eq!(say(&mut s, Patch, "metadata/none", json!({"custom_metadata": {"k": ""}})).await[0], 400);
    assert_eq!(holders(&mut s, ""), before);
    assert_eq!(s.data(Read, "metadata/i", json!({})).await.unwrap()["custom_metadata"], json!(null));
}

#[tokio::test]
async fn config_of_the_mount() {
    let mut s = scene(KvV2::new());
    let shown =
        |max: u32, cas: bool, life: &str| json!([200, {"max_versions": max, "cas_required": cas, "delete_version_after": life}]);
    assert_eq!(say(&mut s, Read, "config", json!({})).await, shown(0, false, "0s"));
    for (data, want) in [
        (json!({}), shown(0, false, "0s")),
        (json!({"max_versions": 5}), shown(5, false, "0s")),
        (json!({"cas_required": true, "delete_version_after": "3h25m19s"}), shown(5, true, "3h25m19s")),
        (json!({"delete_version_after": "-1h"}), shown(5, true, "-1s")),
        (json!({"delete_version_after": "0"}), shown(5, true, "0s")),
        (json!({"max_versions": null, "cas_required": "false"}), shown(0, false, "0s")),
    ] {
        assert_eq!(say(&mut s, Update, "config", data.clone()).await, json!(["nothing"]), "{data}");
        assert_eq!(say(&mut s, Read, "config", json!({})).await, want, "{data}");
    }
    for data in [json!({"max_versions": "many"}), json!({"cas_required": []}), json!({"delete_version_after": "x"})] {
        assert_eq!(say(&mut s, Update, "config", data.clone()).await[0], 400, "{data}");
    }
    for operation in [Delete, Patch] {
        assert_eq!(say(&mut s, operation, "config", json!({})).await, json!(["unsupported operation"]));
    }
    s.call(Update, "config", json!({"cas_required": true})).await.unwrap();
    let warning = "\"cas_required\" set to false, but is mandated by backend config. This value will be ignored.";
    for operation in [Update, Patch] {
        assert_eq!(say(&mut s, operation, "metadata/w", json!({"cas_required": false})).await, json!([200, null, [warning]]));
    }
    assert_eq!(say(&mut s, Update, "metadata/w", json!({"cas_required": true})).await, json!(["nothing"]));
}

#[tokio::test]
async fn removing_a_key_removes_every_trace() {
    let mut s = scene(KvV2::new());
    for v in 1..=3 {
        put(&mut s, "dir/k", json!({"v": v})).await;
    }
    put(&mut s, "dir/k/below", json!({"v": 1})).await;
    s.call(Update, "destroy/dir/k", json!({"versions": [3]})).await.unwrap();
    assert_eq!(say(&mut s, Delete, "metadata/dir/k", json!({})).await, json!(["nothing"]));
    assert_eq!(s.txn.keys(), ["latest/dir/k/below", "metadata/dir/k/below"]);
    assert_eq!(say(&mut s, Delete, "metadata/dir/k", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Read, "data/dir/k", json!({})).await, json!(["nothing"]));
    put(&mut s, "dir/k", json!({"v": 9})).await;
    assert_eq!(say(&mut s, Read, "data/dir/k", json!({})).await[1]["metadata"]["version"], 1);
}

#[tokio::test]
async fn listings_show_folders_pages_and_hide_the_deleted_on_request() {
    let mut s = scene(KvV2::new());
    for path in ["a", "b", "c", "d/x", "d/y/z", "d"] {
        put(&mut s, path, json!({"v": 1})).await;
        put(&mut s, path, json!({"v": 2})).await;
    }
    for path in ["a", "c", "d"] {
        s.call(Delete, &format!("data/{path}"), json!({})).await.unwrap();
    }
    for (path, query, want) in [
        ("metadata/", json!({}), json!(["a", "b", "c", "d", "d/"])),
        ("metadata/d/", json!({}), json!(["x", "y/"])),
        ("metadata/d", json!({}), json!(["x", "y/"])),
        ("metadata/", json!({"after": "b", "limit": "2"}), json!(["c", "d"])),
        ("metadata/", json!({"exclude_deleted": "true"}), json!(["b", "d/"])),
        ("metadata/", json!({"exclude_deleted": "true", "limit": 1}), json!(["b"])),
        ("metadata/", json!({"exclude_deleted": "true", "limit": 1, "after": "b"}), json!(["d/"])),
        ("metadata/", json!({"exclude_deleted": "true", "limit": 9, "after": "a"}), json!(["b", "d/"])),
        ("metadata/", json!({"exclude_deleted": "false"}), json!(["a", "b", "c", "d", "d/"])),
    ] {
        assert_eq!(say(&mut s, List, path, query.clone()).await, json!([200, {"keys": want}]), "{path} {query}");
    }
    for path in ["metadata/none/", "metadata/a/"] {
        assert_eq!(say(&mut s, List, path, json!({})).await, json!([200, {}]));
    }
}

#[tokio::test]
async fn nothing_secret_stands_in_what_listings_and_metadata_read() {
    let mut s = scene(KvV2::new());
    for v in 1..=3 {
        put(&mut s, "k", json!({"v": format!("needle-{v}")})).await;
    }
    assert_eq!(holders(&mut s, "needle"), ["latest/k", "versions/k/1", "versions/k/2"]);
}
