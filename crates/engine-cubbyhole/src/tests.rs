//! The recorded answers of the topic `cubbyhole`, as far as they are the engine's, and what a stranger may try.

use engine::testing::Harness;
use serde_json::{Value, json};

use super::*;

const SERVICE_ONLY: &str = "cubbyhole operations are only supported by \"service\" type tokens";

fn scene() -> Harness<Cubbyhole> {
    let mut h = Harness::new(Cubbyhole::new());
    h.mount.path = "cubbyhole/".into();
    act_as(&mut h, "id-a");
    h
}

fn act_as(h: &mut Harness<Cubbyhole>, cubbyhole_id: &str) {
    h.caller.cubbyhole_id = cubbyhole_id.into();
    h.caller.token_type = TokenType::Service;
}

async fn nothing(h: &mut Harness<Cubbyhole>, operation: Operation, path: &str, data: Value) -> bool {
    h.call(operation, path, data).await.unwrap().is_none()
}

async fn keys(h: &mut Harness<Cubbyhole>, path: &str) -> Value {
    Value::Object(h.data(Operation::List, path, json!({})).await.unwrap())
}

#[tokio::test]
async fn a_token_has_a_store_of_its_own() {
    let mut h = scene();
    assert!(nothing(&mut h, Operation::Update, "x", json!({"k": "v", "n": 1})).await);
    assert_eq!(Value::Object(h.data(Operation::Read, "x", json!({})).await.unwrap()), json!({"k": "v", "n": 1}));
    assert!(nothing(&mut h, Operation::Update, "d/e/f", json!({"k": "v"})).await);
    assert_eq!(keys(&mut h, "").await, json!({"keys": ["d/", "x"]}));
    assert_eq!(keys(&mut h, "d").await, json!({"keys": ["e/"]}));
    assert_eq!(keys(&mut h, "d/").await, json!({"keys": ["e/"]}));
    assert_eq!(keys(&mut h, "nothing").await, json!({}));

    assert!(nothing(&mut h, Operation::Update, "x", json!({"ttl": "5m"})).await);
    let answer = h.call(Operation::Read, "x", json!({})).await.unwrap().unwrap();
    assert_eq!(Value::Object(answer.data.unwrap().to_map()), json!({"ttl": "5m"}));
    assert!(answer.secret.is_none() && answer.warnings.is_empty(), "no lease, no warning");

    act_as(&mut h, "id-b");
    assert!(nothing(&mut h, Operation::Read, "x", json!({})).await);
    assert_eq!(keys(&mut h, "").await, json!({}));
    assert!(nothing(&mut h, Operation::Delete, "x", json!({})).await);

    act_as(&mut h, "id-a");
    assert!(!nothing(&mut h, Operation::Read, "x", json!({})).await, "another token's delete must not reach it");
    assert!(nothing(&mut h, Operation::Delete, "x", json!({})).await);
    assert!(nothing(&mut h, Operation::Read, "x", json!({})).await);
    assert!(nothing(&mut h, Operation::Delete, "x", json!({})).await, "deleting twice is no error");
}

#[tokio::test]
async fn bad_requests_are_refused_in_vaults_words() {
    let mut h = scene();
    for (operation, path, data, text, internal) in [
        (Operation::Update, "x", json!({}), "missing data fields", true),
        (Operation::Update, "", json!({"a": 1}), "missing path", true),
        (Operation::Update, "", json!({}), "missing path", true),
        (Operation::Read, "", json!({}), "missing path", true),
        (Operation::Delete, "", json!({}), "missing path", true),
        (Operation::Update, "x/", json!({"a": 1}), "cannot write to a path ending in '/'", false),
        (Operation::Patch, "x", json!({"a": 1}), "unsupported operation", false),
    ] {
        let error = h.call(operation, path, data.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), text, "{operation} {path:?} {data}");
        assert_eq!(matches!(error, EngineError::Internal(_)), internal, "{operation} {path:?} {data}");
    }
    assert_eq!(keys(&mut h, "").await, json!({}), "nothing was written");
}

#[tokio::test]
async fn tokens_without_a_cubbyhole_are_refused() {
    let mut h = scene();
    for (id, token_type) in [
        ("", TokenType::Batch),
        ("id-a", TokenType::Batch),
        ("", TokenType::Service),
        ("", TokenType::Default),
        ("../id-b", TokenType::Service),
        ("id-a/x", TokenType::Service),
    ] {
        h.caller.cubbyhole_id = id.into();
        h.caller.token_type = token_type;
        for (operation, path, data) in [
            (Operation::Read, "x", json!({})),
            (Operation::Update, "x", json!({"a": 1})),
            (Operation::Update, "x", json!({})),
            (Operation::Delete, "x", json!({})),
            (Operation::List, "", json!({})),
            (Operation::Update, "", json!({"a": 1})),
        ] {
            let error = h.call(operation, path, data).await.unwrap_err();
            assert!(matches!(&error, EngineError::Invalid(t) if t == SERVICE_ONLY), "{id:?} {operation}: {error}");
        }
    }
}

#[tokio::test]
async fn any_field_name_is_data() {
    let mut h = scene();
    let body = json!({"path": {"deep": [1, null]}, "ttl": "5m", "n": 1.0, "": "", "token": false});
    assert!(nothing(&mut h, Operation::Update, "some/where", body.clone()).await);
    assert_eq!(Value::Object(h.data(Operation::Read, "some/where", json!({})).await.unwrap()), body);
}

#[tokio::test]
async fn everything_of_a_token_lies_below_its_prefix() {
    let mut h = scene();
    for path in ["a", "b/c", "b/d/e"] {
        assert!(nothing(&mut h, Operation::Update, path, json!({"k": 1})).await);
    }
    act_as(&mut h, "id-b");
    assert!(nothing(&mut h, Operation::Update, "a", json!({"k": 2})).await);
    let mut view = storage::View::new(&mut h.txn, "");
    assert!(view.delete_below(&storage_prefix("id-a"), 100).unwrap());
    assert_eq!(view.list("cubbyhole/", &Page::default()).unwrap(), ["id-b/"]);
    assert_eq!(h.data(Operation::Read, "a", json!({})).await.unwrap()["k"], json!(2));
}
