//! Certificates change under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{ClusterKeys, Rpc, Settings};
use secret::{ManualClock, SystemEntropy};

use crate::scene::{Memory, Node, keys, now, patient};

const HOUR: Duration = Duration::from_secs(3600);

/// Calls on and on from one node to another; every call must be answered.
struct Traffic {
    calls: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Traffic {
    fn between(from: &Arc<Node>, to: &Arc<Node>, length: usize) -> Self {
        let (calls, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped, from, to) = (Arc::clone(&calls), Arc::clone(&stop), Arc::clone(from), Arc::clone(to));
        let task = tokio::spawn(async move {
            let body = vec![1; length];
            while !stopped.load(Ordering::SeqCst) {
                from.call(to.to(), Rpc::Append, &body).await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { calls, stop, task }
    }

    /// Until so many more calls were answered.
    async fn goes_on(&self, more: usize) {
        let goal = self.calls.load(Ordering::SeqCst) + more;
        while self.calls.load(Ordering::SeqCst) < goal {
            assert!(!self.task.is_finished(), "a call was lost");
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_while_authorities_change() {
    let first = keys();
    let mut nodes = Vec::new();
    for raft_id in [1, 2, 3] {
        nodes.push(Arc::new(Node::new(raft_id, &first).await));
    }
    let mut traffic = Vec::new();
    for from in &nodes {
        for to in nodes.iter().filter(|n| n.raft_id != from.raft_id) {
            traffic.extend([Traffic::between(from, to, 100), Traffic::between(from, to, 100_000)]);
        }
    }
    let next = first.with_next(now(), &SystemEntropy).unwrap();
    let adopted = next.with_adopted(now()).unwrap();
    let retired = adopted.without_retired(now().plus(100 * HOUR)).unwrap();
    for ring in [&next, &adopted, &retired] {
        // One after the other, as followers apply an entry.
        for node in &nodes {
            node.port.enter(ring, node.raft_id).unwrap();
            for flow in &traffic {
                flow.goes_on(3).await;
            }
        }
    }
    for flow in traffic {
        flow.end().await;
    }
}

#[tokio::test]
async fn a_certificate_is_made_anew_long_before_it_ends() {
    let clock = Arc::new(ManualClock::new(now()));
    let settings = || Settings { clock: Arc::<ManualClock>::clone(&clock), timing: patient(), ..Settings::default() };
    let keys = keys();
    let (one, two) = (Node::sealed(1, Memory::echoing(), settings()).await, Node::sealed(2, Memory::echoing(), settings()).await);
    one.port.enter(&keys, 1).unwrap();
    two.port.enter(&keys, 2).unwrap();
    // Through months, with no more than the ordinary calls; then a machine that slept for a year.
    for hours in [1, 23, 1, 24, 25, 47, 100, 24 * 365] {
        clock.advance(hours * HOUR);
        one.call(two.to(), Rpc::Append, b"entries").await.unwrap();
        // Nor does anything depend on connections that stood.
        two.port.leave().await;
        two.port.enter(&keys, 2).unwrap();
        one.call_until_answered(two.to()).await;
    }
}

#[test]
fn a_ring_goes_step_by_step_and_never_before_everybody_has_the_last_step() {
    let start = now();
    let entropy = SystemEntropy;
    let ids = |ring: &ClusterKeys| format!("{ring:?}");
    let mut ring = ClusterKeys::first(start, &entropy).unwrap();
    let mut seen = vec![ids(&ring)];
    for minutes in (0..60 * 24 * 70).step_by(10) {
        let at = start.plus(Duration::from_secs(60 * minutes));
        assert!(ring.tended(at, &entropy, false).unwrap().is_none(), "somebody does not have it");
        if let Some(next) = ring.tended(at, &entropy, true).unwrap() {
            ring = next;
            seen.push(format!("{} {}", minutes / (60 * 24), ids(&ring)));
        }
    }
    assert_eq!(seen, ["[1*]", "30 [1*, 2]", "30 [1, 2*]", "33 [2*]", "60 [2*, 3]", "60 [2, 3*]", "63 [3*]"]);
}

#[test]
fn a_ring_is_stored_whole_and_shows_no_key() {
    let ring = keys().with_next(now(), &SystemEntropy).unwrap();
    let text = serde_json::to_string(&ring).unwrap();
    let again: ClusterKeys = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    let key = text.split('"').find(|part| part.len() > 100).unwrap();
    assert!(!format!("{ring:?}").contains(key));
    let broken = text.replacen(key, "hunter2!", 1);
    let error = serde_json::from_str::<ClusterKeys>(&broken).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_damaged_ring_is_an_error_and_changes_nothing() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    let text = serde_json::to_string(&keys).unwrap();
    let key = text.split('"').find(|part| part.len() > 100).unwrap();
    for damaged in [r#"{"generations":[]}"#.to_owned(), text.replace(key, "AAAA"), text.replace(key, "")] {
        let ring: ClusterKeys = serde_json::from_str(&damaged).unwrap();
        let error = one.port.enter(&ring, 1).unwrap_err().to_string();
        assert!(error.starts_with("the stored keys of the cluster are damaged"), "{error}");
        one.call(two.to(), Rpc::Vote, b"").await.unwrap();
    }
}
