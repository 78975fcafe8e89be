//! The other side of [`Peers`](crate::Peers): what this node answers to the calls of others.
//!
//! A transport has proved which node calls (its raft id) and that it holds the cluster's keys. Beyond that nothing of the
//! bytes is believed: sizes are bounded, formats checked, and nobody speaks for another node. Votes and entries are taken
//! from nodes that the membership here does not have (yet), because a node that lags must be able to follow and to elect
//! nodes that joined meanwhile; that is Raft's rule. A node whose removal is known here gets one answer to everything: that
//! it is no member.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::Changeset;

use crate::codec;
use crate::error::Refused;
use crate::limits::MAX_MESSAGE_BYTES;
use crate::network::Rpc;
use crate::replica::Replica;
use crate::runtime;
use crate::spool;
use crate::types::{Snapshot, SnapshotMeta, TypeConfig, Vote};
use crate::wire::{Hello, Motion, ReadPoint, Reply};

impl Replica {
    /// Answers one call of the node `from`, whose id the transport has proved.
    ///
    /// # Errors
    /// [`Refused`]; the transport answers with its text, and the caller takes it for a peer that cannot be reached.
    pub async fn answer(&self, from: u64, rpc: Rpc, body: Bytes) -> Result<Bytes, Refused> {
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(Refused::TooLarge { bytes: body.len(), limit: MAX_MESSAGE_BYTES });
        }
        self.takes_part()?;
        match rpc {
            Rpc::Append => self.append(from, read(&body)?).await,
            Rpc::Vote | Rpc::PreVote => self.ballot(from, rpc, read(&body)?).await,
            Rpc::TransferLeader => self.succeed(from, read(&body)?).await,
            Rpc::Propose => {
                let motion: Motion<Changeset> = read(&body)?;
                if !self.inner.is_member(from) {
                    return self.stranger();
                }
                done(&self.inner.carry(motion).await)
            }
            Rpc::ReadIndex => {
                let () = read(&body)?;
                if !self.inner.is_member(from) {
                    return self.stranger();
                }
                let leads = self.inner.leadership().is_some_and(|now| now.leader == self.inner.id);
                let point: ReadPoint = if leads { self.inner.confirmed_index().await } else { None };
                done(&point)
            }
            Rpc::Hello => self.greet(from, read(&body)?),
        }
    }

    /// Takes a snapshot from the leader `from`: `head` and bytes as [`Peers::send_snapshot`](crate::Peers::send_snapshot) got
    /// them. The bytes go to the snapshot folder, so memory does not grow with the state; a broken stream leaves the old state.
    ///
    /// # Errors
    /// As for [`Replica::answer`].
    pub async fn receive_snapshot<S, E>(&self, from: u64, head: Bytes, bytes: S) -> Result<Bytes, Refused>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::fmt::Display,
    {
        if head.len() > MAX_MESSAGE_BYTES {
            return Err(Refused::TooLarge { bytes: head.len(), limit: MAX_MESSAGE_BYTES });
        }
        self.takes_part()?;
        let (vote, meta): (Vote, SnapshotMeta) = read(&head)?;
        speaks_for_itself(from, &vote, true)?;
        if self.is_void(from, &vote) {
            return Err(Refused::Stranger);
        }
        let bytes = bytes.map(|part| part.map_err(|e| std::io::Error::other(e.to_string())));
        let snapshot =
            spool::receive(self.snapshot_dir(), Box::pin(bytes)).await.map_err(|e| Refused::Malformed(e.to_string()))?;
        let state = snapshot.state.clone();
        // Before it reaches the core: what cannot be installed would end this node's part.
        let checked = state.clone();
        let whole = runtime::blocking(move || checked.each(&mut |_, _| ControlFlow::Continue(()))).await;
        whole.map_err(|e| Refused::Stopped(e.to_string()))?.map_err(|e| Refused::Malformed(e.to_string()))?;
        let installed = self.inner.raft.install_full_snapshot(vote, Snapshot { meta, snapshot: state }).await;
        done(&installed.map_err(|e| self.fatal_refusal(&e.to_string()))?)
    }

    async fn append(&self, from: u64, rpc: AppendEntriesRequest<TypeConfig>) -> Result<Bytes, Refused> {
        speaks_for_itself(from, &rpc.vote, true)?;
        let mut last = rpc.prev_log_id.map(|id| id.index());
        for entry in &rpc.entries {
            let index = entry.log_id.index();
            if last.is_some_and(|last| index != last + 1) {
                return Err(Refused::Malformed("its entries do not follow one another".to_owned()));
            }
            last = Some(index);
        }
        if self.is_void(from, &rpc.vote) {
            return self.stranger();
        }
        done(&self.inner.raft.append_entries(rpc).await.map_err(|e| self.fatal_refusal(&e.to_string()))?)
    }

    async fn ballot(&self, from: u64, rpc: Rpc, request: VoteRequest<TypeConfig>) -> Result<Bytes, Refused> {
        speaks_for_itself(from, &request.vote, false)?;
        // A candidate that was removed has not seen so much of the log as the membership here.
        let behind = request.last_log_id.map_or(0, |id| id.index()) < self.inner.committed_membership_index();
        if self.is_gone(from) || (!self.inner.is_member(from) && behind) {
            return self.stranger();
        }
        let raft = &self.inner.raft;
        let voted = if rpc == Rpc::Vote { raft.vote(request).await } else { raft.pre_vote(request).await };
        done(&voted.map_err(|e| self.fatal_refusal(&e.to_string()))?)
    }

    async fn succeed(&self, from: u64, request: TransferLeaderRequest<TypeConfig>) -> Result<Bytes, Refused> {
        speaks_for_itself(from, request.from_leader(), true)?;
        if self.is_void(from, request.from_leader()) {
            return self.stranger();
        }
        done(&self.inner.raft.handle_transfer_leader(request).await.map_err(|e| self.fatal_refusal(&e.to_string()))?)
    }

    fn greet(&self, from: u64, said: Hello) -> Result<Bytes, Refused> {
        if !self.inner.is_member(from) {
            return self.stranger();
        }
        let member_of = |id| self.inner.member(id);
        if self.inner.wire.book.hear(from, said, member_of) {
            self.inner.wire.book.store(self.store(), member_of);
        }
        done(&self.inner.wire.book.hello())
    }

    fn takes_part(&self) -> Result<(), Refused> {
        match self.inner.shared.failure() {
            Some(failure) => Err(Refused::Stopped(failure.to_owned())),
            None if self.inner.shared.stopping() => Err(Refused::Stopped("it is shut down".to_owned())),
            None => Ok(()),
        }
    }

    /// Whether the node was seen to leave.
    fn is_gone(&self, id: u64) -> bool {
        self.inner.gone.lock().contains(&id)
    }

    /// Whether a message of a leader is one of a node that was removed: seen to leave, or unknown and of an earlier term.
    fn is_void(&self, from: u64, vote: &Vote) -> bool {
        let term = self.inner.raft.server_metrics().borrow_watched().vote.leader_id.term;
        self.is_gone(from) || (!self.inner.is_member(from) && vote.leader_id.term < term)
    }

    /// Only a leader's membership is sure to be the last one; from others the caller learns nothing but that it is refused.
    fn stranger(&self) -> Result<Bytes, Refused> {
        let leads = self.inner.leadership().is_some_and(|now| now.leader == self.inner.id);
        let as_of = if leads { self.inner.committed_membership_index() } else { 0 };
        bytes_of(&Reply::<()>::Stranger { as_of })
    }

    fn fatal_refusal(&self, text: &str) -> Refused {
        Refused::Stopped(self.inner.shared.failure().unwrap_or(text).to_owned())
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    codec::decode("message of a peer", body).map_err(|e| Refused::Malformed(e.to_string()))
}

fn done<A: Serialize>(answer: &A) -> Result<Bytes, Refused> {
    bytes_of(&Reply::Done(answer))
}

fn bytes_of<A: Serialize>(reply: &Reply<A>) -> Result<Bytes, Refused> {
    codec::encode(reply).map(Bytes::from).map_err(|e| Refused::Malformed(e.to_string()))
}

fn speaks_for_itself(from: u64, vote: &Vote, leads: bool) -> Result<(), Refused> {
    if vote.leader_id.voted_for == from && vote.committed == leads { Ok(()) } else { Err(Refused::Impersonation) }
}
