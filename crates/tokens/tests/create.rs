//! Making tokens: what is shown, what is refused, and who may ask for what.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which clippy.toml does not see"
)]

mod common;

use api_types::Operation::{Delete, List, Read, Update};
use common::Scene;
use engine::EngineError;
use serde_json::{Value, json};

fn text(outcome: Result<(engine::Auth, Vec<String>), EngineError>) -> String {
    match outcome {
        Ok((auth, _)) => format!("no error but policies {:?}", auth.policies),
        Err(EngineError::Invalid(text)) => text,
        Err(other) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn tokens_are_as_asked_for() {
    let mut s = Scene::new();
    let root = s.root.expose().to_owned();
    // (body, policies, seconds, renewable, orphan, uses, warnings)
    let month = 2_764_800;
    let missing = |p: &str| format!("Policy \"{p}\" does not exist");
    for (body, policies, seconds, renewable, orphan, uses, warnings) in [
        (json!({"policies": ["a"], "ttl": "1h"}), vec!["a", "default"], 3600, true, false, 0, vec![]),
        (
            json!({"policies": ["B", " x ", "x", "b"], "ttl": "90s", "explicit_max_ttl": "2m", "num_uses": 4, "renewable": false}),
            vec!["b", "default", "x"],
            90,
            false,
            false,
            4,
            vec![missing("x")],
        ),
        (json!({"policies": ["a"], "period": "15m"}), vec!["a", "default"], 900, true, false, 0, vec![]),
        (
            json!({"policies": ["a"], "no_default_policy": true, "no_parent": true, "ttl": 600}),
            vec!["a"],
            600,
            true,
            true,
            0,
            vec![],
        ),
        (json!({"policies": ["default"], "lease": "10m"}), vec!["default"], 600, true, false, 0, vec![]),
        (json!({"policies": ["a", "root"]}), vec!["root"], 0, false, false, 0, vec![]),
        (json!({"ttl": "1h"}), vec!["root"], 3600, true, false, 0, vec![]),
        (json!({"policies": [" ROOT "], "explicit_max_ttl": "1h"}), vec!["root"], 3600, true, false, 0, vec![]),
        (json!({"ttl": "0s", "period": "0s", "explicit_max_ttl": "0"}), vec!["root"], 0, false, false, 0, vec![]),
        (
            json!({"policies": ["a"], "ttl": "9000h"}),
            vec!["a", "default"],
            month,
            true,
            false,
            0,
            vec!["TTL of \"9000h\" exceeded the effective max_ttl of \"768h\"; TTL value is capped accordingly".into()],
        ),
        (
            json!({"policies": ["nil"], "period": "9000h"}),
            vec!["default", "nil"],
            month,
            true,
            false,
            0,
            vec![
                "period of \"9000h\" exceeded the effective max_ttl of \"768h\"; period value is capped accordingly".into(),
                missing("nil"),
            ],
        ),
        (
            json!({"policies": ["a"], "ttl": "5m", "explicit_max_ttl": "1m"}),
            vec!["a", "default"],
            60,
            true,
            false,
            0,
            vec!["TTL of \"5m\" exceeded the effective max_ttl of \"1m\"; TTL value is capped accordingly".into()],
        ),
        (json!({"policies": "a,b"}), vec!["a,b", "default"], month, true, false, 0, vec![missing("a,b")]),
        (json!({"policies": ["a"], "type": "batch", "ttl": "20m"}), vec!["a", "default"], 1200, false, false, 0, vec![]),
        (
            json!({"policies": ["a"], "type": "service", "surplus": true}),
            vec!["a", "default"],
            month,
            true,
            false,
            0,
            vec!["Endpoint ignored these unrecognized parameters: [surplus]".into()],
        ),
    ] {
        let (auth, got) = s.create_as(&root, true, "create", body.clone()).await.unwrap();
        assert_eq!(auth.policies, policies, "{body}");
        assert_eq!(auth.token_policies, policies, "{body}");
        assert_eq!(
            (auth.ttl.as_secs(), auth.renewable, auth.orphan, auth.num_uses),
            (seconds, renewable, orphan, uses),
            "{body}"
        );
        assert_eq!(got, warnings, "{body}");
        assert!(s.found(auth.client_token.expose()).is_some(), "{body}");
    }
    let (auth, _) = s.create_as(&root, true, "create-orphan", json!({"policies": ["a"], "ttl": "7m"})).await.unwrap();
    assert!(auth.orphan && auth.ttl.as_secs() == 420);
}

#[tokio::test]
async fn a_lookup_has_exactly_these_keys() {
    let mut s = Scene::new();
    let auth =
        s.create(json!({"policies": ["a"], "ttl": "1h", "display_name": "ci bot #1", "meta": {"owner": "x", "n": 1}})).await;
    let token = auth.client_token.expose().to_owned();
    assert!(token.starts_with("hvs.") && token.len() == 28);
    assert_eq!(auth.accessor.len(), 24);
    let now = s.h.now;
    let want = json!({
        "accessor": auth.accessor, "creation_time": now.unix(), "creation_ttl": 3600, "display_name": "token-ci-bot--1",
        "entity_id": "", "expire_time": now.plus(std::time::Duration::from_secs(3600)).rfc3339(), "explicit_max_ttl": 0,
        "id": token, "issue_time": now.rfc3339(), "meta": {"n": "1", "owner": "x"}, "num_uses": 0, "orphan": false,
        "path": "auth/token/create", "policies": ["a", "default"], "renewable": true, "ttl": 3600, "type": "service",
    });
    assert_eq!(Value::from(s.lookup(&token).await), want);
    // By accessor the token itself stays unknown.
    let by_accessor = s.as_root(Update, "lookup-accessor", json!({"accessor": auth.accessor})).await.unwrap().unwrap();
    assert_eq!(by_accessor.data.unwrap().to_map()["id"], "");
    // A root token without end.
    let root = s.root.expose().to_owned();
    let data = s.lookup(&root).await;
    let want = json!({
        "accessor": data["accessor"], "creation_time": now.unix(), "creation_ttl": 0, "display_name": "root", "entity_id": "",
        "expire_time": null, "explicit_max_ttl": 0, "id": root, "meta": null, "num_uses": 0, "orphan": true,
        "path": "auth/token/root", "policies": ["root"], "ttl": 0, "type": "service",
    });
    assert_eq!(Value::from(data), want);
    assert_eq!(root.len(), 28);
    let keys = s.as_root(List, "accessors/", json!({})).await.unwrap().unwrap().data.unwrap().to_map();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn refusals_of_root_itself() {
    let mut s = Scene::new();
    let root = s.root.expose().to_owned();
    s.create_as(&root, true, "create", json!({"id": "mine", "policies": ["a"]})).await.unwrap();
    for (body, want) in [
        (json!({"type": "weird"}), "invalid 'token_type' value"),
        (
            json!({"type": "batch", "policies": ["a"], "explicit_max_ttl": "1h"}),
            "batch tokens cannot have \"explicit_max_ttl\" set",
        ),
        (json!({"type": "batch", "policies": ["a"], "num_uses": 1}), "batch tokens cannot have \"num_uses\" set"),
        (json!({"type": "batch", "policies": ["a"], "period": "1h"}), "batch tokens cannot have \"period\" set"),
        (json!({"type": "batch", "ttl": "1h"}), "batch tokens cannot be root tokens"),
        (json!({"type": "batch", "policies": ["Root"]}), "batch tokens cannot be root tokens"),
        (json!({"num_uses": -1}), "number of uses cannot be negative"),
        (json!({"entity_alias": "bob"}), "'entity_alias' is only allowed in combination with token role"),
        (json!({"policies": ["response-wrapping"]}), "cannot assign policy \"response-wrapping\""),
        (json!({"policies": [" Response-Wrapping "]}), "cannot assign policy \"response-wrapping\""),
        (json!({"policies": ["control-group"]}), "cannot assign policy \"control-group\""),
        (json!({"id": "hvs.x"}), "custom token ID cannot have the 'hvs.' prefix"),
        (json!({"id": "s.x"}), "custom token ID cannot have the 's.' prefix"),
        (json!({"id": "a.b"}), "custom token ID cannot have a '.' in the value"),
        (json!({"id": "a b"}), "custom token ID cannot be presented in a header"),
        (json!({"id": "mine"}), "cannot create a token with a duplicate ID"),
        (json!({"ttl": "-1s"}), "ttl must be positive"),
        (json!({"period": "-1s"}), "period must be positive"),
        (json!({"explicit_max_ttl": "-1s"}), "explicit_max_ttl must be positive"),
        (json!({"ttl": "soon"}), "time: invalid duration \"soon\""),
    ] {
        assert_eq!(text(s.create_as(&root, true, "create", body.clone()).await), want, "{body}");
    }
    let e = s.create_as(&root, true, "create/none", json!({})).await;
    assert_eq!(text(e), "unknown role none");
    assert_eq!(text(s.create_as("hvs.none", true, "create", json!({})).await), "parent token lookup failed: no parent found");
}

#[tokio::test]
async fn without_sudo_a_child_is_never_more_than_its_parent() {
    let mut s = Scene::new();
    let parent = s.create(json!({"policies": ["a", "b"], "ttl": "1h"})).await.client_token.expose().to_owned();
    for (body, want) in [
        (json!({"policies": ["p1"]}), "child policies must be subset of parent"),
        (json!({"policies": ["a", "p1"]}), "child policies must be subset of parent"),
        (json!({"policies": ["root"]}), "child policies must be subset of parent"),
        (json!({"policies": [" ROOT "]}), "child policies must be subset of parent"),
        (json!({"policies": ["a", "Root\n"]}), "child policies must be subset of parent"),
        (json!({"policies": ["ｒｏｏｔ"]}), "child policies must be subset of parent"),
        (json!({"id": "mine"}), "root or sudo privileges required to specify token id"),
        (json!({"no_parent": true}), "root or sudo privileges required to create orphan token"),
        (json!({"period": "1h"}), "root or sudo privileges required to create periodic token"),
    ] {
        assert_eq!(text(s.create_as(&parent, false, "create", body.clone()).await), want, "{body}");
    }
    for (body, want) in [
        (json!({}), vec!["a", "b", "default"]),
        (json!({"policies": ["B "]}), vec!["b", "default"]),
        (json!({"policies": ["b"], "no_default_policy": true}), vec!["b"]),
    ] {
        assert_eq!(s.create_as(&parent, false, "create", body.clone()).await.unwrap().0.policies, want, "{body}");
    }
    // `default` is inherited, never gained.
    let bare = s.create(json!({"policies": ["a"], "no_default_policy": true})).await.client_token.expose().to_owned();
    assert_eq!(s.create_as(&bare, false, "create", json!({"policies": ["a"]})).await.unwrap().0.policies, ["a"]);
    assert_eq!(s.create_as(&bare, false, "create", json!({})).await.unwrap().0.policies, ["a"]);
    // The orphan path needs no sudo (its policy is the guard), but the subset rule stays.
    assert_eq!(
        text(s.create_as(&bare, false, "create-orphan", json!({"policies": ["b"]})).await),
        "child policies must be subset of parent"
    );
    // Sudo gives other policies, but never root.
    assert_eq!(s.create_as(&parent, true, "create", json!({"policies": ["p1"]})).await.unwrap().0.policies, ["default", "p1"]);
    for name in ["root", " ROOT ", "Root"] {
        for path in ["create", "create-orphan"] {
            assert_eq!(
                text(s.create_as(&parent, true, path, json!({"policies": [name]})).await),
                "root tokens may not be created without parent token being root"
            );
        }
    }
}

#[tokio::test]
async fn parents_that_may_not_have_children() {
    let mut s = Scene::new();
    let batch = s.create(json!({"policies": ["a"], "type": "batch"})).await.client_token.expose().to_owned();
    assert_eq!(text(s.create_as(&batch, true, "create", json!({})).await), "batch tokens cannot create more tokens");
    let limited = s.create(json!({"policies": ["a"], "num_uses": 5})).await.client_token.expose().to_owned();
    assert_eq!(text(s.create_as(&limited, true, "create", json!({})).await), "restricted use token cannot generate child tokens");
    let expiring = s.create(json!({"ttl": "1h"})).await.client_token.expose().to_owned();
    for path in ["create", "create-orphan"] {
        assert_eq!(
            text(s.create_as(&expiring, true, path, json!({})).await),
            "expiring root tokens cannot create non-expiring root tokens"
        );
    }
    assert_eq!(s.create_as(&expiring, true, "create", json!({"ttl": "5m"})).await.unwrap().0.ttl.as_secs(), 300);
}

#[tokio::test]
async fn roles_decide_for_their_tokens() {
    let mut s = Scene::new();
    let root = s.root.expose().to_owned();
    for (name, body) in [
        (
            "listed",
            json!({"allowed_policies": "p1, p2,P3 ", "disallowed_policies": ["p3"], "allowed_policies_glob": "g-*", "disallowed_policies_glob": "g-x*",
                          "allowed_entity_aliases": "alice,team-*", "token_num_uses": 3, "token_period": "10m", "path_suffix": "one-x", "orphan": true}),
        ),
        ("no-default", json!({"disallowed_policies": "default"})),
        ("kept-out", json!({"disallowed_policies": ["root", "x"], "token_bound_cidrs": "10.0.0.0/8"})),
        ("batch", json!({"token_type": "batch", "orphan": true, "renewable": false, "allowed_policies": "p1"})),
        ("short", json!({"token_explicit_max_ttl": "1m", "renewable": false})),
    ] {
        assert!(s.as_root(Update, &format!("roles/{name}"), body).await.unwrap().is_none(), "{name}");
    }
    let listed = "token policies ([\"default\" \"p9\"]) must be subset of the role's allowed policies \
                  ([\"default\" \"p1\" \"p2\" \"p3\"]) or glob policies ([\"g-*\"])";
    for (role, body, want) in [
        ("listed", json!({"policies": ["p9"]}), listed),
        ("listed", json!({"policies": ["P3"]}), "token policy \"p3\" is disallowed by this role"),
        ("listed", json!({"policies": ["g-x1"]}), "token policy \"g-x1\" is disallowed by this role"),
        ("listed", json!({}), "token policy \"p3\" is disallowed by this role"),
        ("listed", json!({"policies": ["p1"], "entity_alias": "bob"}), "invalid 'entity_alias' value"),
        ("no-default", json!({"policies": ["a", "default"]}), "token policy \"default\" is disallowed by this role"),
        ("kept-out", json!({"policies": [" ROOT "]}), "token policy \"root\" is disallowed by this role"),
        ("kept-out", json!({"policies": ["X"]}), "token policy \"x\" is disallowed by this role"),
        ("kept-out", json!({}), "token policy \"root\" is disallowed by this role"),
        ("batch", json!({"policies": ["p1"], "period": "1h"}), "batch tokens cannot have \"period\" set"),
    ] {
        assert_eq!(text(s.create_as(&root, true, &format!("create/{role}"), body.clone()).await), want, "{role} {body}");
    }
    let (auth, _) = s
        .create_as(&root, true, "create/listed", json!({"policies": ["g-one"], "entity_alias": "Alice", "num_uses": 9}))
        .await
        .unwrap();
    assert_eq!(
        (auth.policies.as_slice(), auth.num_uses, auth.orphan),
        (["default".to_owned(), "g-one".to_owned()].as_slice(), 3, true)
    );
    assert_eq!((auth.entity_id.as_str(), auth.ttl.as_secs()), ("entity-of-Alice", 600));
    let data = s.lookup(auth.client_token.expose()).await;
    assert_eq!((data["path"].as_str(), data["role"].as_str()), (Some("auth/token/create/listed/one-x"), Some("listed")));
    assert!(!data.contains_key("period"), "the role's period is the role's");
    let (auth, _) = s.create_as(&root, true, "create/no-default", json!({"policies": ["a"]})).await.unwrap();
    assert_eq!(auth.policies, ["a"]);
    let (auth, _) = s.create_as(&root, true, "create/kept-out", json!({"policies": ["a"]})).await.unwrap();
    assert_eq!(s.lookup(auth.client_token.expose()).await["bound_cidrs"], json!(["10.0.0.0/8"]));
    let (auth, _) = s.create_as(&root, true, "create/batch", json!({"ttl": "5m", "type": "service"})).await.unwrap();
    assert!(auth.client_token.expose().starts_with("hvb.") && auth.accessor.is_empty() && auth.ttl.as_secs() == 300);
    let (auth, _) = s.create_as(&root, true, "create/short", json!({"policies": ["a"]})).await.unwrap();
    assert_eq!((auth.ttl.as_secs(), auth.renewable), (60, false));
    // A role for root does not make root out of anything else.
    s.as_root(Update, "roles/all", json!({"allowed_policies_glob": "*", "allowed_policies": "root"})).await.unwrap();
    let user = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    for body in [json!({}), json!({"policies": ["root"]}), json!({"policies": ["ROOT\t"]})] {
        assert_eq!(
            text(s.create_as(&user, false, "create/all", body.clone()).await),
            "root tokens may not be created without parent token being root",
            "{body}"
        );
    }
}

#[tokio::test]
async fn roles_are_kept_shown_and_removed() {
    let mut s = Scene::new();
    assert!(s.as_root(Read, "roles/r", json!({})).await.unwrap().is_none());
    assert!(
        s.as_root(Update, "roles/r", json!({"allowed_policies": "B,a", "period": "1h", "bound_cidrs": "10.0.0.0/8"}))
            .await
            .unwrap()
            .is_none()
    );
    let shown = s.as_root(Read, "roles/r", json!({})).await.unwrap().unwrap().data.unwrap().to_map();
    assert_eq!(
        Value::from(shown),
        json!({
            "name": "r", "orphan": false, "path_suffix": "", "renewable": true, "token_type": "default-service", "period": 3600,
            "token_period": 3600, "explicit_max_ttl": 0, "token_explicit_max_ttl": 0, "allowed_policies": ["a", "b"],
            "allowed_policies_glob": [], "disallowed_policies": [], "disallowed_policies_glob": [], "allowed_entity_aliases": [],
            "token_no_default_policy": false, "token_bound_cidrs": ["10.0.0.0/8"], "bound_cidrs": ["10.0.0.0/8"],
        })
    );
    // What is not sent stays.
    s.as_root(Update, "roles/r", json!({"token_period": 60, "period": 5})).await.unwrap().unwrap();
    let shown = s.as_root(Read, "roles/r", json!({})).await.unwrap().unwrap().data.unwrap().to_map();
    assert_eq!(
        (&shown["token_period"], &shown["period"], &shown["allowed_policies"]),
        (&json!(60), &json!(0), &json!(["a", "b"]))
    );
    for (body, want) in [
        (json!({"token_type": "weird"}), "invalid 'token_type' value \"weird\""),
        (json!({"token_type": "batch"}), "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens"),
        (
            json!({"token_type": "batch", "orphan": true}),
            "'token_type' cannot be 'batch' when role is set to generate periodic tokens",
        ),
        (
            json!({"token_type": "batch", "orphan": true, "token_period": 0}),
            "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
        ),
        (
            json!({"token_type": "batch", "orphan": true, "token_period": 0, "renewable": false, "explicit_max_ttl": 5}),
            "'token_type' cannot be 'batch' when role is set to generate tokens with an explicit max TTL",
        ),
        (json!({"path_suffix": "a/b"}), r"given role path suffix contains invalid characters; must match \w[\w-.]+\w"),
        (json!({"path_suffix": "../x"}), r"given role path suffix contains invalid characters; must match \w[\w-.]+\w"),
        (json!({"token_num_uses": -1}), "'token_num_uses' cannot be negative"),
        (
            json!({"token_bound_cidrs": "nowhere"}),
            "error parsing address \"nowhere\": Unable to convert \"nowhere\" to an IPv4 or IPv6 address, or a UNIX Socket",
        ),
    ] {
        assert_eq!(s.as_root(Update, "roles/r", body.clone()).await.unwrap_err().to_string(), want, "{body}");
    }
    let names = s.as_root(List, "roles", json!({})).await.unwrap().unwrap().data.unwrap().to_map();
    assert_eq!(names["keys"], json!(["r"]));
    assert!(s.as_root(Delete, "roles/r", json!({})).await.unwrap().is_none());
    assert!(s.as_root(Read, "roles/r", json!({})).await.unwrap().is_none());
    assert!(s.keys_below("sys/token/roles/").is_empty());
}

#[tokio::test]
async fn a_child_keeps_its_parents_entity_and_networks() {
    let mut s = Scene::new();
    let mut auth = engine::Auth {
        policies: vec!["a".into()],
        entity_id: "entity-1".into(),
        identity_policies: vec!["by-identity".into()],
        bound_cidrs: vec!["10.0.0.0/8".into()],
        renewable: true,
        ..engine::Auth::default()
    };
    s.login(&common::login_mount(), &mut auth).unwrap();
    assert_eq!((auth.policies.join(","), auth.token_policies.join(",")), ("a,by-identity,default".into(), "a,default".into()));
    let token = auth.client_token.expose().to_owned();
    let child = s.create_as(&token, false, "create", json!({})).await.unwrap().0;
    let data = s.lookup(child.client_token.expose()).await;
    assert_eq!((data["entity_id"].as_str(), &data["bound_cidrs"]), (Some("entity-1"), &json!(["10.0.0.0/8"])));
    assert_eq!((&data["identity_policies"], &data["external_namespace_policies"]), (&json!(["by-identity"]), &json!({})));
    let orphan = s.create_as(&token, true, "create", json!({"no_parent": true})).await.unwrap().0;
    let data = s.lookup(orphan.client_token.expose()).await;
    assert_eq!((data["entity_id"].as_str(), data.contains_key("bound_cidrs")), (Some(""), false));
    // Policies that identity gives are not the token's to hand on.
    assert_eq!(
        text(s.create_as(&token, false, "create", json!({"policies": ["by-identity"]})).await),
        "child policies must be subset of parent"
    );
}
