//! Recovery of a cluster that lost its majority: the membership is rewritten on one node that survived, while it is down.
//!
//! What the majority had acknowledged and this node had not received is lost; that is what an operator decides with it. The
//! new membership is one more entry of the node's log, in a term of its own: so it takes part in elections and replication
//! like any other entry, what stood at the log's end counts as committed, and survivors that were not rewritten follow once
//! their logs are compared. The term is made of the log's end and the members: two nodes that are rewritten independently
//! get the same entry only if all before it is the same too, and else the one with more of the log wins.
//!
//! Deliberately absent: where the list of members comes from (`peers.json`, `strongroom operator raft recover`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;
use storage::{Batch, Durability, Space, Store, StoreError};
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{self, Ballot, Identity, Position, Roster, meta};
use crate::disk::{Disk, Write};
use crate::limits::READ_CHUNK_BYTES;
use crate::log::read_meta;
use crate::status::Peer;
use crate::types::{Entry, LogId, Member, Membership, Vote};

/// A member as the operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Its identity; `None`: that of the member of this name.
    pub raft_id: Option<u64>,
    /// The operator's name for it.
    pub node_id: String,
    /// `host:port` of its cluster port.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
}

/// What a recovery changes, or would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The name of the node whose store it is.
    pub node_id: String,
    /// Term and index of the last entry of its log. Of several survivors the one with the greatest pair is to be recovered.
    pub last: (u64, u64),
    /// Index up to which its state is applied.
    pub applied: u64,
    /// Members so far.
    pub before: Vec<Peer>,
    /// Members from now on.
    pub after: Vec<Peer>,
}

impl Recovery {
    /// Whether there is anything to change.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.before != self.after
    }
}

/// Why the membership is not rewritten. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store or the log's files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store was never part of a cluster.
    #[error("this store belongs to no cluster: there is nothing to recover")]
    Empty,
    /// A snapshot was being installed; the node has to finish that, or to join anew.
    #[error("a snapshot is half installed here: this node cannot be the one to recover from")]
    HalfInstalled,
    /// The node itself must be among the voters.
    #[error("node {0:?}, whose data this is, must be in the list, with a vote")]
    NotItself(String),
    /// A name twice, or none.
    #[error("the name {0:?} is empty or twice in the list")]
    Name(String),
    /// An address that is none.
    #[error("the address of {0:?} is empty or too long")]
    Address(String),
    /// A name that the old membership does not know, without a raft id.
    #[error("no member was ever called {0:?} here; name its raft id too")]
    NoSuchNode(String),
}

/// Rewrites the membership in a store (and the log's files) that no process has open. With `dry_run` it only says what would
/// change.
///
/// # Errors
/// [`RecoverError`]
pub fn recover(
    store: Arc<dyn Store>,
    log_dir: Option<&Path>,
    survivors: &[Survivor],
    dry_run: bool,
) -> Result<Recovery, RecoverError> {
    let identity = read_meta::<Identity>(&*store, meta::NODE, "node identity")?.ok_or(RecoverError::Empty)?;
    if store.get(Space::Meta, meta::INSTALLING)?.is_some() {
        return Err(RecoverError::HalfInstalled);
    }
    let applied = read_meta::<Position>(&*store, meta::APPLIED, "applied position")?;
    let vote = read_meta::<Ballot>(&*store, meta::VOTE, "vote")?.map(Vote::from);
    let (disk, purged, last) = Disk::open(Arc::clone(&store), log_dir)?;
    let before = membership(&*store, &disk, purged, last)?.ok_or(RecoverError::Empty)?;
    let after = wanted(&before, survivors, &identity)?;
    let last = last.max_by_position(applied).ok_or(RecoverError::Empty)?;
    let recovery = Recovery {
        node_id: identity.node_id.clone(),
        last: (last.term, last.index),
        applied: applied.map_or(0, |at| at.index),
        before: peers(&before),
        after: peers(&after),
    };
    if dry_run || !recovery.is_change() {
        return Ok(recovery);
    }
    let seen = vote.map_or(0, |vote| vote.leader_id.term).max(last.term);
    let at = Position { term: term_of(seen, last, &after)?, index: last.index + 1 };
    // The vote first: a log must not be of a later term than its node knows.
    let mut batch = Batch::default();
    let ballot = Ballot::from(&Vote::new(at.term, identity.raft_id));
    batch.put(Space::Meta, meta::VOTE, codec::encode(&ballot)?);
    store.commit(batch, Durability::Synced)?;
    let entry = Entry { log_id: LogId::from(at), payload: EntryPayload::Membership(after) };
    disk.write(&[Write::Append(vec![(at, codec::encode_entry(&entry)?)])])?;
    Ok(recovery)
}

/// The later of two ends: a log that was purged behind a snapshot may end before it.
trait Later {
    fn max_by_position(self, other: Self) -> Self;
}

impl Later for Option<Position> {
    fn max_by_position(self, other: Self) -> Self {
        if other.map(|p| (p.term, p.index)) > self.map(|p| (p.term, p.index)) { other } else { self }
    }
}

/// The membership in force: the last one in the log, or that of the state.
fn membership(
    store: &dyn Store,
    disk: &Disk,
    purged: Option<Position>,
    last: Option<Position>,
) -> Result<Option<Membership>, StoreError> {
    let stored = read_meta::<Roster>(store, meta::MEMBERSHIP, "membership")?;
    let mut found = match stored {
        Some(roster) => Some(roster.restore()?.membership().clone()),
        None => None,
    };
    let (mut from, end) = (purged.map_or(0, |p| p.index + 1), last.map_or(0, |p| p.index + 1));
    while from < end {
        let mut entries = Vec::new();
        disk.read(from, end, READ_CHUNK_BYTES, &mut entries)?;
        let Some(read) = entries.last().map(|entry| entry.log_id.index()) else { break };
        for entry in entries {
            if let EntryPayload::Membership(members) = entry.payload {
                found = Some(members);
            }
        }
        from = read + 1;
    }
    Ok(found.filter(|members| members.nodes().next().is_some()))
}

fn wanted(before: &Membership, survivors: &[Survivor], this: &Identity) -> Result<Membership, RecoverError> {
    let (mut nodes, mut voters, mut names) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for survivor in survivors {
        let name = &survivor.node_id;
        if name.is_empty() || !names.insert(name.as_str()) {
            return Err(RecoverError::Name(name.clone()));
        }
        if survivor.address.is_empty() || survivor.address.len() > crate::limits::MAX_ADDRESS_BYTES {
            return Err(RecoverError::Address(name.clone()));
        }
        let known = before.nodes().find(|(_, member)| member.node_id == *name);
        let id = survivor.raft_id.or(known.map(|(id, _)| *id)).ok_or_else(|| RecoverError::NoSuchNode(name.clone()))?;
        let api_addr = before.get_node(&id).map_or_else(String::new, |member| member.api_addr.clone());
        let member = Member { node_id: name.clone(), address: survivor.address.clone(), api_addr };
        if nodes.insert(id, member).is_some() {
            return Err(RecoverError::Name(name.clone()));
        }
        if survivor.voter {
            voters.insert(id);
        }
    }
    if !voters.contains(&this.raft_id) || nodes.get(&this.raft_id).is_none_or(|member| member.node_id != this.node_id) {
        return Err(RecoverError::NotItself(this.node_id.clone()));
    }
    Membership::new(vec![voters], nodes).map_err(|e| codec::corrupt("membership", e.to_string()).into())
}

/// A term beyond all that were seen, in steps so large that the rest can hold where the log ends, greater for more of it, and
/// eight bits of what the entry says.
fn term_of(seen: u64, last: Position, after: &Membership) -> Result<u64, StoreError> {
    const STEP_BITS: u32 = 48;
    let members = codec::encode(&codec::Members::from(after))?;
    let digest = xxh3_64(&[last.term.to_be_bytes().as_slice(), &last.index.to_be_bytes(), &members].concat());
    let end = (last.term & 0xfff) << 36 | (last.index & 0x0fff_ffff) << 8 | digest & 0xff;
    Ok(((seen >> STEP_BITS) + 1) << STEP_BITS | end)
}

fn peers(members: &Membership) -> Vec<Peer> {
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let mut peers: Vec<Peer> = members.nodes().map(|(id, member)| Peer::new(*id, member, voters.contains(id), false)).collect();
    peers.sort_by(|a, b| (!a.voter, &a.node_id).cmp(&(!b.voter, &b.node_id)));
    peers
}
