//! What a node does with calls that make no sense, of members and of others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use bytes::Bytes;
use common::put;
use futures::stream;
use parking_lot::Mutex;
use replication::testing::{Cluster, until};
use replication::{Answer, MAX_MESSAGE_BYTES, Peers, Refused, Replica, Rpc, StateSnapshot, To, Unreachable};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_refused_and_harms_nothing() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    let (replica, from) = (cluster.at(&leader), cluster.at(if leader == "n1" { "n2" } else { "n1" }).raft_id());
    let term = replica.status().term;
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    for rpc in Rpc::ALL {
        assert_eq!(Rpc::named(rpc.as_str()), Some(rpc));
        for length in [0, 1, 2, 3, 8, 33, 200] {
            for format in [0, 1, 2] {
                let mut bytes: Vec<u8> = (0..length).map(|_| next()).collect();
                if let Some(first) = bytes.first_mut() {
                    *first = format;
                }
                let answered = replica.answer(from, rpc, bytes.into()).await;
                // Some bytes are a message by chance; none of these moves the cluster.
                assert!(format == 1 || matches!(answered, Err(Refused::Malformed(_))), "{rpc:?} {answered:?}");
            }
        }
        let huge = Bytes::from(vec![1; MAX_MESSAGE_BYTES + 1]);
        assert!(matches!(replica.answer(from, rpc, huge).await, Err(Refused::TooLarge { .. })));
    }
    let none = stream::iter(Vec::<Result<Bytes, String>>::new());
    assert!(replica.receive_snapshot(from, Bytes::from_static(b"\x01\xff\xff"), none).await.is_err());
    assert_eq!(replica.status().term, term);
    assert!(replica.propose(put("a", "1")).await.unwrap().committed);
    assert_eq!(Rpc::named("nonsense"), None);
}

/// Passes calls on to one replica as if they came from somebody.
#[derive(Default)]
struct Tap(Mutex<Vec<(Rpc, Bytes)>>);

impl Peers for Tap {
    fn call(&self, _: To<'_>, rpc: Rpc, body: Bytes, _: Duration) -> Answer<'_> {
        self.0.lock().push((rpc, body));
        Box::pin(std::future::ready(Err(Unreachable("a tap".to_owned()))))
    }

    fn send_snapshot(&self, _: To<'_>, _: Bytes, _: StateSnapshot, _: Duration) -> Answer<'_> {
        Box::pin(std::future::ready(Err(Unreachable("a tap".to_owned()))))
    }
}

/// CVE class: one node's certificate, another node's message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_votes_or_leads_in_anothers_name() {
    let tap = Arc::new(Tap::default());
    let peers = Arc::clone(&tap) as Arc<dyn Peers>;
    let observer = Arc::new(replication::testing::Blind);
    let one = Replica::open_with_peers(common::memory(), common::settings(), observer, peers).await.unwrap();
    one.bootstrap().await.unwrap();
    let new =
        replication::NewMember { raft_id: 42, node_id: "two".to_owned(), address: "two:1".to_owned(), api_addr: String::new() };
    one.add_learner(new).await.unwrap();
    until("it calls", || !tap.0.lock().is_empty()).await;
    let (rpc, body) = tap.0.lock()[0].clone();
    assert_eq!(rpc, Rpc::Append);
    let cluster = Cluster::of(1, |_| {}).await;
    let target = cluster.at("n1");
    let refused = target.answer(one.raft_id() + 1, rpc, body.clone()).await;
    assert_eq!(refused, Err(Refused::Impersonation));
    assert!(target.propose(put("a", "1")).await.unwrap().committed);
    assert!(target.propose(put("b", "1")).await.unwrap().committed);
}
