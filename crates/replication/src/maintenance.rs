//! Background duties of a replica: tell who leads, and keep the log small. Ends with the replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, ServerState};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits::AGE_CHECK;
use crate::log::LogStore;
use crate::shared::Shared;
use crate::types::{Member, Raft, StoredMembership};

/// What the callers read without asking the raft core.
pub(crate) struct Lead {
    /// The term in which this node leads as the only voter, 0: it does not.
    sole_term: AtomicU64,
    /// Whether this node leads and has applied its first entry.
    pub(crate) leading: watch::Sender<bool>,
    pub(crate) changed_at: Mutex<Instant>,
}

impl Lead {
    pub(crate) fn new() -> Self {
        Self { sole_term: AtomicU64::new(0), leading: watch::Sender::new(false), changed_at: Mutex::new(Instant::now()) }
    }

    /// Whether nobody else can have committed anything, and all that was committed before is applied.
    pub(crate) fn alone(&self, shared: &Shared) -> bool {
        let term = self.sole_term.load(Ordering::Acquire);
        term != 0 && term == shared.applied_term()
    }

    pub(crate) fn resign(&self) {
        self.sole_term.store(0, Ordering::Release);
        self.leading.send_if_modified(|leading| std::mem::replace(leading, false));
    }
}

/// Follows the raft core's state until it stops. `this` is what the membership should say of this node.
pub(crate) async fn watch_leadership(raft: Raft, lead: Arc<Lead>, shared: Arc<Shared>, this: Member) {
    let mut server = raft.server_metrics();
    let mut applied_term = shared.watch_applied_term();
    let mut leader = None;
    loop {
        let (is_leader, term, sole, current, known, nodes) = {
            let m = server.borrow_watched();
            let only_me = |members: &StoredMembership| members.voter_ids().all(|id| id == m.id);
            let sole = m.state == ServerState::Leader && only_me(&m.membership_config) && only_me(&m.committed_membership_config);
            let known = m.membership_config.get_node(&m.id) == Some(&this);
            (
                m.state == ServerState::Leader,
                m.vote.leader_id.term,
                sole,
                m.current_leader,
                known,
                m.membership_config.nodes().count(),
            )
        };
        let ready = is_leader && *applied_term.borrow_and_update() == term;
        shared.set_sole(sole && nodes == 1);
        lead.sole_term.store(if sole { term } else { 0 }, Ordering::Release);
        // A leader without followers has nobody to send heartbeats to, and nobody to time out on.
        raft.runtime_config().tick(!(sole && ready));
        if std::mem::replace(&mut leader, current) != current {
            *lead.changed_at.lock() = Instant::now();
        }
        let began = lead.leading.send_if_modified(|leading| std::mem::replace(leading, ready) != ready) && ready;
        if began && !known {
            tokio::spawn(announce(raft.clone(), this.clone()));
        }
        tokio::select! {
            changed = server.changed() => if changed.is_err() { break },
            changed = applied_term.changed() => if changed.is_err() { break },
        }
    }
    shared.set_sole(false);
    lead.resign();
}

/// Puts this node's present addresses into the membership.
async fn announce(raft: Raft, this: Member) {
    let change = ChangeMembers::SetNodes(BTreeMap::from([(*raft.node_id(), this)]));
    if let Err(error) = raft.change_membership(change, true).await {
        tracing::warn!(%error, "the membership keeps this node's old addresses");
    }
}

/// Purges the log when it is too large or too old; by number openraft does it itself.
pub(crate) async fn keep_log_small(raft: Raft, log: LogStore, shared: Arc<Shared>, age: Duration) {
    let mut metrics = raft.data_metrics();
    let pause = AGE_CHECK.min(age);
    loop {
        tokio::select! {
            () = shared.log_grew.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let Some(target) = log.purgeable(log.limit_bytes() / 2, age) else { continue };
        let upto = target.min(shared.applied_index());
        // Only what a snapshot covers can be purged, and a snapshot is only a mark here.
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
        let covered = |index: Option<u64>| index.is_some_and(|i| i >= upto);
        while !covered(metrics.borrow_watched().snapshot.map(|id| id.index())) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
        if raft.trigger().purge_log(upto).await.is_err() {
            return;
        }
    }
}
