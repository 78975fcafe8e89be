//! What a node knows about itself and its cluster, for `sys/leader`, `sys/ha-status` and `sys/storage/raft/*`.

use std::time::Duration;

use crate::types::Member;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its identity: random, kept in its store, never used again.
    pub raft_id: u64,
    /// The operator's name for it.
    pub node_id: String,
    /// `host:port` of its cluster port.
    pub address: String,
    /// URL of its API.
    pub api_addr: String,
    /// Whether it votes (else it only learns).
    pub voter: bool,
    /// Whether it leads, as far as this node knows.
    pub leader: bool,
}

impl Peer {
    pub(crate) fn new(raft_id: u64, member: &Member, voter: bool, leader: bool) -> Self {
        Self {
            raft_id,
            node_id: member.node_id.clone(),
            address: member.address.clone(),
            api_addr: member.api_addr.clone(),
            voter,
            leader,
        }
    }
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It orders the changes.
    Leader,
    /// It follows and may vote.
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows without a vote; also a node without a cluster.
    Learner,
    /// It was removed from its cluster, and says so until its data directory is emptied and it joins again.
    Removed,
    /// It has stopped, on request or for a failure.
    Shutdown,
}

/// One look at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The greatest term it has seen.
    pub term: u64,
    /// Who leads.
    pub leader: Option<Peer>,
    /// This node.
    pub this: Peer,
    /// All nodes, voters first, by name.
    pub peers: Vec<Peer>,
    /// Index of the last entry in its log, 0 for none.
    pub last_log: u64,
    /// Index up to which it knows the log is committed.
    pub committed: u64,
    /// Index up to which it has applied the log.
    pub applied: u64,
    /// Index of the entry that set the membership.
    pub membership_index: u64,
    /// Time since the leader changed, or since the node was opened.
    pub since_leader_change: Duration,
    /// Why the storage stopped, if it did.
    pub failure: Option<String>,
}
