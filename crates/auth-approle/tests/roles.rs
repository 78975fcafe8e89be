//! Roles as operators see them: shapes, defaults, single fields, refusals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use api_types::Operation::{self, Delete, List, Read, Update};
use auth_approle::Approle;
use engine::testing::Harness;
use engine::{Engine, EngineError};
use serde_json::{Value, json};

fn scene() -> Harness<Approle> {
    Harness::new(Approle::new())
}

async fn with_role(data: Value) -> Harness<Approle> {
    let mut h = scene();
    assert!(h.call(Update, "role/web", data).await.unwrap().is_none());
    h
}

async fn read(h: &mut Harness<Approle>, path: &str) -> Value {
    Value::Object(h.data(Read, path, json!({})).await.unwrap())
}

#[tokio::test]
async fn a_new_role_shows_every_default() {
    let mut h = with_role(json!({})).await;
    assert_eq!(
        read(&mut h, "role/WEB").await,
        json!({"bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null, "secret_id_num_uses": 0,
               "secret_id_ttl": 0, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
               "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": [],
               "token_ttl": 0, "token_type": "default"})
    );
    let role_id = read(&mut h, "role/web/role-id").await["role_id"].as_str().unwrap().to_owned();
    assert_eq!(role_id.len(), 36);
    h.call(Update, "role/web", json!({"token_ttl": 60})).await.unwrap();
    assert_eq!(read(&mut h, "role/web/role-id").await["role_id"], json!(role_id), "a change keeps the role id");
    assert_eq!(h.data(List, "role", json!({})).await.unwrap()["keys"], json!(["web"]));
    assert!(h.call(Delete, "role/web", json!({})).await.unwrap().is_none());
    assert!(h.call(Delete, "role/web", json!({})).await.unwrap().is_none());
    for path in ["role/web", "role/web/role-id", "role/web/policies", "role/web/token-ttl"] {
        assert!(h.call(Read, path, json!({})).await.unwrap().is_none(), "{path}");
    }
}

#[tokio::test]
async fn a_role_is_shown_as_it_was_written() {
    let mut h = with_role(json!({
        "role_id": "My-Role", "bind_secret_id": false, "local_secret_ids": true,
        "secret_id_bound_cidrs": "10.0.0.0/8, 127.0.0.1/32",
        "secret_id_num_uses": "7", "secret_id_ttl": "1h", "policies": "x,y", "period": "2m", "token_num_uses": 3}))
    .await;
    let shown = read(&mut h, "role/web").await;
    for (key, want) in [
        ("bind_secret_id", json!(false)),
        ("local_secret_ids", json!(true)),
        ("secret_id_bound_cidrs", json!(["10.0.0.0/8", "127.0.0.1/32"])),
        ("secret_id_num_uses", json!(7)),
        ("secret_id_ttl", json!(3600)),
        ("policies", json!(["x", "y"])),
        ("token_policies", json!(["x", "y"])),
        ("period", json!(120)),
        ("token_period", json!(120)),
        ("token_num_uses", json!(3)),
    ] {
        assert_eq!(shown[key], want, "{key}");
    }
    h.call(Update, "role/web", json!({"token_policies": ["z"], "token_period": 5})).await.unwrap();
    let shown = read(&mut h, "role/web").await;
    assert_eq!((shown.get("policies"), shown.get("period"), &shown["token_period"]), (None, None, &json!(5)));
    assert_eq!(read(&mut h, "role/web/local-secret-ids").await, json!({"local_secret_ids": true}));
}

#[tokio::test]
async fn single_fields_are_read_set_and_reset() {
    let mut h = with_role(json!({"policies": "old", "period": "9m"})).await;
    assert_eq!(read(&mut h, "role/web/policies").await, json!({"token_policies": ["old"], "policies": ["old"]}));
    assert_eq!(read(&mut h, "role/web/period").await, json!({"token_period": 540, "period": 540}));
    for (path, field, sent, shown, reset) in [
        ("policies", "token_policies", json!(["p2", "P1 ", "p1"]), json!(["p1", "p2"]), json!([])),
        ("secret-id-num-uses", "secret_id_num_uses", json!(9), json!(9), json!(0)),
        ("secret-id-ttl", "secret_id_ttl", json!("3h"), json!(10800), json!(0)),
        ("token-ttl", "token_ttl", json!(300), json!(300), json!(0)),
        ("token-max-ttl", "token_max_ttl", json!(1000), json!(1000), json!(0)),
        ("token-num-uses", "token_num_uses", json!(4), json!(4), json!(0)),
        ("period", "token_period", json!("11m"), json!(660), json!(0)),
        ("bind-secret-id", "bind_secret_id", json!(true), json!(true), json!(true)),
        ("secret-id-bound-cidrs", "secret_id_bound_cidrs", json!(["127.0.0.1/32"]), json!(["127.0.0.1/32"]), Value::Null),
        ("bound-cidr-list", "bound_cidr_list", json!("10.0.0.0/8"), json!(["10.0.0.0/8"]), Value::Null),
        ("token-bound-cidrs", "token_bound_cidrs", json!(["10.0.0.0/8"]), json!(["10.0.0.0/8"]), Value::Null),
    ] {
        let path = format!("role/web/{path}");
        assert!(h.call(Update, &path, json!({ field: sent })).await.unwrap().is_none(), "{path}");
        assert_eq!(read(&mut h, &path).await, json!({ field: shown }), "{path}");
        assert!(h.call(Delete, &path, json!({})).await.unwrap().is_none(), "{path}");
        assert_eq!(read(&mut h, &path).await, json!({ field: reset }), "{path}");
        assert_eq!(h.error(Update, &path, json!({})).await, format!("missing {field}"), "{path}");
        let none = path.replace("web", "none");
        assert!(matches!(h.call(Update, &none, json!({ field: shown })).await, Err(EngineError::UnsupportedPath)), "{none}");
        assert!(h.call(Delete, &none, json!({})).await.unwrap().is_none(), "{none}");
    }
    for (path, operation) in [("role-id", Delete), ("local-secret-ids", Update), ("local-secret-ids", Delete)] {
        let answer = h.call(operation, &format!("role/web/{path}"), json!({})).await;
        assert!(matches!(answer, Err(EngineError::UnsupportedOperation)), "{path}: {answer:?}");
    }
    assert!(matches!(h.call(Read, "role/web/nonsense", json!({})).await, Err(EngineError::UnsupportedPath)));
}

#[tokio::test]
async fn a_role_id_belongs_to_one_role_whatever_its_case() {
    let mut h = with_role(json!({"role_id": "mine"})).await;
    h.call(Update, "role/all", json!({})).await.unwrap();
    for (path, data) in [
        ("role/all/role-id", json!({"role_id": "mine"})),
        ("role/all/role-id", json!({"role_id": "MINE"})),
        ("role/all", json!({"role_id": "Mine"})),
        ("role/new", json!({"role_id": "mine"})),
    ] {
        assert_eq!(h.error(Update, path, data).await, "role_id already in use", "{path}");
    }
    assert!(h.call(Read, "role/new", json!({})).await.unwrap().is_none());
    h.call(Update, "role/web/role-id", json!({"role_id": "MINE"})).await.unwrap();
    assert_eq!(read(&mut h, "role/web/role-id").await["role_id"], json!("MINE"));
    h.call(Update, "role/web/role-id", json!({"role_id": "other"})).await.unwrap();
    assert!(h.call(Update, "role/all/role-id", json!({"role_id": "mine"})).await.unwrap().is_none(), "given up, so free");
    h.call(Delete, "role/all", json!({})).await.unwrap();
    assert!(h.call(Update, "role/web/role-id", json!({"role_id": "mine"})).await.unwrap().is_none());
}

#[tokio::test]
async fn writes_are_refused_in_vaults_words() {
    let mut h = with_role(json!({"token_ttl": 300, "token_max_ttl": 1000})).await;
    let bare = "at least one constraint should be enabled on the role";
    for (path, data, text) in [
        ("role/x", json!({"role_id": ""}), "invalid role_id supplied, or failed to generate a role_id"),
        ("role/x", json!({"bind_secret_id": false}), bare),
        ("role/web/bind-secret-id", json!({"bind_secret_id": false}), bare),
        ("role/x", json!({"secret_id_bound_cidrs": "no"}), "failed to validate CIDR blocks: invalid CIDR address: no"),
        ("role/x", json!({"bound_cidr_list": "127.0.0.1"}), "failed to validate CIDR blocks: invalid CIDR address: 127.0.0.1"),
        ("role/x", json!({"secret_id_num_uses": -1}), "secret_id_num_uses cannot be negative"),
        ("role/x", json!({"token_ttl": "2h", "token_max_ttl": "1h"}), "'token_ttl' cannot be greater than 'token_max_ttl'"),
        ("role/x", json!({"token_type": "odd"}), "invalid 'token_type' value \"odd\""),
        ("role/web", json!({"local_secret_ids": true}), "local_secret_ids can only be modified during role creation"),
        ("role/web/role-id", json!({"role_id": ""}), "missing role_id"),
        ("role/web/token-max-ttl", json!({"token_max_ttl": 100}), "token_max_ttl should be greater than or equal to token_ttl"),
        ("role/web/token-ttl", json!({"token_ttl": 2000}), "token_ttl should not be greater than token_max_ttl"),
        ("role/web/token-num-uses", json!({"token_num_uses": -2}), "token_num_uses cannot be negative"),
        ("role/web/secret-id-num-uses", json!({"secret_id_num_uses": -2}), "secret_id_num_uses cannot be negative"),
        (
            "role/web/token-bound-cidrs",
            json!({"token_bound_cidrs": "here"}),
            "error parsing address \"here\": Unable to convert \"here\" to an IPv4 or IPv6 address, or a UNIX Socket",
        ),
    ] {
        assert_eq!(h.error(Update, path, data).await, text, "{path}");
    }
    let long = format!("role/{}", "a".repeat(4097));
    assert_eq!(h.error(Update, &long, json!({})).await, "role_name is longer than maximum of 4096 bytes");
    assert!(h.call(Read, "role/x", json!({})).await.unwrap().is_none(), "nothing was written");
    assert_eq!(read(&mut h, "role/web/token-max-ttl").await, json!({"token_max_ttl": 1000}));
}

#[tokio::test]
async fn more_than_the_mount_gives_is_warned_of() {
    let mut h = with_role(json!({})).await;
    let month = 768 * 3600;
    for (path, seconds, warned) in
        [("role/web", month, false), ("role/web", month + 1, true), ("role/web/token-max-ttl", month + 1, true)]
    {
        let answer = h.call(Update, path, json!({"token_max_ttl": seconds})).await.unwrap();
        assert_eq!(answer.is_some_and(|r| r.warnings.len() == 1), warned, "{path} {seconds}");
    }
}

/// Class O: wrong types in every field of every route are refused, not fallen over.
#[tokio::test]
async fn wrong_types_never_break_it() {
    let mut h = with_role(json!({})).await;
    let engine = Approle::new();
    let mut refused = 0;
    for route in engine.table().routes() {
        let path = route.pattern.replace("{role_name}", "web").replace("/?", "");
        for field in route.fields {
            for value in
                [json!({"x": [1]}), json!([[1]]), json!(-1), json!("\u{0}%\u{fffd}"), json!(1e300), json!(true), json!(null)]
            {
                let data = json!({ field.name: value });
                for operation in [Operation::Update, Operation::List, Operation::Delete] {
                    // The role must be there for the next one.
                    if path == "role/web" && operation == Delete {
                        continue;
                    }
                    refused += usize::from(h.call(operation, &path, data.clone()).await.is_err());
                }
            }
        }
    }
    assert!(refused > 300, "{refused}");
}
