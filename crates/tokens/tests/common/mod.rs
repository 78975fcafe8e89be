//! A token engine with a root token, a sealing that needs no barrier, and calls as any token.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which clippy.toml does not see"
)]
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use engine::testing::Harness;
use engine::{Auth, Caller, EngineError, Mount, Outcome, Request, Response, TokenType};
use hmac::{Hmac, KeyInit, Mac};
use secret::{SecretBytes, SecretString};
use serde_json::Value;
use sha2::Sha256;
use storage::{MemoryTransaction, Page, Record, Transaction, TxnError, View};
use tokens::{
    BatchCipher, Due, DueItem, Found, Issue, Neighbours, Origin, Revoked, RoleLimits, TokenEngine, TokenEntry, TokenStore, due,
};

/// Authenticates, hides nothing.
pub struct TagOnly;

impl BatchCipher for TagOnly {
    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, EngineError> {
        let mut out = tag(plaintext).to_vec();
        out.extend_from_slice(plaintext);
        Ok(out)
    }

    fn open(&self, sealed: &[u8]) -> Result<Option<SecretBytes>, EngineError> {
        let Some((head, body)) = sealed.split_first_chunk::<32>() else { return Ok(None) };
        Ok((tag(body) == *head).then(|| body.into()))
    }
}

fn tag(body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"test").unwrap();
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// Knows one entity with one policy, and one auth mount that allows an hour.
pub struct Around;

impl Neighbours for Around {
    fn identity_policies(&self, _: &mut View<'_>, entity_id: &str) -> Result<Vec<String>, EngineError> {
        Ok(if entity_id == "entity-1" { vec!["by-identity".into()] } else { Vec::new() })
    }

    fn entity_of_alias(&self, _: &mut engine::Call<'_>, alias: &str) -> Result<String, EngineError> {
        Ok(format!("entity-of-{alias}"))
    }

    fn renew_login(&self, _: &mut engine::Call<'_>, entry: &TokenEntry, auth: &mut Auth) -> Result<Arc<Mount>, EngineError> {
        if entry.internal.get("role") == Some(&Value::from("gone")) {
            return Err(EngineError::invalid("role was removed"));
        }
        // A method that tries to widen the token: policies of an answer to a renewal must not count.
        auth.policies.push("root".into());
        Ok(Arc::new(Mount { path: "auth/up/".into(), ..login_mount() }))
    }
}

pub fn login_mount() -> Mount {
    Mount {
        path: "auth/up/".into(),
        mount_type: "userpass".into(),
        accessor: "auth_userpass_1".into(),
        default_lease_ttl: Duration::from_secs(600),
        max_lease_ttl: Duration::from_secs(3600),
        ..Mount::default()
    }
}

pub struct Scene {
    pub h: Harness<TokenEngine>,
    pub store: Arc<TokenStore>,
    pub root: SecretString,
}

impl Scene {
    pub fn new() -> Self {
        let store = Arc::new(TokenStore::new(Arc::new(TagOnly)));
        let mut h = Harness::new(TokenEngine::new(Arc::clone(&store)).with_neighbours(Arc::new(Around)));
        h.mount.path = "auth/token/".into();
        h.mount.accessor = "auth_token_1".into();
        h.mount.token_type = TokenType::DefaultService;
        let root = {
            let mut view = View::new(&mut h.txn, "");
            TokenStore::initialise(&mut view, &h.entropy).unwrap();
            for name in ["a", "b", "p1"] {
                view.put_json(&format!("sys/policy/{name}"), &serde_json::json!({"name": name, "text": ""})).unwrap();
            }
            store.root(&mut view, h.now, &h.entropy, None).unwrap()
        };
        Self { h, store, root }
    }

    pub fn advance(&mut self, seconds: u64) {
        self.h.now = self.h.now.plus(Duration::from_secs(seconds));
    }

    pub fn view(&mut self) -> View<'_> {
        View::new(&mut self.h.txn, "")
    }

    pub fn found(&mut self, token: &str) -> Option<Found> {
        let (store, now) = (Arc::clone(&self.store), self.h.now);
        store.lookup(&mut self.view(), token, now).unwrap()
    }

    /// A call as the core would make it: the caller is what its token says, with sudo if it is root or `sudo` is set.
    pub async fn call_as(&mut self, token: &str, sudo: bool, op: Operation, path: &str, data: Value) -> Outcome {
        let found = self.found(token);
        let is_root = found.as_ref().is_some_and(|f| f.entry.is_root());
        self.h.caller = Caller {
            policies: found.map(|f| f.entry.policies.clone()).unwrap_or_default(),
            is_root,
            sudo: sudo || is_root,
            ..Caller::default()
        };
        let mut request = Request::new(op, format!("auth/token/{path}"));
        request.data = data.as_object().cloned().unwrap_or_default();
        request.token = token.into();
        self.h.send(request, path).await
    }

    pub async fn as_root(&mut self, op: Operation, path: &str, data: Value) -> Outcome {
        let root = self.root.expose().to_owned();
        self.call_as(&root, true, op, path, data).await
    }

    /// Makes a token and gives its `auth` and warnings.
    pub async fn create_as(
        &mut self,
        token: &str,
        sudo: bool,
        path: &str,
        data: Value,
    ) -> Result<(Auth, Vec<String>), EngineError> {
        let answer = self.call_as(token, sudo, Operation::Update, path, data).await?.unwrap();
        Ok((*answer.auth.unwrap(), answer.warnings))
    }

    pub async fn create(&mut self, data: Value) -> Auth {
        let root = self.root.expose().to_owned();
        self.create_as(&root, true, "create", data).await.unwrap().0
    }

    pub async fn lookup(&mut self, token: &str) -> Map {
        let data = serde_json::json!({ "token": token });
        self.as_root(Operation::Update, "lookup", data).await.unwrap().and_then(|r: Response| r.data).unwrap().to_map()
    }

    /// A login on `mount`.
    pub fn login(&mut self, mount: &Mount, auth: &mut Auth) -> Result<Vec<String>, EngineError> {
        let store = Arc::clone(&self.store);
        let spec = Issue {
            origin: Origin::Login,
            path: "auth/up/login/ann",
            mount,
            parent: None,
            role: RoleLimits::default(),
            custom_id: None,
            now: self.h.now,
            entropy: &self.h.entropy,
        };
        store.issue(&mut View::new(&mut self.h.txn, ""), auth, &spec)
    }

    pub fn due(&mut self) -> Vec<Due> {
        let now = self.h.now;
        due(&mut self.view(), now, usize::MAX).unwrap()
    }

    /// The expiry worker's pass over tokens.
    pub fn expire_all(&mut self, limit: usize) {
        let (store, now) = (Arc::clone(&self.store), self.h.now);
        for _ in 0..10_000 {
            let due: Vec<Due> = self.due().into_iter().filter(|d| matches!(d.item, DueItem::Token(_))).collect();
            if due.is_empty() {
                return;
            }
            for entry in due {
                let DueItem::Token(key) = &entry.item else { continue };
                store.expire(&mut self.view(), key, now, limit).unwrap();
            }
        }
        panic!("the index never empties: {:?}", self.due());
    }

    pub fn revoke(&mut self, token: &str, limit: usize) -> Revoked {
        let (store, now) = (Arc::clone(&self.store), self.h.now);
        let key = self.found(token).unwrap().key;
        store.revoke_tree(&mut self.view(), &key, now, limit).unwrap()
    }

    pub fn keys_below(&self, prefix: &str) -> Vec<String> {
        self.h.txn.keys().into_iter().filter(|k| k.starts_with(prefix)).map(str::to_owned).collect()
    }
}

/// Counts what a transaction does.
pub struct Counting<'a> {
    pub inner: &'a mut MemoryTransaction,
    pub gets: usize,
    pub puts: usize,
}

impl Transaction for Counting<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError> {
        self.gets += 1;
        self.inner.get(key)
    }

    fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError> {
        self.puts += 1;
        self.inner.put(key, value)
    }

    fn delete(&mut self, key: &str) -> Result<(), TxnError> {
        self.inner.delete(key)
    }

    fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError> {
        self.inner.list(prefix, page)
    }
}
