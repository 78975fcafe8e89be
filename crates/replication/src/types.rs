//! The types openraft is parameterised with.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use storage::Changeset;

use crate::machine::Machine;

openraft::declare_raft_types!(
    /// Standard Raft: one leader per term.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = crate::runtime::Runtime,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, crate::snapshot::StateSnapshot>;

/// What a proposal became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its log index, which is the version of everything it wrote.
    pub index: u64,
    /// `false`: a check failed (conflict) and nothing was written.
    pub committed: bool,
}

/// By which a proposer recognises its entry, see `ledger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The process that proposed it: a random number.
    pub origin: u64,
    /// Counts that process's proposals.
    pub number: u64,
}

/// What goes through the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    /// A change; shared, because log, memory tail and apply all hold it.
    Change(Arc<Changeset>),
    /// The state becomes what was staged under this name, see `restore`.
    Restore([u8; 16]),
    /// A change of a node that is not alone.
    Ticketed(Ticket, Arc<Changeset>),
}

// Names and values are ciphertexts, but logs are no place for them either.
impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) | Self::Ticketed(_, change) => {
                write!(f, "Change({} checks, {} writes)", change.checks.len(), change.writes.len())
            }
            Self::Restore(_) => f.write_str("Restore"),
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A node as the membership knows it. Its raft id is a random number kept in its store, so neither a name nor an address
/// that is used again can be taken for the node that had it before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name chosen by the operator.
    pub node_id: String,
    /// `host:port` of the cluster port.
    pub address: String,
    /// URL of the API.
    pub api_addr: String,
}
