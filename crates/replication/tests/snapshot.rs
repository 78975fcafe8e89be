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

/// Settings of a node whose log and snapshots lie in `dir`.
fn on_disk(dir: &Path) -> replication::Settings {
    let mut settings = common::settings();
    settings.snapshot_dir = Some(dir.join("snapshots"));
    settings.log_dir = Some(dir.join("log"));
    settings
}

fn plain(replica: &Replica) -> BTreeMap<String, (u64, String)> {
    let mut all = BTreeMap::new();
    // What is staged for a restoration is no part of it.
    for key in state(&**replica.store()).into_keys().filter(|key| key.first() != Some(&0)) {
        let key = String::from_utf8(key).unwrap();
        all.insert(key.clone(), common::read(replica, &key).unwrap());
    }
    all
}

#[tokio::test]
async fn a_received_state_replaces_all_and_gets_the_version_of_its_entry() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::memory();
    let (replica, seen) = common::leading_with(&store, on_disk(dir.path())).await;
    replica.propose(put("old", "1")).await.unwrap();
    replica.propose(put("both", "1")).await.unwrap();
    let mut incoming = replica.receive().unwrap();
    incoming.put(b"both", b"2").unwrap();
    incoming.put(b"new", b"3").unwrap();
    let applied = replica.restore(incoming).await.unwrap();
    assert!(applied.committed);
    let now = BTreeMap::from([
        ("both".to_owned(), (applied.index, "2".to_owned())),
        ("new".to_owned(), (applied.index, "3".to_owned())),
    ]);
    assert_eq!(plain(&replica), now);
    assert_eq!(seen.resets(), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 0, "no file stays behind");
    let next = replica.propose(common::check("both", applied.index, put("both", "4"))).await.unwrap();
    assert!(next.committed);
    replica.shutdown().await.unwrap();
    let (replica, _) = common::open_with(&store, on_disk(dir.path())).await;
    assert_eq!(common::read(&replica, "both"), Some((next.index, "4".to_owned())));
    assert_eq!(common::read(&replica, "old"), None);
}

#[tokio::test]
async fn what_is_not_used_leaves_no_file_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::memory();
    let (replica, _) = common::leading_with(&store, on_disk(dir.path())).await;
    replica.propose(put("a", "1")).await.unwrap();
    let before = plain(&replica);
    let mut incoming = replica.receive().unwrap();
    incoming.put(b"b", b"2").unwrap();
    assert!(incoming.put(b"", b"2").is_err() && incoming.put(&vec![1; 70_000], b"").is_err());
    incoming.finish().unwrap();
    assert!(incoming.put(b"c", b"after the end").is_err());
    drop(incoming);
    assert_eq!(std::fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 0);
    assert_eq!(plain(&replica), before);
}

/// `kill -9` before, between and after the commits that stage and replace the state.
#[tokio::test]
async fn a_crash_anywhere_in_a_restoration_leaves_the_old_state_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for commits in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let breaking = Arc::new(Breaking::default());
        let store = Arc::clone(&breaking) as Arc<dyn Store>;
        let (replica, _) = common::leading_with(&store, on_disk(dir.path())).await;
        replica.propose(put("old", "1")).await.unwrap();
        let mut incoming = replica.receive().unwrap();
        for i in 0..3 {
            incoming.put(format!("new/{i}").as_bytes(), &vec![b'x'; 700_000]).unwrap();
        }
        breaking.fail_after(commits);
        let outcome = replica.restore(incoming).await;
        drop(replica);
        breaking.heal();
        // The log's files and the store as the dead process left them.
        let later = tempfile::tempdir().unwrap();
        for part in ["log", "snapshots"] {
            std::fs::create_dir_all(later.path().join(part)).unwrap();
            for entry in std::fs::read_dir(dir.path().join(part)).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), later.path().join(part).join(entry.file_name())).unwrap();
            }
        }
        let (replica, _) = common::open_with(&common::copy(&store), on_disk(later.path())).await;
        replica.leadership().wait_for(|leading| *leading).await.unwrap();
        let keys: Vec<String> = plain(&replica).into_keys().collect();
        match keys.as_slice() {
            [one] if one == "old" => {
                assert!(outcome.is_err(), "acknowledged, and lost after {commits} commits");
                old += 1;
            }
            _ => {
                assert_eq!(keys, ["new/0", "new/1", "new/2"], "after {commits} commits, which was answered {outcome:?}");
                new += 1;
            }
        }
        assert!(replica.propose(put("old", "2")).await.unwrap().committed);
        // Nothing of the broken one is in the way of the next.
        let mut incoming = replica.receive().unwrap();
        incoming.put(b"next", b"1").unwrap();
        assert!(replica.restore(incoming).await.unwrap().committed);
        assert_eq!(state(&**replica.store()).len(), 1, "nothing staged stays behind");
    }
    assert!(old > 0 && new > 0, "both sides of the entry were tried");
}

#[tokio::test]
async fn a_restoration_whose_file_was_damaged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::memory();
    let (replica, _) = common::leading_with(&store, on_disk(dir.path())).await;
    replica.propose(put("a", "1")).await.unwrap();
    let mut incoming = replica.receive().unwrap();
    incoming.put(b"b", b"2").unwrap();
    assert!(incoming.put(b"\0b", b"2").is_err(), "a name that would be taken for a staged one");
    incoming.finish().unwrap();
    for entry in std::fs::read_dir(dir.path().join("snapshots")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    assert!(replica.restore(incoming).await.is_err());
    assert_eq!(plain(&replica).len(), 1);
    assert_eq!(common::read(&replica, "a").map(|(_, value)| value), Some("1".to_owned()));
    assert!(replica.propose(put("a", "2")).await.unwrap().committed);
}

#[tokio::test]
async fn a_log_in_the_store_moves_to_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    let applied = replica.propose(put("a", "1")).await.unwrap();
    replica.shutdown().await.unwrap();
    drop(replica);
    assert!(!common::log_of(&store).is_empty());
    for _ in 0..2 {
        let (replica, _) = common::open_with(&store, on_disk(dir.path())).await;
        assert!(common::log_of(&store).is_empty());
        replica.leadership().wait_for(|leading| *leading).await.unwrap();
        assert_eq!(common::read(&replica, "a"), Some((applied.index, "1".to_owned())));
        replica.propose(put("b", "2")).await.unwrap();
        replica.shutdown().await.unwrap();
    }
    // Without its log the state is not believed: entries may be missing.
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    let observer = Arc::new(Seen::default());
    let refused = Replica::open(store, on_disk(dir.path()), observer).await.err().unwrap().to_string();
    assert!(refused.contains("acknowledged entries are missing"), "{refused}");
}
