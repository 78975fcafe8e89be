use std::sync::Arc;
use std::time::Duration;

use api_types::Operation::{Delete, List, Read, Update};
use serde_json::{Value, json};
use server_core::CoreConfig;

use crate::common::{Server, registry};
use crate::{Seen, ask, get, list, post, token_with, wrapped};

async fn mounted(s: &Server, path: &str, users: &[&str]) -> String {
    assert_eq!(post(s, &format!("sys/auth/{path}"), json!({ "type": "userpass" })).await.status, 204);
    for user in users {
        assert_eq!(post(s, &format!("auth/{path}/users/{user}"), json!({ "password": "right" })).await.status, 204);
    }
    get(s, &format!("sys/auth/{path}")).await.data()["accessor"].as_str().unwrap().to_owned()
}

async fn login(s: &Server, path: &str, user: &str, password: &str) -> Seen {
    ask(s, Update, &format!("auth/{path}/login/{user}"), json!({ "password": password }), "").await
}

async fn guess(s: &Server, path: &str, user: &str, times: usize) -> Vec<u16> {
    let mut out = Vec::new();
    for _ in 0..times {
        out.push(login(s, path, user, "wrong").await.status);
    }
    out
}

fn shown(total: usize, mounts: Value) -> Value {
    json!({ "by_namespace": [{ "namespace_id": "root", "namespace_path": "", "counts": total, "mount_accessors": mounts }], "total": total })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_names_are_shown_by_mount_and_released_one_by_one() {
    let s = Server::start().await;
    assert_eq!(get(&s, "sys/locked-users").await.data(), &shown(0, json!([])));
    let (few, many) = (mounted(&s, "few", &["ann"]).await, mounted(&s, "many", &["bob", "cid", "dan"]).await);
    for (path, user) in [("few", "ann"), ("many", "cid"), ("many", "bob"), ("many", "nobody")] {
        assert_eq!(guess(&s, path, user, 6).await, [400, 400, 400, 400, 400, 403], "{user}");
    }
    guess(&s, "many", "dan", 4).await;
    let row = |accessor: &str, names: Value| json!({ "mount_accessor": accessor, "counts": names.as_array().map_or(0, Vec::len), "alias_identifiers": names });
    assert_eq!(
        get(&s, "sys/locked-users").await.data(),
        &shown(3, json!([row(&many, json!(["bob", "cid"])), row(&few, json!(["ann"]))])),
        "who has most comes first; who does not exist or is not locked is not there"
    );
    for (accessor, want) in
        [(few.as_str(), shown(1, json!([row(&few, json!(["ann"]))]))), ("nope", shown(0, json!([row("nope", Value::Null)])))]
    {
        assert_eq!(ask(&s, Read, "sys/locked-users", json!({ "mount_accessor": accessor }), &s.root).await.data(), &want);
    }
    for (accessor, alias) in
        [(few.as_str(), "bob"), (many.as_str(), "ann"), ("nope", "ann"), (few.as_str(), "ann/x"), (few.as_str(), "an")]
    {
        let seen = post(&s, &format!("sys/locked-users/{accessor}/unlock/{alias}"), json!({})).await;
        assert_eq!(seen.status, 204, "who is not locked is fine");
        assert_eq!(login(&s, "few", "ann", "right").await.status, 403, "{accessor} {alias}");
    }
    assert_eq!(post(&s, &format!("sys/locked-users/{few}/unlock/ANN"), json!({})).await.status, 204);
    assert_eq!(login(&s, "few", "ann", "right").await.status, 200);
    assert_eq!(login(&s, "many", "cid", "right").await.status, 403);
    s.advance(Duration::from_secs(15 * 60));
    assert_eq!(get(&s, "sys/locked-users").await.data(), &shown(0, json!([])));
    assert_eq!(login(&s, "many", "cid", "right").await.status, 200, "the lock ends by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_sees_and_releases_nobody() {
    let s = Server::start().await;
    let up = mounted(&s, "up", &["ann"]).await;
    guess(&s, "up", "ann", 5).await;
    let unlock = format!("sys/locked-users/{up}/unlock/ann");
    let plain = token_with(&s, "plain", "path \"kv/*\" { capabilities = [\"read\"] }").await;
    for (operation, path, token, status) in [
        (Read, "sys/locked-users", plain.as_str(), 403),
        (Read, "sys/locked-users", "", 403),
        (Update, unlock.as_str(), plain.as_str(), 403),
        (Update, unlock.as_str(), "", 403),
        (Update, "sys/locked-users", s.root.as_str(), 405),
        (Delete, "sys/locked-users", s.root.as_str(), 405),
        (Read, unlock.as_str(), s.root.as_str(), 405),
        (Delete, unlock.as_str(), s.root.as_str(), 405),
    ] {
        assert_eq!(ask(&s, operation, path, Value::Null, token).await.status, status, "{operation:?} {path}");
    }
    assert_eq!(list(&s, "sys/locked-users").await.error(), "1 error occurred:\n\t* unsupported path\n\n");
    assert_eq!(ask(&s, List, &unlock, Value::Null, &s.root).await.status, 405);
    assert_eq!(login(&s, "up", "ann", "right").await.status, 403, "still locked");
}

/// Class I: counters outlive a change of the rule, and the rule holds from the next try on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn class_i_tuning_the_mount_changes_the_rule_and_forgets_no_failure() {
    let s = Server::start().await;
    mounted(&s, "up", &["ann", "bob"]).await;
    let tune = |config: Value| {
        let s = &s;
        async move { assert_eq!(post(s, "sys/auth/up/tune", json!({ "user_lockout_config": config })).await.status, 204) }
    };
    guess(&s, "up", "ann", 5).await;
    tune(json!({ "lockout_duration": "30m" })).await;
    assert_eq!(login(&s, "up", "ann", "right").await.status, 403);
    s.advance(Duration::from_secs(29 * 60));
    assert_eq!(login(&s, "up", "ann", "right").await.status, 403, "the longer lock holds at once");
    s.advance(Duration::from_secs(60));
    assert_eq!(login(&s, "up", "ann", "right").await.status, 200);
    tune(json!({ "lockout_threshold": "2" })).await;
    assert_eq!(guess(&s, "up", "bob", 3).await, [400, 400, 403]);
    tune(json!({ "lockout_disable": true })).await;
    assert_eq!(guess(&s, "up", "bob", 8).await, [400; 8]);
    assert_eq!(get(&s, "sys/locked-users").await.data()["total"], 0);
    tune(json!({ "lockout_disable": false })).await;
    assert_eq!(login(&s, "up", "bob", "right").await.status, 403, "the old lock was not spent meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_is_the_default_below_the_mount() {
    let settings = |threshold| lockout::Settings { threshold: Some(threshold), ..lockout::Settings::default() };
    let by_type = [("userpass".to_owned(), settings(3))].into_iter().collect();
    let lockout = lockout::Defaults { all: settings(9), by_type, off: false };
    let s = Server::start_with(registry(), CoreConfig { lockout, ..CoreConfig::default() }).await;
    mounted(&s, "up", &["ann", "bob"]).await;
    assert_eq!(guess(&s, "up", "ann", 4).await, [400, 400, 400, 403]);
    post(&s, "sys/auth/up/tune", json!({ "user_lockout_config": { "lockout_threshold": "1" } })).await;
    assert_eq!(guess(&s, "up", "bob", 2).await, [400, 403]);
}

/// Contract §7.3: who hands on a wrapped secret id can name what is inside, and nothing else has such a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapped_secret_id_is_known_by_its_accessor() {
    let mut registry = registry();
    let lockout = Arc::clone(&registry.lockout);
    registry.auth.insert("approle", Arc::new(move |_| Arc::new(auth_approle::Approle::with_lockout(Arc::clone(&lockout)))));
    let s = Server::start_with(registry, CoreConfig::default()).await;
    post(&s, "sys/auth/ar", json!({ "type": "approle" })).await;
    post(&s, "auth/ar/role/web", json!({})).await;
    post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await;
    let seen = wrapped(&s, Update, "auth/ar/role/web/secret-id", json!({}), &s.root, 60).await;
    let accessor = seen.body["wrap_info"]["wrapped_accessor"].as_str().unwrap().to_owned();
    let inside = post(&s, "sys/wrapping/unwrap", json!({ "token": seen.body["wrap_info"]["token"] })).await;
    assert_eq!(inside.data()["secret_id_accessor"], json!(accessor));
    let secret_id = inside.data()["secret_id"].as_str().unwrap().to_owned();
    let known = wrapped(&s, Update, "auth/ar/role/web/secret-id/lookup", json!({ "secret_id": secret_id }), &s.root, 60).await;
    assert_eq!(known.body["wrap_info"]["wrapped_accessor"], json!(accessor));
    post(&s, "kv/x", json!({ "secret_id_accessor": "made up" })).await;
    for (operation, path, body) in [
        (Read, "kv/x", Value::Null),
        (Read, "auth/ar/role/web", Value::Null),
        (Update, "sys/wrapping/wrap", json!({ "secret_id_accessor": "made up" })),
    ] {
        let seen = wrapped(&s, operation, path, body, &s.root, 60).await;
        assert!(seen.body["wrap_info"]["token"].is_string(), "{seen:?}");
        assert!(seen.body["wrap_info"].get("wrapped_accessor").is_none_or(|a| a == ""), "{path}: {seen:?}");
    }
}
