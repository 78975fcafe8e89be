//! Who belongs to the cluster and who leads it: changes that only the leader makes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::{Instant as _, WatchReceiver};
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::ChangeError;
use crate::inner::Inner;
use crate::limits::SUCCESSION_PATIENCE;
use crate::replica::Replica;
use crate::types::{Member, TypeConfig};

/// A node that is to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// Its identity, [`Replica::raft_id`] there.
    pub raft_id: u64,
    /// The operator's name for it.
    pub node_id: String,
    /// `host:port` of its cluster port.
    pub address: String,
    /// URL of its API.
    pub api_addr: String,
}

/// Another node as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Its identity.
    pub raft_id: u64,
    /// The operator's name for it.
    pub node_id: String,
    /// Whether it votes.
    pub voter: bool,
    /// Time since it last answered; `None`: not since this node leads.
    pub last_contact: Option<Duration>,
    /// Index up to which its log is known to be the leader's, 0 for none.
    pub matched: u64,
}

impl Replica {
    /// Adds a node without a vote: log or snapshot is sent to it from now on. Repeating it is harmless; with other addresses
    /// it changes them.
    ///
    /// # Errors
    /// [`ChangeError`]; [`ChangeError::Taken`] if another node has the name.
    pub async fn add_learner(&self, new: NewMember) -> Result<(), ChangeError> {
        let NewMember { raft_id, node_id, address, api_addr } = new;
        let member = Member { node_id, address, api_addr };
        let membership = self.inner.membership();
        if membership.nodes().any(|(id, known)| *id != raft_id && known.node_id == member.node_id) {
            return Err(ChangeError::Taken(member.node_id));
        }
        match membership.get_node(&raft_id) {
            Some(known) if known.node_id != member.node_id => return Err(ChangeError::Taken(known.node_id.clone())),
            Some(known) if *known == member => return Ok(()),
            _ => {}
        }
        self.inner.change(ChangeMembers::SetNodes(BTreeMap::from([(raft_id, member)])), true).await
    }

    /// Gives a node a vote.
    ///
    /// # Errors
    /// [`ChangeError`]
    pub async fn promote(&self, node_id: &str) -> Result<(), ChangeError> {
        let id = self.inner.id_of(node_id)?;
        if self.inner.is_voter(id) {
            return Ok(());
        }
        self.inner.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
    }

    /// Takes a node's vote; it goes on learning.
    ///
    /// # Errors
    /// [`ChangeError`]
    pub async fn demote(&self, node_id: &str) -> Result<(), ChangeError> {
        let id = self.inner.id_of(node_id)?;
        if !self.inner.is_voter(id) {
            return Ok(());
        }
        self.inner.others_vote(id, node_id)?;
        self.inner.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), true).await
    }

    /// Removes a node. It learns of it when it calls the others, see [`State::Removed`](crate::State::Removed). A leader that
    /// removes itself hands over first thing after.
    ///
    /// # Errors
    /// [`ChangeError`]
    pub async fn remove(&self, node_id: &str) -> Result<(), ChangeError> {
        let id = self.inner.id_of(node_id)?;
        let ids = BTreeSet::from([id]);
        if !self.inner.is_voter(id) {
            return self.inner.change(ChangeMembers::RemoveNodes(ids), false).await;
        }
        self.inner.others_vote(id, node_id)?;
        self.inner.change(ChangeMembers::RemoveVoters(ids), false).await
    }

    /// Hands the lead to the voter that has most of the log, or to the next if that one does not take it. Proposals wait
    /// meanwhile, see [`Replica::propose`].
    ///
    /// # Errors
    /// [`ChangeError::Alone`] without another voter; [`ChangeError::NoSuccessor`] if none took over in time. This node does
    /// not lead then either until a majority elects it again.
    pub async fn step_down(&self) -> Result<(), ChangeError> {
        let inner = &self.inner;
        inner.leads()?;
        let mut heirs: Vec<Follower> = self.followers().into_iter().filter(|f| f.voter).collect();
        if heirs.is_empty() {
            return Err(ChangeError::Alone);
        }
        // Who answered lately, and of those who has most.
        heirs.sort_by_key(|f| (f.last_contact.is_none_or(|ago| ago > SUCCESSION_PATIENCE), u64::MAX - f.matched, f.last_contact));
        let deadline = Instant::now() + inner.patience;
        for heir in heirs {
            inner.raft.trigger().transfer_leader(heir.raft_id).await.map_err(|e| inner.fatal(&e))?;
            let until = (Instant::now() + SUCCESSION_PATIENCE).min(deadline);
            let mut metrics = inner.raft.server_metrics();
            loop {
                let leads = metrics.borrow_and_update().state == ServerState::Leader;
                if !leads && inner.leadership().is_some_and(|now| now.leader != inner.id) {
                    inner.lead.resign(); // it is told a moment later otherwise
                    return Ok(());
                }
                match timeout_at(until, metrics.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(inner.stopped().into()),
                    Err(_) => break,
                }
            }
        }
        Err(ChangeError::NoSuccessor)
    }

    /// The other nodes as this one sees them while it leads, by name; empty otherwise.
    #[must_use]
    pub fn followers(&self) -> Vec<Follower> {
        self.inner.followers()
    }
}

impl Inner {
    pub(crate) fn followers(&self) -> Vec<Follower> {
        let watch = self.raft.metrics();
        let m = watch.borrow_watched();
        let (Some(heartbeats), Some(replication)) = (&m.heartbeat, &m.replication) else { return Vec::new() };
        let voters: BTreeSet<u64> = m.membership_config.voter_ids().collect();
        let others = m.membership_config.nodes().filter(|(id, _)| **id != self.id);
        let mut followers: Vec<Follower> = others
            .map(|(id, member)| Follower {
                raft_id: *id,
                node_id: member.node_id.clone(),
                voter: voters.contains(id),
                last_contact: heartbeats.get(id).copied().flatten().map(|at| at.elapsed()),
                matched: replication.get(id).copied().flatten().map_or(0, |id| id.index()),
            })
            .collect();
        followers.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        followers
    }

    fn id_of(&self, node_id: &str) -> Result<u64, ChangeError> {
        let membership = self.membership();
        let found = membership.nodes().find(|(_, member)| member.node_id == node_id).map(|(id, _)| *id);
        found.ok_or_else(|| ChangeError::NoSuchNode(node_id.to_owned()))
    }

    fn is_voter(&self, id: u64) -> bool {
        self.membership().voter_ids().any(|voter| voter == id)
    }

    fn others_vote(&self, id: u64, node_id: &str) -> Result<(), ChangeError> {
        let others = self.membership().voter_ids().any(|voter| voter != id);
        others.then_some(()).ok_or_else(|| ChangeError::LastVoter(node_id.to_owned()))
    }

    fn leads(&self) -> Result<(), ChangeError> {
        let leads = self.leadership().is_some_and(|now| now.leader == self.id);
        leads.then_some(()).ok_or_else(|| ChangeError::NotLeader { leader: self.leader() })
    }

    /// Carries out a change of the membership, if this node leads.
    pub(crate) async fn change(&self, change: ChangeMembers<u64, Member>, retain: bool) -> Result<(), ChangeError> {
        self.leads()?;
        let changed = timeout(self.patience, self.raft.change_membership(change, retain)).await;
        match changed.map_err(|_| ChangeError::Unconfirmed)? {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(e)) => Err(self.unchanged(&e)),
            Err(RaftError::Fatal(e)) => Err(self.fatal(&e).into()),
        }
    }

    fn unchanged(&self, error: &ClientWriteError<TypeConfig>) -> ChangeError {
        use ChangeMembershipError as E;
        match error {
            ClientWriteError::ForwardToLeader(_) => ChangeError::NotLeader { leader: self.leader() },
            ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unconfirmed,
            ClientWriteError::ChangeMembershipError(E::InProgress(_) | E::UncommittedLeaderLog(_)) => ChangeError::Busy,
            ClientWriteError::ChangeMembershipError(E::LearnerNotFound(e)) => ChangeError::NoSuchNode(e.node_id.to_string()),
            other => crate::error::ProposeError::Storage(other.to_string()).into(),
        }
    }
}
