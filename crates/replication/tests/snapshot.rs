//! Snapshots: what one node's state becomes on another, and what a crash or a damaged file in the middle leaves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use common::{Breaking, Seen, put};
use openraft::storage::RaftStateMachine;
use replication::internals::{Machine, Shared, TypeConfig};
use replication::{OpenError, Replica, StateSnapshot};
use storage::{Space, Store};

type Meta = openraft::alias::SnapshotMetaOf<TypeConfig>;
type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn state(store: &dyn Store) -> State {
    let mut all = BTreeMap::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        all.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    store.scan(Space::State, Bound::Unbounded, Bound::Unbounded, visit).unwrap();
    all
}

/// A node's store with `n` records.
async fn filled(n: usize) -> Arc<dyn Store> {
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    for i in 0..n {
        replica.propose(put(&format!("key/{i:05}"), &"v".repeat(i % 300))).await.unwrap();
    }
    replica.shutdown().await.unwrap();
    store
}

fn machine(store: &Arc<dyn Store>, dir: Option<&Path>) -> (Machine, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let dir = dir.map(Path::to_owned);
    let observer = Arc::clone(&seen) as Arc<dyn replication::Observer>;
    (Machine::open(Arc::clone(store), Arc::new(Shared::default()), observer, dir).unwrap(), seen)
}

async fn snapshot_of(store: &Arc<dyn Store>) -> (Meta, StateSnapshot) {
    let snapshot = machine(store, None).0.get_current_snapshot().await.unwrap().unwrap();
    (snapshot.meta, snapshot.snapshot)
}

/// A store with other content, to be replaced.
async fn stale() -> Arc<dyn Store> {
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    for key in ["old/1", "old/2", "key/00000"] {
        replica.propose(put(key, "stale")).await.unwrap();
    }
    replica.shutdown().await.unwrap();
    store
}

#[tokio::test]
async fn a_snapshot_replaces_state_position_and_membership() {
    let from = filled(50).await;
    let (meta, snapshot) = snapshot_of(&from).await;
    let dir = tempfile::tempdir().unwrap();
    for dir in [None, Some(dir.path())] {
        let to = stale().await;
        let (mut target, seen) = machine(&to, dir);
        target.install_snapshot(&meta, snapshot.clone()).await.unwrap();
        assert_eq!(state(&*to), state(&*from));
        assert_eq!(seen.resets(), 1);
        assert_eq!(target.applied_state().await.unwrap(), (meta.last_log_id, meta.last_membership.clone()));
        let (mut reopened, _) = machine(&to, dir);
        assert_eq!(reopened.applied_state().await.unwrap(), (meta.last_log_id, meta.last_membership.clone()));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the spooled file is removed");
}

#[tokio::test]
async fn a_snapshot_does_not_see_what_is_written_later() {
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    replica.propose(put("a", "1")).await.unwrap();
    let before = state(&*store);
    let snapshot = replica.snapshot().unwrap();
    replica.propose(put("a", "2")).await.unwrap();
    replica.propose(put("b", "2")).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    snapshot.write_to(&mut file).unwrap();
    let (meta, _) = snapshot_of(&store).await;
    let to = common::memory();
    machine(&to, None).0.install_snapshot(&meta, StateSnapshot::of_file(file.path().to_owned())).await.unwrap();
    assert_eq!(state(&*to), before);
}

#[tokio::test]
async fn a_crash_at_any_write_of_an_installation_is_finished_at_the_next_start() {
    let from = filled(40).await;
    let (meta, snapshot) = snapshot_of(&from).await;
    let mut finished = false;
    for writes in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let broken = Arc::new(Breaking::default());
        let to: Arc<dyn Store> = Arc::clone(&broken) as Arc<dyn Store>;
        common::transfer(&stale().await, &to, &Space::ALL);
        let old = state(&*to);
        let (mut target, _) = machine(&to, Some(dir.path()));
        broken.fail_after(writes);
        finished = target.install_snapshot(&meta, snapshot.clone()).await.is_ok();
        drop(target);
        broken.heal();
        let (mut reopened, _) = machine(&to, Some(dir.path()));
        let expected = if writes == 0 { old } else { state(&*from) };
        assert_eq!(state(&*to), expected, "after {writes} writes");
        assert_eq!(reopened.applied_state().await.unwrap().0 == meta.last_log_id, writes > 0);
        if finished {
            break;
        }
    }
    assert!(finished);
}

#[tokio::test]
async fn an_interrupted_installation_without_its_file_is_refused_with_advice() {
    let from = filled(5).await;
    let (meta, snapshot) = snapshot_of(&from).await;
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(Breaking::default());
    let to: Arc<dyn Store> = Arc::clone(&broken) as Arc<dyn Store>;
    common::transfer(&stale().await, &to, &Space::ALL);
    let (mut target, _) = machine(&to, Some(dir.path()));
    broken.fail_after(1);
    target.install_snapshot(&meta, snapshot).await.unwrap_err();
    drop(target);
    broken.heal();
    std::fs::remove_file(dir.path().join("install.snapshot")).unwrap();
    let mut settings = common::settings();
    settings.snapshot_dir = Some(dir.path().to_owned());
    let result = Replica::open(to, settings, Arc::new(Seen::default())).await;
    let error = result.err().unwrap();
    assert!(matches!(error, OpenError::Snapshot(_)), "{error}");
    assert!(error.to_string().contains("join again"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_costs_nothing() {
    let from = filled(20).await;
    let (meta, snapshot) = snapshot_of(&from).await;
    let mut good = Vec::new();
    snapshot.write_to(&mut good).unwrap();
    let mut bad: Vec<(&str, Vec<u8>)> = vec![("empty", Vec::new()), ("magic", vec![b'x'; 64])];
    for (name, at) in [("format", 6), ("length", 8), ("record", 200), ("sum", good.len() - 1)] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        bad.push((name, bytes));
    }
    for cut in [7, 100, good.len() / 2, good.len() - 8, good.len() - 1] {
        bad.push(("cut", good[..cut].to_vec()));
    }
    for (name, bytes) in bad {
        let to = stale().await;
        let before = state(&*to);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("received");
        std::fs::write(&file, bytes).unwrap();
        let (mut target, seen) = machine(&to, Some(dir.path()));
        assert!(target.install_snapshot(&meta, StateSnapshot::of_file(file)).await.is_err(), "{name}");
        assert_eq!(state(&*to), before, "{name}");
        assert_eq!(seen.resets(), 0);
    }
}
