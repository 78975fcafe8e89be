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
    /// No leader took it within the patience of the settings. The change is not in the log and never will be by this call.
    #[error("no leader could be reached")]
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
    /// The connection or the leader was lost after the change was handed over, and nothing told in time what became of it.
    /// It may or may not be committed; it must not be repeated unseen.
    #[error("it is not known whether the change was committed")]
    Unknown,
    /// This node was removed from its cluster.
    #[error("this node was removed from the cluster")]
    Removed,
    /// The replica is shut down.
    #[error("replication is shut down")]
    Shutdown,
}

/// Why a call of another node is refused. What a caller may know about it travels in the answer, so this is mostly for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The bytes are not what they should be, or of a format this program does not know.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
    /// The message is larger than any that a node sends.
    #[error("a message of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It speaks for another node than the one that sent it.
    #[error("the message is not of the node that sent it")]
    Impersonation,
    /// The caller is no member and brings a snapshot.
    #[error("the caller is no member of this cluster")]
    Stranger,
    /// This node stops, or its disk failed.
    #[error("this node does not take part: {0}")]
    Stopped(String),
}

/// Why the membership or the lead does not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Only the leader changes the membership; it is another node, or nobody knows it at present.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// There is no node of this name.
    #[error("no node {0:?} is in the cluster")]
    NoSuchNode(String),
    /// The name belongs to a node with another identity, such as one whose data was lost.
    #[error("the name {0:?} belongs to another node of the cluster; remove that one first")]
    Taken(String),
    /// Without this node nobody could vote.
    #[error("{0:?} is the only voter")]
    LastVoter(String),
    /// There is nobody who could lead instead.
    #[error("there is no other voter that could take over")]
    Alone,
    /// Every voter that could lead was asked, and none took over in time.
    #[error("no other voter took over the lead in time")]
    NoSuccessor,
    /// The change before is not completed.
    #[error("another change of the membership is under way")]
    Busy,
    /// It was not confirmed in time; it may still come about.
    #[error("the change of the membership was not confirmed in time")]
    Unconfirmed,
    /// As for proposals.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}
