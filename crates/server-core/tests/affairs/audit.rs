use std::path::Path;

use api_types::Operation::{self, Read, Update};
use secret::SecretBytes;
use serde_json::{Value, json};

use crate::common::Server;
use crate::{ask, delete, get, post, request, send, token_with};

fn device(path: &Path) -> Value {
    json!({ "type": "file", "options": { "file_path": path.to_str().unwrap() } })
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn of<'l>(lines: &'l [Value], kind: &str, path: &str) -> Vec<&'l Value> {
    lines.iter().filter(|l| l["type"] == kind && l["request"]["path"] == path).collect()
}

#[tokio::test]
async fn devices_are_enabled_shown_and_disabled() {
    let s = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.log");
    assert_eq!(get(&s, "sys/audit").await.data(), &json!({}));
    let mut body = device(&file);
    body["description"] = "first".into();
    assert_eq!(post(&s, "sys/audit/one", body).await.status, 204);
    let seen = get(&s, "sys/audit").await;
    let want = json!({ "path": "one/", "type": "file", "description": "first", "local": false,
        "options": { "file_path": file.to_str().unwrap() } });
    assert_eq!(seen.data()["one/"], want);
    assert_eq!(seen.body["one/"], want, "old paths show the keys twice");
    let written = lines(&file);
    assert_eq!(written[0]["request"]["path"], "sys/audit/test");
    assert_eq!(of(&written, "response", "sys/audit/one").len(), 1, "the answer is on the new device already");
    for (path, body, text) in [
        ("sys/audit/one", device(&dir.path().join("two.log")), "path already in use".to_owned()),
        ("sys/audit/one/two", device(&dir.path().join("two.log")), "path already in use".to_owned()),
        ("sys/audit/two", device(&file), "audit file is already used by another audit device".to_owned()),
        ("sys/audit/two", json!({ "type": "http" }), "unknown backend type: \"http\"".to_owned()),
        ("sys/audit/two", json!({ "type": "socket" }), "address is required".to_owned()),
        (
            "sys/audit/two",
            json!({ "type": "syslog", "options": { "facility": "loud" } }),
            "invalid syslog facility: loud".to_owned(),
        ),
        ("sys/audit/two", json!({ "type": "file" }), "file_path is required".to_owned()),
        (
            "sys/audit/two",
            json!({ "type": "file", "options": { "file_path": "discard", "prefix": "p" } }),
            "audit prefixing is not enabled in configuration, audit prefixing may not be configured for file sinks".to_owned(),
        ),
        (
            "sys/audit/two",
            json!({ "type": "file", "options": { "file_path": "discard", "filter": "x" } }),
            "invalid filter: selector \"x\" is not one of mount_point, mount_type, namespace, operation, path".to_owned(),
        ),
        (
            "sys/audit/two",
            json!({ "type": "file", "options": { "file_path": "discard", "exclude": "[]" } }),
            "enterprise-only options supplied".to_owned(),
        ),
        (
            "sys/audit/two",
            json!({ "type": "file", "options": { "file_path": dir.path() } }),
            "audit file must not be a directory".to_owned(),
        ),
        (
            "sys/audit/two",
            json!({ "type": "file", "options": { "file_path": dir.path().join("x"), "mode": "0755" } }),
            "file mode must not have executable permissions".to_owned(),
        ),
    ] {
        let seen = post(&s, path, body.clone()).await;
        assert_eq!((seen.status, seen.error()), (400, text.as_str()), "{path} {body}");
    }
    // A device that cannot take the test entry leaves nothing behind.
    let seen = post(&s, "sys/audit/full", device(Path::new("/dev/full"))).await;
    assert!(seen.status == 400 && seen.error().starts_with("sanity check failed; unable to open"), "{seen:?}");
    assert_eq!(get(&s, "sys/audit").await.data().as_object().unwrap().len(), 1);
    assert_eq!(s.core.audit().statuses().len(), 1);
    assert_eq!(delete(&s, "sys/audit/none").await.status, 204);
    assert_eq!(delete(&s, "sys/audit/one").await.status, 204);
    assert_eq!(get(&s, "sys/audit").await.data(), &json!({}));
    assert!(!s.core.audit().has_devices());
}

#[tokio::test]
async fn a_request_run_anew_finds_its_device_enabled() {
    let s = Server::start().await;
    let again = request(Update, "sys/audit/one", json!({ "type": "file", "options": { "file_path": "discard" } }), &s.root);
    assert_eq!(send(&s, again.clone()).await.status, 204);
    assert_eq!(send(&s, again).await.status, 204);
    assert_eq!(s.core.audit().statuses().len(), 1);
}

#[tokio::test]
async fn the_table_needs_sudo() {
    let s = Server::start().await;
    let plain = token_with(&s, "plain", r#"path "sys/audit*" { capabilities = ["create", "read", "update", "delete"] }"#).await;
    for (operation, path) in [(Read, "sys/audit"), (Update, "sys/audit/x"), (Operation::Delete, "sys/audit/x")] {
        assert_eq!(ask(&s, operation, path, json!({ "type": "file" }), &plain).await.status, 403, "{path}");
    }
    assert_eq!(ask(&s, Read, "sys/audit", Value::Null, "").await.error(), "permission denied");
}

#[tokio::test]
async fn hashes_are_those_of_the_lines_and_outlive_a_seal() {
    let s = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.log");
    assert_eq!(post(&s, "sys/audit/a", device(&file)).await.status, 204);
    let hash = post(&s, "sys/audit-hash/a", json!({ "input": s.root })).await;
    let hash = hash.data()["hash"].as_str().unwrap().to_owned();
    assert!(hash.starts_with("hmac-sha256:"));
    assert_eq!(get(&s, "sys/mounts").await.status, 200);
    let written = lines(&file);
    assert_eq!(of(&written, "request", "sys/mounts")[0]["auth"]["client_token"], hash);
    for (path, body, text) in [
        ("sys/audit-hash/a", json!({}), "the \"input\" parameter is empty"),
        ("sys/audit-hash/none", json!({ "input": "x" }), "unknown audit backend \"none/\""),
    ] {
        let seen = post(&s, path, body).await;
        assert_eq!((seen.status, seen.error()), (400, text));
    }
    s.core.seal().await;
    // They close once the requests that were under way have left, in a task of their own.
    while s.core.audit().has_devices() {
        tokio::task::yield_now().await;
    }
    s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
    let again = post(&s, "sys/audit-hash/a", json!({ "input": s.root })).await;
    assert_eq!(again.data()["hash"], hash);
}

#[tokio::test]
async fn without_a_device_that_writes_nothing_happens() {
    let s = Server::start().await;
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    // Not tested at enabling, so that it can be there at all.
    let body = json!({ "type": "file", "options": { "file_path": "/dev/full", "skip_test": "true" } });
    let seen = post(&s, "sys/audit/full", body).await;
    assert_eq!(seen.status, 500, "its own answer cannot be recorded any more");
    let seen = post(&s, "kv/a", json!({ "v": 1 })).await;
    assert_eq!((seen.status, seen.error()), (500, "internal error"));
    assert!(s.core.audit().disable("full"));
    assert_eq!(get(&s, "kv/a").await.status, 404, "the write was not carried out");
}

/// The client reads "permission denied"; the line says which rule stood in the way, or that none did.
#[tokio::test]
async fn a_denial_is_explained_in_the_line_and_nowhere_else() {
    let s = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("d.log");
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    assert_eq!(post(&s, "sys/audit/d", device(&file)).await.status, 204);
    let rules = r#"path "kv/ro/*" { capabilities = ["read"] } path "kv/no/*" { capabilities = ["deny"] }"#;
    let token = token_with(&s, "some", rules).await;
    for (operation, path, token, said) in [
        (Read, "kv/x", token.as_str(), json!({ "reason": "no rule matches the path" })),
        (Update, "kv/ro/x", &token, json!({ "reason": "the rule lacks the capability", "rule": "kv/ro/*" })),
        (Read, "kv/no/x", &token, json!({ "reason": "the rule denies", "rule": "kv/no/*" })),
        (Read, "kv/x", "hvs.unknown", json!({ "reason": "unknown or expired token" })),
        (Read, "kv/y", "", json!({ "reason": "no token" })),
    ] {
        let seen = ask(&s, operation, path, json!({ "v": "x" }), token).await;
        assert_eq!(seen.status, 403, "{path}");
        assert!(!format!("{seen:?}").contains("rule"), "{seen:?}");
        let written = lines(&file);
        for kind in ["request", "response"] {
            assert_eq!(of(&written, kind, path).last().unwrap()["denial"], said, "{path}");
        }
    }
    assert!(of(&lines(&file), "request", "sys/policies/acl/some")[0].get("denial").is_none());
}

#[tokio::test]
async fn request_headers_in_lines_are_configured() {
    let s = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("h.log");
    assert_eq!(post(&s, "sys/audit/h", device(&file)).await.status, 204);
    let path = "sys/config/auditing/request-headers";
    let plain = json!({ "hmac": false });
    let want = json!({ "correlation-id": plain, "user-agent": plain, "x-correlation-id": plain });
    assert_eq!(get(&s, path).await.data()["headers"], want);
    assert_eq!(post(&s, &format!("{path}/X-Team"), json!({ "hmac": true })).await.status, 204);
    assert_eq!(delete(&s, &format!("{path}/User-Agent")).await.status, 204);
    assert_eq!(get(&s, &format!("{path}/X-Team")).await.data(), &json!({ "X-Team": { "hmac": true } }));
    for gone in ["User-Agent", "X-Other"] {
        let seen = get(&s, &format!("{path}/{gone}")).await;
        assert_eq!((seen.status, seen.error()), (400, "Could not find header in config"));
    }
    for bad in ["a/b", "a b", "ä"] {
        assert_eq!(post(&s, &format!("{path}/{bad}"), json!({})).await.status, 400, "{bad}");
    }
    let mut asked = request(Read, "sys/policies/acl/default", Value::Null, &s.root);
    for (name, value) in [("x-team", "red"), ("user-agent", "curl"), ("correlation-id", "7"), ("x-other", "no")] {
        asked.headers.insert(name.into(), vec![value.into()]);
    }
    assert_eq!(send(&s, asked).await.status, 200);
    let written = lines(&file);
    let headers = &of(&written, "request", "sys/policies/acl/default")[0]["request"]["headers"];
    assert_eq!(headers["correlation-id"], json!(["7"]));
    assert!(headers["x-team"][0].as_str().unwrap().starts_with("hmac-sha256:"));
    assert_eq!(headers.as_object().unwrap().len(), 2);
    assert_eq!(delete(&s, &format!("{path}/x-team")).await.status, 204);
    assert_eq!(post(&s, &format!("{path}/user-agent"), json!({})).await.status, 204);
    assert_eq!(get(&s, path).await.data()["headers"], want);
}

/// docs/decisions/0009: a read's two lines are written together, and the answer is withheld without them.
#[tokio::test]
async fn reads_are_recorded_once_whatever_becomes_of_them() {
    let s = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r.log");
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    assert_eq!(post(&s, "kv/x", json!({ "v": "secret" })).await.status, 204);
    assert_eq!(post(&s, "sys/audit/r", device(&file)).await.status, 204);
    let wrapped = {
        let mut asked = request(Read, "kv/x", Value::Null, &s.root);
        asked.wrap = Some(engine::WrapRequest { ttl: std::time::Duration::from_secs(60), format: None });
        send(&s, asked)
    };
    assert_eq!(wrapped.await.status, 200, "it has an effect: a token");
    assert_eq!(get(&s, "kv/x").await.status, 200);
    assert_eq!(get(&s, "kv/none").await.status, 404);
    assert_eq!(ask(&s, Operation::List, "kv/", Value::Null, &s.root).await.status, 200);
    let made = post(&s, "auth/token/create", json!({ "policies": ["root"], "num_uses": 2, "ttl": "1h" })).await;
    let limited = made.body["auth"]["client_token"].as_str().unwrap();
    for status in [200, 200, 403] {
        assert_eq!(ask(&s, Read, "kv/x", Value::Null, limited).await.status, status);
    }
    let written = lines(&file);
    let reads: Vec<&Value> =
        written.iter().filter(|l| l["request"]["path"].as_str().is_some_and(|p| p.starts_with("kv/"))).collect();
    assert_eq!(reads.len(), 2 * 7);
    for pair in reads.chunks(2) {
        assert_eq!([&pair[0]["type"], &pair[1]["type"]], ["request", "response"]);
        assert_eq!(pair[0]["request"], pair[1]["request"]);
        assert_eq!(pair[0]["auth"], pair[1]["auth"]);
    }
    // Only a device that takes nothing is left: nothing is answered.
    let mut body = device(Path::new("/dev/full"));
    body["options"]["skip_test"] = "true".into();
    assert_eq!(post(&s, "sys/audit/full", body).await.status, 204);
    assert_eq!(delete(&s, "sys/audit/r").await.status, 500, "its own answer finds no device any more");
    for path in ["kv/x", "kv/none"] {
        let seen = get(&s, path).await;
        assert_eq!((seen.status, seen.error()), (500, "internal error"), "{path}");
        assert!(!format!("{seen:?}").contains("secret"));
    }
}
