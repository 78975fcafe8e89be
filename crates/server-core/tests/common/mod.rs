//! A whole core over memory, unsealed, with KV, cubbyhole and userpass: what the tests of `sys/` and of the pipeline ask.
//!
//! `mod common;` and then `Server::start().await`. The clock stands still until a test moves it.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use engine::{Backend, Kind, Request};
use replication::Settings;
use secret::{Clock, ManualClock, SecretString, SystemEntropy, Time};
use serde_json::Value;
use server_core::{Answer, Core, CoreConfig, FailureKind, InitRequest, MountEntry, Registry};
use storage::{MemoryStore, Space, Store};

/// A server that is initialised with one share, unsealed, and leading.
pub struct Server {
    pub core: Arc<Core>,
    pub clock: Arc<ManualClock>,
    pub root: String,
    /// The one unseal share.
    pub share: Vec<u8>,
    /// The disk.
    pub store: Arc<MemoryStore>,
}

/// An answer, flattened for comparisons.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// `None` if it was served.
    pub failure: Option<FailureKind>,
    pub errors: Vec<String>,
    /// `Null` if there is none.
    pub data: Value,
    pub warnings: Vec<String>,
    /// The token of a login or token creation, else empty.
    pub token: String,
    pub accessor: String,
    /// The keys of `data` stand at the top level as well.
    pub injected: bool,
    /// The body of a reply without envelope.
    pub bare: Option<Value>,
}

impl Reply {
    /// The only error text; empty if the request was served.
    #[track_caller]
    pub fn error(&self) -> &str {
        assert!(self.failure.is_some() || self.errors.is_empty());
        self.errors.first().map_or("", String::as_str)
    }

    /// Served without data and without warnings.
    pub fn is_empty(&self) -> bool {
        self.failure.is_none() && self.data.is_null() && self.warnings.is_empty() && self.token.is_empty() && self.bare.is_none()
    }

    /// The data of a request that must have been served.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.failure.is_none(), "refused: {:?} {:?}", self.failure, self.errors);
        self.data
    }

    /// The `keys` of a listing.
    #[track_caller]
    pub fn keys(self) -> Vec<String> {
        let data = self.ok();
        data["keys"].as_array().map(|k| k.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()).unwrap_or_default()
    }
}

/// The engines that these tests mount.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.secrets.insert("kv", Arc::new(kv));
    registry.secrets.insert("cubbyhole", Arc::new(|_| Arc::new(engine_cubbyhole::Cubbyhole::new())));
    let lockout = Arc::clone(&registry.lockout);
    registry.auth.insert("userpass", Arc::new(move |_| Arc::new(auth_userpass::Userpass::with_lockout(Arc::clone(&lockout)))));
    registry.upgrades.insert("kv", Arc::new(|view, _, now, limit| engine_kv::upgrade_v1_to_v2(view, now, limit)));
    registry
}

fn kv(entry: &MountEntry) -> Arc<dyn Backend> {
    let version = entry.options.as_ref().and_then(|o| o.get("version")).map(String::as_str);
    if version == Some("2") { Arc::new(engine_kv::KvV2::new()) } else { Arc::new(engine_kv::KvV1::new()) }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(registry(), CoreConfig::default()).await
    }

    pub async fn start_with(registry: Registry, config: CoreConfig) -> Self {
        Self::start_in(None, registry, config).await
    }

    /// A server that keeps its log and received snapshots in a folder.
    pub async fn start_in(folder: Option<&std::path::Path>, registry: Registry, config: CoreConfig) -> Self {
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let mut settings = Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        settings.snapshot_dir = folder.map(|f| f.join("snapshots"));
        settings.log_dir = folder.map(|f| f.join("log"));
        let ticking: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let store = Arc::new(MemoryStore::default());
        let core = Core::start(Arc::<MemoryStore>::clone(&store), settings, config, registry, ticking, Arc::new(SystemEntropy));
        let core = core.await.expect("start");
        let made =
            core.init(InitRequest { secret_shares: 1, secret_threshold: 1, ..InitRequest::default() }).await.expect("init");
        let share = made.shares.into_iter().next().expect("one share");
        let kept = share.expose().to_vec();
        core.unseal(share, false).await.expect("unseal");
        Self { core, clock, root: made.root_token.expose().to_owned(), share: kept, store }
    }

    /// Number of records at rest.
    pub fn records(&self) -> usize {
        let mut count = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        };
        self.store.scan(Space::State, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, &mut visit).expect("scan");
        count
    }

    /// Moves the clock.
    pub fn advance(&self, d: Duration) {
        self.clock.advance(d);
    }

    /// One request. `body` is an object or null.
    pub async fn ask(&self, operation: Operation, path: &str, body: Value, token: &str) -> Reply {
        let mut request = Request::new(operation, path);
        request.id = "00000000-0000-4000-8000-000000000000".to_owned();
        request.token = SecretString::from(token);
        request.data = match body {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        self.send(request).await
    }

    pub async fn send(&self, request: Request) -> Reply {
        flatten(self.core.handle(request).await.into_inner())
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Operation::Read, path, Value::Null, &self.root).await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Reply {
        self.ask(Operation::Read, path, Value::Null, token).await
    }

    pub async fn list(&self, path: &str) -> Reply {
        self.ask(Operation::List, path, Value::Null, &self.root).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(Operation::Update, path, body, &self.root).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask(Operation::Delete, path, Value::Null, &self.root).await
    }

    /// A request that must be served without anything to say.
    #[track_caller]
    pub fn quietly(&self, path: &'static str, body: Value) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.post(path, body).await;
            assert!(reply.is_empty(), "{caller}: {path}: {reply:?}");
        }
    }

    /// A token with these policies.
    pub async fn token(&self, policies: &[&str]) -> Reply {
        let reply = self.post("auth/token/create", serde_json::json!({ "policies": policies })).await;
        assert!(reply.failure.is_none(), "{reply:?}");
        reply
    }

    /// What the worker does for mounts that were disabled, moved or upgraded.
    pub async fn tidy_mounts(&self) {
        self.core.tidy_mounts().await.expect("tidy");
    }
}

fn flatten(answer: Answer) -> Reply {
    match answer {
        Answer::Failure(f) => {
            Reply { failure: Some(f.kind), errors: f.errors, data: f.data.map_or(Value::Null, Value::Object), ..Reply::default() }
        }
        Answer::Response { response, inject, .. } => {
            let bare = match &response.kind {
                Kind::Bare { body, .. } => Some(serde_json::from_slice(body).unwrap_or(Value::Null)),
                _ => None,
            };
            Reply {
                data: response.data.as_ref().map_or(Value::Null, |d| Value::Object(d.to_map())),
                warnings: response.warnings.clone(),
                token: response.auth.as_ref().map(|a| a.client_token.expose().to_owned()).unwrap_or_default(),
                accessor: response.auth.as_ref().map(|a| a.accessor.clone()).unwrap_or_default(),
                injected: inject,
                bare,
                ..Reply::default()
            }
        }
        Answer::Wrapped(wrap) => {
            Reply { token: wrap.token.expose().to_owned(), accessor: wrap.accessor.clone(), ..Reply::default() }
        }
        #[allow(unreachable_patterns, reason = "answers without an envelope have nothing to compare here")]
        _ => Reply::default(),
    }
}
