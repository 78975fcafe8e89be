//! What the core calls: logins, profiles, external groups, mounts that go away.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use std::collections::BTreeMap;

use api_types::Operation::{Delete, Read, Update};
use common::{Scene, accessor, data, mount, ok, refused, scene};
use engine::{Alias, EngineError};
use identity::{Login, Profile, login, profile, refresh_external_groups, remove_mount_aliases};
use secret::SecretBytes;
use serde_json::{Value, json};
use storage::{MemoryTransaction, Page, Record, Transaction, TxnError, View};

fn log_in(h: &mut Scene, n: u8, name: &str, groups: &[&str]) -> Result<Login, EngineError> {
    let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
    let alias = Alias { name: name.into(), metadata: BTreeMap::from([("seen".to_owned(), name.to_owned())]) };
    login(&mut View::new(&mut h.txn, ""), &mount(n), &alias, &groups, h.now, &h.entropy)
}

fn see(h: &mut Scene, id: &str) -> Option<Profile> {
    profile(&mut View::new(&mut h.txn, ""), id).unwrap()
}

async fn external(h: &mut Scene, name: &str, n: u8, alias: &str) -> Value {
    let body = json!({"name": name, "type": "external", "policies": [name]});
    let id = data(h, Update, "group", body).await["id"].clone();
    let body = json!({"name": alias, "mount_accessor": accessor(n), "canonical_id": id});
    data(h, Update, "group-alias", body).await["id"].clone()
}

#[tokio::test]
async fn the_same_name_is_the_same_entity_and_a_repeated_login_writes_nothing() {
    let mut h = scene();
    let first = log_in(&mut h, 1, "ann", &[]).unwrap();
    assert!(first.created);
    let before = h.txn.keys().len();
    h.now = h.now.plus(std::time::Duration::from_secs(60));
    let again = log_in(&mut h, 1, "ANN", &[]).unwrap();
    assert_eq!((again.entity_id.as_str(), again.created, h.txn.keys().len()), (first.entity_id.as_str(), false, before));
    assert_ne!(log_in(&mut h, 2, "ann", &[]).unwrap().entity_id, first.entity_id, "another mount, another person");
    let path = format!("entity/id/{}", first.entity_id);
    let shown = data(&mut h, Read, &path, json!({})).await;
    let alias = &shown["aliases"][0];
    assert_eq!(alias["metadata"], json!({"seen": "ANN"}), "metadata changed, so this one was written");
    assert_ne!(alias["last_update_time"], alias["creation_time"]);
    let written = alias["last_update_time"].clone();
    h.now = h.now.plus(std::time::Duration::from_secs(60));
    log_in(&mut h, 1, "ANN", &[]).unwrap();
    let shown = data(&mut h, Read, &path, json!({})).await;
    assert_eq!(shown["aliases"][0]["last_update_time"], written, "nothing changed, nothing was written");
}

#[tokio::test]
async fn a_disabled_entity_and_a_missing_name_get_nothing() {
    let mut h = scene();
    let id = log_in(&mut h, 1, "ann", &[]).unwrap().entity_id;
    ok(&mut h, Update, &format!("entity/id/{id}"), json!({"disabled": true})).await;
    assert!(matches!(log_in(&mut h, 1, "ann", &[]), Err(EngineError::Denied(t)) if t == "permission denied"));
    assert!(see(&mut h, &id).unwrap().disabled);
    assert!(matches!(log_in(&mut h, 1, "", &[]), Err(EngineError::Internal(_))));
    assert!(matches!(log_in(&mut h, 1, &"x".repeat(5000), &[]), Err(EngineError::Internal(_))));
    ok(&mut h, Delete, &format!("entity/id/{id}"), json!({})).await;
    assert!(see(&mut h, &id).is_none() && see(&mut h, "").is_none());
}

#[tokio::test]
async fn policies_come_from_the_entity_and_all_groups_above_and_go_with_them() {
    let mut h = scene();
    let id = log_in(&mut h, 1, "m", &[]).unwrap().entity_id;
    ok(&mut h, Update, &format!("entity/id/{id}"), json!({"policies": ["Own", "b"]})).await;
    let inner = data(&mut h, Update, "group", json!({"name": "in", "policies": ["inner", "B"], "member_entity_ids": [id]})).await
        ["id"]
        .clone();
    ok(
        &mut h,
        Update,
        "group",
        json!({"name": "out", "policies": ["outer"], "member_group_ids": [inner], "metadata": {"env": "prod"}}),
    )
    .await;
    ok(&mut h, Update, "group", json!({"name": "side", "policies": ["side"]})).await;
    let seen = see(&mut h, &id).unwrap();
    assert_eq!(seen.policies, ["b", "inner", "outer", "own"]);
    assert_eq!(seen.facts.groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["in", "out"]);
    let shown = data(&mut h, Read, &format!("entity/id/{id}"), json!({})).await;
    assert_eq!((&shown["direct_group_ids"], shown["inherited_group_ids"].as_array().unwrap().len()), (&json!([inner]), 1));
    ok(&mut h, Delete, "group/name/out", json!({})).await;
    assert_eq!(see(&mut h, &id).unwrap().policies, ["b", "inner", "own"]);
    ok(&mut h, Update, "group/name/in", json!({"member_entity_ids": []})).await;
    assert_eq!(see(&mut h, &id).unwrap().policies, ["b", "own"]);
}

#[tokio::test]
async fn external_groups_follow_the_last_login_on_their_mount() {
    let mut h = scene();
    external(&mut h, "devs", 1, "Dev").await;
    external(&mut h, "ops", 1, "ops").await;
    external(&mut h, "far", 2, "dev").await;
    let first = log_in(&mut h, 1, "ann", &["dev", "unknown"]).unwrap();
    assert_eq!(first.profile.policies, ["devs"], "names have no case, and the other mount's group is not meant");
    let id = first.entity_id;
    assert_eq!(log_in(&mut h, 1, "ann", &["ops"]).unwrap().profile.policies, ["ops"]);
    // An internal group and a group of another mount stay.
    ok(&mut h, Update, "group", json!({"name": "in", "policies": ["in"], "member_entity_ids": [id]})).await;
    ok(&mut h, Update, "entity-alias", json!({"name": "ann", "canonical_id": id, "mount_accessor": accessor(2)})).await;
    assert_eq!(log_in(&mut h, 2, "ann", &["dev"]).unwrap().profile.policies, ["far", "in", "ops"]);
    assert_eq!(log_in(&mut h, 1, "ann", &[]).unwrap().profile.policies, ["far", "in"]);
    let refresh = |h: &mut Scene, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        refresh_external_groups(&mut View::new(&mut h.txn, ""), &id, &accessor(1), &names).unwrap()
    };
    assert!(refresh(&mut h, &["dev", "ops"]));
    assert!(!refresh(&mut h, &["ops", "dev"]), "the same again changes nothing");
    assert_eq!(see(&mut h, &id).unwrap().policies, ["devs", "far", "in", "ops"]);
}

/// CVE class E: whatever took a membership or an alias away, the next request is without it.
#[tokio::test]
async fn membership_ends_with_what_gave_it() {
    for what in ["group-alias", "rename", "alias", "entity-move", "group"] {
        let mut h = scene();
        let group_alias = external(&mut h, "devs", 1, "dev").await;
        let group_alias = format!("group-alias/id/{}", group_alias.as_str().unwrap());
        let id = log_in(&mut h, 1, "ann", &["dev"]).unwrap().entity_id;
        assert_eq!(see(&mut h, &id).unwrap().policies, ["devs"], "{what}");
        let alias = data(&mut h, Read, &format!("entity/id/{id}"), json!({})).await["aliases"][0]["id"].clone();
        let alias = format!("entity-alias/id/{}", alias.as_str().unwrap());
        match what {
            "group-alias" => ok(&mut h, Delete, &group_alias, json!({})).await,
            "rename" => ok(&mut h, Update, &group_alias, json!({"name": "admins", "mount_accessor": accessor(1)})).await,
            "alias" => ok(&mut h, Delete, &alias, json!({})).await,
            "entity-move" => {
                let other = data(&mut h, Update, "entity", json!({"name": "other"})).await["id"].clone();
                ok(&mut h, Update, &alias, json!({"canonical_id": other})).await;
            }
            _ => ok(&mut h, Delete, "group/name/devs", json!({})).await,
        }
        assert!(see(&mut h, &id).unwrap().policies.is_empty(), "{what}");
        assert!(!h.txn.keys().iter().any(|k| k.starts_with("identity/group/member/")), "{what}: {:?}", h.txn.keys());
    }
}

#[tokio::test]
async fn a_mount_that_goes_takes_its_aliases_step_by_step() {
    let mut h = scene();
    external(&mut h, "devs", 1, "dev").await;
    for name in ["a", "b", "c"] {
        log_in(&mut h, 1, name, &["dev"]).unwrap();
    }
    let other = log_in(&mut h, 2, "a", &[]).unwrap().entity_id;
    let mut rounds = 0;
    while !remove_mount_aliases(&mut View::new(&mut h.txn, ""), &accessor(1), 2).unwrap() {
        rounds += 1;
        assert!(rounds < 10, "it ends");
    }
    assert!(rounds >= 1, "a limit was kept");
    let left: Vec<&str> = h.txn.keys().into_iter().filter(|k| k.contains("alias/name/")).collect();
    assert_eq!(left, [format!("identity/alias/name/{}/a", accessor(2))]);
    assert_eq!(data(&mut h, Read, &format!("entity/id/{other}"), json!({})).await["aliases"].as_array().unwrap().len(), 1);
    assert_eq!(data(&mut h, Read, "group/name/devs", json!({})).await["member_entity_ids"], Value::Null);
}

#[tokio::test]
async fn groups_are_shown_and_refused_in_vaults_words() {
    let mut h = scene();
    let e = log_in(&mut h, 1, "ann", &[]).unwrap().entity_id;
    let alias = external(&mut h, "ext", 1, "devs").await;
    let x = data(&mut h, Read, "group/name/ext", json!({})).await;
    assert_eq!(x["alias"]["id"], alias);
    assert_eq!((&x["modify_index"], &x["member_entity_ids"], &x["parent_group_ids"]), (&json!(2), &Value::Null, &Value::Null));
    let a = data(&mut h, Update, "group", json!({"name": "a", "member_entity_ids": [e]})).await["id"].clone();
    let b = data(&mut h, Update, "group", json!({"name": "b", "member_group_ids": [a]})).await["id"].clone();
    ok(&mut h, Update, "group", json!({"name": "c", "member_group_ids": [b]})).await;
    ok(&mut h, Update, "group", json!({"name": "c", "metadata": {"k": "v"}})).await;
    assert_eq!(data(&mut h, Read, "group/name/b", json!({})).await["member_group_ids"], json!([a]));
    let ext = format!("group/id/{}", x["id"].as_str().unwrap());
    let a_path = format!("group/id/{}", a.as_str().unwrap());
    let c = data(&mut h, Read, "group/name/c", json!({})).await["id"].clone();
    let cyclic = format!("cyclic relationship detected for member group ID {c}");
    let own = format!("member group ID {a} is same as the ID of the group");
    for (path, body, text) in [
        (ext.as_str(), json!({"member_entity_ids": [e]}), "member entities can't be set manually for external groups"),
        (&ext, json!({"member_group_ids": [a]}), "member groups can't be set for external groups"),
        (&ext, json!({"type": "internal"}), "group type cannot be changed"),
        (&a_path, json!({"name": "B"}), "group name is already in use"),
        (&a_path, json!({"member_group_ids": [c]}), &cyclic),
        (&a_path, json!({"member_group_ids": [a]}), &own),
        (&a_path, json!({"member_group_ids": ["none"]}), "invalid member group ID \"none\""),
        (&a_path, json!({"member_entity_ids": ["none"]}), "invalid entity ID \"none\""),
        ("group", json!({"type": "odd"}), "invalid group type \"odd\""),
        ("group/id/none", json!({"name": "x"}), "invalid group ID"),
        (
            "group-alias",
            json!({"name": "d", "mount_accessor": accessor(1), "canonical_id": a}),
            "alias can't be set on an internal group",
        ),
        (
            "group-alias",
            json!({"name": "d", "mount_accessor": accessor(1), "canonical_id": "no"}),
            "invalid group ID given in 'canonical_id'",
        ),
        (
            "group-alias",
            json!({"name": "DEVS", "mount_accessor": accessor(1), "canonical_id": x["id"]}),
            "combination of mount and group alias name is already in use",
        ),
        ("group-alias", json!({"name": "d", "mount_accessor": "none"}), "invalid mount accessor \"none\""),
        ("group-alias", json!({"mount_accessor": accessor(1)}), "missing alias name"),
        ("group-alias", json!({"name": "q"}), "missing mount_accessor"),
        ("group-alias/id/none", json!({"name": "q", "mount_accessor": accessor(1)}), "invalid group alias ID"),
        ("lookup/group", json!({}), "query parameter not supplied"),
    ] {
        assert_eq!(refused(&mut h, path, body).await, text, "{path}");
    }
    let found = data(&mut h, Update, "lookup/group", json!({"alias_name": "devs", "alias_mount_accessor": accessor(1)})).await;
    assert_eq!(found["id"], x["id"]);
}

/// Counts what is asked of the storage below it.
struct Counted<'a> {
    below: &'a mut MemoryTransaction,
    gets: usize,
    writes: usize,
    lists: usize,
}

impl Transaction for Counted<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError> {
        self.gets += 1;
        self.below.get(key)
    }

    fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError> {
        self.writes += 1;
        self.below.put(key, value)
    }

    fn delete(&mut self, key: &str) -> Result<(), TxnError> {
        self.writes += 1;
        self.below.delete(key)
    }

    fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError> {
        self.lists += 1;
        self.below.list(prefix, page)
    }
}

#[tokio::test]
async fn work_does_not_grow_with_the_number_of_entities() {
    let mut h = scene();
    external(&mut h, "devs", 1, "dev").await;
    let mut seen = Vec::new();
    for crowd in [0, 500] {
        for i in 0..crowd {
            log_in(&mut h, 1, &format!("crowd-{i}"), &["dev"]).unwrap();
        }
        let id = log_in(&mut h, 1, "ann", &["dev"]).unwrap().entity_id;
        let groups = ["dev".to_owned()];
        let alias = Alias { name: "ann".into(), metadata: BTreeMap::from([("seen".to_owned(), "ann".to_owned())]) };
        let mut txn = Counted { below: &mut h.txn, gets: 0, writes: 0, lists: 0 };
        login(&mut View::new(&mut txn, ""), &mount(1), &alias, &groups, h.now, &h.entropy).unwrap();
        let after_login = (txn.gets, txn.writes, txn.lists);
        profile(&mut View::new(&mut txn, ""), &id).unwrap().unwrap();
        seen.push((after_login, txn.gets - after_login.0, txn.lists));
    }
    assert_eq!(seen[0], seen[1]);
    let ((_, writes, _), profile_gets, lists) = seen[0];
    assert_eq!((writes, profile_gets, lists), (0, 3, 0), "entity, membership, one group; no write, no scan");
}
