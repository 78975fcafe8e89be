//! Shared by the tables: an access list from texts, and questions to it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "each test file uses some of it; it is test code")]

use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use policy::{Acl, Ask, Denial, DenialReason, Grant, Identity, Policy};
use serde_json::Value;

pub fn acl(texts: &[&str]) -> Acl {
    acl_for(texts, None)
}

pub fn acl_for(texts: &[&str], identity: Option<&Identity>) -> Acl {
    let policies: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(i, t)| Arc::new(Policy::parse(&format!("p{i}"), t).unwrap_or_else(|e| panic!("{t}: {e}"))))
        .collect();
    Acl::compile(&policies, identity)
}

pub fn ask(
    acl: &Acl,
    operation: Operation,
    path: &str,
    data: &Value,
    wrap: Option<u64>,
    needs_sudo: bool,
) -> Result<Grant, Denial> {
    let none = Map::new();
    let data = data.as_object().unwrap_or(&none);
    acl.decide(&Ask { operation, path, data, wrap_ttl: wrap.map(Duration::from_secs), needs_sudo })
}

pub fn plain(acl: &Acl, operation: Operation, path: &str) -> Result<Grant, DenialReason> {
    ask(acl, operation, path, &Value::Null, None, false).map_err(|d| d.reason)
}

pub fn operation(name: &str) -> Operation {
    serde_json::from_value(Value::String(name.to_owned())).unwrap()
}
