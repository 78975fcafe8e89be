//! KV version 2: data, versions, subkeys, and the paths that are none.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use common::{Delete, List, Patch, Read, Update, holders, say, scene};
use engine::testing::Harness;
use engine_kv::KvV2;
use secret::Time;
use serde_json::{Value, json};
use std::time::Duration;

const T0: &str = "2027-01-15T08:00:00Z";

/// The metadata of a version in answers.
fn version(number: u64, deletion: &str, destroyed: bool) -> Value {
    json!({"created_time": T0, "custom_metadata": null, "deletion_time": deletion, "destroyed": destroyed, "version": number})
}

async fn put(s: &mut Harness<KvV2>, path: &str, data: Value) {
    s.call(Update, &format!("data/{path}"), json!({ "data": data })).await.unwrap();
}

#[tokio::test]
async fn versions_are_written_and_read() {
    let mut s = scene(KvV2::new());
    let first: Value =
        serde_json::from_str(r#"{"u":"alice","n":12345678901234567890123,"f":1.50,"l":[1,"x",{}],"m":{"k":"<&>"},"z":null}"#)
            .unwrap();
    assert_eq!(say(&mut s, Update, "data/app", json!({"data": first})).await, json!([200, version(1, "", false)]));
    assert_eq!(say(&mut s, Update, "data/app", json!({"data": {}})).await, json!([200, version(2, "", false)]));
    let one = json!([200, {"data": first, "metadata": version(1, "", false)}]);
    let two = json!([200, {"data": {}, "metadata": version(2, "", false)}]);
    for (query, want) in [
        (json!({}), two.clone()),
        (json!({"version": "1"}), one.clone()),
        (json!({"version": 2}), two.clone()),
        (json!({"version": "0"}), two.clone()),
        (json!({"version": "-1"}), two),
        (json!({"version": "9"}), json!(["nothing"])),
    ] {
        assert_eq!(say(&mut s, Read, "data/app", query.clone()).await, want, "{query}");
    }
    assert!(one.to_string().contains("12345678901234567890123"));
    let text = say(&mut s, Read, "data/app", json!({"version": "two"})).await;
    assert!(
        text[1].as_str().unwrap().starts_with("Field validation failed: error converting input for field \"version\": "),
        "{text}"
    );
}

#[tokio::test]
async fn the_answer_is_the_text_a_go_server_would_send() {
    let mut s = scene(KvV2::new());
    put(&mut s, "a", serde_json::from_str(r#"{"z":1,"<":"&","a":1.00}"#).unwrap()).await;
    for query in [json!({}), json!({"version": 1})] {
        let Some(engine::Data::Raw(raw)) = s.call(Read, "data/a", query).await.unwrap().unwrap().data else { panic!("not raw") };
        assert_eq!(
            raw.get(),
            r#"{"data":{"\u003c":"\u0026","a":1.00,"z":1},"metadata":{"created_time":"2027-01-15T08:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}"#
        );
    }
}

#[tokio::test]
async fn a_hot_read_is_one_shared_text() {
    let mut s = scene(KvV2::new());
    put(&mut s, "a", json!({"v": 1})).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        let Some(engine::Data::Raw(raw)) = s.call(Read, "data/a", json!({})).await.unwrap().unwrap().data else {
            panic!("not raw")
        };
        texts.push(raw);
    }
    assert!(std::sync::Arc::ptr_eq(&texts[0], &texts[1]));
}

#[tokio::test]
async fn check_and_set() {
    let mut s = scene(KvV2::new());
    let put = |cas: Value| json!({"data": {"x": 1}, "options": {"cas": cas}});
    let mismatch = json!([400, "check-and-set parameter did not match the current version"]);
    let unparsed = json!([400, "error parsing check-and-set parameter"]);
    for (cas, want) in [
        (json!(1), mismatch.clone()),
        (json!(-1), mismatch.clone()),
        (json!("x"), unparsed.clone()),
        (json!(1.5), unparsed.clone()),
        (json!([]), unparsed.clone()),
        (json!({}), unparsed),
        (json!(0), json!([200, version(1, "", false)])),
        (json!(0), mismatch.clone()),
        (json!("1"), json!([200, version(2, "", false)])),
        (json!(null), mismatch.clone()),
    ] {
        assert_eq!(say(&mut s, Update, "data/c", put(cas.clone())).await, want, "{cas}");
    }
    // A deleted version still counts; a key that has only settings has version 0.
    s.call(Delete, "data/c", json!({})).await.unwrap();
    assert_eq!(say(&mut s, Update, "data/c", put(json!(0))).await, mismatch);
    assert_eq!(say(&mut s, Update, "data/c", put(json!(2))).await[0], 200);
    s.call(Update, "metadata/new", json!({"cas_required": true})).await.unwrap();
    assert_eq!(
        say(&mut s, Update, "data/new", json!({"data": {}})).await,
        json!([400, "check-and-set parameter required for this call"])
    );
    assert_eq!(say(&mut s, Update, "data/new", put(json!(0))).await[0], 200);
    assert_eq!(
        say(&mut s, Patch, "data/new", json!({"data": {}})).await,
        json!([400, "check-and-set parameter required for this call"])
    );
    assert_eq!(say(&mut s, Patch, "data/new", put(json!(0))).await, mismatch);
    s.call(Update, "config", json!({"cas_required": true})).await.unwrap();
    assert_eq!(
        say(&mut s, Update, "data/c", json!({"data": {}, "options": {}})).await,
        json!([400, "check-and-set parameter required for this call"])
    );
}

#[tokio::test]
async fn writes_without_an_object_are_refused() {
    let mut s = scene(KvV2::new());
    put(&mut s, "p", json!({"a": 1})).await;
    for operation in [Update, Patch] {
        for data in [json!({}), json!({"data": null}), json!({"options": {"cas": 1}}), json!({"user": "flat"})] {
            assert_eq!(
                say(&mut s, operation, "data/p", data.clone()).await,
                json!([400, "no data provided"]),
                "{operation} {data}"
            );
        }
        for data in [json!({"data": "text"}), json!({"data": 5}), json!({"data": {}, "options": "x"})] {
            assert!(
                say(&mut s, operation, "data/p", data.clone()).await[1]
                    .as_str()
                    .unwrap()
                    .contains("error converting input for field"),
                "{data}"
            );
        }
    }
    assert_eq!(say(&mut s, Read, "data/p", json!({})).await[1]["metadata"]["version"], 1);
}

#[tokio::test]
async fn patch_merges_into_a_new_version() {
    let mut s = scene(KvV2::new());
    put(&mut s, "p", json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]})).await;
    let patch = json!({"data": {"a": null, "b": {"c": 9, "x": "y"}, "e": [3]}});
    assert_eq!(say(&mut s, Patch, "data/p", patch).await, json!([200, version(2, "", false)]));
    assert_eq!(say(&mut s, Read, "data/p", json!({})).await[1]["data"], json!({"b": {"c": 9, "d": 3, "x": "y"}, "e": [3]}));
    assert_eq!(say(&mut s, Read, "data/p", json!({"version": 1})).await[1]["data"]["a"], 1);
    assert_eq!(say(&mut s, Patch, "data/none", json!({"data": {"z": 1}})).await, json!([404, ""]));
    s.call(Update, "metadata/empty", json!({"max_versions": 1})).await.unwrap();
    assert_eq!(say(&mut s, Patch, "data/empty", json!({"data": {"z": 1}})).await, json!([404, ""]));
    s.call(Delete, "data/p", json!({})).await.unwrap();
    assert_eq!(say(&mut s, Patch, "data/p", json!({"data": {"z": 2}})).await, json!([404, version(2, T0, false)]));
    s.call(Update, "destroy/p", json!({"versions": 2})).await.unwrap();
    assert_eq!(say(&mut s, Patch, "data/p", json!({"data": {"z": 2}})).await, json!([404, version(2, T0, true)]));
}

#[tokio::test]
async fn delete_undelete_destroy() {
    let mut s = scene(KvV2::new());
    for v in 1..=3 {
        put(&mut s, "k", json!({"v": format!("secret-{v}")})).await;
    }
    let gone = |n, destroyed, at| json!([404, {"data": null, "metadata": version(n, at, destroyed)}]);
    let there = |n: u64| json!([200, {"data": {"v": format!("secret-{n}")}, "metadata": version(n, "", false)}]);
    assert_eq!(say(&mut s, Delete, "data/k", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Read, "data/k", json!({})).await, gone(3, false, T0));
    assert_eq!(say(&mut s, Read, "data/k", json!({"version": 2})).await, there(2));
    s.call(Update, "delete/k", json!({"versions": ["1", "2"]})).await.unwrap();
    assert_eq!(say(&mut s, Read, "data/k", json!({"version": 1})).await, gone(1, false, T0));
    s.call(Update, "undelete/k", json!({"versions": "1,3"})).await.unwrap();
    assert_eq!(say(&mut s, Read, "data/k", json!({})).await, there(3));
    assert_eq!(say(&mut s, Read, "data/k", json!({"version": 1})).await, there(1));
    assert_eq!(say(&mut s, Read, "data/k", json!({"version": 2})).await, gone(2, false, T0));
    s.call(Update, "destroy/k", json!({"versions": [1, 3, 77, -4]})).await.unwrap();
    assert_eq!(say(&mut s, Read, "data/k", json!({})).await, gone(3, true, ""));
    assert_eq!(say(&mut s, Read, "data/k", json!({"version": 1})).await, gone(1, true, ""));
    s.call(Update, "undelete/k", json!({"versions": [1, 2, 3]})).await.unwrap();
    assert_eq!(say(&mut s, Read, "data/k", json!({})).await, gone(3, true, ""));
    assert_eq!(say(&mut s, Read, "data/k", json!({"version": 2})).await, there(2));
    assert_eq!(
        (holders(&mut s, "secret-1").len(), holders(&mut s, "secret-2").len(), holders(&mut s, "secret-3").len()),
        (0, 1, 0)
    );
    put(&mut s, "k", json!({"v": "secret-4"})).await;
    assert_eq!(say(&mut s, Read, "data/k", json!({})).await, there(4));
}

#[tokio::test]
async fn version_lists_are_needed_and_unknown_keys_are_no_error() {
    let mut s = scene(KvV2::new());
    for (path, text) in [
        ("delete/k", "No version number provided"),
        ("undelete/k", "No version number provided"),
        ("destroy/k", "no version number provided"),
    ] {
        for data in [json!({}), json!({"versions": []}), json!({"versions": ""}), json!({"versions": null})] {
            assert_eq!(say(&mut s, Update, path, data).await, json!([400, text]));
        }
        assert_eq!(say(&mut s, Update, path, json!({"versions": [1]})).await, json!(["nothing"]));
        assert!(say(&mut s, Update, path, json!({"versions": "1,x"})).await[1].as_str().unwrap().contains("\"versions\""));
        for operation in [Read, List, Delete, Patch] {
            assert_eq!(say(&mut s, operation, path, json!({})).await, json!(["unsupported operation"]), "{operation} {path}");
        }
    }
    assert_eq!(say(&mut s, Delete, "data/unknown", json!({})).await, json!(["nothing"]));
    assert!(s.txn.keys().is_empty());
}

#[tokio::test]
async fn old_versions_are_pushed_out_with_their_data() {
    let mut s = scene(KvV2::new());
    for v in 1..=11 {
        put(&mut s, "ten", json!({"v": format!("secret-{v}.")})).await;
    }
    assert_eq!(say(&mut s, Read, "data/ten", json!({"version": 1})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, Read, "data/ten", json!({"version": 2})).await[1]["data"], json!({"v": "secret-2."}));
    assert!(holders(&mut s, "secret-1.").is_empty());
    s.call(Update, "metadata/ten", json!({"max_versions": 1})).await.unwrap();
    put(&mut s, "ten", json!({"v": "secret-12."})).await;
    assert_eq!(say(&mut s, Read, "data/ten", json!({})).await[1]["metadata"]["version"], 12);
    assert_eq!(holders(&mut s, "secret-"), ["latest/ten"]);
    assert_eq!(s.txn.keys(), ["latest/ten", "metadata/ten"]);
}

#[tokio::test]
async fn a_version_runs_out_by_itself() {
    let mut s = scene(KvV2::new());
    s.call(Update, "metadata/d", json!({"delete_version_after": "60s"})).await.unwrap();
    put(&mut s, "d", json!({"x": 1})).await;
    let read = say(&mut s, Read, "data/d", json!({})).await;
    assert_eq!((&read[0], &read[1]["metadata"]["deletion_time"]), (&json!(200), &json!("2027-01-15T08:01:00Z")));
    s.now = s.now.plus(Duration::from_secs(60));
    assert_eq!(
        say(&mut s, Read, "data/d", json!({})).await,
        json!([404, {"data": null, "metadata": version(1, "2027-01-15T08:01:00Z", false)}])
    );
    assert_eq!(say(&mut s, Read, "subkeys/d", json!({})).await[0], 404);
    // Nobody deleted it, and deleting it again changes nothing.
    s.call(Delete, "data/d", json!({})).await.unwrap();
    s.call(Update, "delete/d", json!({"versions": 1})).await.unwrap();
    let meta = s.data(Read, "metadata/d", json!({})).await.unwrap();
    assert_eq!(
        (&meta["versions"]["1"]["deleted_by"], &meta["versions"]["1"]["deletion_time"]),
        (&json!(null), &json!("2027-01-15T08:01:00Z"))
    );
    s.call(Update, "undelete/d", json!({"versions": [1]})).await.unwrap();
    let read = say(&mut s, Read, "data/d", json!({})).await;
    assert_eq!((&read[0], &read[1]["metadata"]["deletion_time"]), (&json!(200), &json!("2027-01-15T08:02:00Z")));
    // A delete before its time comes is a delete.
    s.call(Delete, "data/d", json!({})).await.unwrap();
    assert_eq!(say(&mut s, Read, "data/d", json!({})).await[1]["metadata"]["deletion_time"], "2027-01-15T08:01:00Z");
    // The mount can switch the whole thing off.
    s.call(Update, "config", json!({"delete_version_after": "-1s"})).await.unwrap();
    put(&mut s, "d", json!({"x": 2})).await;
    assert_eq!(say(&mut s, Read, "data/d", json!({})).await[1]["metadata"]["deletion_time"], "");
    assert_eq!(s.now, Time::from_unix(1_800_000_060));
}

#[tokio::test]
async fn subkeys_show_names_and_never_values() {
    let mut s = scene(KvV2::new());
    put(&mut s, "s", json!({"a": {"b": {"c": {"d": 1}}, "x": [1, {"hidden": 2}]}, "y": "z", "e": {}})).await;
    let whole = json!({"a": {"b": {"c": {"d": null}}, "x": null}, "e": null, "y": null});
    for (query, want) in [
        (json!({}), whole.clone()),
        (json!({"depth": "0"}), whole.clone()),
        (json!({"depth": "1"}), json!({"a": null, "e": null, "y": null})),
        (json!({"depth": "-1"}), json!({"a": null, "e": null, "y": null})),
        (json!({"depth": "2"}), json!({"a": {"b": null, "x": null}, "e": null, "y": null})),
        (json!({"version": "1"}), whole),
    ] {
        let want = json!([200, {"subkeys": want, "metadata": version(1, "", false)}]);
        assert_eq!(say(&mut s, Read, "subkeys/s", query.clone()).await, want, "{query}");
    }
    for (path, query) in [("subkeys/s", json!({"version": 5})), ("subkeys/none", json!({})), ("subkeys/", json!({}))] {
        assert_eq!(say(&mut s, Read, path, query).await, json!(["nothing"]), "{path}");
    }
    assert_eq!(say(&mut s, List, "subkeys/s/", json!({})).await, json!(["unsupported operation"]));
    s.call(Delete, "data/s", json!({})).await.unwrap();
    assert_eq!(
        say(&mut s, Read, "subkeys/s", json!({})).await,
        json!([404, {"subkeys": null, "metadata": version(1, T0, false)}])
    );
}

#[tokio::test]
async fn paths_that_are_none_answer_with_advice() {
    let mut s = scene(KvV2::new());
    put(&mut s, "x", json!({"v": 1})).await;
    let before: Vec<String> = s.txn.keys().into_iter().map(str::to_owned).collect();
    let root = "Non-listing operations on the root of a K/V v2 mount are not supported.";
    let advice = |command: &str| {
        format!(
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv {command}' for this operation."
        )
    };
    for (operation, path, want) in [
        (Read, "app", advice("get")),
        (Read, "", advice("get")),
        (Update, "app/x", advice("put")),
        (Patch, "app", advice("patch")),
        (Delete, "app", advice("delete")),
        (List, "app/", advice("list")),
        (List, "", advice("list")),
        (List, "data/", advice("list")),
        (List, "data/x/", advice("list")),
        (List, "config/", advice("list")),
        (Read, "data/", advice("get")),
        (Read, "data/x/", advice("get")),
        (Delete, "data/x/", advice("delete")),
        (Patch, "data/x/", advice("patch")),
        (Update, "data/x/", advice("put")),
        (Read, "config/", advice("get")),
        (Read, "subkeys", advice("get")),
        (Read, "data", root.into()),
        (Update, "data", root.into()),
        (Read, "metadata", root.into()),
        (Delete, "metadata", root.into()),
        (Update, "delete", root.into()),
        (Update, "undelete", root.into()),
        (Read, "destroy", root.into()),
    ] {
        let data = json!({"data": {"v": 2}, "versions": [1]});
        let got = say(&mut s, operation, path, if operation == Update || operation == Patch { data } else { json!({}) }).await;
        let surplus = path == "data/x/" && operation != Delete && operation != Read && operation != List;
        assert_eq!((&got[0], &got[1], &got[2][0]), (&json!(404), &json!(null), &json!(want)), "{operation} {path}");
        assert_eq!(got[2].as_array().map(Vec::len), Some(if surplus { 2 } else { 1 }), "{operation} {path}: {got}");
    }
    assert_eq!(s.txn.keys(), before);
}

#[tokio::test]
async fn keys_and_folders_of_one_name_never_mix() {
    let mut s = scene(KvV2::new());
    for path in ["a", "a/1", "a/1/1", "1", "é ü/\"x\""] {
        for v in 1..=2 {
            put(&mut s, path, json!({"p": path, "v": v})).await;
        }
    }
    s.call(Delete, "metadata/a", json!({})).await.unwrap();
    for path in ["a/1", "a/1/1", "1", "é ü/\"x\""] {
        for v in 1..=2 {
            assert_eq!(
                say(&mut s, Read, &format!("data/{path}"), json!({"version": v})).await[1]["data"],
                json!({"p": path, "v": v})
            );
        }
    }
    assert_eq!(say(&mut s, Read, "data/a", json!({})).await, json!(["nothing"]));
    assert_eq!(say(&mut s, List, "metadata/", json!({})).await, json!([200, {"keys": ["1", "a/", "é ü/"]}]));
}
