//! The worker of an open node: follows the ring of certificates, looks after the membership while it leads, and finds the others again
//! when nobody leads and addresses may have changed.

use std::sync::Arc;
use std::time::Duration;

use barrier::Watch;
use replication::State;
use storage::View;

use super::autopilot::{CONFIGURATION_ROW, Configuration, Judgement, Seen, Step};
use super::ring;
use crate::core::{Core, OpenCore};

/// How often it is looked: a new node gets its vote, and a changed ring is in use, after this at the latest.
const TICK: Duration = Duration::from_millis(500);
/// A certificate is looked at this often, so that it is replaced well before it ends.
const ENTER_AGAIN: Duration = Duration::from_secs(3600);
/// How long nobody may lead before this node asks the configured addresses where the others are.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// Since when a leader that was heard counts as gone; the beat is two seconds.
const OUT_OF_TOUCH: Duration = Duration::from_secs(5);
/// How long one change of the membership may hold up the round.
const STEP_PATIENCE: Duration = Duration::from_secs(10);

/// What the worker remembers from round to round.
struct Round {
    ring: Option<Watch>,
    seen: u64,
    entered: tokio::time::Instant,
    led: bool,
    leaderless_since: Option<tokio::time::Instant>,
}

/// Starts the worker; it ends when the open core is dropped.
pub(super) fn spawn(core: &Arc<Core>, open: &Arc<OpenCore>) {
    let mut alive = open.alive.subscribe();
    let (core, weak) = (Arc::downgrade(core), Arc::downgrade(open));
    let watch = open.barrier.watch(ring::RING_ROW).ok();
    let entered = tokio::time::Instant::now();
    let mut round =
        Round { seen: watch.as_ref().map_or(0, Watch::count), ring: watch, entered, led: false, leaderless_since: None };
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // The sender is dropped with the open core.
                _ = alive.changed() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            let (Some(core), Some(open)) = (core.upgrade(), weak.upgrade()) else { return };
            if core.replica.status().state == State::Removed {
                core.set_removed(true);
                core.seal_removed(&open).await;
                return;
            }
            core.tend(&open, &mut round).await;
        }
    });
}

impl Core {
    async fn tend(&self, open: &OpenCore, round: &mut Round) {
        let count = round.ring.as_ref().map_or(0, Watch::count);
        if count != round.seen || round.entered.elapsed() >= ENTER_AGAIN {
            (round.seen, round.entered) = (count, tokio::time::Instant::now());
            self.enter_with_stored_ring(open);
        }
        let leads = self.leads();
        if leads != std::mem::replace(&mut round.led, leads) {
            self.cluster.autopilot.lock().clear();
            self.cluster.ring_mark.lock().take();
        }
        if leads {
            if let Err(e) = self.tend_ring(open).await {
                tracing::warn!(error = %e, "the cluster's certificates could not be tended; it is tried again");
            }
            self.act(open).await;
        }
        self.find_the_others(round).await;
    }

    /// What the leader sees of the nodes, judged.
    pub(crate) fn judged(&self, open: &OpenCore) -> Judgement {
        let config = View::new(&mut open.barrier.begin(), "").get_json::<Configuration>(CONFIGURATION_ROW).ok().flatten();
        let config = config.map(|c| Configuration::clone(&c)).unwrap_or_default();
        let status = self.replica.status();
        let (heard, barred) = (self.replica.followers(), self.barred(open));
        let seen = status.peers.iter().map(|peer| {
            let follower = heard.iter().find(|f| f.raft_id == peer.raft_id);
            Seen {
                raft_id: peer.raft_id,
                node_id: peer.node_id.clone(),
                address: peer.address.clone(),
                voter: peer.voter,
                barred: barred.contains(&peer.raft_id),
                leader: peer.leader,
                last_contact: follower.and_then(|f| f.last_contact),
                matched: if peer.leader { status.last_log } else { follower.map_or(0, |f| f.matched) },
            }
        });
        self.cluster.autopilot.lock().judge(&config, seen.collect(), status.last_log, self.clock.now())
    }

    /// Takes the step that is due, if any.
    async fn act(&self, open: &OpenCore) {
        let Some(step) = self.judged(open).step else { return };
        let taken = tokio::time::timeout(STEP_PATIENCE, async {
            match &step {
                Step::Promote(node_id) => match self.give_vote(node_id).await {
                    Ok(()) => tracing::info!(node_id, "a healthy node has a vote now"),
                    Err(e) => tracing::warn!(node_id, error = %e, "a node could not be given a vote; it is tried again"),
                },
                Step::Remove(node_id) => match self.take_out(node_id).await {
                    Ok(_) => tracing::warn!(node_id, "a node that was away for too long was given up"),
                    Err(e) => tracing::warn!(node_id, error = %e, "a dead node could not be taken out; it is tried again"),
                },
            }
        });
        if taken.await.is_err() {
            tracing::warn!(?step, "a change of the membership takes long; it is looked at again");
        }
    }

    /// Without a leader for a while, asks the addresses of the configuration who is there: after all nodes have changed their addresses
    /// at once nobody knows another's.
    async fn find_the_others(&self, round: &mut Round) {
        // The last leader's name is no sign of it: after a restart it is what was remembered.
        let in_touch = self.leads() || self.leader_heard().ago.is_some_and(|ago| ago < OUT_OF_TOUCH);
        if in_touch || self.config.cluster.retry_join.is_empty() {
            round.leaderless_since = None;
            return;
        }
        let since = *round.leaderless_since.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() < LOST_AFTER {
            return;
        }
        round.leaderless_since = Some(tokio::time::Instant::now());
        for target in &self.config.cluster.retry_join {
            for (raft_id, address) in self.found_at(target).await {
                if raft_id != self.replica.raft_id() {
                    tracing::info!(address, "a node was found at an address of the configuration");
                    self.replica.introduce(raft_id, &address);
                }
            }
        }
    }
}
