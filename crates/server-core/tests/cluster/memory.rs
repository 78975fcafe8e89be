//! A test for each class of `docs/cluster-memory.md`: what one node has in memory does not outlive what another node did.

use api_types::Operation;
use engine::{Request, WrapRequest};
use futures::future::join_all;
use secret::SecretString;
use serde_json::{Value, json};
use server_core::{Answer, FailureKind, Place};
use std::time::Duration;

use crate::common::{Server, registry};
use crate::nodes::{Trio, config, eventually};

/// Each ordered pair of nodes: who does, and who is asked.
fn pairs(trio: &Trio) -> Vec<(usize, &Server, &Server)> {
    let mut out = Vec::new();
    for (i, a) in trio.nodes.iter().enumerate() {
        for (j, b) in trio.nodes.iter().enumerate().filter(|(j, _)| i != *j) {
            out.push((i * 3 + j, a, b));
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_on_one_node_is_read_on_every_other_at_once() {
    let trio = Trio::start().await;
    trio.nodes[2].quietly("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } })).await;
    for (n, a, b) in pairs(&trio) {
        for round in 0..3 {
            a.post("kv/data/x", json!({ "data": { "n": n, "round": round } })).await.ok();
            let seen = b.get("kv/data/x").await.ok();
            assert_eq!(seen["data"], json!({ "n": n, "round": round }));
        }
        // Listings and deletions as well.
        a.post(&format!("kv/data/dir/{n}"), json!({ "data": {} })).await.ok();
        assert!(b.list("kv/metadata/dir/").await.keys().contains(&n.to_string()));
        a.delete(&format!("kv/metadata/dir/{n}")).await.ok();
        assert!(b.get(&format!("kv/data/dir/{n}")).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_revoked_on_one_node_is_refused_on_every_other_at_once() {
    let trio = Trio::start().await;
    for (_, a, b) in pairs(&trio) {
        let made = a.token(&["default"]).await;
        assert!(b.get_as(&made.token, "auth/token/lookup-self").await.failure.is_none());
        let child = b.ask(Operation::Update, "auth/token/create", json!({}), &made.token).await;
        assert_eq!(child.failure, Some(FailureKind::Denied), "default may not create");
        a.post("auth/token/revoke-accessor", json!({ "accessor": made.accessor })).await.ok();
        assert_eq!(b.get_as(&made.token, "auth/token/lookup-self").await.failure, Some(FailureKind::Denied));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_mounts_and_settings_changed_on_one_node_are_in_force_on_every_other_at_once() {
    let trio = Trio::start().await;
    for (n, a, b) in pairs(&trio) {
        let (path, mount) = (format!("m{n}/x"), format!("sys/mounts/m{n}"));
        assert_eq!(b.get(&path).await.failure, Some(FailureKind::NotFound));
        a.post(&mount, json!({ "type": "kv" })).await.ok();
        b.post(&path, json!({ "v": n })).await.ok();
        // A policy, in all its states.
        let policy = format!("sys/policies/acl/p{n}");
        a.post(&policy, json!({ "policy": format!("path \"m{n}/*\" {{ capabilities = [\"read\"] }}") })).await.ok();
        let token = b.token(&[&format!("p{n}")]).await.token;
        assert_eq!(b.get_as(&token, &path).await.ok()["v"], n);
        a.post(&policy, json!({ "policy": "path \"elsewhere\" { capabilities = [\"read\"] }" })).await.ok();
        assert_eq!(b.get_as(&token, &path).await.failure, Some(FailureKind::Denied));
        a.delete(&policy).await.ok();
        // The mount goes, and what was below it.
        a.delete(&mount).await.ok();
        assert_eq!(b.get(&path).await.failure, Some(FailureKind::NotFound));
        // Small settings.
        a.post("sys/config/cors", json!({ "allowed_origins": [format!("https://{n}.example")] })).await.ok();
        assert_eq!(b.get("sys/config/cors").await.ok()["allowed_origins"], json!([format!("https://{n}.example")]));
        let cors = b.core.open().unwrap().cors().unwrap();
        assert_eq!(cors.as_ref().as_ref().unwrap().allowed_origins, [format!("https://{n}.example")]);
        a.post("sys/config/ui/headers/X-Custom", json!({ "values": [n.to_string()] })).await.ok();
        b.get("sys/config/ui/headers/X-Custom").await.ok();
        assert_eq!(b.core.open().unwrap().ui_headers().unwrap()["X-Custom"], [n.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_changed_on_one_node_changes_what_its_tokens_may_on_every_other() {
    let trio = Trio::start().await;
    let [a, b, c] = &trio.nodes[..] else { panic!("three") };
    a.quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    a.quietly("kv/x", json!({ "v": 1 })).await;
    b.quietly("sys/auth/userpass", json!({ "type": "userpass" })).await;
    c.quietly("auth/userpass/users/kim", json!({ "password": "correct horse" })).await;
    a.post("sys/policies/acl/reader", json!({ "policy": "path \"kv/*\" { capabilities = [\"read\"] }" })).await.ok();
    let login = b.ask(Operation::Update, "auth/userpass/login/kim", json!({ "password": "correct horse" }), "").await;
    let token = login.token;
    let entity = c.get_as(&token, "auth/token/lookup-self").await.ok()["entity_id"].as_str().unwrap().to_owned();
    assert_eq!(c.get_as(&token, "kv/x").await.failure, Some(FailureKind::Denied));
    a.post(&format!("identity/entity/id/{entity}"), json!({ "policies": ["reader"] })).await.ok();
    for node in [b, c, a] {
        assert_eq!(node.get_as(&token, "kv/x").await.ok()["v"], 1);
    }
    b.post(&format!("identity/entity/id/{entity}"), json!({ "disabled": true })).await.ok();
    for node in [c, a, b] {
        assert_eq!(node.get_as(&token, "kv/x").await.failure, Some(FailureKind::Denied));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_happen_once_happens_once_on_all_nodes_together() {
    let make = |index| {
        let mut registry = registry();
        registry.secrets.insert("totp", std::sync::Arc::new(|_| std::sync::Arc::new(engine_totp::Totp::new())));
        (registry, config(index))
    };
    let trio = Trio::start_with(make).await;
    let [a, b, c] = &trio.nodes[..] else { panic!("three") };
    let served = |replies: Vec<crate::common::Reply>| replies.iter().filter(|r| r.failure.is_none()).count();
    // A wrapped answer.
    let mut request = Request::new(Operation::Read, "sys/mounts");
    request.token = SecretString::from(a.root.as_str());
    request.wrap = Some(WrapRequest { ttl: Duration::from_secs(60), format: None });
    let Answer::Wrapped(wrap) = b.core.handle(request).await.into_inner() else { panic!("not wrapped") };
    let tries = trio.nodes.iter().map(|n| {
        let token = wrap.token.expose().to_owned();
        async move { n.ask(Operation::Update, "sys/wrapping/unwrap", Value::Null, &token).await }
    });
    assert_eq!(served(join_all(tries).await), 1, "unwrapped more than once");
    // The uses of a token.
    let limited = c.post("auth/token/create", json!({ "policies": ["default"], "num_uses": 2 })).await.token;
    let tries = trio.nodes.iter().chain(&trio.nodes).map(|n| n.get_as(&limited, "auth/token/lookup-self"));
    assert_eq!(served(join_all(tries).await), 2, "used more often than it may");
    // A code of a one-time password.
    a.quietly("sys/mounts/totp", json!({ "type": "totp" })).await;
    b.post("totp/keys/k", json!({ "key": "JBSWY3DPEHPK3PXP", "account_name": "a", "period": 30 })).await.ok();
    let code = c.get("totp/code/k").await.ok()["code"].clone();
    let tries = trio.nodes.iter().map(|n| {
        let code = code.clone();
        async move { n.post("totp/code/k", json!({ "code": code })).await }
    });
    let replies = join_all(tries).await;
    let right = replies.iter().filter(|r| r.failure.is_none() && r.data["valid"] == true).count();
    assert_eq!(right, 1, "{replies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_that_several_nodes_raise_lose_nothing() {
    let trio = Trio::start().await;
    trio.nodes[1].quietly("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } })).await;
    let writers = trio.nodes.iter().map(|n| async move {
        for _ in 0..10 {
            let reply = n.post("kv/data/counter", json!({ "data": {} })).await;
            assert!(reply.failure.is_none(), "{reply:?}");
        }
    });
    join_all(writers).await;
    for node in &trio.nodes {
        assert_eq!(node.get("kv/metadata/counter").await.ok()["current_version"], 30);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_count_quota_counts_the_leases_of_all_nodes() {
    let trio = Trio::start().await;
    let [a, b, c] = &trio.nodes[..] else { panic!("three") };
    a.quietly("sys/auth/userpass", json!({ "type": "userpass" })).await;
    b.quietly("auth/userpass/users/kim", json!({ "password": "correct horse" })).await;
    c.post("sys/quotas/lease-count/few", json!({ "path": "auth/userpass/", "max_leases": 7 })).await.ok();
    let mut served = 0;
    for round in 0..12 {
        let node = &trio.nodes[round % 3];
        let body = json!({ "password": "correct horse" });
        let reply = node.ask(Operation::Update, "auth/userpass/login/kim", body, "").await;
        served += usize::from(reply.failure.is_none());
        assert!(matches!(reply.failure, None | Some(FailureKind::Limited)), "{reply:?}");
    }
    assert_eq!(served, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_device_enabled_on_one_node_records_what_every_node_serves() {
    let trio = Trio::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    trio.nodes[1].quietly("sys/audit/file", json!({ "type": "file", "options": { "file_path": file } })).await;
    for (index, node) in trio.nodes.iter().enumerate() {
        node.get(&format!("cubbyhole/asked-on-{index}")).await;
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("asked-on-{index}")), "node {index} did not record");
    }
    trio.nodes[2].delete("sys/audit/file").await.ok();
    let before = std::fs::read_to_string(&file).unwrap().len();
    for node in [&trio.nodes[0], &trio.nodes[1]] {
        node.get("cubbyhole/unrecorded").await;
        assert!(!node.core.audit().has_devices());
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encryptions_of_all_nodes_count_towards_the_rotation_of_the_key() {
    let trio = Trio::start().await;
    let leader = trio.leader().await;
    leader.quietly("sys/rotate/config", json!({ "max_operations": 1_000_000, "interval": "0" })).await;
    for node in &trio.nodes {
        // Each has done a part; none of them alone is enough.
        node.core.pretend_encryptions_here(400_000);
        node.core.tend_data_key().await.unwrap();
    }
    eventually("rotation", || {
        // The worker of whoever leads sees the sum.
        trio.nodes.iter().all(|n| n.core.data_key_term() == Some(2))
    })
    .await;
    for node in &trio.nodes {
        let seen = node.get("sys/key-status").await.ok();
        assert!(seen["term"] == 2 && seen["encryptions"].as_u64().unwrap() < 1000, "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_leader_alone_knows_is_passed_on() {
    let make = |index| {
        let mut registry = registry();
        let userpass = registry.auth["userpass"].clone();
        registry.auth.insert("oidc", userpass);
        (registry, config(index))
    };
    let trio = Trio::start_with(make).await;
    trio.nodes[0].quietly("sys/auth/sso", json!({ "type": "oidc" })).await;
    trio.nodes[0].quietly("sys/auth/people", json!({ "type": "userpass" })).await;
    let standbys = trio.standbys().await;
    for node in standbys {
        node.get("sys/auth").await.ok();
        for (path, free, stays) in [
            ("auth/sso/oidc/auth_url", Place::Leader, Place::Elsewhere),
            ("auth/sso/oidc/callback", Place::Leader, Place::Elsewhere),
            ("auth/sso/login", Place::Here, Place::Elsewhere),
            ("auth/people/oidc/auth_url", Place::Here, Place::Elsewhere),
            ("sys/rekey/init", Place::Leader, Place::Elsewhere),
            ("sys/storage/raft/snapshot", Place::Elsewhere, Place::Elsewhere),
            ("sys/health", Place::Here, Place::Here),
            ("kv/x", Place::Here, Place::Elsewhere),
        ] {
            assert_eq!((node.core.place(path, false), node.core.place(path, true)), (free, stays), "{path}");
        }
    }
    let leader = trio.leader().await;
    for path in ["sys/rekey/init", "sys/storage/raft/snapshot", "kv/x"] {
        assert_eq!(leader.core.place(path, true), Place::Here, "{path}");
    }
}
