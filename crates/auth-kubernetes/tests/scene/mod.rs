//! A mount with a configuration, tokens without a real signature, and an API server that is a table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "helpers of tests may fail loudly; each test file uses some of them"
)]

use std::sync::{Arc, Mutex};

use api_types::Operation::Update;
use auth_kubernetes::{Answer, Kubernetes, LocalPaths, NoAnswer, Question, Reviewer, Target, Trust};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::testing::Harness;
use engine::{Auth, BoxFuture, EngineError};
use secret::{SecretString, Time};
use serde_json::{Value, json};

/// The harness's time.
pub const NOW: i64 = 1_800_000_000;

/// One question as the API server saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub host: String,
    pub trust: Trust,
    pub bearer: String,
    pub path: String,
    pub body: Value,
}

/// Answers by path prefix, the latest given first, and remembers what it was asked.
#[derive(Default)]
pub struct Table {
    answers: Mutex<Vec<(String, Result<Answer, NoAnswer>)>>,
    asked: Mutex<Vec<Asked>>,
}

impl Table {
    pub fn answer(&self, path: &str, status: u16, body: Value) {
        let answer = Answer { status, body: body.to_string().into_bytes() };
        self.answers.lock().unwrap().push((path.to_owned(), Ok(answer)));
    }

    pub fn fail(&self, path: &str, reason: &str) {
        self.answers.lock().unwrap().push((path.to_owned(), Err(NoAnswer(reason.to_owned()))));
    }

    /// Vouches for an account for these audiences.
    pub fn vouch(&self, namespace: &str, name: &str, uid: &str, audiences: &[&str]) {
        let user = json!({"username": format!("system:serviceaccount:{namespace}:{name}"), "uid": uid});
        self.answer(REVIEWS, 201, json!({"status": {"authenticated": true, "user": user, "audiences": audiences}}));
    }

    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

pub const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

impl Reviewer for Table {
    fn ask<'a>(
        &'a self,
        target: &'a Target,
        bearer: &'a SecretString,
        question: &'a Question,
        _: Time,
    ) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        let path = question.path();
        let body = question.body().map_or(Value::Null, |b| serde_json::from_slice(&b).unwrap());
        let found = self.answers.lock().unwrap().iter().rev().find(|(p, _)| path.starts_with(p)).map(|(_, a)| a.clone());
        let asked =
            Asked { host: target.host.clone(), trust: target.trust.clone(), bearer: bearer.expose().to_owned(), path, body };
        self.asked.lock().unwrap().push(asked);
        Box::pin(async move { found.unwrap_or_else(|| Err(NoAnswer("the table has no answer".into()))) })
    }
}

pub struct Scene {
    pub harness: Harness<Kubernetes>,
    pub server: Arc<Table>,
    pub pod: tempfile::TempDir,
}

/// A fresh mount outside a pod.
pub fn bare() -> Scene {
    let (server, pod) = (Arc::new(Table::default()), tempfile::tempdir().unwrap());
    let local = LocalPaths { token: pod.path().join("token"), ca: pod.path().join("ca.crt") };
    let reviewer: Arc<dyn Reviewer> = Arc::<Table>::clone(&server);
    let mut harness = Harness::new(Kubernetes::new(reviewer, local));
    harness.mount.path = "auth/kubernetes/".into();
    Scene { harness, server, pod }
}

/// A configured mount with role `app` for `apps/app`, and an API server that vouches for it.
pub async fn ready() -> Scene {
    let mut s = bare();
    s.write(
        "config",
        json!({"kubernetes_host": "https://api:6443/", "token_reviewer_jwt": "rev.iew.er", "disable_local_ca_jwt": true}),
    )
    .await;
    s.write(
        "role/app",
        json!({"bound_service_account_names": "app", "bound_service_account_namespaces": "apps", "token_policies": "p"}),
    )
    .await;
    s.server.vouch("apps", "app", "u-1", &["api"]);
    s
}

impl Scene {
    pub async fn write(&mut self, path: &str, data: Value) -> Option<engine::Response> {
        self.harness.call(Update, path, data).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub async fn login(&mut self, role: &str, jwt: &str) -> Result<Auth, EngineError> {
        let answer = self.harness.call(Update, "login", json!({"role": role, "jwt": jwt})).await?;
        Ok(*answer.unwrap().auth.unwrap())
    }
}

/// Claims of a projected token of `apps/app` that are good at [`NOW`].
pub fn claims() -> Value {
    json!({"iss": "https://kubernetes.default.svc", "aud": ["api"], "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600,
           "kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "app", "uid": "u-1"}},
           "sub": "system:serviceaccount:apps:app"})
}

/// [`claims`] with some of them replaced, or taken out by a null.
pub fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (key, value) in changes.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, v| !v.is_null());
    claims
}

/// A token with a signature that only an API server could judge.
pub fn token(claims: &Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(r#"{"alg":"RS256","kid":"k"}"#), part(&claims.to_string()), part("signature"))
}
