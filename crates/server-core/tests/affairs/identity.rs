//! CVE class E, identity that lingers or merges into more than was given: through the whole pipeline, also after a restart's empty caches.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_types::Operation::{Read, Update};
use secret::SecretBytes;
use serde_json::{Value, json};

use super::common::Server;
use super::{Seen, ask, delete, get, list, post};

const RIGHT: &str = "path \"kv/x\" { capabilities = [\"read\"] }";

/// A server with `kv/x`, a policy `right` to read it, and a mount of userpass.
async fn scene() -> (Server, String) {
    let s = Server::start().await;
    s.quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    s.quietly("kv/x", json!({ "a": "b" })).await;
    s.quietly("sys/policies/acl/right", json!({ "policy": RIGHT })).await;
    let accessor = mount(&s, "up").await;
    (s, accessor)
}

async fn mount(s: &Server, path: &str) -> String {
    assert_eq!(post(s, &format!("sys/auth/{path}"), json!({ "type": "userpass" })).await.status, 204);
    get(s, "sys/auth").await.data()[format!("{path}/")]["accessor"].as_str().unwrap().to_owned()
}

async fn user(s: &Server, mount: &str, name: &str) {
    assert_eq!(post(s, &format!("auth/{mount}/users/{name}"), json!({ "password": "pw" })).await.status, 204);
}

/// Token and entity of a login.
async fn log_in(s: &Server, mount: &str, name: &str) -> (String, String) {
    let seen = ask(s, Update, &format!("auth/{mount}/login/{name}"), json!({ "password": "pw" }), "").await;
    let text = |key: &str| seen.body["auth"][key].as_str().unwrap_or_else(|| panic!("{seen:?}")).to_owned();
    (text("client_token"), text("entity_id"))
}

async fn may(s: &Server, token: &str) -> bool {
    match ask(s, Read, "kv/x", Value::Null, token).await.status {
        200 => true,
        403 => false,
        other => panic!("status {other}"),
    }
}

async fn restart(s: &Server) {
    s.core.seal().await;
    s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
}

async fn served(s: &Server, path: &str, body: Value) -> Value {
    let seen = post(s, path, body).await;
    assert!(seen.status < 300, "{path}: {seen:?}");
    seen.body["data"].clone()
}

#[tokio::test]
async fn class_e_what_gave_a_right_takes_it_at_the_next_request() {
    for way in ["entity's policies", "membership", "group's policies", "group", "membership above", "disabling", "entity"] {
        let (s, _) = scene().await;
        user(&s, "up", "ann").await;
        let (token, entity) = log_in(&s, "up", "ann").await;
        let by_id = format!("identity/entity/id/{entity}");
        if matches!(way, "entity's policies" | "disabling" | "entity") {
            served(&s, &by_id, json!({ "policies": "right" })).await;
        } else {
            let inner = served(&s, "identity/group", json!({ "name": "in", "member_entity_ids": [entity] })).await;
            served(&s, "identity/group", json!({ "name": "g", "policies": "right", "member_group_ids": [inner["id"]] })).await;
        }
        assert!(may(&s, &token).await, "{way}");
        restart(&s).await;
        assert!(may(&s, &token).await, "{way}, after a restart");
        let taken = match way {
            "entity's policies" => post(&s, &by_id, json!({ "policies": [] })).await,
            "membership" => post(&s, "identity/group/name/in", json!({ "member_entity_ids": [] })).await,
            "group's policies" => post(&s, "identity/group/name/g", json!({ "policies": [] })).await,
            "group" => delete(&s, "identity/group/name/g").await,
            "membership above" => post(&s, "identity/group/name/g", json!({ "member_group_ids": [] })).await,
            "disabling" => post(&s, &by_id, json!({ "disabled": true })).await,
            _ => delete(&s, &by_id).await,
        };
        assert!(taken.status < 300, "{way}: {taken:?}");
        assert!(!may(&s, &token).await, "{way}: the right outlives what gave it");
        restart(&s).await;
        assert!(!may(&s, &token).await, "{way}: a restart brings it back");
    }
}

/// CVE-2021-41802 and CVE-2022-40186: who may write aliases does not become another user of the same mount, nor is an alias's metadata
/// taken for another's: an entity has one alias a mount.
#[tokio::test]
async fn class_e_writing_aliases_makes_nobody_somebody_else_of_their_mount() {
    let (s, accessor) = scene().await;
    for name in ["admin", "mallory"] {
        user(&s, "up", name).await;
    }
    let (_, admin) = log_in(&s, "up", "admin").await;
    let (_, mallory) = log_in(&s, "up", "mallory").await;
    served(&s, &format!("identity/entity/id/{admin}"), json!({ "policies": "right" })).await;
    let alias_of = async |entity: &str| {
        let shown = get(&s, &format!("identity/entity/id/{entity}")).await;
        shown.data()["aliases"][0]["id"].as_str().unwrap().to_owned()
    };
    let (admins, own) = (alias_of(&admin).await, alias_of(&mallory).await);
    let writer =
        super::token_with(&s, "aliases", "path \"identity/entity-alias*\" { capabilities = [\"create\", \"update\"] }").await;
    for (path, body) in [
        ("identity/entity-alias", json!({ "name": "mallory", "mount_accessor": accessor, "canonical_id": admin })),
        ("identity/entity-alias", json!({ "name": "mallory2", "mount_accessor": accessor, "canonical_id": admin })),
        ("identity/entity-alias", json!({ "id": own, "name": "mallory", "mount_accessor": accessor, "canonical_id": admin })),
        ("identity/entity-alias", json!({ "id": own, "name": "admin", "mount_accessor": accessor })),
        ("identity/entity-alias", json!({ "id": admins, "name": "mallory", "mount_accessor": accessor })),
        ("identity/entity-alias/id/{own}", json!({ "canonical_id": admin })),
        ("identity/entity-alias/id/{own}", json!({ "name": "admin" })),
        ("identity/entity-alias/id/{admins}", json!({ "name": "mallory" })),
        ("identity/entity-alias/id/{admins}", json!({ "canonical_id": mallory })),
    ] {
        let path = path.replace("{own}", &own).replace("{admins}", &admins);
        let answer = ask(&s, Update, &path, body.clone(), &writer).await;
        assert!(answer.status < 500, "{path} {body}: {answer:?}");
        for round in ["at once", "after a restart"] {
            let (token, _) = log_in(&s, "up", "mallory").await;
            assert!(!may(&s, &token).await, "{path} {body}: {answer:?}, {round}");
            restart(&s).await;
        }
    }
    assert_eq!(ask(&s, Update, "identity/entity/merge", json!({}), &writer).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn class_e_parallel_first_logins_and_merges_leave_one_owner_of_an_alias() {
    let (s, accessor) = scene().await;
    let other = mount(&s, "other").await;
    let s = Arc::new(s);
    user(&s, "up", "ann").await;
    let many = async |s: &Arc<Server>| {
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let s = Arc::clone(s);
                tokio::spawn(async move { log_in(&s, "up", "ann").await })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        all
    };
    let first: BTreeSet<String> = many(&s).await.into_iter().map(|(_, entity)| entity).collect();
    assert_eq!(first.len(), 1, "one person, one entity: {first:?}");
    let entity = first.first().unwrap().clone();

    // The entity is merged away while its person logs in.
    let target = served(&s, "identity/entity", json!({ "name": "target", "policies": "right" })).await["id"].clone();
    served(&s, "identity/entity-alias", json!({ "name": "ann", "mount_accessor": other, "canonical_id": target })).await;
    let merging = tokio::spawn({
        let (s, body) = (Arc::clone(&s), json!({ "from_entity_ids": [entity], "to_entity_id": target }));
        async move { post(&s, "identity/entity/merge", body).await.status }
    });
    let tokens = many(&s).await;
    assert_eq!(merging.await.unwrap(), 204);
    for round in ["at once", "after a restart"] {
        let entities = keys(list(&s, "identity/entity/id").await);
        assert_eq!(entities, [target.as_str().unwrap()], "{round}");
        assert_eq!(keys(list(&s, "identity/entity-alias/id").await).len(), 2, "{round}");
        let found = served(&s, "identity/lookup/entity", json!({ "alias_name": "ann", "alias_mount_accessor": accessor })).await;
        assert_eq!(found["id"], target, "{round}");
        for (token, _) in &tokens {
            assert!(may(&s, token).await, "{round}: a token of before the merge acts for what its entity went into");
        }
        restart(&s).await;
    }
    served(&s, &format!("identity/entity/id/{}", target.as_str().unwrap()), json!({ "policies": [] })).await;
    for (token, _) in &tokens {
        assert!(!may(&s, token).await);
    }
}

fn keys(seen: Seen) -> Vec<String> {
    seen.data()["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect()
}
