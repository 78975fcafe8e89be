//! Unsealing with shares, sealing, and the end of the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use barrier::{Barrier, BarrierError, ShareOutcome, Unsealed};
use secret::SecretBytes;

use super::{SealError, check_length};
use crate::core::{Core, OpenCore};
use crate::{answer::Failure, expiry};

/// How long requests that were under way at seal may still be recorded, and how often it is looked.
pub(super) const DRAIN: Duration = Duration::from_secs(5);
pub(super) const DRAIN_STEP: Duration = Duration::from_millis(10);

impl Core {
    /// Takes a share. Bad shares never harm the progress of others: a share of the wrong length is refused before it counts,
    /// and a wrong set only ends the attempt that it completed.
    ///
    /// Beside an outer seal these are recovery shares. `migrate` consents to the exchange of the seal.
    pub async fn unseal(&self, share: SecretBytes, migrate: bool) -> Result<(), SealError> {
        let _alone = self.lifecycle.lock().await;
        let config = self.seal_config().ok_or(SealError::Uninitialised)?;
        let pending = self.migration_pending();
        if migrate && !pending {
            return Err(SealError::NoMigration);
        }
        if self.open().is_some() {
            return Ok(());
        }
        if pending && !migrate {
            return Err(SealError::MigrationPending);
        }
        check_length(&share).map_err(SealError::Key)?;
        let threshold = self.deciding_threshold()?;
        let outcome =
            self.progress.lock().give(share, threshold, &*self.entropy).map_err(|e| SealError::Internal(e.to_string()))?;
        let key = match outcome {
            ShareOutcome::Waiting => return Ok(()),
            ShareOutcome::Refused(e) => return Err(SealError::Key(format!("failed to compute combined key: {e}"))),
            ShareOutcome::Complete(key) => key,
        };
        let barrier =
            if config.is_shamir() { Arc::new(self.open_with_shares(&key)?) } else { self.open_with_recovery(&key).await? };
        if pending {
            self.attach(Some(Arc::clone(&barrier)));
            if let Err(e) = self.migrate(&barrier, &key).await {
                self.attach(None);
                return Err(e);
            }
        }
        self.post_unseal(barrier).await
    }

    fn open_with_shares(&self, key: &SecretBytes) -> Result<Barrier<Unsealed>, SealError> {
        self.sealed.unseal(key).map_err(|e| match e {
            BarrierError::WrongKey => SealError::Key(e.to_string()),
            BarrierError::Envelope(e) => SealError::Key(format!("failed to decrypt keys from storage: {e}")),
            e => SealError::Internal(e.to_string()),
        })
    }

    pub(super) async fn post_unseal(&self, barrier: impl Into<Arc<Barrier<Unsealed>>>) -> Result<(), SealError> {
        let barrier = barrier.into();
        self.attach(Some(Arc::clone(&barrier)));
        let built = OpenCore::build(self, barrier, self.clock.now());
        let open = match built {
            Ok(open) => Arc::new(open),
            Err(e) => {
                self.attach(None);
                return Err(SealError::Internal(e.to_string()));
            }
        };
        // Devices of the time before a seal may still be there for the last requests of that time.
        self.audit.disable_all();
        if let Err(e) = crate::sys::audit::follow_table(self, &open).await {
            self.audit.disable_all();
            self.attach(None);
            return Err(SealError::Internal(e.to_string()));
        }
        self.set_open(Some(Arc::clone(&open)));
        if let Some(core) = self.itself.upgrade() {
            expiry::spawn(core, &open);
        }
        tracing::info!("unsealed");
        Ok(())
    }

    /// Forgets the shares given so far.
    pub async fn reset_unseal(&self) -> Result<(), SealError> {
        let _alone = self.lifecycle.lock().await;
        if !self.initialised() {
            return Err(SealError::Uninitialised);
        }
        if self.open().is_some() {
            return Err(SealError::IsUnsealed);
        }
        self.progress.lock().reset();
        Ok(())
    }

    /// Drops the keys. Requests under way end on their own handle of the open core, and their answers are still recorded: the
    /// audit devices close when the last of them has left, or after a while.
    pub async fn seal(&self) {
        let _alone = self.lifecycle.lock().await;
        self.closed_by_hand.store(true, Ordering::Release);
        let Some(open) = self.open() else { return };
        super::rotation::note_finally(self, &open).await;
        drop(open);
        self.set_open(None);
        self.attach(None);
        tracing::info!("sealed");
        self.close_audit_later();
    }

    /// Closes the audit devices when the last request has left.
    pub(super) fn close_audit_later(&self) {
        if let Some(core) = self.itself.upgrade() {
            tokio::spawn(async move { core.close_audit().await });
        }
    }

    async fn close_audit(&self) {
        let end = tokio::time::Instant::now() + DRAIN;
        while self.in_flight() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        let _alone = self.lifecycle.lock().await;
        if self.open().is_none() {
            self.audit.disable_all();
        }
    }

    /// Seals and closes the log, at the end of the process.
    pub async fn shutdown(&self) {
        self.seal().await;
        if let Err(e) = self.replica.shutdown().await {
            tracing::warn!(error = %e, "the log did not close cleanly");
        }
    }

    /// Waits until an entry can be committed here, at most `request_timeout`; the failure says why not.
    pub(crate) async fn wait_active(&self) -> Result<(), Failure> {
        let mut leads = self.replica.leadership();
        if *leads.borrow() {
            return Ok(());
        }
        if let Some(failure) = self.replica.status().failure {
            tracing::error!(failure, "storage has failed; this node serves nothing until it is restarted");
            return Err(Failure::new(crate::FailureKind::Unavailable, "storage has failed on this node"));
        }
        let limit = self.config.request_timeout.min(std::time::Duration::from_secs(10));
        match tokio::time::timeout(limit, leads.wait_for(|l| *l)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failure::new(crate::FailureKind::Unavailable, "no active Vault instance found")),
        }
    }
}
