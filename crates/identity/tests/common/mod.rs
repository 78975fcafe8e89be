//! A scene with two auth mounts, and short words for calls.
#![allow(dead_code, clippy::panic, reason = "each test binary uses its part; helpers of tests may fail loudly")]

use std::sync::Arc;

use api_types::{Map, Operation};
use engine::testing::Harness;
use engine::{EngineError, Mount};
use identity::IdentityEngine;
use serde_json::Value;

pub(crate) type Scene = Harness<IdentityEngine>;

pub(crate) fn mount(n: u8) -> Mount {
    Mount { path: format!("auth/m{n}/"), mount_type: "userpass".into(), accessor: accessor(n), ..Mount::default() }
}

pub(crate) fn accessor(n: u8) -> String {
    format!("auth_userpass_0000000{n}")
}

pub(crate) fn scene() -> Scene {
    let mut h = Harness::new(IdentityEngine::new());
    h.mounts = vec![Arc::new(mount(1)), Arc::new(mount(2))];
    h
}

/// A call that must answer; its data.
pub(crate) async fn data(h: &mut Scene, operation: Operation, path: &str, body: Value) -> Map {
    h.data(operation, path, body).await.unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A call that must not fail.
pub(crate) async fn ok(h: &mut Scene, operation: Operation, path: &str, body: Value) {
    h.call(operation, path, body).await.unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// A write that must be refused, leaving the storage as it was; the text.
pub(crate) async fn refused(h: &mut Scene, path: &str, body: Value) -> String {
    let error: EngineError = match h.call(Operation::Update, path, body).await {
        Err(e) => e,
        Ok(answer) => panic!("{path} was not refused: {answer:?}"),
    };
    error.to_string()
}
