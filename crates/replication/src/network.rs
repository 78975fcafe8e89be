//! Calls to the other nodes. Encodes openraft's requests and hands bytes to a [`Peers`], which knows sockets and TLS.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture, Either};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};
use openraft::{RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::limits::APPEND_PATIENCE;
use crate::snapshot::StateSnapshot;
use crate::types::{Member, Snapshot, TypeConfig, Vote};
use crate::wire::Wire;

/// Which request the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rpc {
    /// Log entries or a heartbeat.
    Append,
    /// A vote in a new term.
    Vote,
    /// Whether a vote would be given, without any effect.
    PreVote,
    /// Invitation to take over the lead.
    TransferLeader,
    /// A change, for the leader to put into the log.
    Propose,
    /// How far the leader's log is committed, once a majority has confirmed that it still leads.
    ReadIndex,
    /// Where the nodes can be reached, both ways.
    Hello,
}

impl Rpc {
    /// All of them, for a transport's table of paths.
    pub const ALL: [Self; 7] =
        [Self::Append, Self::Vote, Self::PreVote, Self::TransferLeader, Self::Propose, Self::ReadIndex, Self::Hello];

    /// A word that names it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Vote => "vote",
            Self::PreVote => "pre-vote",
            Self::TransferLeader => "transfer-leader",
            Self::Propose => "propose",
            Self::ReadIndex => "read-index",
            Self::Hello => "hello",
        }
    }

    /// The reverse of [`Rpc::as_str`].
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rpc| rpc.as_str() == word)
    }
}

/// The peer did not answer, or refused; openraft backs off and tries again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// What a call to a peer ends in.
pub type Answer<'a> = BoxFuture<'a, Result<Bytes, Unreachable>>;

/// Who is called. An implementation must make sure that it speaks to the node with this raft id, since an address can pass
/// to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To<'a> {
    /// The node's identity.
    pub raft_id: u64,
    /// The operator's name for it.
    pub node_id: &'a str,
    /// `host:port` of its cluster port, as far as known.
    pub address: &'a str,
}

/// The way to the other nodes. It may be called on replication's own thread, so work on connections belongs elsewhere.
pub trait Peers: Send + Sync + 'static {
    /// Delivers one request and returns the peer's answer. Gives up after `timeout`.
    fn call(&self, to: To<'_>, rpc: Rpc, body: Bytes, timeout: Duration) -> Answer<'_>;

    /// Delivers a snapshot: `head` first, then the bytes of [`StateSnapshot::write_to`]. Gives up when nothing moves for `timeout`.
    fn send_snapshot(&self, to: To<'_>, head: Bytes, state: StateSnapshot, timeout: Duration) -> Answer<'_>;
}

/// No other node can be reached: the single node's [`Peers`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Alone {
    fn answer(address: &str) -> Answer<'static> {
        let error = Unreachable(format!("no way to {address}: this node has no cluster port"));
        Box::pin(future::ready(Err(error)))
    }
}

impl Peers for Alone {
    fn call(&self, to: To<'_>, _: Rpc, _: Bytes, _: Duration) -> Answer<'_> {
        Self::answer(to.address)
    }

    fn send_snapshot(&self, to: To<'_>, _: Bytes, _: StateSnapshot, _: Duration) -> Answer<'_> {
        Self::answer(to.address)
    }
}

/// Makes a [`Line`] to each node.
pub(crate) struct Network(pub(crate) Arc<Wire>);

/// The line to one node, wherever it is at present.
pub(crate) struct Line {
    wire: Arc<Wire>,
    id: u64,
    member: Member,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Line;

    async fn new_client(&mut self, id: u64, node: &Member) -> Line {
        Line { wire: Arc::clone(&self.0), id, member: node.clone() }
    }
}

impl Line {
    async fn call<Q: Serialize, A: DeserializeOwned>(&self, rpc: Rpc, request: &Q, timeout: Duration) -> Result<A, Unreachable> {
        self.wire.call(self.id, &self.member, rpc, request, timeout).await
    }

    async fn deliver(
        &self,
        head: Vec<u8>,
        state: StateSnapshot,
        timeout: Duration,
    ) -> Result<SnapshotResponse<TypeConfig>, Unreachable> {
        self.wire.send_snapshot(self.id, &self.member, head, state, timeout).await
    }
}

impl RaftNetworkV2<TypeConfig> for Line {
    type SnapshotData = StateSnapshot;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        // A heartbeat is timed by the core. What carries entries is written to the peer's disk before it is answered.
        let timeout = if rpc.entries.is_empty() { option.hard_ttl() } else { APPEND_PATIENCE };
        match self.call(Rpc::Append, &rpc, timeout).await.map_err(unreachable)? {
            // There is nothing before the beginning that could differ; openraft would not survive the claim.
            AppendEntriesResponse::Conflict if rpc.prev_log_id.is_none() => {
                Err(unreachable(Unreachable("the peer's answer contradicts itself".to_owned())))
            }
            answer => Ok(answer),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Rpc::Vote, &rpc, option.soft_ttl()).await.map_err(unreachable)
    }

    // The trait's default grants every pre-vote, which would make it no check at all.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Rpc::PreVote, &rpc, option.soft_ttl()).await.map_err(unreachable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let head = codec::encode(&(&vote, &snapshot.meta)).map_err(|e| StreamingError::Unreachable(lost(&e.to_string())))?;
        let sending = self.deliver(head, snapshot.snapshot, option.soft_ttl());
        match future::select(Box::pin(sending), Box::pin(cancel)).await {
            Either::Left((result, _)) => result.map_err(|e| StreamingError::Unreachable(lost(&e.0))),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    // The trait's default does nothing, which would make every step-down wait for an election timeout.
    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Rpc::TransferLeader, &req, option.soft_ttl()).await.map_err(unreachable)
    }
}

fn lost(text: &str) -> openraft::errors::Unreachable<TypeConfig> {
    openraft::errors::Unreachable::from_string(text)
}

fn unreachable(error: Unreachable) -> RPCError<TypeConfig> {
    RPCError::Unreachable(lost(&error.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use openraft::errors::StreamingError;

    use super::*;
    use crate::wire::Reply;

    /// Answers every call with fixed bytes and remembers what was asked.
    struct Echo {
        answer: Result<Vec<u8>, String>,
        asked: Mutex<Vec<Rpc>>,
    }

    impl Peers for Echo {
        fn call(&self, to: To<'_>, rpc: Rpc, body: Bytes, _: Duration) -> Answer<'_> {
            assert_eq!((to.raft_id, to.address), (2, "b:8201"));
            assert_eq!(body.first(), Some(&1), "the format number");
            self.asked.lock().unwrap().push(rpc);
            Box::pin(future::ready(self.answer.clone().map(Bytes::from).map_err(Unreachable)))
        }

        fn send_snapshot(&self, _: To<'_>, _: Bytes, _: StateSnapshot, _: Duration) -> Answer<'_> {
            Box::pin(future::ready(self.answer.clone().map(Bytes::from).map_err(Unreachable)))
        }
    }

    async fn line(peers: Arc<dyn Peers>) -> Line {
        let member = Member { address: "b:8201".to_owned(), ..Member::default() };
        Network(Arc::new(Wire::new(peers, 1))).new_client(2, &member).await
    }

    fn option() -> RPCOption {
        RPCOption::new(Duration::from_millis(100))
    }

    fn ballot() -> VoteRequest<TypeConfig> {
        VoteRequest::new(Vote::new(3, 1), None)
    }

    #[tokio::test]
    async fn a_node_alone_gets_no_votes_and_hands_over_to_nobody() {
        let mut line = line(Arc::new(Alone)).await;
        assert!(matches!(line.vote(ballot(), option()).await, Err(RPCError::Unreachable(_))));
        assert!(matches!(line.pre_vote(ballot(), option()).await, Err(RPCError::Unreachable(_))));
        let handover = TransferLeaderRequest::new(Vote::new_committed(3, 1), 2, None);
        assert!(matches!(line.transfer_leader(handover, option()).await, Err(RPCError::Unreachable(_))));
        let store = storage::MemoryStore::default();
        let state = StateSnapshot::of_view(storage::Store::snapshot(&store).unwrap());
        let snapshot = Snapshot { meta: crate::types::SnapshotMeta::default(), snapshot: state };
        let sent = line.full_snapshot(Vote::new_committed(3, 1), snapshot, future::pending(), option()).await;
        assert!(matches!(sent, Err(StreamingError::Unreachable(_))));
    }

    #[tokio::test]
    async fn a_refused_pre_vote_stays_refused() {
        let refusal = VoteResponse::<TypeConfig>::new(Vote::new_committed(9, 2), None, false);
        let peers = Arc::new(Echo { answer: Ok(codec::encode(&Reply::Done(&refusal)).unwrap()), asked: Mutex::default() });
        let mut line = line(Arc::<Echo>::clone(&peers)).await;
        assert_eq!(line.pre_vote(ballot(), option()).await, Ok(refusal.clone()));
        assert_eq!(line.vote(ballot(), option()).await, Ok(refusal));
        assert_eq!(*peers.asked.lock().unwrap(), [Rpc::PreVote, Rpc::Vote]);
    }

    #[tokio::test]
    async fn a_handover_is_delivered_and_its_refusal_comes_back() {
        let refusal: TransferLeaderResponse<TypeConfig> =
            Err(openraft::raft::TransferLeaderError::LogNotFlushed { expected: None, actual: None });
        let peers = Arc::new(Echo { answer: Ok(codec::encode(&Reply::Done(&refusal)).unwrap()), asked: Mutex::default() });
        let mut line = line(Arc::<Echo>::clone(&peers)).await;
        let handover = TransferLeaderRequest::new(Vote::new_committed(3, 1), 2, None);
        assert_eq!(line.transfer_leader(handover, option()).await, Ok(refusal));
        assert_eq!(*peers.asked.lock().unwrap(), [Rpc::TransferLeader]);
    }

    #[tokio::test]
    async fn an_answer_in_another_format_is_no_answer() {
        for answer in [vec![], vec![1], vec![200, 0], vec![0, 0, 0]] {
            let peers = Arc::new(Echo { answer: Ok(answer), asked: Mutex::default() });
            let mut line = line(peers).await;
            assert!(matches!(line.vote(ballot(), option()).await, Err(RPCError::Unreachable(_))));
        }
    }
}
