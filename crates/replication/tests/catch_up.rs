//! What a node that was away, lagged or was restored over gets, and how a cluster without a majority is recovered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{check, put};
use replication::testing::{Cluster, until, within};
use replication::{ProposeError, RecoverError, Settings, Survivor, recover};

fn other(cluster: &Cluster, leader: &str) -> String {
    cluster.names().into_iter().find(|name| *name != leader).unwrap().to_owned()
}

/// A log so short that whoever is away for a moment needs a snapshot.
fn short_log(settings: &mut Settings) {
    settings.snapshot_threshold = 10;
    settings.trailing_logs = 5;
}

async fn write_many(cluster: &Cluster, prefix: &str, count: usize) {
    let leader = cluster.at(&cluster.leader().await);
    for i in 0..count {
        assert!(leader.propose(put(&format!("{prefix}{i}"), "v")).await.unwrap().committed);
    }
}

async fn until_purged(cluster: &Cluster, leader: &str) {
    let store = Arc::clone(&cluster.nodes[leader].store);
    until("the leader's log is short", || common::log_of(&store).first().is_some_and(|first| *first > 50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_gets_a_snapshot_and_a_torn_one_again() {
    let mut cluster = Cluster::of(3, short_log).await;
    let leader = cluster.leader().await;
    let away = other(&cluster, &leader);
    cluster.at(&leader).propose(put("old", "1")).await.unwrap();
    cluster.agree().await;
    cluster.kill(&away).await;
    let removed = storage::Changeset { checks: vec![], writes: vec![storage::Write { key: b"old".to_vec(), value: None }] };
    cluster.at(&leader).propose(removed).await.unwrap();
    write_many(&cluster, "k", 100).await;
    until_purged(&cluster, &leader).await;
    cluster.net.tear_snapshot(&away, 1);
    cluster.start(&away).await;
    until("it has all of it", || cluster.read(&away, "k99").is_some() && cluster.read(&away, "old").is_none()).await;
    assert!(cluster.net.snapshots() >= 2, "the first one broke off");
    within("it takes part", cluster.at(&away).propose(put("by", "it"))).await.unwrap();
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_late_gets_a_snapshot_of_everything() {
    let mut cluster = Cluster::of(1, short_log).await;
    write_many(&cluster, "k", 100).await;
    until_purged(&cluster, "n1").await;
    cluster.add("n2", short_log).await;
    cluster.join("n2").await;
    cluster.promote("n2").await;
    cluster.at("n2").read_barrier().await.unwrap();
    assert_eq!(cluster.read("n2", "k0").as_deref(), Some("v"));
    assert!(cluster.at("n2").propose(put("by", "n2")).await.unwrap().committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_state_is_that_of_all_nodes_also_of_one_that_was_down() {
    let snapshots = tempfile::tempdir().unwrap();
    let dir = snapshots.path().to_owned();
    let mut cluster = Cluster::of(3, |settings| settings.snapshot_dir = Some(dir.join(&settings.node_id))).await;
    let leader = cluster.leader().await;
    let away = other(&cluster, &leader);
    write_many(&cluster, "old", 10).await;
    cluster.agree().await;
    cluster.kill(&away).await;
    let replica = cluster.at(&leader);
    let mut incoming = replica.receive().unwrap();
    for i in 0..30 {
        incoming.put(format!("new{i}").as_bytes(), &vec![b'x'; 100_000]).unwrap();
    }
    let restored = replica.restore(incoming).await.unwrap();
    assert!(restored.committed);
    cluster.start(&away).await;
    let names: Vec<String> = cluster.names().into_iter().map(str::to_owned).collect();
    for name in names {
        cluster.at(&name).read_barrier().await.unwrap();
        assert_eq!(cluster.read(&name, "old0"), None, "{name} has nothing of the old state");
        assert_eq!(cluster.read(&name, "new29").map(|value| value.len()), Some(100_000), "{name} has the new one");
        let version = common::read(&cluster.at(&name), "new0").unwrap().0;
        assert_eq!(version, restored.index, "with the same version");
        // The backup of it holds no staged record.
        let mut keys = 0;
        cluster
            .at(&name)
            .snapshot()
            .unwrap()
            .each(&mut |_, _| {
                keys += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(keys, 30);
    }
    let follower = cluster.at(&other(&cluster, &leader));
    let incoming = follower.receive();
    if let Ok(incoming) = incoming {
        assert!(matches!(follower.restore(incoming).await, Err(ProposeError::NotLeader { .. })));
    }
    assert!(cluster.at(&leader).propose(check("new0", restored.index, put("new0", "y"))).await.unwrap().committed);
}

async fn a_lone_survivor(logs: Option<&Path>) {
    let log_of = |name: &str| logs.map(|dir| dir.join(name));
    let mut cluster = Cluster::of(3, |settings| settings.log_dir = log_of(&settings.node_id)).await;
    write_many(&cluster, "k", 10).await;
    cluster.agree().await;
    let survivor = "n2".to_owned();
    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }
    let store = Arc::clone(&cluster.nodes[&survivor].store);
    let me = [Survivor { raft_id: None, node_id: survivor.clone(), address: "n2:8201".to_owned(), voter: true }];
    let rewrite = |dry| recover(Arc::clone(&store), log_of("n2").as_deref(), &me, dry).unwrap();
    let plan = rewrite(true);
    assert!(plan.is_change());
    assert_eq!((plan.node_id.as_str(), plan.before.len(), plan.after.len()), ("n2", 3, 1));
    assert_eq!(plan, rewrite(true), "a dry run changes nothing");
    rewrite(false);
    assert!(!rewrite(false).is_change(), "a list that stays behind does no harm");
    cluster.start(&survivor).await;
    assert!(cluster.at(&survivor).propose(put("alone", "1")).await.unwrap().committed);
    assert_eq!(cluster.read(&survivor, "k9").as_deref(), Some("v"));
    assert_eq!(cluster.at(&survivor).status().peers.len(), 1);
    cluster.add("n4", |settings| settings.log_dir = log_of("n4")).await;
    cluster.join("n4").await;
    cluster.promote("n4").await;
    cluster.at("n4").read_barrier().await.unwrap();
    assert_eq!(cluster.read("n4", "k9").as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_survivor_is_recovered_with_all_it_had() {
    a_lone_survivor(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_survivor_with_its_log_in_files_too() {
    let dir = tempfile::tempdir().unwrap();
    a_lone_survivor(Some(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_survivors_of_five_follow_the_one_that_was_recovered() {
    let mut cluster = Cluster::of(5, |_| {}).await;
    write_many(&cluster, "k", 10).await;
    cluster.agree().await;
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        cluster.kill(name).await;
    }
    let survivors = ["n4", "n5"].map(|name| Survivor {
        raft_id: None,
        node_id: name.to_owned(),
        address: format!("{name}:8201"),
        voter: true,
    });
    recover(Arc::clone(&cluster.nodes["n4"].store), None, &survivors, false).unwrap();
    cluster.start("n4").await;
    cluster.start("n5").await;
    assert!(cluster.at("n5").propose(put("both", "1")).await.unwrap().committed);
    assert_eq!(cluster.read("n5", "k9").as_deref(), Some("v"));
    cluster.agree().await;
    assert_eq!(cluster.at("n5").status().peers.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_makes_no_sense_is_refused() {
    let mut cluster = Cluster::of(2, |_| {}).await;
    cluster.kill("n1").await;
    cluster.kill("n2").await;
    let store = &cluster.nodes["n1"].store;
    let named = |node_id: &str, voter| Survivor { raft_id: None, node_id: node_id.to_owned(), address: "a:1".to_owned(), voter };
    let refused = |list: &[Survivor]| recover(Arc::clone(store), None, list, false).unwrap_err();
    assert!(matches!(refused(&[]), RecoverError::NotItself(_)));
    assert!(matches!(refused(&[named("n2", true)]), RecoverError::NotItself(_)));
    assert!(matches!(refused(&[named("n1", false), named("n2", true)]), RecoverError::NotItself(_)));
    assert!(matches!(refused(&[named("n1", true), named("n1", true)]), RecoverError::Name(_)));
    assert!(matches!(refused(&[named("n1", true), named("", true)]), RecoverError::Name(_)));
    assert!(matches!(refused(&[named("n1", true), named("n9", true)]), RecoverError::NoSuchNode(_)));
    let nowhere = Survivor { address: String::new(), ..named("n1", true) };
    assert!(matches!(refused(&[nowhere]), RecoverError::Address(_)));
    let known = Survivor { raft_id: Some(cluster_id(&cluster, "n1")), ..named("n2", true) };
    assert!(matches!(refused(&[named("n1", true), known]), RecoverError::Name(_)), "one id, two names");
    assert!(matches!(recover(common::memory(), None, &[named("n1", true)], false), Err(RecoverError::Empty)));
}

fn cluster_id(cluster: &Cluster, name: &str) -> u64 {
    let survivors = [Survivor { raft_id: None, node_id: name.to_owned(), address: "a:1".to_owned(), voter: true }];
    let plan = recover(Arc::clone(&cluster.nodes[name].store), None, &survivors, true).unwrap();
    plan.after[0].raft_id
}
