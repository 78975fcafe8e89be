//! What stands in [`Space::Log`](storage::Space::Log) and [`Space::Meta`](storage::Space::Meta): a format number, then
//! postcard. The shapes are our own, so that a change of openraft's types does not change the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::leader_id_std::CommittedLeaderId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::{Changeset, StoreError};

use crate::types::{Entry, LogId, Member, Membership, Proposal, StoredMembership, Ticket, Vote};

/// Format number before every record.
const FORMAT: u8 = 1;

/// Keys in `Space::Meta`.
pub(crate) mod meta {
    pub(crate) const VOTE: &[u8] = b"raft/vote";
    pub(crate) const PURGED: &[u8] = b"raft/purged";
    pub(crate) const APPLIED: &[u8] = b"raft/applied";
    pub(crate) const MEMBERSHIP: &[u8] = b"raft/membership";
    pub(crate) const NODE: &[u8] = b"raft/node";
    /// Position of the last snapshot that was installed: only there may the state lead the log.
    pub(crate) const INSTALLED: &[u8] = b"raft/installed";
    pub(crate) const INSTALLING: &[u8] = b"raft/installing";
    /// Addresses that nodes told of themselves.
    pub(crate) const PLACES: &[u8] = b"raft/places";
}

/// Position of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl From<&LogId> for Position {
    fn from(id: &LogId) -> Self {
        Self { term: id.committed_leader_id().term, index: id.index() }
    }
}

impl From<Position> for LogId {
    fn from(p: Position) -> Self {
        Self::new(CommittedLeaderId::new(p.term), p.index)
    }
}

/// The vote this node gave.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ballot {
    term: u64,
    node: u64,
    committed: bool,
}

impl From<&Vote> for Ballot {
    fn from(v: &Vote) -> Self {
        Self { term: v.leader_id.term, node: v.leader_id.voted_for, committed: v.committed }
    }
}

impl From<Ballot> for Vote {
    fn from(b: Ballot) -> Self {
        if b.committed { Self::new_committed(b.term, b.node) } else { Self::new(b.term, b.node) }
    }
}

/// Voters (two sets while they change) and all nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Members {
    voters: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, Member>,
}

impl From<&Membership> for Members {
    fn from(m: &Membership) -> Self {
        Self { voters: m.get_joint_config().clone(), nodes: m.nodes().map(|(id, n)| (*id, n.clone())).collect() }
    }
}

impl Members {
    fn restore(self) -> Result<Membership, StoreError> {
        if self.voters.is_empty() && self.nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(self.voters, self.nodes).map_err(|e| corrupt("membership", e.to_string()))
    }
}

/// The membership in force and the entry that made it so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Roster {
    at: Option<Position>,
    members: Members,
}

impl From<&StoredMembership> for Roster {
    fn from(m: &StoredMembership) -> Self {
        Self { at: m.log_id().as_ref().map(Position::from), members: m.membership().into() }
    }
}

impl Roster {
    pub(crate) fn restore(self) -> Result<StoredMembership, StoreError> {
        Ok(StoredMembership::new(self.at.map(LogId::from), self.members.restore()?))
    }
}

/// Who this store belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) raft_id: u64,
    pub(crate) node_id: String,
}

#[derive(Serialize, Deserialize)]
struct Record<C> {
    at: Position,
    body: Body<C>,
}

#[derive(Serialize, Deserialize)]
enum Body<C> {
    Blank,
    Change(C),
    Members(Members),
    Restore([u8; 16]),
    Ticketed(Ticket, C),
}

/// Encodes a log entry.
pub(crate) fn encode_entry(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let body = match &entry.payload {
        EntryPayload::Blank => Body::Blank,
        EntryPayload::Normal(Proposal::Change(change)) => Body::Change(change.as_ref()),
        EntryPayload::Normal(Proposal::Restore(token)) => Body::Restore(*token),
        EntryPayload::Normal(Proposal::Ticketed(ticket, change)) => Body::Ticketed(*ticket, change.as_ref()),
        EntryPayload::Membership(m) => Body::Members(m.into()),
    };
    encode(&Record { at: (&entry.log_id).into(), body })
}

/// Decodes a log entry found under `index`.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, StoreError> {
    let record: Record<Changeset> = decode("log entry", bytes)?;
    if record.at.index != index {
        return Err(corrupt("log", format!("entry {index} says that it is {}", record.at.index)));
    }
    let payload = match record.body {
        Body::Blank => EntryPayload::Blank,
        Body::Change(change) => EntryPayload::Normal(Proposal::Change(Arc::new(change))),
        Body::Ticketed(ticket, change) => EntryPayload::Normal(Proposal::Ticketed(ticket, Arc::new(change))),
        Body::Restore(token) => EntryPayload::Normal(Proposal::Restore(token)),
        Body::Members(m) => EntryPayload::Membership(m.restore()?),
    };
    Ok(Entry { log_id: record.at.into(), payload })
}

/// Format number, then postcard.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|e| corrupt("record to be written", e.to_string()))
}

/// The reverse of [`encode`]; refuses formats that are newer than this program.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|e| corrupt(what, e.to_string())),
        Some((&found, _)) if found > FORMAT => Err(corrupt(
            what,
            format!("it has format {found} and was written by a newer program; this one knows formats up to {FORMAT}"),
        )),
        Some((found, _)) => Err(corrupt(what, format!("unknown format {found}"))),
        None => Err(corrupt(what, "it is empty".to_owned())),
    }
}

/// The key of an entry in `Space::Log`.
pub(crate) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index a key of `Space::Log` stands for.
pub(crate) fn log_index(key: &[u8]) -> Result<u64, StoreError> {
    let key: [u8; 8] = key.try_into().map_err(|_| corrupt("log", format!("a key of {} bytes instead of 8", key.len())))?;
    Ok(u64::from_be_bytes(key))
}

pub(crate) fn corrupt(what: &str, detail: String) -> StoreError {
    StoreError::Corrupt { what: what.to_owned(), detail }
}
