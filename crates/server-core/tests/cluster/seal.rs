//! Keys are exchanged under the feet of standbys, and the leader that did it goes.

use api_types::Operation;
use engine::Request;
use secret::{SecretBytes, SecretString};
use serde_json::json;
use server_core::{NodeState, RekeyRequest, RekeyTarget, RekeyUpdate, share_from_text};

use crate::common::Server;
use crate::nodes::{Trio, eventually};

/// A new data key, asked for by a request of its own.
async fn rotate(node: &Server, id: &str) {
    let mut request = Request::new(Operation::Update, "sys/rotate");
    request.id = id.to_owned();
    request.token = SecretString::from(node.root.as_str());
    node.send(request).await.ok();
}

/// New shares, one of one. The new share.
async fn rekey(leader: &Server, share: &[u8]) -> Vec<u8> {
    let request = RekeyRequest { secret_shares: 1, secret_threshold: 1, ..RekeyRequest::default() };
    let status = leader.core.rekey_init(RekeyTarget::Barrier, request).await.unwrap();
    let nonce = serde_json::to_value(&status).unwrap()["nonce"].as_str().unwrap().to_owned();
    let done =
        leader.core.rekey_update(RekeyTarget::Barrier, &nonce, SecretBytes::from(share)).await.unwrap_or_else(|e| panic!("{e}"));
    let RekeyUpdate::Complete(_) = &done else { panic!("one share was enough") };
    let keys = serde_json::to_value(&done).unwrap();
    share_from_text(keys["keys"][0].as_str().unwrap()).unwrap().expose().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standbys_follow_new_keys_and_go_on_without_the_leader_that_made_them() {
    let trio = Trio::start().await;
    trio.nodes[0].quietly("sys/mounts/kv", json!({ "type": "kv" })).await;
    trio.nodes[0].quietly("kv/old", json!({ "n": 0 })).await;
    let leader = trio.leader().await;
    let mut share = leader.share.clone();
    for round in 1..=3 {
        rotate(leader, &format!("round {round}")).await;
        share = rekey(leader, &share).await;
        for node in &trio.nodes {
            node.post("kv/x", json!({ "round": round })).await.ok();
            assert_eq!(node.get("sys/key-status").await.ok()["term"], round + 1);
        }
    }
    // A standby rotates as well.
    rotate(trio.standbys().await[1], "standby").await;
    leader.get("kv/x").await.ok();
    leader.core.give_up_lead().await;
    trio.lines.cut(&leader.core);
    let others: Vec<&Server> = trio.nodes.iter().filter(|n| !std::ptr::eq(*n, leader)).collect();
    eventually("another leader", || others.iter().any(|n| n.core.leads())).await;
    for node in &others {
        node.post("kv/y", json!({ "n": 1 })).await.ok();
        assert_eq!((&node.get("kv/x").await.ok()["round"], &node.get("kv/old").await.ok()["n"]), (&json!(3), &json!(0)));
        assert_eq!(node.get("sys/key-status").await.ok()["term"], 5);
    }
    // The new share is the share of every node, and the old one of none.
    trio.lines.mend(&leader.core);
    let sealed = others.iter().find(|n| !n.core.leads()).unwrap();
    sealed.core.seal().await;
    assert!(sealed.core.unseal(SecretBytes::new(leader.share.clone()), false).await.is_err());
    sealed.core.unseal(SecretBytes::new(share), false).await.unwrap();
    assert_ne!(sealed.core.state(), NodeState::Sealed);
    assert_eq!(sealed.get("kv/y").await.ok()["n"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceremony_is_the_leaders_and_ends_with_its_lead() {
    let trio = Trio::start().await;
    let leader = trio.leader().await;
    let request = RekeyRequest { secret_shares: 1, secret_threshold: 1, ..RekeyRequest::default() };
    leader.core.rekey_init(RekeyTarget::Barrier, request).await.unwrap();
    let status = |node: &Server| {
        let core = std::sync::Arc::clone(&node.core);
        async move { core.rekey_status(RekeyTarget::Barrier).await.map(|s| serde_json::to_value(&s).unwrap()["started"].clone()) }
    };
    assert_eq!(status(leader).await.unwrap(), true);
    for node in trio.standbys().await {
        assert!(status(node).await.is_err(), "a standby knows nothing of it, and does not say that there is none");
    }
    leader.core.give_up_lead().await;
    let next = trio.leader().await;
    assert_eq!(status(next).await.unwrap(), false);
}
