//! The leader goes: by itself, by force, or to be sealed. The others go on, and nothing that was acknowledged is missing.

use std::time::Duration;

use api_types::Operation;
use serde_json::json;
use server_core::{FailureKind, NodeState};

use crate::nodes::{Trio, api_addr, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_through_an_election_and_then_go_on() {
    let trio = Trio::start_lively().await;
    trio.nodes[0].quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    let before = trio.leader().await;
    before.post("kv/x", json!({ "n": 1 })).await.ok();
    trio.lines.cut(&before.core);
    let others: Vec<_> = trio.nodes.iter().filter(|n| !std::ptr::eq(*n, before)).collect();
    // Both are asked while nobody leads; neither says so. On a machine that stands still they may have to be asked again.
    for (n, node) in others.iter().enumerate() {
        let mut reply = node.post("kv/y", json!({ "n": n })).await;
        for _ in 0..10 {
            if reply.failure != Some(FailureKind::Unavailable) {
                break;
            }
            reply = node.post("kv/y", json!({ "n": n })).await;
        }
        reply.ok();
        assert_eq!(node.get("kv/x").await.ok()["n"], 1);
    }
    // Who is cut off tells nobody anything old.
    assert_eq!(before.get("kv/x").await.failure, Some(FailureKind::Unavailable));
    trio.lines.mend(&before.core);
    eventually("the old leader follows", || !before.core.leads()).await;
    assert_eq!(before.get("kv/y").await.ok()["n"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stepping_down_gives_the_lead_to_another_and_loses_no_request() {
    let trio = Trio::start().await;
    trio.nodes[0].quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    for round in 0..3 {
        let leader = trio.leader().await;
        let raft_id = leader.core.replica().raft_id();
        leader.ask(Operation::Update, "sys/step-down", json!({}), &leader.root).await.ok();
        eventually("another leader", || trio.nodes.iter().any(|n| n.core.leads() && n.core.replica().raft_id() != raft_id)).await;
        for node in &trio.nodes {
            node.post("kv/x", json!({ "round": round })).await.ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_the_leader_gives_the_lead_away_first_and_a_standby_is_not_sealed() {
    let trio = Trio::start().await;
    trio.nodes[0].quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    let standby = trio.standbys().await[0];
    let refused = standby.ask(Operation::Update, "sys/seal", json!({}), &standby.root).await;
    assert_eq!((refused.failure, standby.core.state()), (Some(FailureKind::Internal), NodeState::Standby));
    assert!(refused.error().contains("vault cannot seal when in standby mode; please restart instead"), "{refused:?}");
    let leader = trio.leader().await;
    leader.ask(Operation::Update, "sys/seal", json!({}), &leader.root).await.ok();
    assert_eq!(leader.core.state(), NodeState::Sealed);
    let others: Vec<_> = trio.nodes.iter().filter(|n| !std::ptr::eq(*n, leader)).collect();
    for node in &others {
        node.post("kv/x", json!({ "n": 1 })).await.ok();
    }
    assert!(others.iter().any(|n| n.core.leads()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_cleared_away_by_whoever_leads() {
    let trio = Trio::start().await;
    let made = trio.nodes[1].post("auth/token/create", json!({ "policies": ["default"], "ttl": "60s" })).await;
    let first = trio.leader().await;
    first.core.give_up_lead().await;
    trio.clock.advance(Duration::from_secs(61));
    for node in &trio.nodes {
        assert_eq!(node.get_as(&made.token, "auth/token/lookup-self").await.failure, Some(FailureKind::Denied));
    }
    // Not only refused, but gone.
    let began = std::time::Instant::now();
    loop {
        let accessors = trio.nodes[2].list("auth/token/accessors/").await.keys();
        if !accessors.contains(&made.accessor) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "the token was not cleared away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_tells_who_leads() {
    let trio = Trio::start().await;
    let leader = trio.leader().await;
    let index = trio.nodes.iter().position(|n| std::ptr::eq(n, leader)).unwrap();
    for node in &trio.nodes {
        eventually("the leader is known", || node.core.leader().is_some_and(|l| l.leader_address == api_addr(index))).await;
        let told = node.core.leader().unwrap();
        assert_eq!(told.is_self, std::ptr::eq(node, leader));
        assert_eq!(told.active_time == "0001-01-01T00:00:00Z", !told.is_self);
        let health = node.core.health();
        assert_eq!(health.leader.is_some(), !told.is_self);
        assert!(health.leader.is_none_or(|l| l.healthy) && !health.removed);
    }
    let told = leader.get("sys/ha-status").await.ok();
    let nodes = told["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert_eq!(node["active_node"], node["api_address"] == api_addr(index));
        assert_eq!(node["last_echo"].is_null(), node["active_node"] == true, "{node}");
    }
    // A leader that nobody hears is not told of for ever.
    let standby = trio.standbys().await[0];
    trio.lines.cut(&standby.core);
    eventually("silence is noticed", || standby.core.health().leader.is_some_and(|l| !l.healthy)).await;
    trio.lines.mend(&standby.core);
    eventually("and its end", || standby.core.health().leader.is_none_or(|l| l.healthy)).await;
}
