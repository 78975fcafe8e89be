//! Several nodes: writes and reads at any of them, what a lost leader, a lost answer and a lost node cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{check, put};
use replication::testing::{Cluster, until, within};
use replication::{ChangeError, ProposeError, Rpc, State};

fn others<'a>(cluster: &'a Cluster, leader: &str) -> Vec<&'a str> {
    cluster.names().into_iter().filter(|name| *name != leader).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_writes_and_reads_what_any_other_wrote() {
    let cluster = Cluster::of(3, |_| {}).await;
    for (i, writer) in cluster.names().into_iter().enumerate() {
        let key = format!("k{i}");
        let applied = cluster.at(writer).propose(put(&key, writer)).await.unwrap();
        assert!(applied.committed);
        assert_eq!(cluster.read(writer, &key).as_deref(), Some(writer), "applied where it was asked for");
        for reader in cluster.names() {
            cluster.at(reader).read_barrier().await.unwrap();
            assert_eq!(cluster.read(reader, &key).as_deref(), Some(writer), "{reader} reads what {writer} wrote");
        }
    }
    let leader = cluster.leader().await;
    let follower = others(&cluster, &leader)[0];
    let base = cluster.at(&leader).propose(put("c", "0")).await.unwrap().index;
    assert!(cluster.at(follower).propose(check("c", base, put("c", "1"))).await.unwrap().committed);
    assert!(!cluster.at(follower).propose(check("c", base, put("c", "2"))).await.unwrap().committed, "a conflict is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_share_a_round() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let follower = others(&cluster, &leader)[0].to_owned();
    let before = cluster.net.calls(Rpc::ReadIndex);
    let replica = cluster.at(&follower);
    let reads: Vec<_> = (0..200)
        .map(|_| {
            let replica = Arc::clone(&replica);
            tokio::spawn(async move { replica.read_barrier().await })
        })
        .collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert!(cluster.net.calls(Rpc::ReadIndex) - before < 200, "readers share rounds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_and_nothing_is_lost() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let follower = others(&cluster, &leader)[0].to_owned();
    for i in 0..20 {
        assert!(cluster.at(&follower).propose(put(&format!("k{i}"), "v")).await.unwrap().committed);
    }
    cluster.kill(&leader).await;
    // Asked while nobody leads: it waits and goes on.
    assert!(cluster.at(&follower).propose(put("after", "v")).await.unwrap().committed);
    cluster.at(&follower).read_barrier().await.unwrap();
    for i in 0..20 {
        assert_eq!(cluster.read(&follower, &format!("k{i}")).as_deref(), Some("v"));
    }
    cluster.start(&leader).await;
    within("the old leader follows", cluster.at(&leader).propose(put("back", "v"))).await.unwrap();
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_leader_neither_writes_nor_reads_and_follows_again_later() {
    let cluster = Cluster::of(3, |s| s.patience = Duration::from_secs(3)).await;
    let leader = cluster.leader().await;
    within("a write", async { while cluster.at(&leader).propose(put("a", "1")).await.is_err() {} }).await;
    let leader = cluster.leader().await;
    cluster.net.isolate(&leader, &cluster.names());
    let old = cluster.at(&leader);
    let (written, read) = tokio::join!(old.propose(put("lost", "1")), old.read_barrier());
    assert!(matches!(written, Err(ProposeError::Unknown | ProposeError::NotLeader { .. })), "{written:?}");
    assert!(matches!(read, Err(ProposeError::NotLeader { .. })), "{read:?}");
    let other = others(&cluster, &leader)[0];
    within("the others write", async { while cluster.at(other).propose(put("b", "2")).await.is_err() {} }).await;
    cluster.net.heal();
    until("the old leader has what the others wrote", || cluster.read(&leader, "b").is_some()).await;
    assert_eq!(cluster.read(other, "lost"), None, "what was not committed is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_answers_are_lost_is_applied_once_and_acknowledged() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let follower = others(&cluster, &leader)[0];
    cluster.net.lose_answers(&leader, Rpc::Propose);
    let before = cluster.at(&leader).status().last_log;
    for i in 0..10 {
        let applied = cluster.at(follower).propose(put("a", &i.to_string())).await.unwrap();
        assert!(applied.committed);
    }
    cluster.agree().await;
    assert_eq!(cluster.at(&leader).status().last_log, before + 10, "each is in the log once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_lost_with_its_leader_is_made_again_only_when_it_cannot_come_back() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let followers: Vec<String> = others(&cluster, &leader).into_iter().map(str::to_owned).collect();
    // The leader takes changes, but neither its answers nor its entries reach anybody.
    cluster.net.lose_answers(&leader, Rpc::Propose);
    for follower in &followers {
        cluster.net.cut(&leader, follower);
    }
    let mut proposals = Vec::new();
    for i in 0..20 {
        let replica = cluster.at(&followers[i % 2]);
        let change = check(&format!("k{i}"), 0, put(&format!("k{i}"), "v"));
        proposals.push(tokio::spawn(async move { replica.propose(change).await }));
    }
    for proposal in proposals {
        // Applied twice, the check of the second would fail.
        let applied = within("a proposal ends", proposal).await.unwrap().unwrap();
        assert!(applied.committed, "made once, by a leader that can");
    }
    cluster.kill(&leader).await;
    cluster.net.heal();
    cluster.start(&leader).await;
    cluster.at(&leader).read_barrier().await.unwrap();
    for i in 0..20 {
        assert_eq!(cluster.read(&leader, &format!("k{i}")).as_deref(), Some("v"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_go_on_without_two() {
    let mut cluster = Cluster::of(5, |_| {}).await;
    let leader = cluster.leader().await;
    let follower = others(&cluster, &leader)[0].to_owned();
    cluster.at(&leader).propose(put("a", "1")).await.unwrap();
    cluster.kill(&leader).await;
    cluster.kill(&follower).await;
    let rest = cluster.names()[0].to_owned();
    assert!(cluster.at(&rest).propose(put("b", "2")).await.unwrap().committed);
    cluster.start(&leader).await;
    cluster.start(&follower).await;
    cluster.at(&follower).read_barrier().await.unwrap();
    assert_eq!(cluster.read(&follower, "b").as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_is_handed_over_while_writes_go_on() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let follower = others(&cluster, &leader)[0].to_owned();
    let writer = cluster.at(&follower);
    let writes = tokio::spawn(async move {
        for i in 0..50 {
            assert!(writer.propose(check(&format!("w{i}"), 0, put(&format!("w{i}"), "v"))).await.unwrap().committed);
        }
    });
    cluster.at(&leader).step_down().await.unwrap();
    assert_ne!(cluster.leader().await, leader);
    writes.await.unwrap();
    let now = cluster.leader().await;
    let follower = others(&cluster, &now)[0];
    assert!(matches!(cluster.at(follower).step_down().await, Err(ChangeError::NotLeader { leader: Some(_) })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_there_is_nobody_to_hand_over_to_and_nobody_to_remove() {
    let cluster = Cluster::of(1, |_| {}).await;
    let one = cluster.at("n1");
    assert_eq!(one.step_down().await, Err(ChangeError::Alone));
    assert_eq!(one.remove("n1").await, Err(ChangeError::LastVoter("n1".to_owned())));
    assert_eq!(one.demote("n1").await, Err(ChangeError::LastVoter("n1".to_owned())));
    assert_eq!(one.promote("n9").await, Err(ChangeError::NoSuchNode("n9".to_owned())));
    assert!(one.followers().is_empty());
    assert!(*one.leadership().borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn membership_learner_voter_and_back() {
    let mut cluster = Cluster::of(2, |_| {}).await;
    cluster.add("n3", |_| {}).await;
    cluster.join("n3").await;
    let leader = cluster.leader().await;
    until("the learner has the log", || {
        cluster.at(&leader).followers().iter().any(|f| f.node_id == "n3" && !f.voter && f.matched > 0)
    })
    .await;
    let learner = cluster.at("n3");
    assert!(learner.propose(put("by", "learner")).await.unwrap().committed, "a learner is a member like any other");
    learner.read_barrier().await.unwrap();
    assert_eq!(learner.status().state, State::Learner);
    cluster.promote("n3").await;
    let leader = cluster.at(&cluster.leader().await);
    leader.demote("n3").await.unwrap();
    until("it has no vote", || !learner.status().this.voter).await;
    let mut twin =
        replication::NewMember { raft_id: 77, node_id: "n3".to_owned(), address: "x:1".to_owned(), api_addr: String::new() };
    assert_eq!(leader.add_learner(twin.clone()).await, Err(ChangeError::Taken("n3".to_owned())));
    (twin.raft_id, twin.node_id) = (learner.raft_id(), "other".to_owned());
    assert_eq!(leader.add_learner(twin).await, Err(ChangeError::Taken("n3".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_learns_of_it_and_disturbs_nobody() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let gone = others(&cluster, &leader)[0];
    cluster.at(&leader).remove(gone).await.unwrap();
    until("it knows", || cluster.at(gone).status().state == State::Removed).await;
    assert_eq!(cluster.at(gone).propose(put("a", "1")).await, Err(ProposeError::Removed));
    assert_eq!(cluster.at(gone).read_barrier().await, Err(ProposeError::Removed));
    assert!(!cluster.at(&leader).is_member(cluster.at(gone).raft_id()));
    let term = cluster.at(&leader).status().term;
    assert!(cluster.at(&leader).propose(put("b", "1")).await.unwrap().committed);
    assert_eq!(cluster.at(&leader).status().term, term, "it did not make the others elect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_removes_itself_hands_over() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    cluster.at(&leader).remove(&leader).await.unwrap();
    let other = others(&cluster, &leader)[0];
    assert!(cluster.at(other).propose(put("a", "1")).await.unwrap().committed);
    until("it knows", || cluster.at(&leader).status().state == State::Removed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_move_at_once_and_find_each_other_through_one() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    cluster.at("n1").propose(put("a", "1")).await.unwrap();
    cluster.agree().await;
    let names = ["n1", "n2", "n3"];
    for name in names {
        cluster.kill(name).await;
    }
    for name in names {
        cluster.nodes.get_mut(name).unwrap().settings.cluster_addr = format!("{name}.elsewhere:8201");
        cluster.start(name).await;
    }
    // What a configuration tells: two of them know where the third is, and nobody knows more.
    let third = cluster.at("n3").raft_id();
    cluster.at("n1").introduce(third, "n3.elsewhere:8201");
    cluster.at("n2").introduce(third, "n3.elsewhere:8201");
    assert!(cluster.at("n1").propose(put("b", "2")).await.unwrap().committed);
    until("the membership says it", || {
        cluster.at("n2").status().peers.iter().all(|peer| peer.address.ends_with(".elsewhere:8201"))
    })
    .await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_their_logs_in_files_and_threads_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_owned();
    let mut cluster = Cluster::of(3, |settings| {
        settings.log_dir = Some(folder.join(&settings.node_id).join("log"));
        settings.snapshot_dir = Some(folder.join(&settings.node_id).join("snapshots"));
    })
    .await;
    for round in 0..3 {
        let leader = cluster.leader().await;
        let follower = others(&cluster, &leader)[0].to_owned();
        for i in 0..20 {
            let key = format!("r{round}k{i}");
            assert!(cluster.at(&follower).propose(check(&key, 0, put(&key, "v"))).await.unwrap().committed);
        }
        cluster.kill(&leader).await;
        assert!(cluster.at(&follower).propose(put("after", "v")).await.unwrap().committed);
        cluster.start(&leader).await;
        cluster.at(&leader).read_barrier().await.unwrap();
        assert_eq!(cluster.read(&leader, &format!("r{round}k19")).as_deref(), Some("v"));
    }
    cluster.agree().await;
}
