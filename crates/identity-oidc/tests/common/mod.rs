//! A scene: the identity engine with the OIDC paths, a person with an entity, and a client.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::time::Duration;

use api_types::Operation::{self, List, Read, Update};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use engine::testing::Harness;
use engine::{Kind, Request};
use identity::IdentityEngine;
use serde_json::{Value, json};

pub(crate) const ADDRESS: &str = "https://sr.example:8200";

pub(crate) struct Scene {
    pub(crate) h: Harness<IdentityEngine>,
}

/// A body without envelope.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: std::collections::BTreeMap<String, Vec<String>>,
}

impl Bare {
    pub(crate) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_default().to_owned()
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut h = Harness::new(IdentityEngine::with(ADDRESS.to_owned(), identity_oidc::routes()));
        h.mount.path = "identity/".into();
        Self { h }
    }

    pub(crate) async fn write(&mut self, path: &str, data: Value) {
        let answer = self.h.call(Update, path, data.clone()).await;
        assert!(answer.is_ok(), "{path} {data}: {answer:?}");
    }

    pub(crate) async fn read(&mut self, path: &str) -> Value {
        Value::Object(self.h.data(Read, path, json!({})).await.unwrap())
    }

    pub(crate) async fn list(&mut self, path: &str) -> Value {
        self.h.data(List, path, json!({})).await.unwrap().get("keys").cloned().unwrap_or_default()
    }

    pub(crate) async fn refuses(&mut self, operation: Operation, path: &str, data: Value, want: &str) {
        assert_eq!(self.h.error(operation, path, data.clone()).await, want, "{path} {data}");
    }

    /// Makes an entity and asks as it from now on.
    pub(crate) async fn person(&mut self, name: &str) -> String {
        let data = self.h.data(Update, "entity", json!({ "name": name })).await.unwrap();
        let id = data["id"].as_str().unwrap().to_owned();
        self.h.caller.entity_id.clone_from(&id);
        self.h.caller.issued = self.h.now;
        id
    }

    pub(crate) fn later(&mut self, seconds: u64) {
        self.h.now = self.h.now.plus(Duration::from_secs(seconds));
    }

    /// Calls a path that answers without envelope.
    pub(crate) async fn bare(&mut self, operation: Operation, path: &str, data: Value) -> Bare {
        let mut request = Request::new(operation, format!("identity/{path}"));
        request.data = data.as_object().cloned().unwrap_or_default();
        self.send(request, path).await
    }

    pub(crate) async fn send(&mut self, request: Request, path: &str) -> Bare {
        let answer = self.h.send(request, path).await.unwrap().unwrap();
        let Kind::Bare { body, status, .. } = answer.kind else { panic!("{answer:?}") };
        Bare { status, body: serde_json::from_slice(&body).unwrap(), headers: answer.headers }
    }

    pub(crate) async fn userinfo(&mut self, provider: &str, token: &str) -> Bare {
        let path = format!("oidc/provider/{provider}/userinfo");
        let mut request = Request::new(Read, format!("identity/{path}"));
        request.token = token.into();
        self.send(request, &path).await
    }

    /// A client, as its read shows it.
    pub(crate) async fn client(&mut self, name: &str, more: Value) -> Value {
        let mut data = json!({ "redirect_uris": "https://app/cb", "assignments": "allow_all", "key": "es" });
        data.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        if self.h.data(Read, "oidc/key/es", json!({})).await.unwrap().is_empty() {
            self.write("oidc/key/es", json!({ "algorithm": "ES256", "allowed_client_ids": "*" })).await;
        }
        self.write(&format!("oidc/client/{name}"), data).await;
        self.read(&format!("oidc/client/{name}")).await
    }
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
