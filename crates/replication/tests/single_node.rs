//! One node: what a proposal becomes, what is refused, what survives a restart and a crash.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::{check, log_of, open, put, read, settings};
use replication::{MAX_CHANGE_BYTES, OpenError, ProposeError, Replica, State};
use storage::{Batch, Changeset, Check, Durability, MemoryStore, Space, Store, Write};

#[tokio::test]
async fn an_empty_store_is_uninitialised_and_bootstrap_makes_it_lead() {
    let (replica, _) = open(&common::memory()).await;
    assert!(!replica.initialized());
    assert_eq!(replica.propose(put("a", "1")).await, Err(ProposeError::Uninitialized));
    assert_eq!(replica.read_barrier().await, Err(ProposeError::Uninitialized));
    assert!(!*replica.leadership().borrow());

    replica.bootstrap().await.unwrap();
    assert!(replica.initialized());
    assert!(*replica.leadership().borrow());
    replica.read_barrier().await.unwrap();
    let status = replica.status();
    assert_eq!(status.state, State::Leader);
    assert_eq!(status.leader.as_ref(), Some(&status.this));
    assert_eq!(status.peers.as_slice(), std::slice::from_ref(&status.this));
    assert!(status.this.voter && status.this.leader);
    assert_eq!(status.this.api_addr, "http://127.0.0.1:8200");
    replica.bootstrap().await.unwrap(); // repeating it is harmless
}

#[tokio::test]
async fn a_change_is_applied_when_it_is_acknowledged_and_versioned_by_its_index() {
    let (replica, _) = common::leading(&common::memory()).await;
    let first = replica.propose(put("a", "1")).await.unwrap();
    assert!(first.committed);
    assert_eq!(read(&replica, "a"), Some((first.index, "1".to_owned())));
    let second = replica.propose(put("a", "2")).await.unwrap();
    assert!(second.index > first.index);
    assert_eq!(read(&replica, "a"), Some((second.index, "2".to_owned())));
    assert_eq!(replica.applied_index(), second.index);
    assert!(replica.committed_index() >= second.index);
    let removed = Changeset { checks: vec![], writes: vec![Write { key: b"a".to_vec(), value: None }] };
    replica.propose(removed).await.unwrap();
    assert_eq!(read(&replica, "a"), None);
}

#[tokio::test]
async fn of_two_changes_that_checked_the_same_version_one_conflicts() {
    let (replica, observer) = common::leading(&common::memory()).await;
    let base = replica.propose(put("a", "0")).await.unwrap().index;
    let (x, y) = tokio::join!(replica.propose(check("a", base, put("a", "x"))), replica.propose(check("a", base, put("a", "y"))));
    let (x, y) = (x.unwrap(), y.unwrap());
    assert_ne!(x.committed, y.committed);
    let (winner, loser) = if x.committed { ((x, "x"), y) } else { ((y, "y"), x) };
    assert_eq!(read(&replica, "a"), Some((winner.0.index, winner.1.to_owned())));
    let seen: Vec<u64> = observer.entries().into_iter().map(|(index, _)| index).collect();
    assert!(seen.contains(&winner.0.index) && !seen.contains(&loser.index));
}

#[tokio::test]
async fn checks_of_absence_and_of_ranges() {
    let (replica, _) = common::leading(&common::memory()).await;
    assert!(replica.propose(check("new", 0, put("new", "1"))).await.unwrap().committed);
    assert!(!replica.propose(check("new", 0, put("new", "2"))).await.unwrap().committed);

    let digest = storage::range_digest(&**replica.store(), b"d/", b"d0").unwrap();
    let ranged = |digest, key: &str| Changeset {
        checks: vec![Check::Range { from: b"d/".to_vec(), to: b"d0".to_vec(), digest }],
        ..put(key, "v")
    };
    let (one, two) = tokio::join!(replica.propose(ranged(digest, "d/1")), replica.propose(ranged(digest, "d/2")));
    assert_ne!(one.unwrap().committed, two.unwrap().committed);
    let digest = storage::range_digest(&**replica.store(), b"d/", b"d0").unwrap();
    assert!(replica.propose(ranged(digest, "d/3")).await.unwrap().committed);
}

#[tokio::test]
async fn what_is_too_large_never_reaches_the_log() {
    let (replica, _) = common::leading(&common::memory()).await;
    let before = replica.status().last_log;
    let huge = Changeset { checks: vec![], writes: vec![Write { key: b"k".to_vec(), value: Some(vec![0; MAX_CHANGE_BYTES]) }] };
    assert!(matches!(replica.propose(huge).await, Err(ProposeError::TooLarge { what: "the change", .. })));
    let long = Changeset { checks: vec![], writes: vec![Write { key: vec![1; 70_000], value: None }] };
    assert!(matches!(replica.propose(long).await, Err(ProposeError::TooLarge { what: "a stored name", .. })));
    assert_eq!(replica.status().last_log, before);
    let fits = Changeset { checks: vec![], writes: vec![Write { key: b"k".to_vec(), value: Some(vec![0; 33 * 1024 * 1024]) }] };
    assert!(replica.propose(fits).await.unwrap().committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_are_all_committed_and_seen_in_order() {
    let (replica, observer) = common::leading(&common::memory()).await;
    let replica = Arc::new(replica);
    let mut tasks = Vec::new();
    for i in 0..100 {
        let replica = Arc::clone(&replica);
        tasks.push(tokio::spawn(async move { replica.propose(put(&format!("k{i}"), "v")).await.unwrap() }));
    }
    let mut indexes = Vec::new();
    for task in tasks {
        let applied = task.await.unwrap();
        assert!(applied.committed);
        indexes.push(applied.index);
    }
    indexes.sort_unstable();
    indexes.dedup();
    assert_eq!(indexes.len(), 100);
    let seen: Vec<u64> = observer.entries().into_iter().map(|(index, _)| index).collect();
    assert!(seen.is_sorted());
    assert_eq!(seen, indexes);
}

#[tokio::test]
async fn the_observer_is_told_after_the_commit_and_before_the_acknowledgement() {
    let store = common::memory();
    let (replica, observer) = common::leading(&store).await;
    observer.watch(&store);
    let applied = replica.propose(put("a", "1")).await.unwrap();
    assert_eq!(observer.entries().last(), Some(&(applied.index, vec!["a".to_owned()])));
    assert!(observer.missed().is_empty(), "the observer saw a key that the store did not hold yet");
}

#[tokio::test]
async fn a_restart_leads_again_with_all_its_state() {
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    let applied = replica.propose(put("a", "1")).await.unwrap();
    let term = replica.status().term;
    replica.shutdown().await.unwrap();
    assert_eq!(replica.propose(put("b", "1")).await, Err(ProposeError::Shutdown));
    assert!(!*replica.leadership().borrow());
    drop(replica);

    let (replica, _) = open(&store).await;
    assert!(replica.initialized());
    assert_eq!(read(&replica, "a"), Some((applied.index, "1".to_owned())));
    replica.leadership().wait_for(|leading| *leading).await.unwrap();
    assert!(replica.status().term > term);
    assert!(replica.propose(check("a", applied.index, put("a", "2"))).await.unwrap().committed);
}

#[tokio::test]
async fn a_crash_between_log_and_state_replays_the_log() {
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    let before = replica.propose(put("a", "1")).await.unwrap();
    let state_then = common::copy(&store);
    let after = replica.propose(put("a", "2")).await.unwrap();
    let conflict = replica.propose(check("a", before.index, put("a", "3"))).await.unwrap();
    assert!(!conflict.committed);
    replica.shutdown().await.unwrap();

    // What a power loss leaves: the whole log, and the state of an earlier commit.
    let crashed = common::memory();
    common::transfer(&state_then, &crashed, &[Space::State, Space::Meta]);
    common::transfer(&store, &crashed, &[Space::Log]);
    let mut vote = Batch::default();
    vote.put(Space::Meta, "raft/vote", store.get(Space::Meta, b"raft/vote").unwrap().unwrap().to_vec());
    crashed.commit(vote, Durability::Synced).unwrap();

    let (replica, observer) = open(&crashed).await;
    assert_eq!(read(&replica, "a"), Some((before.index, "1".to_owned())));
    replica.leadership().wait_for(|leading| *leading).await.unwrap();
    replica.read_barrier().await.unwrap();
    assert_eq!(read(&replica, "a"), Some((after.index, "2".to_owned())));
    assert_eq!(observer.entries(), [(after.index, vec!["a".to_owned()])]);
}

#[tokio::test]
async fn a_long_log_is_purged_and_the_node_still_restarts() {
    let store = common::memory();
    let mut settings = settings();
    settings.snapshot_threshold = 20;
    settings.trailing_logs = 5;
    let (replica, _) = common::leading_with(&store, settings.clone()).await;
    for i in 0..100 {
        replica.propose(put(&format!("k{}", i % 7), &i.to_string())).await.unwrap();
    }
    let last = replica.status().last_log;
    common::until(|| log_of(&store).first().is_some_and(|first| *first > last - 40)).await;
    assert!(log_of(&store).windows(2).all(|w| w[0] + 1 == w[1]));
    replica.shutdown().await.unwrap();
    let (replica, _) = common::open_with(&store, settings).await;
    replica.leadership().wait_for(|leading| *leading).await.unwrap();
    assert_eq!(read(&replica, "k0").map(|(_, v)| v), Some("98".to_owned()));
    assert!(replica.propose(put("k0", "new")).await.unwrap().committed);
}

#[tokio::test]
async fn a_log_with_too_many_bytes_is_purged_whatever_their_number() {
    let store = common::memory();
    let mut settings = settings();
    settings.log_bytes = 1024 * 1024;
    let (replica, _) = common::leading_with(&store, settings).await;
    let value = "x".repeat(100_000);
    for i in 0..40 {
        replica.propose(put(&format!("k{i}"), &value)).await.unwrap();
    }
    common::until(|| common::log_bytes(&store) < 2 * 1024 * 1024).await;
    assert!(common::log_bytes(&store) > 0);
    assert_eq!(read(&replica, "k0").map(|(_, v)| v.len()), Some(100_000));
}

#[tokio::test]
async fn a_failed_disk_fails_this_and_every_later_proposal_with_its_reason() {
    let broken = Arc::new(common::Breaking::default());
    let store: Arc<dyn Store> = Arc::clone(&broken) as Arc<dyn Store>;
    let (replica, observer) = common::leading(&store).await;
    broken.fail();
    for _ in 0..3 {
        match replica.propose(put("a", "1")).await {
            Err(ProposeError::Storage(text)) => assert!(text.contains("the disk is gone"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(observer.entries().is_empty());
    assert_eq!(replica.status().state, State::Shutdown);
    assert!(replica.status().failure.is_some());
    assert!(!*replica.leadership().borrow());
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let broken = Arc::new(common::Breaking::default());
    let store: Arc<dyn Store> = Arc::clone(&broken) as Arc<dyn Store>;
    let (replica, _) = common::leading(&store).await;
    let replica = Arc::new(replica);
    broken.fill();
    let waiting = {
        let replica = Arc::clone(&replica);
        tokio::spawn(async move { replica.propose(put("a", "1")).await })
    };
    common::until(|| broken.refused() > 0).await;
    match replica.propose(put("b", "1")).await {
        Err(ProposeError::Full(text)) => assert!(text.contains("full"), "{text}"),
        other => panic!("{other:?}"),
    }
    broken.heal();
    // It waits for a while only, and on a slow machine that may be over; it is committed all the same.
    match waiting.await.unwrap() {
        Ok(applied) => assert!(applied.committed),
        Err(ProposeError::Full(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
    common::until(|| read(&replica, "a").is_some()).await;
    broken.fill();
    // One that finds the disk full is told after a moment, whatever becomes of it.
    assert!(matches!(replica.propose(put("c", "1")).await, Err(ProposeError::Full(_))));
    broken.heal();
    common::until(|| read(&replica, "c").is_some()).await;
    assert!(replica.propose(put("b", "1")).await.unwrap().committed);
}

#[tokio::test]
async fn a_store_belongs_to_one_node() {
    let store = common::memory();
    let (replica, _) = open(&store).await;
    replica.shutdown().await.unwrap();
    let mut other = settings();
    other.node_id = "another".to_owned();
    let result = Replica::open(Arc::clone(&store), other, Arc::new(common::Seen::default())).await;
    assert!(matches!(result.err(), Some(OpenError::OtherNode { .. })));
    let mut unnamed = settings();
    unnamed.node_id = String::new();
    let (replica, _) = common::open_with(&store, unnamed.clone()).await;
    assert_eq!(replica.status().this.node_id, "one");
    let fresh: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (replica, _) = common::open_with(&fresh, unnamed).await;
    assert_eq!(replica.status().this.node_id.len(), 36);
}

#[tokio::test]
async fn an_old_log_is_purged_even_if_nothing_new_is_written() {
    let store = common::memory();
    let mut young = settings();
    young.log_age = std::time::Duration::from_millis(20);
    let (replica, _) = common::leading_with(&store, young).await;
    for i in 0..10 {
        replica.propose(put(&format!("k{i}"), "v")).await.unwrap();
    }
    common::until(|| log_of(&store).is_empty()).await;
    assert!(replica.propose(put("k", "v")).await.unwrap().committed);
    replica.shutdown().await.unwrap();
    let (replica, _) = open(&store).await;
    replica.leadership().wait_for(|leading| *leading).await.unwrap();
    assert!(read(&replica, "k9").is_some());
}

#[tokio::test]
async fn new_addresses_reach_the_membership() {
    let store = common::memory();
    let (replica, _) = common::leading(&store).await;
    replica.shutdown().await.unwrap();
    let mut moved = settings();
    moved.api_addr = "http://moved:8200".to_owned();
    let (replica, _) = common::open_with(&store, moved).await;
    common::until(|| replica.status().leader.is_some_and(|l| l.api_addr == "http://moved:8200")).await;
    assert_eq!(replica.status().peers.len(), 1);
}

async fn a_directory_can_be_opened_again(open: impl Fn() -> Arc<dyn Store>) {
    let mut last = None;
    for round in 0..3 {
        let store = open();
        let (replica, _) = common::leading(&store).await;
        if let Some((index, value)) = last {
            assert_eq!(read(&replica, "round"), Some((index, value)));
        }
        let applied = replica.propose(put("round", &round.to_string())).await.unwrap();
        last = Some((applied.index, round.to_string()));
        replica.shutdown().await.unwrap();
        drop(replica);
        assert_eq!(Arc::strong_count(&store), 1, "replication still holds the store");
    }
}

#[tokio::test]
async fn after_shutdown_a_fjall_directory_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    a_directory_can_be_opened_again(|| {
        Arc::new(storage_fjall::FjallStore::open(&path, storage_fjall::FjallOptions::default()).unwrap())
    })
    .await;
}

#[tokio::test]
async fn after_shutdown_a_sled_directory_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    a_directory_can_be_opened_again(|| {
        Arc::new(storage_sled::SledStore::open(&path, storage_sled::SledOptions::default()).unwrap())
    })
    .await;
}

#[tokio::test]
async fn one_client_costs_one_sync_and_many_share_it() {
    let counting = Arc::new(common::Breaking::default());
    let store: Arc<dyn Store> = Arc::clone(&counting) as Arc<dyn Store>;
    let (replica, _) = common::leading(&store).await;
    let before = counting.synced();
    for i in 0..50 {
        replica.propose(put(&format!("k{i}"), "v")).await.unwrap();
    }
    assert_eq!(counting.synced() - before, 50);
    let before = counting.synced();
    let all = (0..32).map(|i| replica.propose(put(&format!("k{i}"), "w")));
    for applied in futures::future::join_all(all).await {
        assert!(applied.unwrap().committed);
    }
    assert!(counting.synced() - before <= 4, "{} syncs for 32 changes", counting.synced() - before);
}

#[tokio::test]
async fn a_disk_that_fails_between_log_and_state_fails_the_proposal_and_the_log_keeps_it() {
    let broken = Arc::new(common::Breaking::default());
    let store: Arc<dyn Store> = Arc::clone(&broken) as Arc<dyn Store>;
    let (replica, observer) = common::leading(&store).await;
    broken.fail_after(1);
    for _ in 0..2 {
        match replica.propose(put("a", "1")).await {
            Err(ProposeError::Storage(text)) => assert!(text.contains("the disk is gone"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(observer.entries().is_empty());
    let _ = replica.shutdown().await;
    drop(replica);
    broken.heal();
    let (replica, _) = open(&store).await;
    replica.leadership().wait_for(|leading| *leading).await.unwrap();
    assert_eq!(read(&replica, "a").map(|(_, v)| v), Some("1".to_owned()));
}

#[tokio::test]
async fn a_state_that_ends_before_the_log_begins_is_refused() {
    let store = common::memory();
    let mut settings = settings();
    settings.snapshot_threshold = 10;
    settings.trailing_logs = 2;
    let (replica, _) = common::leading_with(&store, settings.clone()).await;
    for i in 0..30 {
        replica.propose(put(&format!("k{i}"), "v")).await.unwrap();
    }
    common::until(|| log_of(&store).first().is_some_and(|first| *first > 5)).await;
    replica.shutdown().await.unwrap();
    let mut lost = Batch::default();
    lost.delete(Space::Meta, "raft/applied");
    store.commit(lost, Durability::Synced).unwrap();
    let result = Replica::open(store, settings, Arc::new(common::Seen::default())).await;
    let text = result.err().expect("must not open").to_string();
    assert!(text.contains("purged up to"), "{text}");
}

#[tokio::test]
async fn newer_formats_are_refused() {
    for (space, key, name) in [
        (Space::Meta, b"raft/vote".to_vec(), "vote"),
        (Space::Meta, b"raft/applied".to_vec(), "applied"),
        (Space::Log, 0_u64.to_be_bytes().to_vec(), "log entry"),
    ] {
        let store = common::memory();
        let mut batch = Batch::default();
        batch.put(space, key, [200, 1, 2]);
        store.commit(batch, Durability::Synced).unwrap();
        let result = Replica::open(store, settings(), Arc::new(common::Seen::default())).await;
        let text = result.err().expect("must not open").to_string();
        assert!(text.contains("newer program") && text.contains(name), "{text}");
    }
}
