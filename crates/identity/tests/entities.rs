//! Entities, aliases, lookups and merges through the engine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use api_types::Operation::{Delete, List, Read, Update};
use common::{accessor, data, ok, refused, scene};
use serde_json::{Value, json};

#[tokio::test]
async fn an_entity_is_made_changed_and_shown() {
    let mut h = scene();
    let made =
        data(&mut h, Update, "entity", json!({"name": "one", "metadata": {"k": "v"}, "policies": ["p1", "P2", "p1"]})).await;
    assert_eq!((&made["name"], &made["aliases"]), (&json!("one"), &Value::Null));
    let id = made["id"].as_str().unwrap().to_owned();
    let shown = data(&mut h, Read, "entity/name/ONE", json!({})).await;
    let mut keys: Vec<&String> = shown.keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "aliases",
            "creation_time",
            "direct_group_ids",
            "disabled",
            "group_ids",
            "id",
            "inherited_group_ids",
            "last_update_time",
            "merged_entity_ids",
            "metadata",
            "name",
            "namespace_id",
            "policies"
        ]
    );
    assert_eq!(shown["policies"], json!(["P2", "p1"]));
    assert_eq!((&shown["merged_entity_ids"], &shown["aliases"]), (&Value::Null, &json!([])));
    ok(&mut h, Update, "entity", json!({"name": "one", "metadata": "a=b"})).await;
    ok(&mut h, Update, &format!("entity/id/{id}"), json!({"disabled": true, "name": "uno"})).await;
    let shown = data(&mut h, Read, &format!("entity/id/{id}"), json!({})).await;
    assert_eq!((&shown["metadata"], &shown["disabled"], &shown["name"]), (&json!({"a": "b"}), &json!(true), &json!("uno")));
    assert!(h.call(Read, "entity/name/one", json!({})).await.unwrap().is_none(), "the old name is free");
    let made = data(&mut h, Update, "entity/name/one", json!({"disabled": false})).await;
    assert_ne!(made["id"], json!(id));
    let auto = data(&mut h, Update, "entity", json!({})).await;
    assert!(auto["name"].as_str().unwrap().starts_with("entity_"));
    ok(&mut h, Delete, "entity/name/uno", json!({})).await;
    ok(&mut h, Delete, "entity/name/uno", json!({})).await;
    assert!(h.call(Read, &format!("entity/id/{id}"), json!({})).await.unwrap().is_none());
}

#[tokio::test]
async fn writes_are_refused_in_vaults_words() {
    let mut h = scene();
    let one = data(&mut h, Update, "entity", json!({"name": "one"})).await["id"].clone();
    let two = data(&mut h, Update, "entity", json!({"name": "two"})).await["id"].clone();
    ok(&mut h, Update, "entity-alias", json!({"name": "ann", "canonical_id": one, "mount_accessor": accessor(1)})).await;
    ok(&mut h, Update, "entity-alias", json!({"name": "bob", "canonical_id": two, "mount_accessor": accessor(1)})).await;
    let by_id = format!("entity/id/{}", two.as_str().unwrap());
    for (path, body, text) in [
        (by_id.as_str(), json!({"name": "ONE"}), "entity name is already in use"),
        ("entity", json!({"id": "bad", "name": "q"}), "entity not found from id"),
        (
            "entity",
            json!({"name": "n", "metadata": {"": "x"}}),
            "invalid entity metadata: failed to load metadata pair (\"\", \"x\"): key cannot be blank",
        ),
        (
            "entity",
            json!({"name": "n", "metadata": {"a.b": "x"}}),
            "invalid entity metadata: failed to load metadata pair (\"a.b\", \"x\"): key contains invalid characters",
        ),
        ("entity", json!({"name": "n".repeat(5000)}), "name is too long (limit: 4096 bytes)"),
        ("entity-alias", json!({"name": "x", "canonical_id": one, "mount_accessor": "nope"}), "invalid mount accessor \"nope\""),
        ("entity-alias", json!({"name": "x", "canonical_id": "nobody", "mount_accessor": accessor(1)}), "invalid canonical ID"),
        ("entity-alias", json!({"name": "x", "canonical_id": one}), "'id' or 'mount_accessor' and 'name' must be provided"),
        ("entity-alias", json!({"id": "none", "name": "x"}), "invalid alias ID provided"),
        (
            "entity-alias",
            json!({"name": "x", "canonical_id": one, "mount_accessor": accessor(1)}),
            "Alias already exists for requested entity and mount accessor",
        ),
        (
            "entity-alias",
            json!({"name": "ANN", "canonical_id": two, "mount_accessor": accessor(1)}),
            "Alias cannot be updated as the given entity already has an alias for this mount ",
        ),
        ("lookup/entity", json!({}), "query parameter not supplied"),
        ("lookup/entity", json!({"alias_name": "anna"}), "both 'alias_name' and 'alias_mount_accessor' needs to be set"),
        (
            "lookup/entity",
            json!({"id": "x", "name": "y"}),
            "query parameter conflict; please supply distinct set of query parameters",
        ),
        ("entity/merge", json!({"to_entity_id": one}), "missing entity ids to merge from"),
        ("entity/merge", json!({"from_entity_ids": [one]}), "missing entity id to merge to"),
        ("entity/merge", json!({"from_entity_ids": [one], "to_entity_id": "none"}), "entity id to merge to is invalid"),
        (
            "entity/merge",
            json!({"from_entity_ids": [one], "to_entity_id": one}),
            "to_entity_id should not be present in from_entity_ids",
        ),
        ("entity/merge", json!({"from_entity_ids": ["none"], "to_entity_id": one}), "entity id to merge from is invalid"),
        ("entity/batch-delete", json!({}), "missing entity ids to delete"),
    ] {
        assert_eq!(refused(&mut h, path, body).await, text, "{path}");
    }
}

/// CVE class C: `root` in any case and with any space, in every field that takes a policy list.
#[tokio::test]
async fn root_is_refused_however_it_is_written() {
    let mut h = scene();
    ok(&mut h, Update, "entity", json!({"name": "e"})).await;
    ok(&mut h, Update, "group", json!({"name": "g"})).await;
    for root in ["root", "ROOT", "Root", " root ", "\troot\n", "rOOt"] {
        for path in ["entity", "entity/name/e", "group", "group/name/g"] {
            for policies in [json!([root]), json!(["a", root]), json!(format!("a,{root}"))] {
                assert_eq!(
                    refused(&mut h, path, json!({"name": "n", "policies": policies})).await,
                    "policies cannot contain root"
                );
            }
        }
    }
    // What only looks like it is another policy.
    ok(&mut h, Update, "entity", json!({"name": "e", "policies": ["r00t", "rooτ", "ｒｏｏｔ"]})).await;
}

#[tokio::test]
async fn lookups_find_by_everything_that_names() {
    let mut h = scene();
    let id = data(&mut h, Update, "entity", json!({"name": "one"})).await["id"].clone();
    let alias =
        data(&mut h, Update, "entity-alias", json!({"name": "anna", "canonical_id": id, "mount_accessor": accessor(1)})).await;
    for query in [
        json!({"id": id}),
        json!({"name": "One"}),
        json!({"alias_id": alias["id"]}),
        json!({"alias_name": "Anna", "alias_mount_accessor": accessor(1)}),
    ] {
        assert_eq!(data(&mut h, Update, "lookup/entity", query).await["id"], id);
    }
    for query in [
        json!({"id": "none"}),
        json!({"id": ""}),
        json!({"id": "x".repeat(100_000)}),
        json!({"id": "../name/one"}),
        json!({"alias_id": id}),
        json!({"alias_name": "anna", "alias_mount_accessor": accessor(2)}),
        json!({"alias_name": "anna", "alias_mount_accessor": format!("{}/anna", accessor(1))}),
    ] {
        assert!(h.call(Update, "lookup/entity", query.clone()).await.unwrap().is_none(), "{query}");
    }
}

#[tokio::test]
async fn an_alias_moves_and_goes_without_leaving_traces() {
    let mut h = scene();
    let one = data(&mut h, Update, "entity", json!({"name": "one"})).await["id"].clone();
    let two = data(&mut h, Update, "entity", json!({"name": "two"})).await["id"].clone();
    let body = json!({"name": "ann", "canonical_id": one, "mount_accessor": accessor(1)});
    let alias = data(&mut h, Update, "entity-alias", body.clone()).await["id"].clone();
    let path = format!("entity-alias/id/{}", alias.as_str().unwrap());
    ok(&mut h, Update, "entity-alias", body).await;
    let shown = data(&mut h, Read, &path, json!({})).await;
    assert_eq!(
        (&shown["custom_metadata"], &shown["metadata"], &shown["mount_path"], &shown["namespace_id"]),
        (&json!({}), &Value::Null, &json!("auth/m1/"), &json!("root"))
    );
    let moved = data(&mut h, Update, &path, json!({"canonical_id": two, "name": "anna"})).await;
    assert_eq!((&moved["id"], &moved["canonical_id"]), (&alias, &two));
    assert_eq!(data(&mut h, Read, "entity/name/one", json!({})).await["aliases"], json!([]));
    assert_eq!(data(&mut h, Read, "entity/name/two", json!({})).await["aliases"][0]["name"], json!("anna"));
    let listed = data(&mut h, List, "entity-alias/id", json!({})).await;
    assert_eq!(listed["key_info"][alias.as_str().unwrap()]["canonical_id"], two);
    ok(&mut h, Delete, &path, json!({})).await;
    assert!(h.call(Read, &path, json!({})).await.unwrap().is_none());
    assert!(!h.txn.keys().iter().any(|k| k.starts_with("identity/alias/")), "{:?}", h.txn.keys());
}

#[tokio::test]
async fn a_merge_moves_aliases_and_groups_but_no_policies() {
    let mut h = scene();
    let from =
        data(&mut h, Update, "entity", json!({"name": "from", "policies": ["pf"], "metadata": {"f": "1"}})).await["id"].clone();
    let to = data(&mut h, Update, "entity", json!({"name": "to", "policies": ["pt"]})).await["id"].clone();
    ok(&mut h, Update, "entity-alias", json!({"name": "moved", "canonical_id": from, "mount_accessor": accessor(1)})).await;
    ok(&mut h, Update, "group", json!({"name": "g", "member_entity_ids": [from]})).await;
    ok(&mut h, Update, "entity/merge", json!({"from_entity_ids": [from], "to_entity_id": to})).await;
    let shown = data(&mut h, Read, "entity/name/to", json!({})).await;
    assert_eq!(
        (&shown["policies"], &shown["metadata"], &shown["merged_entity_ids"]),
        (&json!(["pt"]), &Value::Null, &json!([from]))
    );
    assert_eq!(shown["aliases"][0]["merged_from_canonical_ids"], json!([from]));
    assert_eq!(shown["direct_group_ids"].as_array().unwrap().len(), 1);
    assert_eq!(data(&mut h, Read, "group/name/g", json!({})).await["member_entity_ids"], json!([to]));
    assert!(h.call(Read, "entity/name/from", json!({})).await.unwrap().is_none());
    // A token of the old entity acts as the new one, also after a second merge.
    let last = data(&mut h, Update, "entity", json!({"name": "last"})).await["id"].clone();
    ok(&mut h, Update, "entity/merge", json!({"from_entity_ids": [to], "to_entity_id": last})).await;
    for id in [&from, &to, &last] {
        let profile = identity::profile(&mut storage::View::new(&mut h.txn, ""), id.as_str().unwrap()).unwrap().unwrap();
        assert_eq!(profile.entity_id, last.as_str().unwrap());
    }
    ok(&mut h, Delete, "entity/name/last", json!({})).await;
    let gone = identity::profile(&mut storage::View::new(&mut h.txn, ""), from.as_str().unwrap()).unwrap();
    assert!(gone.is_none(), "a token of a merged entity dies with the entity it went into");
}

#[tokio::test]
async fn two_aliases_on_one_mount_need_a_decision() {
    let mut h = scene();
    let mut ids = Vec::new();
    let mut aliases = Vec::new();
    for name in ["a", "b"] {
        let id = data(&mut h, Update, "entity", json!({"name": name})).await["id"].clone();
        let body = json!({"name": name, "canonical_id": id, "mount_accessor": accessor(1)});
        aliases.push(data(&mut h, Update, "entity-alias", body).await["id"].clone());
        ids.push(id);
    }
    let merge = |keep: Value| json!({"from_entity_ids": [ids[0]], "to_entity_id": ids[1], "conflicting_alias_ids_to_keep": keep});
    let text = refused(&mut h, "entity/merge", merge(json!([]))).await;
    assert!(
        text.starts_with("2 errors occurred:\n\t* toEntity and at least one fromEntity have aliases with the same mount"),
        "{text}"
    );
    let text = refused(&mut h, "entity/merge", merge(json!(["x"]))).await;
    assert!(text.starts_with("conflicting mount accessors in following alias IDs"), "{text}");
    ok(&mut h, Update, "entity/merge", merge(json!([aliases[0]]))).await;
    let kept = data(&mut h, Read, "entity/name/b", json!({})).await["aliases"].clone();
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["name"]), (1, &json!("a")));
    assert!(h.call(Update, "lookup/entity", json!({"alias_id": aliases[1]})).await.unwrap().is_none());
}

#[tokio::test]
async fn listings_say_what_clients_read() {
    let mut h = scene();
    for path in ["entity/id", "entity/name", "entity-alias/id", "group/id", "group/name", "group-alias/id"] {
        assert_eq!(data(&mut h, List, path, json!({})).await, api_types::Map::new(), "{path}: no keys is 404 at the edge");
    }
    let id = data(&mut h, Update, "entity", json!({"name": "N1"})).await["id"].clone();
    ok(&mut h, Update, "entity", json!({"name": "n/2"})).await;
    assert_eq!(data(&mut h, List, "entity/name", json!({})).await["keys"], json!(["n/2", "N1"]));
    assert_eq!(data(&mut h, List, "entity/name", json!({"limit": 1})).await["keys"], json!(["n/2"]));
    ok(&mut h, Update, "entity-alias", json!({"name": "al", "canonical_id": id, "mount_accessor": accessor(1)})).await;
    let listed = data(&mut h, List, "entity/id", json!({})).await;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let info = &listed["key_info"][id.as_str().unwrap()];
    assert_eq!((&info["name"], &info["aliases"][0]["mount_type"]), (&json!("N1"), &json!("userpass")));
    assert_eq!(data(&mut h, Read, "entity/name/n/2", json!({})).await["name"], json!("n/2"));
}
