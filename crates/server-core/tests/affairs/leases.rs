use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api_types::Operation::{self, Update};
use serde_json::{Value, json};
use server_core::CoreConfig;

use crate::common::{Server, registry};
use crate::lessor::{Lessor, Wishes};
use crate::{Seen, ask, get, list, post, token_with};

async fn start() -> (Server, Arc<Wishes>) {
    let wishes = Arc::new(Wishes::default());
    let mut registry = registry();
    let shared = Arc::clone(&wishes);
    registry.secrets.insert("lessor", Arc::new(move |_| Arc::new(Lessor::new(Arc::clone(&shared)))));
    let s = Server::start_with(registry, CoreConfig::default()).await;
    assert_eq!(post(&s, "sys/mounts/db", json!({ "type": "lessor" })).await.status, 204);
    (s, wishes)
}

async fn lease(s: &Server, path: &str) -> String {
    let seen = get(s, path).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    seen.body["lease_id"].as_str().unwrap().to_owned()
}

async fn lookup(s: &Server, id: &str) -> Seen {
    post(s, "sys/leases/lookup", json!({ "lease_id": id })).await
}

#[tokio::test]
async fn mistakes_are_named() {
    let (s, _) = start().await;
    let fixed = lease(&s, "db/fixed/a").await;
    for (path, body, status, text) in [
        ("sys/leases/lookup", json!({}), 400, "lease_id must be specified"),
        ("sys/leases/lookup", json!({ "lease_id": "none" }), 400, "invalid lease"),
        ("sys/leases/renew", json!({}), 400, "lease_id must be specified"),
        ("sys/leases/renew", json!({ "lease_id": "none" }), 400, "lease not found"),
        ("sys/renew/none", json!({}), 400, "lease not found"),
        ("sys/leases/renew", json!({ "lease_id": fixed }), 400, "lease is not renewable"),
        ("sys/leases/revoke", json!({}), 400, "lease_id must be specified"),
        ("sys/revoke", json!({}), 400, "lease_id must be specified"),
    ] {
        let seen = post(&s, path, body.clone()).await;
        assert_eq!((seen.status, seen.error()), (status, text), "{path} {body}");
    }
    let seen = post(&s, "sys/leases/renew", json!({ "lease_id": "x", "increment": "x" })).await;
    assert!(seen.error().starts_with("Field validation failed: error converting input for field \"increment\""));
    let seen = get(&s, "sys/leases/lookup").await;
    assert_eq!((seen.status, seen.error()), (405, "1 error occurred:\n\t* unsupported operation\n\n"));
    for (path, status) in [("sys/leases", 404), ("sys/leases?type=other", 404), ("sys/leases/count", 404)] {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = query.split_once('=').map_or(Value::Null, |(k, v)| json!({ k: v }));
        assert_eq!(ask(&s, Operation::Read, path, body, &s.root).await.status, status, "{path}");
    }
    for path in
        ["sys/leases/revoke/none", "sys/leases/revoke-prefix/none", "sys/leases/revoke-force/none", "sys/revoke-prefix/none"]
    {
        assert_eq!(post(&s, path, Value::Null).await.status, 204, "{path}");
    }
    let plain = token_with(&s, "plain", r#"path "sys/leases/*" { capabilities = ["update", "list", "read"] }"#).await;
    for path in ["sys/leases/revoke-prefix/db", "sys/leases/revoke-force/db"] {
        assert_eq!(ask(&s, Update, path, Value::Null, &plain).await.status, 403, "{path} needs sudo");
    }
    assert_eq!(ask(&s, Operation::List, "sys/leases/lookup/db", Value::Null, &plain).await.status, 403);
}

#[tokio::test]
async fn a_lease_is_shown_renewed_and_revoked() {
    let (s, wishes) = start().await;
    let id = lease(&s, "db/creds/a").await;
    let shown = lookup(&s, &id).await;
    assert_eq!(
        (&shown.data()["ttl"], &shown.data()["renewable"], &shown.data()["last_renewal"]),
        (&json!(3600), &json!(true), &Value::Null)
    );
    assert_eq!(list(&s, "sys/leases/lookup").await.data()["keys"], json!(["db/"]));
    assert_eq!(list(&s, "sys/leases/lookup/db/creds/a").await.data()["keys"].as_array().unwrap().len(), 1);
    s.advance(Duration::from_secs(1800));
    let seen = post(&s, "sys/leases/renew", json!({ "lease_id": id, "increment": "2h" })).await;
    assert_eq!(
        (&seen.body["lease_id"], &seen.body["lease_duration"], &seen.body["renewable"]),
        (&json!(id), &json!(7200), &json!(true))
    );
    assert_eq!(seen.body["data"], Value::Null);
    let seen = post(&s, &format!("sys/renew/{id}"), json!({ "increment": 100_000 })).await;
    assert_eq!(seen.body["lease_duration"], 9000, "capped by issue and maximum");
    wishes.broken.store(true, Ordering::SeqCst);
    let seen = post(&s, "sys/leases/renew", json!({ "lease_id": id })).await;
    assert_eq!((seen.status, seen.error()), (400, "failed to renew entry: backend is away"));
    let seen = post(&s, "sys/leases/revoke", json!({ "lease_id": id })).await;
    assert_eq!((seen.status, seen.error()), (400, "failed to revoke entry: backend is away"));
    assert_eq!(lookup(&s, &id).await.status, 200, "kept for another attempt");
    wishes.broken.store(false, Ordering::SeqCst);
    assert_eq!(post(&s, &format!("sys/leases/revoke/{id}"), Value::Null).await.status, 204);
    assert_eq!(wishes.revoked.load(Ordering::SeqCst), 1);
    assert_eq!(lookup(&s, &id).await.error(), "invalid lease");
}

#[tokio::test]
async fn a_queued_revocation_ends_the_lease_at_once() {
    let (s, _) = start().await;
    let id = lease(&s, "db/creds/a").await;
    let seen = ask(&s, Update, &format!("sys/leases/revoke/{id}"), json!({ "sync": false }), &s.root).await;
    assert_eq!(seen.status, 202);
    let seen = post(&s, "sys/leases/renew", json!({ "lease_id": id })).await;
    assert!(["lease expired", "lease not found"].contains(&seen.error()), "{seen:?}");
    let other = lease(&s, "db/creds/b").await;
    assert_eq!(post(&s, "sys/leases/revoke-prefix/db", json!({ "sync": false })).await.status, 202);
    let seen = post(&s, "sys/leases/renew", json!({ "lease_id": other })).await;
    assert!(["lease expired", "lease not found"].contains(&seen.error()), "{seen:?}");
}

#[tokio::test]
async fn a_prefix_takes_secrets_and_tokens_and_nothing_else() {
    let (s, wishes) = start().await;
    let (a, b, c) = (lease(&s, "db/creds/a").await, lease(&s, "db/creds/a").await, lease(&s, "db/fixed/a").await);
    assert_eq!(post(&s, "sys/leases/revoke-prefix/db/creds", Value::Null).await.status, 204);
    assert_eq!(wishes.revoked.load(Ordering::SeqCst), 2);
    for (id, want) in [(&a, 400), (&b, 400), (&c, 200)] {
        assert_eq!(lookup(&s, id).await.status, want, "{id}");
    }
    wishes.broken.store(true, Ordering::SeqCst);
    let seen = post(&s, "sys/leases/revoke-prefix/db", Value::Null).await;
    assert_eq!((seen.status, seen.error()), (400, "failed to revoke entry: backend is away"));
    assert_eq!(lookup(&s, &c).await.status, 200);
    assert_eq!(post(&s, "sys/leases/revoke-force/db", Value::Null).await.status, 204);
    assert_eq!(lookup(&s, &c).await.error(), "invalid lease");
    assert_eq!(wishes.revoked.load(Ordering::SeqCst), 2, "forgotten, not undone");
}

#[tokio::test]
async fn who_revokes_his_own_token_by_prefix_is_answered() {
    let (s, _) = start().await;
    let body = json!({ "policies": ["boss"] });
    let policy = r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
    let boss = token_with(&s, "boss", policy).await;
    let child =
        ask(&s, Update, "auth/token/create", body.clone(), &boss).await.body["auth"]["client_token"].as_str().unwrap().to_owned();
    let other =
        ask(&s, Update, "auth/token/create-orphan", body, &boss).await.body["auth"]["client_token"].as_str().unwrap().to_owned();
    let seen = ask(&s, Update, "sys/leases/revoke-prefix/auth/token", Value::Null, &child).await;
    assert_eq!(seen.status, 204, "{seen:?}");
    for gone in [&boss, &child, &other] {
        assert_eq!(ask(&s, Operation::Read, "sys/mounts", Value::Null, gone).await.status, 403);
    }
    assert_eq!(get(&s, "sys/mounts").await.status, 200, "root has no lease");
}

#[tokio::test]
async fn what_cannot_be_revoked_is_counted() {
    let (s, wishes) = start().await;
    let id = lease(&s, "db/creds/a").await;
    wishes.broken.store(true, Ordering::SeqCst);
    for _ in 0..6 {
        assert_eq!(post(&s, "sys/leases/revoke", json!({ "lease_id": id })).await.status, 400);
    }
    let irrevocable = json!({ "type": "irrevocable" });
    let read = async |path: &str, body: &Value| ask(&s, Operation::Read, path, body.clone(), &s.root).await;
    let seen = read("sys/leases", &irrevocable).await;
    assert_eq!(seen.data()["lease_count"], 1);
    assert_eq!(
        (&seen.data()["leases"][0]["lease_id"], &seen.data()["leases"][0]["error"]),
        (&json!(id), &json!("backend is away"))
    );
    let seen = read("sys/leases/count", &irrevocable).await;
    assert_eq!(seen.data()["lease_count"], 1);
    assert_eq!(seen.data()["counts"].as_object().unwrap().len(), 1);
    for (limit, want) in [("none", 200), ("5", 200), ("0", 400), ("-1", 400), ("many", 400)] {
        assert_eq!(read("sys/leases", &json!({ "type": "Irrevocable", "limit": limit })).await.status, want, "{limit}");
    }
    assert_eq!(post(&s, "sys/leases/revoke-force/db", Value::Null).await.status, 204);
    assert_eq!(read("sys/leases", &irrevocable).await.data(), &json!({ "lease_count": 0, "leases": [] }));
    assert_eq!(read("sys/leases/count", &irrevocable).await.data(), &json!({ "lease_count": 0, "counts": {} }));
}

#[tokio::test]
async fn tidying_is_accepted() {
    let (s, _) = start().await;
    let seen = post(&s, "sys/leases/tidy", Value::Null).await;
    assert_eq!(seen.status, 202);
    assert_eq!(seen.body["mount_type"], "");
    assert!(seen.body["warnings"][0].as_str().unwrap().starts_with("Tidy operation successfully started."));
}
