//! Replacing all data by those of a snapshot, and what becomes of the seal then: unsealed if the root key is the same, as after
//! a restart with the unseal keys given; else sealed, and the snapshot's own keys open it.

use std::sync::Arc;

use engine::EngineError;
use replication::Incoming;

use super::unseal::{DRAIN, DRAIN_STEP};
use crate::core::{Core, OpenCore};

impl Core {
    /// Puts a received snapshot in the place of the state. It goes on when the caller goes away.
    pub(crate) async fn replace_state(&self, snapshot: Incoming, open: Arc<OpenCore>) -> Result<(), EngineError> {
        let core = self.itself.upgrade().ok_or_else(|| EngineError::Unavailable("the server is stopping".into()))?;
        let replaced = tokio::spawn(async move { core.replace(snapshot, &open).await }).await;
        replaced.map_err(|_| EngineError::internal("internal error"))?
    }

    async fn replace(&self, snapshot: Incoming, open: &OpenCore) -> Result<(), EngineError> {
        let _alone = self.lifecycle.lock().await;
        if self.open().is_none() {
            return Err(EngineError::Unavailable("Vault is sealed".into()));
        }
        // Nobody may read while records are replaced one by one; this request itself is still in flight.
        self.set_open(None);
        self.attach(None);
        let end = tokio::time::Instant::now() + DRAIN;
        while self.in_flight() > 1 && tokio::time::Instant::now() < end {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        let outcome = self.replica.restore(snapshot).await;
        match open.barrier.reopen() {
            Ok(barrier) => {
                if let Err(e) = self.post_unseal(barrier).await {
                    tracing::error!(error = %e, "the data do not open after a restoration; the server stays sealed");
                }
            }
            Err(_) => {
                tracing::warn!("the restored data belong to other unseal keys; the server is sealed");
                self.close_audit_later();
            }
        }
        match outcome {
            Ok(applied) if applied.committed => {
                tracing::warn!("all data were replaced by those of a snapshot");
                Ok(())
            }
            Ok(_) => Err(EngineError::internal("the received snapshot was damaged on this server's disk; nothing was changed")),
            Err(e) => {
                tracing::error!(error = %e, "a snapshot could not be restored");
                Err(EngineError::Internal(format!("failed to restore the snapshot: {e}")))
            }
        }
    }
}
