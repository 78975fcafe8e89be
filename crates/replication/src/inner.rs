//! What the parts of a replica share: the raft core's handle, the way to the others, and what is known of both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::desk::Desk;
use crate::error::ProposeError;
use crate::limits::LEADER_RETRY;
use crate::maintenance::Lead;
use crate::reads::Reader;
use crate::shared::Shared;
use crate::status::Peer;
use crate::types::{Member, Raft, StoredMembership, TypeConfig};
use crate::wire::Wire;

/// One node, without its store.
pub(crate) struct Inner {
    pub(crate) raft: Raft,
    pub(crate) id: u64,
    /// What the membership should say of this node.
    pub(crate) this: Member,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lead: Arc<Lead>,
    pub(crate) wire: Arc<Wire>,
    /// Proposals of others that this node took as their leader.
    pub(crate) desk: Desk,
    pub(crate) readers: mpsc::UnboundedSender<Reader>,
    /// How long a proposal or a read waits for a leader and for its own end.
    pub(crate) patience: Duration,
    /// Nodes that were seen to leave the membership. A raft id is never used again.
    pub(crate) gone: Mutex<BTreeSet<u64>>,
}

/// Who leads, in which term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) leader: u64,
    pub(crate) term: u64,
}

impl Inner {
    pub(crate) fn membership(&self) -> Arc<StoredMembership> {
        Arc::clone(&self.raft.server_metrics().borrow_watched().membership_config)
    }

    /// What the membership says of a node.
    pub(crate) fn member(&self, id: u64) -> Option<Member> {
        self.membership().get_node(&id).cloned()
    }

    /// Whether this node belongs to a cluster.
    pub(crate) fn initialized(&self) -> bool {
        self.membership().nodes().next().is_some()
    }

    /// Whether the membership in force, or the one before it while they change, has this node.
    pub(crate) fn is_member(&self, id: u64) -> bool {
        let metrics = self.raft.server_metrics();
        let m = metrics.borrow_watched();
        m.membership_config.get_node(&id).is_some() || m.committed_membership_config.get_node(&id).is_some()
    }

    /// Index of the entry that set the committed membership.
    pub(crate) fn committed_membership_index(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().committed_membership_config.log_id().map_or(0, |id| id.index())
    }

    /// Whether this node was removed from its cluster: it saw so itself, or a leader with a newer membership said so.
    pub(crate) fn is_removed(&self) -> bool {
        let membership = self.membership();
        if membership.nodes().next().is_none() {
            return false;
        }
        let there = membership.get_node(&self.id).is_some();
        let (seen, as_of) = (self.gone.lock().contains(&self.id), self.wire.stranger_as_of());
        let newest = membership.log_id().map_or(0, |id| id.index());
        (!there && seen) || as_of > newest || (!there && as_of > 0 && as_of == newest)
    }

    /// Who leads at present, if anybody does.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        let metrics = self.raft.server_metrics();
        let m = metrics.borrow_watched();
        let leader = m.current_leader?;
        (leader != self.id || m.state == ServerState::Leader).then_some(Leadership { leader, term: m.vote.leader_id.term })
    }

    /// The leader's entry in the membership.
    pub(crate) fn leader(&self) -> Option<Peer> {
        let leader = self.leadership()?.leader;
        self.member(leader).map(|member| Peer::new(leader, &member, true, true))
    }

    /// Waits for a leader that is not as `than`, but a pause if it still is; `None` at the deadline or when the core stopped.
    pub(crate) async fn next_leadership(&self, than: Option<Leadership>, deadline: Instant) -> Option<Leadership> {
        let mut metrics = self.raft.server_metrics();
        let again = Instant::now() + LEADER_RETRY;
        loop {
            metrics.borrow_and_update();
            let now = self.leadership();
            if let Some(now) = now.filter(|now| than != Some(*now) || Instant::now() >= again) {
                return Some(now);
            }
            let until = if now.is_some() { again.min(deadline) } else { deadline };
            match tokio::time::timeout_at(until, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) if until >= deadline => return None,
                Err(_) => {}
            }
        }
    }

    /// Why nothing can be written or read by now, if that is so.
    pub(crate) fn refusal(&self) -> Option<ProposeError> {
        if let Some(refusal) = self.shared.blocked() {
            return Some(refusal);
        }
        if self.shared.stopping() {
            return Some(ProposeError::Shutdown);
        }
        if !self.initialized() {
            return Some(ProposeError::Uninitialized);
        }
        self.is_removed().then_some(ProposeError::Removed)
    }

    /// No leader was found in time, or the core ended.
    pub(crate) fn leaderless(&self) -> ProposeError {
        self.refusal().unwrap_or_else(|| ProposeError::NotLeader { leader: self.leader() })
    }

    pub(crate) fn fatal(&self, error: &Fatal<TypeConfig>) -> ProposeError {
        match (self.shared.failure(), error) {
            (Some(failure), _) => ProposeError::Storage(failure.to_owned()),
            (None, Fatal::Stopped) => ProposeError::Shutdown,
            (None, other) => ProposeError::Storage(other.to_string()),
        }
    }

    pub(crate) fn stopped(&self) -> ProposeError {
        self.fatal(&Fatal::Stopped)
    }
}
