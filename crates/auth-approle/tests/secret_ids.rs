//! Secret ids: made, shown, spent, destroyed, tidied; and never through another role.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::time::Duration;

use api_types::Operation::{Delete, List, Read, Update};
use auth_approle::Approle;
use engine::testing::Harness;
use engine::{EngineError, Kind, Request};
use serde_json::{Value, json};
use storage::{Page, Transaction};

async fn with_role(data: Value) -> Harness<Approle> {
    let mut h = Harness::new(Approle::new());
    h.mount.lockout.disabled = true;
    h.call(Update, "role/web", data).await.unwrap();
    h
}

/// A new secret id: its text and its accessor.
async fn made(h: &mut Harness<Approle>, role: &str, data: Value) -> (String, String) {
    let data = h.data(Update, &format!("role/{role}/secret-id"), data).await.unwrap();
    (data["secret_id"].as_str().unwrap().to_owned(), data["secret_id_accessor"].as_str().unwrap().to_owned())
}

async fn login(h: &mut Harness<Approle>, role: &str, secret_id: &str) -> Result<(), String> {
    let role_id = h.data(Read, &format!("role/{role}/role-id"), json!({})).await.unwrap()["role_id"].clone();
    let mut request = Request::new(Update, "auth/approle/login");
    request.data = json!({"role_id": role_id, "secret_id": secret_id}).as_object().unwrap().clone();
    request.connection.remote_addr = "127.0.0.1".parse().ok();
    h.send(request, "login").await.map(|_| ()).map_err(|e| e.to_string())
}

/// Every key of the mount with its value as text.
fn everything(h: &mut Harness<Approle>) -> Vec<(String, String)> {
    let (mut todo, mut out) = (vec![String::new()], Vec::new());
    while let Some(prefix) = todo.pop() {
        for name in h.txn.list(&prefix, &Page::default()).unwrap() {
            let key = format!("{prefix}{name}");
            if name.ends_with('/') {
                todo.push(key);
            } else {
                let value = String::from_utf8_lossy(h.txn.get(&key).unwrap().unwrap().bytes()).into_owned();
                out.push((key, value));
            }
        }
    }
    out
}

#[tokio::test]
async fn a_secret_id_is_shown_by_text_and_by_accessor_but_kept_as_a_hash() {
    let mut h = with_role(json!({"secret_id_ttl": "10m", "secret_id_num_uses": 40})).await;
    let data = h.data(Update, "role/web/secret-id", json!({"metadata": "{\"ip\": \"x\"}"})).await.unwrap();
    let mut keys: Vec<&str> = data.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["secret_id", "secret_id_accessor", "secret_id_num_uses", "secret_id_ttl"]);
    let (text, accessor) = (data["secret_id"].as_str().unwrap(), data["secret_id_accessor"].as_str().unwrap());
    let want = json!({"cidr_list": [], "creation_time": "2027-01-15T08:00:00Z", "expiration_time": "2027-01-15T08:10:00Z",
        "last_updated_time": "2027-01-15T08:00:00Z", "metadata": {"ip": "x"}, "secret_id_accessor": accessor,
        "secret_id_num_uses": 40, "secret_id_ttl": 600, "token_bound_cidrs": []});
    for (path, data) in [
        ("role/web/secret-id/lookup", json!({"secret_id": text})),
        ("role/web/secret-id-accessor/lookup", json!({"secret_id_accessor": accessor})),
    ] {
        assert_eq!(Value::Object(h.data(Update, path, data).await.unwrap()), want, "{path}");
    }
    assert_eq!(h.data(List, "role/web/secret-id", json!({})).await.unwrap()["keys"], json!([accessor]));
    h.call(Update, "role/web/custom-secret-id", json!({"secret_id": "canary-5e1f"})).await.unwrap();
    for (key, value) in everything(&mut h) {
        for secret in [text, "canary-5e1f"] {
            assert!(!key.contains(secret) && !value.contains(secret), "{key}");
        }
    }
}

#[tokio::test]
async fn generation_is_refused_in_vaults_words() {
    let mut h = with_role(json!({
        "secret_id_num_uses": 5, "secret_id_ttl": 600, "secret_id_bound_cidrs": "10.0.0.0/8", "token_bound_cidrs": "10.0.0.0/8"}))
    .await;
    h.call(Update, "role/open", json!({"bind_secret_id": false, "token_bound_cidrs": "10.0.0.0/8"})).await.unwrap();
    h.call(Update, "role/web/custom-secret-id", json!({"secret_id": "mine"})).await.unwrap();
    for (path, data, text) in [
        ("web/custom-secret-id", json!({"secret_id": "mine"}), "failed to store SecretID: SecretID is already registered"),
        ("web/custom-secret-id", json!({}), "missing secret_id"),
        ("web/custom-secret-id", json!({"secret_id": "x".repeat(4097)}), "secret_id is longer than maximum of 4096 bytes"),
        (
            "web/secret-id",
            json!({"metadata": "text"}),
            "failed to parse metadata: failed to parse the input: invalid <key,value> format",
        ),
        ("web/secret-id", json!({"num_uses": -1}), "num_uses cannot be negative"),
        ("web/secret-id", json!({"num_uses": 6}), "num_uses cannot be higher than the role's secret_id_num_uses"),
        ("web/secret-id", json!({"num_uses": 0}), "num_uses cannot be higher than the role's secret_id_num_uses"),
        ("web/secret-id", json!({"ttl": "11m"}), "ttl cannot be longer than the role's secret_id_ttl"),
        ("web/secret-id", json!({"ttl": 0}), "ttl cannot be longer than the role's secret_id_ttl"),
        ("web/secret-id", json!({"cidr_list": ["no"]}), "failed to validate CIDR blocks: invalid CIDR address: no"),
        (
            "web/secret-id",
            json!({"cidr_list": "::/0"}),
            "CIDR blocks on the secret ID [\"::/0\"] should be a subset of CIDR blocks on the role [\"10.0.0.0/8\"]",
        ),
        (
            "web/secret-id",
            json!({"token_bound_cidrs": "0.0.0.0/0"}),
            "CIDR blocks on the secret ID [\"0.0.0.0/0\"] should be a subset of CIDR blocks on the role [\"10.0.0.0/8\"]",
        ),
        ("open/secret-id", json!({}), "bind_secret_id is not set on the role"),
        ("none/secret-id", json!({}), "role \"none\" does not exist"),
        ("none/custom-secret-id", json!({"secret_id": "a"}), "role \"none\" does not exist"),
        ("none/secret-id/lookup", json!({"secret_id": "a"}), "role \"none\" does not exist"),
        ("none/secret-id/destroy", json!({"secret_id": "a"}), "role \"none\" does not exist"),
        ("none/secret-id-accessor/lookup", json!({"secret_id_accessor": "a"}), "role \"none\" does not exist"),
        ("web/secret-id/lookup", json!({}), "missing secret_id"),
        ("web/secret-id/destroy", json!({}), "missing secret_id"),
        ("web/secret-id-accessor/lookup", json!({}), "missing secret_id_accessor"),
        ("web/secret-id-accessor/destroy", json!({}), "missing secret_id_accessor"),
        (
            "web/secret-id-accessor/destroy",
            json!({"secret_id_accessor": "none"}),
            "failed to find accessor entry for secret_id_accessor: \"none\"",
        ),
    ] {
        assert_eq!(h.error(Update, &format!("role/{path}"), data).await, text, "{path}");
    }
    assert!(matches!(h.call(Update, "role/none/secret-id", json!({})).await, Err(EngineError::Absent(_))));
    assert!(matches!(h.call(List, "role/none/secret-id", json!({})).await, Err(EngineError::Invalid(_))));
    assert!(h.call(Update, "role/web/secret-id/lookup", json!({"secret_id": "none"})).await.unwrap().is_none());
    assert_eq!(h.data(List, "role/web/secret-id", json!({})).await.unwrap()["keys"].as_array().unwrap().len(), 1);
}

/// Class R, CVE-2023-24999: every way to a secret id, through a role that is not its own.
#[tokio::test]
async fn class_r_another_roles_secret_id_is_not_there() {
    let mut h = with_role(json!({})).await;
    h.call(Update, "role/evil", json!({})).await.unwrap();
    made(&mut h, "evil", json!({})).await;
    let (text, accessor) = made(&mut h, "web", json!({})).await;
    let by_text = json!({"secret_id": text});
    for accessor in
        [accessor.clone(), format!("../web/{accessor}"), format!("{accessor}/"), "../accessor".into(), String::from("%2e%2e")]
    {
        let data = json!({ "secret_id_accessor": accessor });
        let answer = h.call(Update, "role/evil/secret-id-accessor/lookup", data.clone()).await.unwrap().unwrap();
        assert_eq!(answer.kind, Kind::NotFoundEnvelope, "{accessor}");
        for operation in [Update, Delete] {
            assert!(h.call(operation, "role/evil/secret-id-accessor/destroy", data.clone()).await.is_err(), "{accessor}");
        }
    }
    assert!(h.call(Update, "role/evil/secret-id/lookup", by_text.clone()).await.unwrap().is_none());
    for operation in [Update, Delete] {
        assert!(h.call(operation, "role/evil/secret-id/destroy", by_text.clone()).await.unwrap().is_none());
    }
    assert_eq!(login(&mut h, "evil", &text).await, Err("invalid role or secret ID".into()));
    h.call(Delete, "role/evil", json!({})).await.unwrap();
    assert_eq!(login(&mut h, "web", &text).await, Ok(()), "nothing of it touched the secret id");
}

#[tokio::test]
async fn a_destroyed_secret_id_is_gone_every_way() {
    let mut h = with_role(json!({"secret_id_ttl": 600})).await;
    let before = everything(&mut h).len();
    for by_accessor in [true, false] {
        let (text, accessor) = made(&mut h, "web", json!({})).await;
        assert_eq!(login(&mut h, "web", &text).await, Ok(()));
        let (path, data) = if by_accessor {
            ("role/web/secret-id-accessor/destroy", json!({ "secret_id_accessor": accessor }))
        } else {
            ("role/web/secret-id/destroy", json!({ "secret_id": text }))
        };
        assert!(h.call(Update, path, data).await.unwrap().is_none());
        assert_eq!(login(&mut h, "web", &text).await, Err("invalid role or secret ID".into()));
        assert!(h.call(Update, "role/web/secret-id/lookup", json!({ "secret_id": text })).await.unwrap().is_none());
    }
    assert!(h.data(List, "role/web/secret-id", json!({})).await.unwrap().is_empty());
    assert_eq!(everything(&mut h).len(), before, "nothing is left: {:?}", everything(&mut h));
}

#[tokio::test]
async fn a_role_made_again_does_not_know_the_old_secret_ids() {
    let mut h = with_role(json!({"role_id": "fixed", "secret_id_ttl": 60})).await;
    let (text, accessor) = made(&mut h, "web", json!({})).await;
    h.call(Delete, "role/web", json!({})).await.unwrap();
    h.call(Update, "role/web", json!({"role_id": "fixed"})).await.unwrap();
    assert_eq!(login(&mut h, "web", &text).await, Err("invalid role or secret ID".into()));
    assert!(h.call(Update, "role/web/secret-id-accessor/destroy", json!({ "secret_id_accessor": accessor })).await.is_err());
    assert!(h.call(Update, "role/web/custom-secret-id", json!({ "secret_id": text })).await.is_ok());
}

#[tokio::test]
async fn a_big_role_is_forgotten_at_once_and_tidied_in_the_end() {
    let mut h = with_role(json!({})).await;
    for i in 0..1_100 {
        h.call(Update, "role/web/custom-secret-id", json!({"secret_id": format!("s{i}")})).await.unwrap();
    }
    h.call(Delete, "role/web", json!({})).await.unwrap();
    assert!(everything(&mut h).iter().any(|(key, _)| key.starts_with("gone/")));
    h.call(Update, "role/web", json!({})).await.unwrap();
    assert_eq!(login(&mut h, "web", "s1099").await, Err("invalid role or secret ID".into()));
    h.call(Update, "tidy/secret-id", json!({})).await.unwrap();
    let left: Vec<String> = everything(&mut h).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left.len(), 3, "salt, role and its index: {left:?}");
}

#[tokio::test]
async fn uses_are_counted_and_time_ends_it() {
    let mut h = with_role(json!({"secret_id_num_uses": 2, "secret_id_ttl": 600})).await;
    let wrong = Err("invalid role or secret ID".to_owned());
    let (text, _) = made(&mut h, "web", json!({})).await;
    h.now = h.now.plus(Duration::from_secs(5));
    assert_eq!(login(&mut h, "web", &text).await, Ok(()));
    let shown = h.data(Update, "role/web/secret-id/lookup", json!({"secret_id": text})).await.unwrap();
    assert_eq!((&shown["secret_id_num_uses"], &shown["last_updated_time"]), (&json!(1), &json!("2027-01-15T08:00:05Z")));
    assert_eq!(login(&mut h, "web", &text).await, Ok(()));
    assert_eq!(login(&mut h, "web", &text).await, wrong);

    let (early, _) = made(&mut h, "web", json!({"num_uses": 2, "ttl": 60})).await;
    let (late, accessor) = made(&mut h, "web", json!({})).await;
    h.now = h.now.plus(Duration::from_secs(59));
    assert_eq!(login(&mut h, "web", &early).await, Ok(()));
    h.now = h.now.plus(Duration::from_secs(1));
    assert_eq!(login(&mut h, "web", &early).await, wrong);
    assert!(h.call(Update, "role/web/secret-id/lookup", json!({"secret_id": early})).await.unwrap().is_none());
    let answer = h.call(Update, "tidy/secret-id", json!({})).await.unwrap().unwrap();
    assert_eq!((answer.kind, answer.warnings.len()), (Kind::Accepted, 1));
    assert_eq!(
        h.data(List, "role/web/secret-id", json!({})).await.unwrap()["keys"],
        json!([accessor]),
        "in the same hour, not yet due"
    );
    assert_eq!(login(&mut h, "web", &late).await, Ok(()));
    h.now = h.now.plus(Duration::from_secs(7200));
    h.call(Update, "tidy/secret-id", json!({})).await.unwrap();
    let left: Vec<String> = everything(&mut h).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left.len(), 3, "salt, role and its index: {left:?}");
}

#[tokio::test]
async fn no_secret_id_outlives_the_mounts_maximum() {
    let mut h = with_role(json!({"secret_id_ttl": "100000h"})).await;
    let data = h.data(Update, "role/web/secret-id", json!({})).await.unwrap();
    assert_eq!(data["secret_id_ttl"], json!(768 * 3600));
}

#[tokio::test]
async fn a_mount_that_nobody_tidies_does_not_grow_for_ever() {
    let mut h = with_role(json!({"secret_id_ttl": 1})).await;
    for _ in 0..400 {
        made(&mut h, "web", json!({})).await;
        h.now = h.now.plus(Duration::from_secs(10));
    }
    let left = h.data(List, "role/web/secret-id", json!({})).await.unwrap()["keys"].as_array().unwrap().len();
    assert!(left < 150, "{left}");
}
