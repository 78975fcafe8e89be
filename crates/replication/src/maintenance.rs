//! Background duties of a replica: tell who leads, and keep the log small. Ends with the replica.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::inner::Inner;
use crate::limits::{AGE_CHECK, LAG_FACTOR, LIVE, SNAPSHOT_RETRY};
use crate::log::LogStore;
use crate::members::Follower;
use crate::shared::Shared;
use crate::types::StoredMembership;

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

/// Follows the raft core's state until it stops.
pub(crate) async fn watch_leadership(inner: Arc<Inner>) {
    let Inner { raft, lead, shared, .. } = &*inner;
    let mut server = raft.server_metrics();
    let mut applied_term = shared.watch_applied_term();
    let mut leader = None;
    let mut members = BTreeSet::new();
    loop {
        let (is_leader, term, sole, current, nodes, committed) = {
            let m = server.borrow_watched();
            let only_me = |members: &StoredMembership| members.voter_ids().all(|id| id == m.id);
            let sole = m.state == ServerState::Leader && only_me(&m.membership_config) && only_me(&m.committed_membership_config);
            let nodes: BTreeSet<u64> = m.membership_config.nodes().map(|(id, _)| *id).collect();
            let committed: BTreeSet<u64> = m.committed_membership_config.nodes().map(|(id, _)| *id).collect();
            (m.state == ServerState::Leader, m.vote.leader_id.term, sole, m.current_leader, nodes, committed)
        };
        let ready = is_leader && *applied_term.borrow_and_update() == term;
        shared.set_sole(sole && nodes.len() == 1);
        lead.sole_term.store(if sole { term } else { 0 }, Ordering::Release);
        // A node that is alone has nobody to send heartbeats to, and nobody to time out on.
        raft.runtime_config().tick(!(sole && ready && nodes.len() == 1));
        if std::mem::replace(&mut leader, current) != current {
            *lead.changed_at.lock() = Instant::now();
        }
        note_departures(&inner, &mut members, committed, &nodes);
        lead.leading.send_if_modified(|leading| std::mem::replace(leading, ready) != ready);
        tokio::select! {
            biased;
            changed = server.changed() => if changed.is_err() { break },
            changed = applied_term.changed() => if changed.is_err() { break },
        }
    }
    shared.set_sole(false);
    lead.resign();
}

/// Remembers who left: was in the committed membership, and is in none now.
fn note_departures(inner: &Inner, before: &mut BTreeSet<u64>, committed: BTreeSet<u64>, nodes: &BTreeSet<u64>) {
    if *before == committed || committed.is_empty() {
        return;
    }
    let mut gone = inner.gone.lock();
    gone.extend(before.difference(&committed));
    gone.retain(|id| !nodes.contains(id));
    *before = committed;
}

/// How much of the log is kept.
pub(crate) struct Keep {
    /// Applied entries kept for followers.
    pub(crate) entries: u64,
    /// Entries between two snapshots.
    pub(crate) threshold: u64,
    pub(crate) age: Duration,
}

/// Purges the log when it has too many entries or bytes, or is too old. A follower that lags and answers is waited for within
/// bounds; beyond them, and for one that does not answer, the log is purged, and it gets a snapshot.
pub(crate) async fn keep_log_small(inner: Arc<Inner>, log: LogStore, keep: Keep) {
    let Inner { raft, shared, .. } = &*inner;
    let mut snapshots = raft.watch_snapshot_progress();
    let pause = AGE_CHECK.min(keep.age);
    loop {
        tokio::select! {
            () = shared.log_grew.notified() => {}
            () = tokio::time::sleep(pause) => {}
            snapshot = snapshots.changed() => if snapshot.is_err() { return },
        }
        let covered = snapshots.get().map_or(0, |id| id.index());
        let Some(target) = purge_target(&inner, &log, &keep, covered) else { continue };
        let upto = target.min(shared.applied_index());
        if log.purged_index().is_some_and(|purged| purged >= upto) {
            continue;
        }
        // Only what a snapshot covers can be purged, and a snapshot is only a mark here. The core passes over the wish while
        // it makes another.
        while snapshots.get().is_none_or(|id| id.index() < upto) {
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
            if let Ok(Err(_)) = tokio::time::timeout(SNAPSHOT_RETRY, snapshots.changed()).await {
                return;
            }
        }
        if raft.trigger().purge_log(upto).await.is_err() {
            return;
        }
    }
}

fn purge_target(inner: &Inner, log: &LogStore, keep: &Keep, covered: u64) -> Option<u64> {
    let limit = |factor: u64| {
        let held = (factor - 1).saturating_mul(keep.entries.saturating_add(keep.threshold));
        let by_number = covered.checked_sub(keep.entries.saturating_add(held));
        log.purgeable(factor.saturating_mul(log.limit_bytes()) / 2, keep.age).max(by_number)
    };
    let lags = |f: &Follower| f.last_contact.is_some_and(|ago| ago < LIVE);
    let slowest = inner.followers().iter().filter(|f| lags(f)).map(|f| f.matched).min();
    match slowest {
        None => limit(1),
        Some(slowest) => limit(LAG_FACTOR).max(limit(1).map(|target| target.min(slowest))),
    }
}
