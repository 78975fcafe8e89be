use std::time::Duration;

use api_types::Operation::{self, Read, Update};
use serde_json::{Value, json};

use crate::common::Server;
use crate::{ask, get, list, post, token_with, wrapped};

const INVALID: &str = "wrapping token is not valid or does not exist";

fn wrapping_token(seen: &crate::Seen) -> String {
    assert_eq!(seen.status, 200, "{seen:?}");
    assert_eq!(seen.body["request_id"], "");
    seen.body["wrap_info"]["token"].as_str().unwrap().to_owned()
}

async fn wrap(s: &Server, body: Value) -> String {
    wrapping_token(&wrapped(s, Update, "sys/wrapping/wrap", body, &s.root, 60).await)
}

#[tokio::test]
async fn who_brings_nothing_wrapped_is_told_so() {
    let s = Server::start().await;
    let plain = post(&s, "auth/token/create", json!({ "policies": ["default"] })).await;
    let plain = plain.body["auth"]["client_token"].as_str().unwrap().to_owned();
    let root = s.root.clone();
    let denied = |why: &str| (403, format!("error validating wrapping token: {why}"));
    let invalid = || (400, INVALID.to_owned());
    for path in ["sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/wrapping/rewrap"] {
        for (token, body, want) in [
            (root.as_str(), json!({}), invalid()),
            (root.as_str(), json!({ "token": null }), invalid()),
            (root.as_str(), json!({ "token": "nonsense" }), invalid()),
            (root.as_str(), json!({ "token": plain }), invalid()),
            (root.as_str(), json!({ "token": root }), invalid()),
            (root.as_str(), json!({ "token": "" }), denied("empty token in request body")),
            (root.as_str(), json!({ "token": 5 }), denied("could not decode token in request body")),
            ("", json!({}), denied("token is empty")),
            ("", json!({ "token": plain }), invalid()),
            ("hvs.unknown", json!({}), invalid()),
            (plain.as_str(), json!({}), invalid()),
        ] {
            let seen = ask(&s, Update, path, body.clone(), token).await;
            assert_eq!((seen.status, seen.error().to_owned()), want, "{path} {body}");
        }
    }
    assert_eq!(
        ask(&s, Update, "sys/wrapping/wrap", json!({ "a": 1 }), &root).await.error(),
        "endpoint requires response wrapping to be used"
    );
    assert_eq!(ask(&s, Read, "sys/wrapping/pubkey", Value::Null, "").await.error(), "unsupported path");
}

#[tokio::test]
async fn an_answer_is_unwrapped_word_for_word_and_once() {
    let s = Server::start().await;
    let token = wrap(&s, json!({ "a": "<b>", "n": 1 })).await;
    let seen = post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await;
    assert_eq!(seen.data(), &json!({ "a": "<b>", "n": 1 }));
    assert_eq!(seen.body["mount_type"], "system");
    assert_ne!(seen.body["request_id"], "");
    assert!(seen.bytes.ends_with(b"\n"));
    let again = post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await;
    assert_eq!((again.status, again.error()), (400, INVALID));
    // The token itself as credential, without a body.
    let token = wrap(&s, json!({ "k": 2 })).await;
    assert_eq!(ask(&s, Update, "sys/wrapping/unwrap", Value::Null, &token).await.data(), &json!({ "k": 2 }));
    assert_eq!(ask(&s, Update, "sys/wrapping/unwrap", Value::Null, &token).await.error(), INVALID);
    // A wrapping token opens nothing else, and is spent by the attempt.
    let token = wrap(&s, json!({ "k": 3 })).await;
    assert_eq!(ask(&s, Read, "sys/mounts", Value::Null, &token).await.status, 403);
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await.error(), INVALID);
    // Neither does it need a body token to be told twice.
    let token = wrap(&s, json!({ "k": 4 })).await;
    assert_eq!(ask(&s, Update, "sys/wrapping/unwrap", json!({ "token": token }), &token).await.data(), &json!({ "k": 4 }));
}

#[tokio::test]
async fn unwrapping_for_somebody_needs_update() {
    let s = Server::start().await;
    let token = wrap(&s, json!({ "a": 1 })).await;
    let none = token_with(&s, "none", r#"path "sys/wrapping/unwrap" { capabilities = ["deny"] }"#).await;
    assert_eq!(ask(&s, Update, "sys/wrapping/unwrap", json!({ "token": token }), &none).await.status, 403);
    let nobody = ask(&s, Update, "sys/wrapping/unwrap", json!({ "token": token }), "").await;
    assert_eq!((nobody.status, nobody.error()), (403, "permission denied"));
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await.data()["a"], 1, "a refusal uses nothing up");
}

#[tokio::test]
async fn lookup_uses_nothing_up() {
    let s = Server::start().await;
    let token = wrap(&s, json!({ "a": 1 })).await;
    for (caller, body) in
        [(s.root.as_str(), json!({ "token": token })), ("", json!({ "token": token })), (token.as_str(), json!({}))]
    {
        let seen = ask(&s, Update, "sys/wrapping/lookup", body, caller).await;
        assert_eq!(seen.data()["creation_ttl"], 60);
        assert_eq!(seen.data()["creation_path"], "sys/wrapping/wrap");
        assert_eq!(seen.data()["creation_time"], "2026-09-21T14:13:20Z");
        assert_eq!(seen.body["mount_type"], "");
    }
    assert_eq!(ask(&s, Read, "sys/wrapping/lookup", Value::Null, &token).await.data()["creation_ttl"], 60);
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await.data()["a"], 1);
}

#[tokio::test]
async fn rewrapping_keeps_answer_path_and_life() {
    let s = Server::start().await;
    let old = wrap(&s, json!({ "a": 1 })).await;
    s.advance(Duration::from_secs(30));
    let seen = post(&s, "sys/wrapping/rewrap", json!({ "token": old })).await;
    assert_eq!(seen.body["wrap_info"]["ttl"], 60);
    assert_eq!(seen.body["wrap_info"]["creation_path"], "sys/wrapping/wrap");
    assert_eq!(seen.body["data"], Value::Null);
    let new = wrapping_token(&seen);
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": old })).await.error(), INVALID);
    let shorter = wrapped(&s, Update, "sys/wrapping/rewrap", json!({ "token": new }), &s.root, 5).await;
    assert_eq!(shorter.body["wrap_info"]["ttl"], 5);
    let new = wrapping_token(&shorter);
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": new })).await.data(), &json!({ "a": 1 }));
    let own = wrap(&s, json!({})).await;
    assert_eq!(ask(&s, Update, "sys/wrapping/rewrap", Value::Null, &own).await.status, 403, "its policy only unwraps");
}

#[tokio::test]
async fn a_wrapping_token_in_a_signed_form() {
    let s = Server::start().await;
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    assert_eq!(post(&s, "kv/a", json!({ "k": "v" })).await.status, 204);
    let signed = async |operation, path: &str, body| {
        let mut request = crate::request(operation, path, body, &s.root);
        request.wrap = Some(engine::WrapRequest { ttl: Duration::from_secs(60), format: Some("jwt".into()) });
        crate::send(&s, request).await.body["wrap_info"]["token"].as_str().unwrap().to_owned()
    };
    let jwt = signed(Read, "kv/a", Value::Null).await;
    assert_eq!(jwt.split('.').count(), 3);
    let forged = format!("{}A", jwt.strip_suffix(|_| true).unwrap());
    for (caller, body) in [(s.root.as_str(), json!({ "token": forged })), (forged.as_str(), json!({}))] {
        if forged != jwt {
            let seen = ask(&s, Update, "sys/wrapping/unwrap", body, caller).await;
            let text = "error validating wrapping token: wrapping token signature could not be validated";
            assert_eq!((seen.status, seen.error()), (403, text));
        }
    }
    assert_eq!(post(&s, "sys/wrapping/lookup", json!({ "token": jwt })).await.data()["creation_path"], "kv/a");
    assert_eq!(ask(&s, Update, "sys/wrapping/unwrap", Value::Null, &jwt).await.data()["k"], "v");
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": jwt })).await.error(), INVALID);
    let jwt = signed(Read, "kv/a", Value::Null).await;
    assert_eq!(ask(&s, Read, "cubbyhole/response", Value::Null, &jwt).await.status, 403, "only where it is unwrapped");
    assert_eq!(post(&s, "sys/wrapping/unwrap", json!({ "token": jwt })).await.data()["k"], "v");
    let plain = signed(Update, "sys/wrapping/wrap", json!({ "a": 1 })).await;
    assert!(plain.starts_with("hvs."), "what a client made up is not signed");
}

#[tokio::test]
async fn time_ends_a_wrapped_answer() {
    let s = Server::start().await;
    let token = wrap(&s, json!({ "a": 1 })).await;
    s.advance(Duration::from_secs(61));
    for path in ["sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/wrapping/rewrap"] {
        assert_eq!(post(&s, path, json!({ "token": token })).await.error(), INVALID, "{path}");
    }
}

#[tokio::test]
async fn what_is_wrapped_and_what_is_not() {
    let s = Server::start().await;
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    let quiet = wrapped(&s, Update, "kv/a", json!({ "k": "v" }), &s.root, 60).await;
    assert_eq!(quiet.status, 204, "an empty reply is not wrapped");
    assert_eq!(wrapped(&s, Read, "kv/none", Value::Null, &s.root, 60).await.status, 404);
    assert_eq!(wrapped(&s, Read, "sys/leases/count", Value::Null, &s.root, 60).await.status, 404);
    let refused = wrapped(&s, Update, "sys/wrapping/lookup", json!({ "token": "x" }), &s.root, 60).await;
    assert_eq!(refused.error(), INVALID);
    for (operation, path, field, want) in [(Operation::List, "kv", "keys", json!(["a"])), (Read, "kv/a", "k", json!("v"))] {
        let token = wrapping_token(&wrapped(&s, operation, path, Value::Null, &s.root, 60).await);
        let seen = post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await;
        assert_eq!(seen.data()[field], want);
        assert_eq!(seen.body["mount_type"], "kv");
    }
    let login = wrapped(&s, Update, "auth/token/create", json!({ "policies": ["default"] }), &s.root, 60).await;
    let accessor = login.body["wrap_info"]["wrapped_accessor"].as_str().unwrap().to_owned();
    let token = wrapping_token(&login);
    let seen = post(&s, "sys/wrapping/unwrap", json!({ "token": token })).await;
    assert_eq!(seen.body["auth"]["accessor"], accessor);
    assert_eq!(list(&s, "kv").await.data()["keys"], json!(["a"]));
    assert_eq!(get(&s, "kv/a").await.data()["k"], "v");
}
