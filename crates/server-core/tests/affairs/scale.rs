//! What is stored does not slow what does not ask for it: reads of the store are counted, with little in it and with much. A worker in
//! the background reads a few rows of its own, so counts are compared with room; anything that grows with the population is beyond it.
//! Pages of long listings have their test in the barrier; figures with a million of each come from `benches/scale`.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api_types::Operation::{Read, Update};
use bytes::Bytes;
use replication::Settings;
use secret::{ManualClock, SecretBytes, SystemEntropy, Time};
use serde_json::{Value, json};
use server_core::{Core, CoreConfig, InitRequest};
use storage::{Batch, Durability, MemoryStore, Snapshot, Space, Store, StoreError};

use super::common::{Server, registry};
use super::{ask, get, post};

const FEW: usize = 20;
const MANY: usize = 500;
/// What the worker may read meanwhile. Less than one row for each of the crowd.
const ROOM: usize = 200;

/// Counts the records of applied state that are read.
struct Counting {
    below: Arc<MemoryStore>,
    reads: Arc<AtomicUsize>,
}

impl Counting {
    fn count(&self, space: Space, records: usize) {
        if space == Space::State {
            self.reads.fetch_add(records, Ordering::Relaxed);
        }
    }
}

impl Store for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.count(space, 1);
        self.below.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.below.scan(space, from, to, &mut |key, value| {
            self.count(space, 1);
            visit(key, value)
        })
    }

    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.below.last(space)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.below.commit(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.below.sync()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.below.snapshot()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.below.disk_bytes()
    }

    fn engine(&self) -> &'static str {
        self.below.engine()
    }
}

async fn counted() -> (Server, Arc<AtomicUsize>) {
    let (below, reads) = (Arc::new(MemoryStore::default()), Arc::new(AtomicUsize::new(0)));
    let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
    let store = Arc::new(Counting { below: Arc::clone(&below), reads: Arc::clone(&reads) });
    let settings = Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
    let ticking: Arc<dyn secret::Clock> = Arc::<ManualClock>::clone(&clock);
    let core = Core::start(store, settings, CoreConfig::default(), registry(), ticking, Arc::new(SystemEntropy)).await.unwrap();
    let made = core.init(InitRequest { secret_shares: 1, secret_threshold: 1, ..InitRequest::default() }).await.unwrap();
    let share = made.shares.into_iter().next().unwrap().expose().to_vec();
    core.unseal(SecretBytes::new(share.clone()), false).await.unwrap();
    (Server { core, clock, root: made.root_token.expose().to_owned(), share, store: below }, reads)
}

/// Entities with an alias each, tokens, and keys of one folder.
async fn crowd(s: &Server, accessor: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let made = post(s, "identity/entity", json!({ "name": format!("person-{n}") })).await;
        let alias = json!({ "name": format!("user-{n}"), "mount_accessor": accessor, "canonical_id": made.data()["id"] });
        assert_eq!(post(s, "identity/entity-alias", alias).await.status, 200);
        assert_eq!(post(s, "auth/token/create", json!({ "policies": ["default"] })).await.status, 200);
        assert_eq!(post(s, &format!("kv/many/{n:06}"), json!({ "a": "b" })).await.status, 204);
    }
}

#[tokio::test]
async fn class_n_a_crowd_slows_neither_unsealing_nor_logins_nor_reads() {
    let (s, reads) = counted().await;
    s.quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    assert_eq!(post(&s, "sys/auth/up", json!({ "type": "userpass" })).await.status, 204);
    assert_eq!(post(&s, "auth/up/users/ann", json!({ "password": "pw" })).await.status, 204);
    let accessor = get(&s, "sys/auth").await.data()["up/"]["accessor"].as_str().unwrap().to_owned();
    let mut seen: Vec<Vec<(&str, usize)>> = Vec::new();
    let mut there = 0;
    for size in [FEW, MANY] {
        crowd(&s, &accessor, there..size).await;
        there = size;
        let mut counts = Vec::new();
        s.core.seal().await;
        let mut since = reads.load(Ordering::Relaxed);
        let mut note = |what| {
            let now = reads.load(Ordering::Relaxed);
            counts.push((what, now - since));
            since = now;
        };
        s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
        note("unsealing");
        assert_eq!(get(&s, "sys/mounts").await.status, 200);
        note("a first request");
        for what in ["a first login", "a second login"] {
            assert_eq!(ask(&s, Update, "auth/up/login/ann", json!({ "password": "pw" }), "").await.status, 200);
            note(what);
        }
        assert_eq!(ask(&s, Read, "kv/many/000007", Value::Null, &s.root).await.status, 200);
        note("a read");
        seen.push(counts);
    }
    for (few, many) in seen[0].iter().zip(&seen[1]) {
        assert!(many.1 <= few.1 + ROOM, "{}: {} reads with {FEW} of each, {} with {MANY}", few.0, few.1, many.1);
    }
    let whole = reads.load(Ordering::Relaxed);
    assert_eq!(super::list(&s, "kv/many/").await.data()["keys"].as_array().unwrap().len(), MANY);
    assert!(reads.load(Ordering::Relaxed) - whole >= MANY, "the count does not see what is read");
}
