//! Unsealing with shares, sealing, and the end of the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use barrier::{Barrier, BarrierError, ShareOutcome, Unsealed};
use secret::SecretBytes;

use super::{SealError, check_length};
use crate::core::{Core, OpenCore};
use crate::{expiry, standby};

/// How long requests that were under way at seal may still be recorded, and how often it is looked.
pub(super) const DRAIN: Duration = Duration::from_secs(5);
pub(super) const DRAIN_STEP: Duration = Duration::from_millis(10);

impl Core {
    /// Takes a share. Bad shares never harm the progress of others: a share of the wrong length is refused before it counts,
    /// and a wrong set only ends the attempt that it completed.
    ///
    /// Beside an outer seal these are recovery shares. `migrate` consents to the exchange of the seal.
    pub async fn unseal(&self, share: SecretBytes, migrate: bool) -> Result<(), SealError> {
        self.take_share(share, migrate).await?;
        self.wait_for_data().await;
        Ok(())
    }

    async fn take_share(&self, share: SecretBytes, migrate: bool) -> Result<(), SealError> {
        let _alone = self.lifecycle.lock().await;
        let config = self.seal_config().ok_or(SealError::Uninitialised)?;
        if self.is_removed() {
            return Err(SealError::Removed);
        }
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
        if self.join_with_shares(&key).await? {
            return Ok(());
        }
        let barrier =
            if config.is_shamir() { Arc::new(self.open_with_shares(&key)?) } else { self.open_with_recovery(&key).await? };
        if pending && self.has_other_voters() {
            // Nothing can be committed before a majority is open, so this node opens first.
            self.post_unseal(Arc::clone(&barrier)).await?;
            self.migrate_later(barrier, key, None);
            return Ok(());
        }
        if pending {
            self.attach(Some(Arc::clone(&barrier)));
            if let Err(e) = self.migrate(&barrier, &key).await {
                self.attach(None);
                return Err(e);
            }
        }
        self.post_unseal(barrier).await
    }

    pub(super) fn has_other_voters(&self) -> bool {
        self.replica.status().peers.iter().filter(|p| p.voter).count() > 1
    }

    fn open_with_shares(&self, key: &SecretBytes) -> Result<Barrier<Unsealed>, SealError> {
        self.sealed.unseal(key).map_err(|e| match e {
            BarrierError::WrongKey => SealError::Key(e.to_string()),
            BarrierError::Envelope(e) => SealError::Key(format!("failed to decrypt keys from storage: {e}")),
            e => SealError::Internal(e.to_string()),
        })
    }

    pub(crate) async fn post_unseal(&self, barrier: impl Into<Arc<Barrier<Unsealed>>>) -> Result<(), SealError> {
        let barrier = barrier.into();
        self.attach(Some(Arc::clone(&barrier)));
        // Entries may have exchanged keys between the opening and now.
        if let Err(e) = barrier.reload() {
            self.attach(None);
            return Err(SealError::Internal(e.to_string()));
        }
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
        self.cluster_opened(&open);
        self.set_open(Some(Arc::clone(&open)));
        if let Some(core) = self.itself.upgrade() {
            standby::listen(&core, &open);
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
        self.break_glass.lock().reset();
        Ok(())
    }

    /// Drops the keys. Requests under way end on their own handle of the open core, and their answers are still recorded: the
    /// audit devices close when the last of them has left, or after a while.
    pub async fn seal(&self) {
        let _alone = self.lifecycle.lock().await;
        self.closed_by_hand.store(true, Ordering::Release);
        let Some(open) = self.open() else { return };
        super::rotation::note_finally(self, &open).await;
        self.give_up_lead().await;
        drop(open);
        self.set_open(None);
        self.attach(None);
        self.cluster_closed().await;
        tracing::info!("sealed");
        self.close_audit_later();
    }

    /// The cluster's keys were exchanged behind this node's back: it can read nothing new. An outer seal opens it again by itself.
    pub(crate) async fn seal_lost(&self, lost: &Arc<OpenCore>) {
        let _alone = self.lifecycle.lock().await;
        if !self.open().is_some_and(|open| Arc::ptr_eq(&open, lost)) {
            return;
        }
        tracing::error!(
            "the cluster's keys were exchanged while this node was away: it is sealed, and opens with the present unseal keys"
        );
        self.set_open(None);
        self.attach(None);
        self.cluster_closed().await;
        self.close_audit_later();
        self.try_opening();
    }

    /// The others have taken this node out: it serves nothing any more.
    pub(crate) async fn seal_removed(&self, open: &Arc<OpenCore>) {
        let _alone = self.lifecycle.lock().await;
        if !self.open().is_some_and(|now| Arc::ptr_eq(&now, open)) {
            return;
        }
        tracing::error!("this node was removed from its cluster and is sealed; to join again, empty its data directory");
        self.set_open(None);
        self.attach(None);
        self.cluster_closed().await;
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
}
