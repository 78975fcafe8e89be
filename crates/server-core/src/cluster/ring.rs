//! The ring of the cluster's certificate authorities: one row behind the barrier, which the leader makes and renews.

use std::sync::Arc;

use cluster::ClusterKeys;
use engine::EngineError;
use secret::{Entropy, Time};
use storage::{TxnError, View};

use crate::core::{CommitError, Core, OpenCore};

/// Where it stands; Vault's place for the same thing.
pub(crate) const RING_ROW: &str = "core/raft/tls";

/// The ring as applied.
pub(super) fn stored(open: &OpenCore) -> Result<Option<Arc<ClusterKeys>>, TxnError> {
    View::new(&mut open.barrier.begin(), "").get_json::<ClusterKeys>(RING_ROW)
}

/// Adds the first ring to the records of a new cluster.
pub(crate) fn put_first(view: &mut View<'_>, now: Time, entropy: &dyn Entropy) -> Result<(), EngineError> {
    let ring = ClusterKeys::first(now, entropy).map_err(|e| EngineError::internal(e.to_string()))?;
    Ok(view.put_json(RING_ROW, &ring)?)
}

impl Core {
    /// Enters the cluster port under the ring as applied. Without one (data of an older program) the leader makes it first.
    pub(super) fn enter_with_stored_ring(&self, open: &OpenCore) {
        match stored(open) {
            Ok(Some(ring)) if self.is_alive(&ring) => self.enter_with(ring),
            Ok(_) => {}
            Err(e) => tracing::error!(error = %e, "the cluster's certificates cannot be read; other nodes cannot be reached"),
        }
    }

    pub(super) fn enter_with(&self, ring: Arc<ClusterKeys>) {
        let Some(gate) = &self.config.cluster.gate else { return };
        if let Err(e) = gate.enter(&ring, self.replica.raft_id()) {
            tracing::error!(error = e, "this node has no certificate of the cluster; other nodes cannot be reached");
        }
        *self.cluster.living_ring.lock() = Some(ring);
    }

    /// Whether a ring is the one in use or comes after it. A restored backup brings back the ring of its time: nodes that took it up one
    /// by one would not find each other any more.
    fn is_alive(&self, ring: &ClusterKeys) -> bool {
        self.cluster.living_ring.lock().as_ref().is_none_or(|living| ring.follows(living))
    }

    /// One round of the leader: makes the ring if there is none, and takes the step that is due if every member has the present one.
    pub(super) async fn tend_ring(&self, open: &OpenCore) -> Result<(), CommitError> {
        let now = self.clock.now();
        let made = |e: cluster::KeysError| EngineError::internal(e.to_string());
        let Some(present) = stored(open).map_err(|e| CommitError::Work(e.into()))? else {
            let work = |view: &mut View<'_>| match view.get_json::<ClusterKeys>(RING_ROW)? {
                Some(_) => Ok(()),
                None => put_first(view, now, &*self.entropy),
            };
            return self.transact(open, work).await;
        };
        if !self.is_alive(&present) {
            let living = self.cluster.living_ring.lock().clone();
            return self.transact(open, |view| living.iter().try_for_each(|ring| Ok(view.put_json(RING_ROW, &**ring)?))).await;
        }
        let step = |keys: &ClusterKeys| keys.tended(now, &*self.entropy, true).map_err(made);
        if step(&present).map_err(CommitError::Work)?.is_none() || !self.everybody_has_it() {
            return Ok(());
        }
        let work = |view: &mut View<'_>| {
            let Some(present) = view.get_json::<ClusterKeys>(RING_ROW)? else { return Ok(()) };
            match step(&present)? {
                Some(next) => Ok(view.put_json(RING_ROW, &next)?),
                None => Ok(()),
            }
        };
        self.transact(open, work).await
    }

    /// Whether every member, learners included, has the log up to what this leader had applied when this was asked first: the
    /// present ring is before that.
    fn everybody_has_it(&self) -> bool {
        let mark = *self.cluster.ring_mark.lock().get_or_insert_with(|| self.replica.applied_index());
        let all = self.replica.followers().iter().all(|f| f.matched >= mark);
        if all {
            self.cluster.ring_mark.lock().take();
        }
        all
    }
}
