//! What can go wrong when a replica is opened and when it is asked to write or to read linearizably.

use storage::StoreError;

use crate::status::Peer;

/// Why a replica does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store below.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory belongs to another node.
    #[error("the data belongs to node {stored:?}, but node_id is {given:?}; use the old node_id or an empty data directory")]
    OtherNode {
        /// Name in the store.
        stored: String,
        /// Name in the settings.
        given: String,
    },
    /// Timings that contradict each other.
    #[error("replication settings: {0}")]
    Settings(String),
    /// A snapshot was being installed when the process ended, and it cannot be finished.
    #[error("an interrupted snapshot installation cannot be finished: {0}; empty the data directory and join again")]
    Snapshot(String),
    /// No entropy for the node's identity.
    #[error("random source: {0}")]
    Entropy(String),
    /// The log and the state contradict each other, or the replication core does not start.
    #[error("replication does not start: {0}")]
    Start(String),
}

/// Why a change is not known to be committed, or a read not known to be current.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none does at present. The change was not appended here, or was discarded for another
    /// leader's log; checks make a repeated proposal safe.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// No membership yet: neither bootstrapped nor joined.
    #[error("the node belongs to no cluster yet")]
    Uninitialized,
    /// The change is over a limit; nothing was appended.
    #[error("{what} is too large: {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk failed; every later proposal fails too.
    #[error("storage: {0}")]
    Storage(String),
    /// The disk is full. Proposals work again once there is room, and one that had begun may still be committed then.
    #[error("storage: {0}")]
    Full(String),
    /// There are other nodes, which could not follow.
    #[error("the state of a cluster cannot be replaced while it has more than one node; remove the others first")]
    Followed,
    /// The replica is shut down.
    #[error("replication is shut down")]
    Shutdown,
}
