//! What nodes say to each other beside openraft's own messages, and the envelope of every answer.
//!
//! Every message is a format number and then postcard, as on disk. Deliberately absent: sockets ([`Peers`]), and what is
//! done about a message (`answer`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use openraft::raft::SnapshotResponse;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::book::Book;
use crate::codec;
use crate::network::{Peers, Rpc, To, Unreachable};
use crate::snapshot::StateSnapshot;
use crate::types::{Applied, Member, Ticket, TypeConfig};

/// Every answer: what was asked for, or why a stranger gets nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply<A> {
    Done(A),
    /// The caller is no member as of this entry of the committed log, so a removed node learns of its removal.
    Stranger {
        as_of: u64,
    },
}

/// [`Rpc::Propose`]: a change for the leader of this term and of no other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Motion<C> {
    pub(crate) term: u64,
    pub(crate) ticket: Ticket,
    pub(crate) change: C,
}

/// What became of a [`Motion`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It is in the log and applied at the leader.
    Applied(Applied),
    /// It is not in the log: this node does not lead in that term.
    NotHere,
    /// It was appended, and it is not known whether it stays.
    Open,
    /// The leader's disk is full. What had begun may still be committed.
    Full(String),
    /// It is over a limit and was not appended.
    TooLarge,
}

/// What [`Rpc::ReadIndex`] ends in: an index, or `None` where nobody leads.
pub(crate) type ReadPoint = Option<u64>;

/// [`Rpc::Hello`], question and answer: what the speaker knows of addresses that the membership does not say yet. Its own
/// are always among them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) known: BTreeMap<u64, Place>,
}

/// Where a node is, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// What the membership should say.
    pub(crate) member: Member,
    /// Counts the moves of this node, so that of two reports the later is believed.
    pub(crate) move_number: u64,
    /// What the membership said when this was told. Once it says something else it is the newer of the two.
    pub(crate) instead_of: Option<Member>,
}

/// The peers, and where they are.
pub(crate) struct Wire {
    peers: Arc<dyn Peers>,
    pub(crate) book: Book,
    /// The raft core's view of the membership, once there is one.
    metrics: OnceLock<WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>>,
    /// The greatest index as of which somebody said that this node is no member.
    stranger_as_of: watch::Sender<u64>,
}

impl Wire {
    pub(crate) fn new(peers: Arc<dyn Peers>, id: u64) -> Self {
        Self { peers, book: Book::new(id), metrics: OnceLock::new(), stranger_as_of: watch::Sender::new(0) }
    }

    /// From now on addresses are those of the membership in these metrics.
    pub(crate) fn follow(&self, metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>) {
        let _once = self.metrics.set(metrics);
    }

    /// Where a node is. `member` is what the membership said when a line to it was made, which may be long ago.
    fn address(&self, id: u64, member: &Member) -> String {
        let present = self.metrics.get().and_then(|m| m.borrow_watched().membership_config.get_node(&id).cloned());
        self.book.address(id, present.as_ref().unwrap_or(member))
    }

    /// Asks a member.
    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        id: u64,
        member: &Member,
        rpc: Rpc,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, Unreachable> {
        let address = self.address(id, member);
        self.ask(To { raft_id: id, node_id: &member.node_id, address: &address }, rpc, request, timeout).await
    }

    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: To<'_>,
        rpc: Rpc,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, Unreachable> {
        let body = codec::encode(request).map_err(|e| Unreachable(e.to_string()))?;
        // Whatever a transport thinks of the timeout, nobody here waits longer.
        let call = self.peers.call(to, rpc, body.into(), timeout);
        let answer = tokio::time::timeout(timeout, call).await;
        self.open(&answer.map_err(|_| Unreachable(format!("no answer from {} within {timeout:?}", to.address)))??)
    }

    pub(crate) async fn send_snapshot(
        &self,
        id: u64,
        member: &Member,
        head: Vec<u8>,
        state: StateSnapshot,
        timeout: Duration,
    ) -> Result<SnapshotResponse<TypeConfig>, Unreachable> {
        let address = self.address(id, member);
        let to = To { raft_id: id, node_id: &member.node_id, address: &address };
        self.open(&self.peers.send_snapshot(to, head.into(), state, timeout).await?)
    }

    fn open<A: DeserializeOwned>(&self, answer: &[u8]) -> Result<A, Unreachable> {
        match codec::decode("answer of a peer", answer).map_err(|e| Unreachable(e.to_string()))? {
            Reply::Done(answer) => Ok(answer),
            Reply::Stranger { as_of } => {
                self.stranger_as_of.send_if_modified(|known| {
                    let news = *known < as_of;
                    *known = as_of.max(*known);
                    news
                });
                Err(Unreachable("this node is no member of the cluster there".to_owned()))
            }
        }
    }

    /// As of which entry this node is no member, as far as others said; 0: nobody did.
    pub(crate) fn stranger_as_of(&self) -> u64 {
        *self.stranger_as_of.borrow()
    }
}
