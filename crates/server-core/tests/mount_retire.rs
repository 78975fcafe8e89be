//! What a disabled mount leaves: leases that its own engine undoes while it still has its data, and then nothing.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api_types::{Map, Operation};
use common::Server;
use engine::{BoxFuture, Call, Engine, EngineError, LeasedSecret, PathTable, Response, Route};
use serde_json::json;
use server_core::CoreConfig;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Far longer than the worker needs, far shorter than a hung test run.
const PATIENCE: Duration = Duration::from_secs(180);

/// Hands out leased names; undoing one needs the connection that was configured.
struct Leaser {
    table: PathTable<Self>,
    undone: UnboundedSender<String>,
    broken: Arc<AtomicBool>,
}

impl Leaser {
    fn new(undone: UnboundedSender<String>, broken: Arc<AtomicBool>) -> Self {
        let routes = vec![
            Route::new("config", &[], "").free_form().on(Operation::Update, "", |_, call| {
                call.view.put("config", b"connection".as_slice().into())?;
                Ok(None)
            }),
            Route::new("creds", &[], "").on(Operation::Read, "", |_, call| {
                let mut internal = Map::new();
                internal.insert("user".into(), call.entropy.base62(8)?.into());
                let secret = LeasedSecret { register: true, renewable: true, internal, ..LeasedSecret::default() };
                Ok(Some(Response { secret: Some(Box::new(secret)), ..Response::json(json!({"user": "u"})) }))
            }),
        ];
        Self { table: PathTable::new("", routes), undone, broken }
    }
}

impl Engine for Leaser {
    const TYPE: &'static str = "leaser";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn revoke_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let connection = call.view.get("config")?.ok_or_else(|| EngineError::internal("no connection is configured"))?;
            let text = format!("{} {}", String::from_utf8_lossy(connection.bytes()), internal["user"]);
            let _ = self.undone.send(text);
            if self.broken.load(Ordering::SeqCst) { Err(EngineError::internal("the other side is away")) } else { Ok(()) }
        })
    }
}

async fn with_leaser() -> (Server, UnboundedReceiver<String>, Arc<AtomicBool>) {
    let (sender, undone) = unbounded_channel();
    let broken = Arc::new(AtomicBool::new(false));
    let mut registry = common::registry();
    let state = Arc::clone(&broken);
    registry.secrets.insert("leaser", Arc::new(move |_| Arc::new(Leaser::new(sender.clone(), Arc::clone(&state)))));
    (Server::start_with(registry, CoreConfig::default()).await, undone, broken)
}

async fn next(undone: &mut UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, undone.recv()).await.expect("the worker undoes it").expect("a message")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_a_disabled_mount_are_undone_by_its_engine() {
    let (s, mut undone, _) = with_leaser().await;
    let before = s.records();
    s.quietly("sys/mounts/db", json!({"type": "leaser"})).await;
    s.quietly("db/config", json!({})).await;
    for _ in 0..5 {
        assert!(s.get("db/creds").await.failure.is_none());
    }
    assert!(s.delete("sys/mounts/db").await.is_empty());
    // Another mount takes the path at once; what it hands out is its own.
    s.quietly("sys/mounts/db", json!({"type": "leaser"})).await;
    s.quietly("db/config", json!({})).await;
    assert!(s.get("db/creds").await.failure.is_none());
    let mut users = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let text = next(&mut undone).await;
        assert!(text.starts_with("connection "), "{text}");
        users.insert(text);
    }
    assert_eq!(users.len(), 5, "each of them once");
    assert!(undone.try_recv().is_err(), "not that of the new mount");
    // When both are gone, nothing is left of either.
    assert!(s.delete("sys/mounts/db").await.is_empty());
    next(&mut undone).await;
    settle(&s, before).await;
}

/// Lets the worker's part be done until `records` are left; fails if it never comes to that.
async fn settle(s: &Server, records: usize) {
    let cleared = async {
        while s.records() != records {
            s.advance(Duration::from_secs(40));
            s.tidy_mounts().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cleared).await.unwrap_or_else(|_| panic!("{} records instead of {records}", s.records()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_stays_while_leases_cannot_be_undone_but_not_for_ever() {
    let (s, mut undone, broken) = with_leaser().await;
    broken.store(true, Ordering::SeqCst);
    s.quietly("sys/mounts/db", json!({"type": "leaser"})).await;
    let with_mount = s.records();
    s.quietly("db/config", json!({})).await;
    assert!(s.get("db/creds").await.failure.is_none());
    assert!(s.delete("sys/mounts/db").await.is_empty());
    assert!(next(&mut undone).await.starts_with("connection "));
    s.advance(Duration::from_secs(60));
    s.tidy_mounts().await;
    assert!(next(&mut undone).await.starts_with("connection "), "a minute later the connection is still there for the next try");
    s.advance(Duration::from_secs(16 * 60));
    // The mount is gone, its data as well; the lease goes with the worker's next look at it. After ten minutes with writes their
    // number is noted for key rotation: a row more.
    settle(&s, with_mount - 1 + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_disabled_mount_stays_at_rest() {
    let s = Server::start().await;
    let before = s.records();
    s.quietly("sys/mounts/kv", json!({"type": "kv", "options": {"version": "2"}})).await;
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    for i in 0..100 {
        assert!(s.post(&format!("kv/data/f{}/k{i}", i % 7), json!({"data": {"n": i}})).await.failure.is_none());
    }
    s.quietly("auth/up/users/ann", json!({"password": "p"})).await;
    assert!(s.records() > before + 200);
    assert!(s.delete("sys/mounts/kv").await.is_empty() && s.delete("sys/auth/up").await.is_empty());
    settle(&s, before).await;
}
