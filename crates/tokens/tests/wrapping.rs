//! Wrapping tokens can be used once, by whoever holds them, and tell nothing before.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which clippy.toml does not see"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Scene;
use secret::SeededEntropy;
use serde_json::json;
use tokens::{UseLeft, Wrap, WrapInfo};

const PAYLOAD: &str = r#"{"request_id":"r","data":{"k":"v"}}"#;
const INVALID: &str = "wrapping token is not valid or does not exist";

fn wrap(s: &mut Scene, ttl: u64, seed: u64, payload: &str) -> WrapInfo {
    let (store, now, entropy) = (Arc::clone(&s.store), s.h.now, SeededEntropy::new(seed));
    let wrap = Wrap {
        ttl: Duration::from_secs(ttl),
        creation_path: "secret/a",
        payload,
        wrapped_accessor: "acc",
        now,
        entropy: &entropy,
    };
    store.wrapping(&mut s.view(), &wrap).unwrap()
}

#[tokio::test]
async fn wrapped_once_unwrapped_once() {
    let mut s = Scene::new();
    let before = s.h.txn.keys().len();
    let info = wrap(&mut s, 60, 1, PAYLOAD);
    assert!(info.token.expose().starts_with("hvs."));
    assert_eq!((info.ttl.as_secs(), info.creation_path.as_str(), info.wrapped_accessor.as_str()), (60, "secret/a", "acc"));
    let data = s.lookup(info.token.expose()).await;
    assert_eq!((&data["policies"], &data["num_uses"], &data["orphan"]), (&json!(["response-wrapping"]), &json!(1), &json!(true)));
    assert_eq!((&data["ttl"], &data["explicit_max_ttl"], &data["renewable"]), (&json!(60), &json!(60), &json!(false)));
    let (store, now) = (Arc::clone(&s.store), s.h.now);
    let lookup = store.wrapping_lookup(&mut s.view(), info.token.expose(), now).unwrap();
    assert_eq!((lookup.creation_ttl, lookup.creation_path.as_str()), (60, "secret/a"));
    assert_eq!(lookup.creation_time, now.rfc3339());
    let payload = store.unwrap_response(&mut s.view(), info.token.expose(), false, now).unwrap().unwrap();
    assert_eq!(payload.expose(), PAYLOAD);
    let again = store.unwrap_response(&mut s.view(), info.token.expose(), false, now).unwrap_err();
    assert_eq!(again.to_string(), INVALID);
    assert_eq!(s.h.txn.keys().len(), before, "nothing is left: {:?}", s.h.txn.keys());
}

#[tokio::test]
async fn rewrapping_keeps_path_and_life() {
    let mut s = Scene::new();
    let old = wrap(&mut s, 60, 1, PAYLOAD);
    s.advance(30);
    let (store, now, entropy) = (Arc::clone(&s.store), s.h.now, SeededEntropy::new(2));
    let new = store.rewrap(&mut s.view(), old.token.expose(), false, now, &entropy).unwrap();
    assert_eq!((new.ttl.as_secs(), new.creation_path.as_str()), (60, "secret/a"));
    assert!(!new.token.ct_eq(old.token.expose()));
    assert!(store.wrapping_lookup(&mut s.view(), old.token.expose(), now).is_err());
    s.advance(45);
    let now = s.h.now;
    assert_eq!(store.unwrap_response(&mut s.view(), new.token.expose(), false, now).unwrap().unwrap().expose(), PAYLOAD);
}

#[tokio::test]
async fn what_is_no_wrapping_token() {
    let mut s = Scene::new();
    let plain = s.create(json!({"policies": ["default"], "num_uses": 1})).await.client_token.expose().to_owned();
    let batch = s.create(json!({"policies": ["a"], "type": "batch"})).await.client_token.expose().to_owned();
    let expired = wrap(&mut s, 1, 1, PAYLOAD).token.expose().to_owned();
    let spent = wrap(&mut s, 60, 2, PAYLOAD).token.expose().to_owned();
    let root = s.root.expose().to_owned();
    let store = Arc::clone(&s.store);
    let found = s.found(&spent).unwrap();
    assert_eq!(store.spend_use(&mut s.view(), &found).unwrap(), UseLeft::Last);
    s.advance(1);
    let now = s.h.now;
    for token in ["", "nonsense", "hvs.none", "hvb.none", &plain, &batch, &expired, &spent, &root] {
        for outcome in [
            store.unwrap_response(&mut s.view(), token, false, now).map(|_| ()),
            store.wrapping_lookup(&mut s.view(), token, now).map(|_| ()),
            store.rewrap(&mut s.view(), token, false, now, &SeededEntropy::new(5)).map(|_| ()),
        ] {
            assert_eq!(outcome.unwrap_err().to_string(), INVALID);
        }
        assert!(store.unwrap_response(&mut s.view(), token, true, now).is_ok() == (token == spent));
    }
    assert!(s.found(&plain).is_some() && s.found(&root).is_some(), "they are not used up by the attempt");
}

#[tokio::test]
async fn an_empty_answer_unwraps_to_nothing() {
    let mut s = Scene::new();
    let info = wrap(&mut s, 60, 1, "");
    let (store, now) = (Arc::clone(&s.store), s.h.now);
    assert!(store.unwrap_response(&mut s.view(), info.token.expose(), false, now).unwrap().is_none());
}

#[tokio::test]
async fn an_unused_wrapping_token_goes_with_its_cubbyhole() {
    let mut s = Scene::new();
    let before = s.h.txn.keys().len();
    wrap(&mut s, 60, 1, PAYLOAD);
    s.advance(60);
    s.expire_all(10);
    assert_eq!(s.h.txn.keys().len(), before);
}
