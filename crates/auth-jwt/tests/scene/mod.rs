//! What the tests share: signing keys, and a provider that is a table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "helpers of tests may fail loudly; each test file uses some of them"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api_types::Operation::{Read, Update};
use auth_jwt::{Jwt, Web};
use engine::testing::Harness;
use engine::{Auth, BoxFuture};
use jose::{Algorithm, Jwk, PrivateKey};
use outbound::{Answer, Credentials, NoAnswer, Payload, Question};
use secret::Time;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://idp.example";
pub const REDIRECT: &str = "http://localhost:8250/oidc/callback";
pub const NOW: i64 = 1_800_000_000;

/// One key with its public half in both forms.
pub struct Key {
    pub private: PrivateKey,
    pub pem: String,
    pub id: String,
}

impl Key {
    pub fn new(id: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let private = PrivateKey::from_pkcs8(Algorithm::ES256, &pair.serialize_der()).unwrap();
        Self { private, pem: pair.public_key_pem(), id: id.to_owned() }
    }

    pub fn jwk(&self) -> Value {
        Jwk::signing(self.private.public_key().clone(), self.id.clone(), Algorithm::ES256).to_json()
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.private.sign(Some(&self.id), Some("JWT"), claims).unwrap().expose().to_owned()
    }

    pub fn sign_without_id(&self, claims: &Value) -> String {
        self.private.sign(None, None, claims).unwrap().expose().to_owned()
    }
}

/// Claims that every role below accepts.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": ["strong", "x"], "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600,
        "groups": ["dev", "ops"], "mail": "alice@example.test", "org": {"unit": "blue", "n": 3}, "admin": true
    })
}

/// `claims()` with some set, or taken out where the value is null.
pub fn claims_with(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[derive(Default)]
pub struct Table {
    pub answers: Mutex<BTreeMap<String, (u16, String)>>,
    /// URL, credentials and form of each question.
    pub asked: Mutex<Vec<(String, String, String)>>,
}

impl Table {
    pub fn put(&self, url: &str, body: &Value) {
        self.answers.lock().unwrap().insert(url.to_owned(), (200, body.to_string()));
    }

    pub fn fail(&self, url: &str, status: u16) {
        self.answers.lock().unwrap().insert(url.to_owned(), (status, "{}".to_owned()));
    }

    pub fn out(&self, url: &str) {
        self.answers.lock().unwrap().remove(url);
    }

    pub fn count(&self, url: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(u, ..)| u == url).count()
    }

    /// A provider at [`ISSUER`] with these keys.
    pub fn provider(&self, keys: &[&Key]) {
        self.put(
            &format!("{ISSUER}/.well-known/openid-configuration"),
            &json!({
                "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/auth"), "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/jwks"), "userinfo_endpoint": format!("{ISSUER}/me"),
            }),
        );
        self.keys(&format!("{ISSUER}/jwks"), keys);
    }

    pub fn keys(&self, url: &str, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|k| k.jwk()).collect();
        self.put(url, &json!({ "keys": keys }));
    }
}

pub struct Shared(pub Arc<Table>);

impl Web for Shared {
    fn ask<'a>(&'a self, question: Question<'a>, _: Time) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        let credentials = match question.credentials {
            Credentials::None => String::new(),
            Credentials::Bearer(token) => format!("bearer {}", token.expose()),
            Credentials::Basic(id, secret) => format!("basic {id}:{}", secret.expose()),
            Credentials::Headers(_) => "headers".to_owned(),
        };
        let form = match &question.payload {
            Payload::Form(form) => form.expose().to_owned(),
            _ => String::new(),
        };
        self.0.asked.lock().unwrap().push((question.url.to_owned(), credentials, form));
        let found = self.0.answers.lock().unwrap().get(question.url).cloned();
        Box::pin(async move {
            let (status, body) = found.ok_or_else(|| NoAnswer("the table has no answer".to_owned()))?;
            Ok(Answer { status, body: body.into_bytes() })
        })
    }
}

pub fn scene() -> (Harness<Jwt>, Arc<Table>) {
    let table = Arc::new(Table::default());
    let mut harness = Harness::new(Jwt::new(Arc::new(Shared(Arc::clone(&table)))));
    harness.now = Time::from_unix(NOW);
    (harness, table)
}

pub async fn write(h: &mut Harness<Jwt>, path: &str, data: Value) {
    h.call(Update, path, data).await.unwrap();
}

/// A role `r` that binds the audience, with changes; null takes a field out.
pub async fn role(h: &mut Harness<Jwt>, change: Value) {
    h.call(api_types::Operation::Delete, "role/r", json!({})).await.unwrap();
    let mut data = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["strong"], "token_policies": ["dev"]});
    for (name, value) in change.as_object().unwrap() {
        data[name] = value.clone();
    }
    write(h, "role/r", data).await;
}

pub async fn login(h: &mut Harness<Jwt>, jwt: &str) -> Result<Auth, String> {
    match h.call(Update, "login", json!({"role": "r", "jwt": jwt})).await {
        Ok(answer) => Ok(*answer.unwrap().auth.unwrap()),
        Err(e) => Err(e.to_string()),
    }
}

pub async fn read(h: &mut Harness<Jwt>, path: &str) -> api_types::Map {
    h.data(Read, path, json!({})).await.unwrap()
}
