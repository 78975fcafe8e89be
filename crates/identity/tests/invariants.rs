//! Any sequence of calls leaves rows and index rows in agreement.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use api_types::Operation::{Delete, Update};
use common::{Scene, accessor, mount, scene};
use engine::Alias;
use proptest::prelude::*;
use serde_json::{Value, json};
use storage::{Transaction, View};

/// One call; numbers choose among what exists, so that most calls hit something.
#[derive(Debug, Clone)]
enum Step {
    Login { mount: u8, name: u8, groups: Vec<u8> },
    Entity { name: u8, policies: Vec<u8> },
    RenameEntity { entity: usize, name: u8 },
    DeleteEntity { entity: usize },
    Merge { from: usize, to: usize, keep: usize },
    Alias { entity: usize, mount: u8, name: u8 },
    MoveAlias { alias: usize, entity: usize, name: u8 },
    DeleteAlias { alias: usize },
    Group { name: u8, external: bool, entities: Vec<usize>, groups: Vec<usize> },
    DeleteGroup { group: usize },
    GroupAlias { group: usize, mount: u8, name: u8 },
    MoveGroupAlias { alias: usize, group: usize, name: u8 },
    DropMount { mount: u8, limit: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (n, i) = (0u8..4, 0usize..6);
    let m = 1u8..3;
    prop_oneof![
        (m.clone(), n.clone(), prop::collection::vec(n.clone(), 0..3)).prop_map(|(mount, name, groups)| Step::Login {
            mount,
            name,
            groups
        }),
        (n.clone(), prop::collection::vec(n.clone(), 0..3)).prop_map(|(name, policies)| Step::Entity { name, policies }),
        (i.clone(), n.clone()).prop_map(|(entity, name)| Step::RenameEntity { entity, name }),
        i.clone().prop_map(|entity| Step::DeleteEntity { entity }),
        (i.clone(), i.clone(), i.clone()).prop_map(|(from, to, keep)| Step::Merge { from, to, keep }),
        (i.clone(), m.clone(), n.clone()).prop_map(|(entity, mount, name)| Step::Alias { entity, mount, name }),
        (i.clone(), i.clone(), n.clone()).prop_map(|(alias, entity, name)| Step::MoveAlias { alias, entity, name }),
        i.clone().prop_map(|alias| Step::DeleteAlias { alias }),
        (n.clone(), any::<bool>(), prop::collection::vec(i.clone(), 0..3), prop::collection::vec(i.clone(), 0..3))
            .prop_map(|(name, external, entities, groups)| Step::Group { name, external, entities, groups }),
        i.clone().prop_map(|group| Step::DeleteGroup { group }),
        (i.clone(), m.clone(), n.clone()).prop_map(|(group, mount, name)| Step::GroupAlias { group, mount, name }),
        (i.clone(), i.clone(), n).prop_map(|(alias, group, name)| Step::MoveGroupAlias { alias, group, name }),
        (m, 0usize..3).prop_map(|(mount, limit)| Step::DropMount { mount, limit }),
    ]
}

fn rows(h: &mut Scene, folder: &str) -> BTreeMap<String, Value> {
    let keys: Vec<String> = h.txn.keys().into_iter().filter(|k| k.starts_with(folder)).map(str::to_owned).collect();
    keys.into_iter()
        .map(|k| {
            let record = h.txn.get(&k).unwrap().unwrap();
            (k.strip_prefix(folder).unwrap().to_owned(), serde_json::from_slice(record.bytes()).unwrap_or(Value::Null))
        })
        .collect()
}

fn nth(h: &mut Scene, folder: &str, n: usize) -> String {
    let keys: Vec<String> = rows(h, folder).into_keys().collect();
    if keys.is_empty() { "none".to_owned() } else { keys[n % keys.len()].clone() }
}

async fn run(h: &mut Scene, step: Step) {
    const E: &str = "identity/entity/id/";
    const A: &str = "identity/alias/id/";
    const G: &str = "identity/group/id/";
    const GA: &str = "identity/group-alias/id/";
    let before = h.txn.clone();
    let (operation, path, body) = match step {
        Step::Login { mount: m, name, groups } => {
            let alias = Alias { name: format!("n{name}"), ..Alias::default() };
            let groups: Vec<String> = groups.iter().map(|g| format!("g{g}")).collect();
            let done = identity::login(&mut View::new(&mut h.txn, ""), &mount(m), &alias, &groups, h.now, &h.entropy);
            if done.is_err() {
                h.txn = before;
            }
            return;
        }
        Step::DropMount { mount: m, limit } => {
            identity::remove_mount_aliases(&mut View::new(&mut h.txn, ""), &accessor(m), limit).unwrap();
            return;
        }
        Step::Entity { name, policies } => {
            (Update, "entity".to_owned(), json!({"name": format!("E{name}"), "policies": policies}))
        }
        Step::RenameEntity { entity, name } => {
            (Update, format!("entity/id/{}", nth(h, E, entity)), json!({"name": format!("e{name}")}))
        }
        Step::DeleteEntity { entity } => (Delete, format!("entity/id/{}", nth(h, E, entity)), json!({})),
        Step::Merge { from, to, keep } => {
            let body = json!({"from_entity_ids": [nth(h, E, from)], "to_entity_id": nth(h, E, to),
                              "conflicting_alias_ids_to_keep": [nth(h, A, keep)]});
            (Update, "entity/merge".to_owned(), body)
        }
        Step::Alias { entity, mount: m, name } => {
            let body = json!({"canonical_id": nth(h, E, entity), "mount_accessor": accessor(m), "name": format!("N{name}")});
            (Update, "entity-alias".to_owned(), body)
        }
        Step::MoveAlias { alias, entity, name } => {
            let body = json!({"canonical_id": nth(h, E, entity), "name": format!("n{name}")});
            (Update, format!("entity-alias/id/{}", nth(h, A, alias)), body)
        }
        Step::DeleteAlias { alias } => (Delete, format!("entity-alias/id/{}", nth(h, A, alias)), json!({})),
        Step::Group { name, external: true, .. } => {
            (Update, "group".to_owned(), json!({"name": format!("g{name}"), "type": "external"}))
        }
        Step::Group { name, entities, groups, .. } => {
            let entities: Vec<String> = entities.iter().map(|n| nth(h, E, *n)).collect();
            let groups: Vec<String> = groups.iter().map(|n| nth(h, G, *n)).collect();
            let body = json!({"name": format!("G{name}"), "member_entity_ids": entities, "member_group_ids": groups});
            (Update, "group".to_owned(), body)
        }
        Step::DeleteGroup { group } => (Delete, format!("group/id/{}", nth(h, G, group)), json!({})),
        Step::GroupAlias { group, mount: m, name } => {
            let body = json!({"canonical_id": nth(h, G, group), "mount_accessor": accessor(m), "name": format!("g{name}")});
            (Update, "group-alias".to_owned(), body)
        }
        Step::MoveGroupAlias { alias, group, name } => {
            let body = json!({"canonical_id": nth(h, G, group), "mount_accessor": accessor(1), "name": format!("g{name}")});
            (Update, format!("group-alias/id/{}", nth(h, GA, alias)), body)
        }
    };
    if h.call(operation, &path, body).await.is_err() {
        // As the core does it: a refused request commits nothing.
        h.txn = before;
    }
}

fn texts(v: &Value) -> Vec<String> {
    v.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
}

/// Alias index rows that the owners' rows ask for: by mount and name, and by id.
fn alias_rows<'a>(owners: impl Iterator<Item = (&'a String, &'a Value)>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for (owner, alias) in owners {
        let text = |k: &str| alias[k].as_str().unwrap().to_owned();
        let name = format!("{}/{}", text("mount_accessor"), text("name").to_lowercase());
        assert!(names.insert(name.clone(), owner.clone()).is_none(), "{name} has two owners");
        ids.insert(text("id"), owner.clone());
    }
    (names, ids)
}

fn pointers(rows: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    rows.into_iter().map(|(k, v)| (k, v["id"].as_str().unwrap().to_owned())).collect()
}

fn check(h: &mut Scene) {
    let entities = rows(h, "identity/entity/id/");
    let groups = rows(h, "identity/group/id/");
    for (folder, owners) in [("identity/entity/name/", &entities), ("identity/group/name/", &groups)] {
        let want: BTreeMap<String, String> =
            owners.iter().map(|(id, o)| (o["name"].as_str().unwrap().to_lowercase(), id.clone())).collect();
        assert_eq!(pointers(rows(h, folder)), want, "{folder}");
    }
    let of_entities =
        alias_rows(entities.iter().flat_map(|(id, e)| e["aliases"].as_array().unwrap().iter().map(move |a| (id, a))));
    assert_eq!((pointers(rows(h, "identity/alias/name/")), pointers(rows(h, "identity/alias/id/"))), of_entities);
    let of_groups = alias_rows(groups.iter().filter(|(_, g)| !g["alias"].is_null()).map(|(id, g)| (id, &g["alias"])));
    assert_eq!((pointers(rows(h, "identity/group-alias/name/")), pointers(rows(h, "identity/group-alias/id/"))), of_groups);
    for e in entities.values() {
        let mounts: Vec<&Value> = e["aliases"].as_array().unwrap().iter().map(|a| &a["mount_accessor"]).collect();
        assert!(mounts.len() < 2 || mounts[0] != mounts[1], "two aliases on one mount: {e}");
    }
    // Members: both directions say the same, of rows that exist.
    let forward: BTreeSet<String> = rows(h, "identity/group/member/").into_keys().collect();
    let mut backward = BTreeSet::new();
    for (entity, row) in rows(h, "identity/entity/groups/") {
        assert!(entities.contains_key(&entity), "membership of nobody");
        backward.extend(texts(&row["groups"]).into_iter().map(|g| format!("{g}/{entity}")));
    }
    assert_eq!(forward, backward);
    assert!(forward.iter().all(|k| groups.contains_key(k.split('/').next().unwrap())), "member of nothing");
    for (id, g) in &groups {
        for child in texts(&g["children"]) {
            assert!(texts(&groups[&child]["parents"]).contains(id), "a child does not know its parent");
        }
        for parent in texts(&g["parents"]) {
            assert!(texts(&groups[&parent]["children"]).contains(id), "a parent does not know its child");
        }
    }
    let merged: BTreeMap<String, String> =
        entities.iter().flat_map(|(id, e)| texts(&e["merged"]).into_iter().map(move |m| (m, id.clone()))).collect();
    assert_eq!(pointers(rows(h, "identity/entity/merged/")), merged);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn rows_and_index_rows_agree(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut h = scene();
            for step in steps {
                run(&mut h, step).await;
                check(&mut h);
            }
        });
    }
}
