//! Linearizable reads in a cluster: the leader confirms with a majority that it still leads, tells how far the log is
//! committed, and the reader waits until its node has applied that much. Readers that come while a round is under way share
//! the next one.
//!
//! There is no lease read, by which a leader would skip the round while no other can have been elected by the clocks. A
//! machine that is suspended and resumed (a live migration, a snapshot of a virtual machine) may find its monotonic clock
//! where it was, though others elected a leader meanwhile; and openraft's followers forget the lease when they restart. A
//! revoked token must not be good again for even that moment.

use std::sync::Arc;

use openraft::ReadPolicy;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::error::ProposeError;
use crate::inner::{Inner, Leadership};
use crate::limits::READ_PATIENCE;
use crate::network::Rpc;
use crate::wire::ReadPoint;

/// Told up to where the state must be applied.
pub(crate) type Reader = oneshot::Sender<Result<u64, ProposeError>>;

impl Inner {
    /// After this, the state here holds everything that was acknowledged anywhere before the call.
    pub(crate) async fn read_together(&self) -> Result<(), ProposeError> {
        if let Some(refusal) = self.refusal().filter(|refusal| !matches!(refusal, ProposeError::Full(_))) {
            return Err(refusal);
        }
        let read = async {
            let (reader, point) = oneshot::channel();
            self.readers.send(reader).map_err(|_| self.stopped())?;
            let index = point.await.map_err(|_| self.stopped())??;
            self.reach(index).await
        };
        timeout(self.patience, read).await.unwrap_or_else(|_| Err(self.leaderless()))
    }

    /// One round at whoever leads, within the patience.
    async fn read_point(&self) -> Result<u64, ProposeError> {
        let deadline = Instant::now() + self.patience;
        let mut asked = None;
        loop {
            let Some(now) = self.next_leadership(asked, deadline).await else { return Err(self.leaderless()) };
            asked = Some(now);
            if let Some(index) = self.read_point_at(now).await {
                return Ok(index);
            }
        }
    }

    async fn read_point_at(&self, at: Leadership) -> ReadPoint {
        if at.leader == self.id {
            return self.confirmed_index().await;
        }
        let member = self.member(at.leader)?;
        let answer = self.wire.call::<_, ReadPoint>(at.leader, &member, Rpc::ReadIndex, &(), READ_PATIENCE).await;
        answer.unwrap_or_else(|error| {
            tracing::debug!(%error, leader = member.node_id, "the leader did not say how far the log is");
            None
        })
    }

    /// How far the log is committed, if this node leads and a majority confirms it; also the leader's answer to others.
    pub(crate) async fn confirmed_index(&self) -> ReadPoint {
        let round = timeout(READ_PATIENCE, self.raft.get_read_log_id(ReadPolicy::ReadIndex)).await;
        let (point, _) = round.ok()?.ok()?;
        Some(point.index())
    }
}

/// Serves the readers in rounds until nobody can ask any more.
pub(crate) async fn serve(inner: Arc<Inner>, mut readers: mpsc::UnboundedReceiver<Reader>) {
    while let Some(first) = readers.recv().await {
        let mut round = vec![first];
        while let Ok(next) = readers.try_recv() {
            round.push(next);
        }
        // Nobody has to wait for those that gave up.
        round.retain(|reader| !reader.is_closed());
        if round.is_empty() {
            continue;
        }
        let point = inner.read_point().await;
        for reader in round {
            let _gone = reader.send(point.clone());
        }
    }
}
