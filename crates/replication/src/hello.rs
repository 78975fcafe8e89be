//! Says where this node is until everybody knows, at the addresses that the membership, the nodes themselves or the operator
//! gave. Quiet as long as somebody leads and the membership is right.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use storage::Store;
use tokio::time::{Instant, sleep_until};

use crate::inner::Inner;
use crate::limits::{HELLO_PATIENCE, HELLO_PAUSE};
use crate::network::{Rpc, To};
use crate::replica::Replica;
use crate::wire::Hello;

/// Runs until the raft core stops.
pub(crate) async fn keep_in_touch(inner: Arc<Inner>, store: Arc<dyn Store>) {
    let mut metrics = inner.raft.server_metrics();
    let mut news = inner.wire.book.watch();
    loop {
        metrics.borrow_and_update();
        news.borrow_and_update();
        let began = Instant::now();
        // Who was removed has no business in elections.
        inner.raft.runtime_config().elect(!inner.is_removed());
        if must_move(&inner) {
            put_in_membership(&inner).await;
        } else if is_lost(&inner) {
            greet_all(&inner, &store).await;
        }
        // While something is amiss it is tried again; a change of what is known is looked at, but not more often.
        tokio::select! {
            biased;
            () = sleep_until(began + HELLO_PAUSE), if must_move(&inner) || is_lost(&inner) => {}
            changed = metrics.changed() => if changed.is_err() { return },
            _ = news.changed() => {}
        }
        sleep_until(began + HELLO_PAUSE / 10).await;
    }
}

/// Whether this node leads and knows better than the membership where nodes are.
fn must_move(inner: &Inner) -> bool {
    *inner.lead.leading.borrow() && !inner.wire.book.moved(|id| inner.member(id)).is_empty()
}

/// Whether others may not know where this node is, or it does not know where they are.
fn is_lost(inner: &Inner) -> bool {
    let membership = inner.membership();
    let others = membership.nodes().any(|(id, _)| *id != inner.id);
    let known = membership.get_node(&inner.id) == Some(&inner.this);
    others && (!known || inner.leadership().is_none()) && !inner.is_removed()
}

async fn put_in_membership(inner: &Inner) {
    let moved = inner.wire.book.moved(|id| inner.member(id));
    if let Err(error) = inner.change(ChangeMembers::SetNodes(moved), true).await {
        tracing::warn!(%error, "the membership keeps old addresses of nodes for now");
    }
}

/// One hello to everybody at once.
async fn greet_all(inner: &Inner, store: &Arc<dyn Store>) {
    let membership = inner.membership();
    let hello = inner.wire.book.hello();
    let mut calls = Vec::new();
    let mut tried = BTreeSet::from([inner.this.address.clone()]);
    for (id, member) in membership.nodes().filter(|(id, _)| **id != inner.id) {
        // Both where it says it is and where the membership says: either may be right.
        for address in [inner.wire.book.address(*id, member), member.address.clone()] {
            if tried.insert(address.clone()) {
                calls.push((*id, member.node_id.as_str(), address));
            }
        }
    }
    let asked = calls.iter().map(|(raft_id, node_id, address)| {
        let to = To { raft_id: *raft_id, node_id, address };
        inner.wire.ask::<_, Hello>(to, Rpc::Hello, &hello, HELLO_PATIENCE)
    });
    let member_of = |id| inner.member(id);
    let mut news = false;
    for ((raft_id, _, _), answer) in calls.iter().zip(join_all(asked).await) {
        if let Ok(answer) = answer {
            news |= inner.wire.book.hear(*raft_id, answer, member_of);
        }
    }
    if news {
        inner.wire.book.store(store, member_of);
    }
}

impl Replica {
    /// Says that a node is at another address than the membership knows, such as one that was found by the configuration.
    /// The node's own word replaces it. Nothing happens if the node is no member.
    pub fn introduce(&self, raft_id: u64, address: &str) {
        let member_of = |id| self.inner.member(id);
        if self.inner.wire.book.point(raft_id, address, member_of) {
            self.inner.wire.book.store(self.store(), member_of);
        }
    }
}
