//! Break-glass shares in the life of the server: opening with them when the outer seal does not answer, and taking them back
//! (decision record 0008). They are issued at init, or later by the consent of recovery shares (`rekey`), and never by themselves.

use std::sync::Arc;

use barrier::{Barrier, BarrierError, BreakGlassConfig, FreshShares, ShareOutcome, Unsealed};
use secret::{SecretBytes, Time};
use serde::{Deserialize, Serialize};
use storage::{Changeset, View};

use super::{SealError, check_length};
use crate::core::{CONFLICTS_MAX, CommitError, Core, OpenCore};

/// When they were issued and used, behind the barrier.
const NOTE: &str = "core/break-glass-note";

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Note {
    issued: Option<Time>,
    used: Option<Time>,
}

/// What `sys/seal-status` tells of them.
#[derive(Debug, Clone, Serialize)]
pub struct BreakGlassProgress {
    /// Threshold.
    pub t: u8,
    /// Shares.
    pub n: u8,
    /// Shares given.
    pub progress: usize,
    /// Names the attempt.
    pub nonce: String,
}

/// What `sys/break-glass` tells of them.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BreakGlassStatus {
    issued: bool,
    secret_shares: u8,
    secret_threshold: u8,
    issue_time: Option<String>,
    last_used_time: Option<String>,
}

impl Core {
    /// How many there are, to everybody; `None` where none were issued.
    pub(super) fn break_glass_progress(&self) -> Option<BreakGlassProgress> {
        let config = self.break_glass_config().ok().flatten()?;
        let progress = self.break_glass.lock();
        let nonce = progress.nonce().to_owned();
        Some(BreakGlassProgress { t: config.secret_threshold, n: config.secret_shares, progress: progress.given(), nonce })
    }

    fn break_glass_config(&self) -> Result<Option<BreakGlassConfig>, BarrierError> {
        if self.is_outer() { self.sealed.break_glass() } else { Ok(None) }
    }

    /// Takes a break-glass share. Like [`Core::unseal`], but the outer seal is not asked. With `migrate` the exchange of the seal is
    /// consented to; where the new seal is shares, these become them.
    pub async fn unseal_with_break_glass(&self, share: SecretBytes, migrate: bool) -> Result<(), SealError> {
        let _alone = self.lifecycle.lock().await;
        self.seal_config().ok_or(SealError::Uninitialised)?;
        if self.is_removed() {
            return Err(SealError::Removed);
        }
        let config = self.break_glass_config()?.ok_or(SealError::NoBreakGlass)?;
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
        let given = self.break_glass.lock().give(share, config.secret_threshold, &*self.entropy);
        let key = match given.map_err(|e| SealError::Internal(e.to_string()))? {
            ShareOutcome::Waiting => return Ok(()),
            ShareOutcome::Refused(e) => return Err(SealError::Key(format!("failed to compute combined key: {e}"))),
            ShareOutcome::Complete(key) => key,
        };
        let barrier = Arc::new(self.sealed.unseal_with_break_glass(&key).map_err(|e| match e {
            BarrierError::WrongKey => SealError::Key(e.to_string()),
            e => SealError::Internal(e.to_string()),
        })?);
        tracing::warn!(seal = self.active_seal_type(), "break-glass shares open the server");
        let shape = Some(config.shape()?);
        if pending && self.has_other_voters() {
            // Nothing can be committed before a majority is open, so this node opens first.
            self.post_unseal(Arc::clone(&barrier)).await?;
            self.migrate_later(barrier, key, shape);
            self.note_use();
            return Ok(());
        }
        if pending {
            self.attach(Some(Arc::clone(&barrier)));
            if let Err(e) = self.exchange(&barrier, &key, shape).await {
                self.attach(None);
                return Err(e);
            }
        }
        self.post_unseal(barrier).await?;
        self.note_use();
        Ok(())
    }

    /// Remembers the use, as soon as something can be written; whoever looks at `sys/break-glass` learns of it.
    fn note_use(&self) {
        let (Some(core), Some(open)) = (self.itself.upgrade(), self.open()) else { return };
        tokio::spawn(async move {
            let used = Some(core.clock.now());
            let work = |view: &mut View<'_>| {
                let note = view.get_json::<Note>(NOTE)?.map(|n| *n).unwrap_or_default();
                Ok(view.put_json(NOTE, &Note { used, ..note })?)
            };
            if let Err(e) = core.transact(&open, work).await {
                tracing::warn!(error = %e, "the use of break-glass shares could not be noted");
            }
        });
    }

    pub(crate) fn break_glass_status(&self, view: &mut View<'_>) -> Result<BreakGlassStatus, engine::EngineError> {
        let note = view.get_json::<Note>(NOTE)?.map(|n| *n).unwrap_or_default();
        let config = self.break_glass_config().map_err(|e| engine::EngineError::Internal(e.to_string()))?;
        let last_used_time = note.used.map(Time::rfc3339);
        let Some(config) = config else { return Ok(BreakGlassStatus { last_used_time, ..BreakGlassStatus::default() }) };
        Ok(BreakGlassStatus {
            issued: true,
            secret_shares: config.secret_shares,
            secret_threshold: config.secret_threshold,
            issue_time: note.issued.map(Time::rfc3339),
            last_used_time,
        })
    }

    /// The part of an entry that puts these shares in force.
    pub(super) fn issue_break_glass(
        &self,
        barrier: &Arc<Barrier<Unsealed>>,
        change: &mut Changeset,
        fresh: &FreshShares,
    ) -> Result<(), SealError> {
        let mut parts = vec![barrier.issue_break_glass(fresh, &*self.entropy)?];
        let mut txn = barrier.begin();
        let mut view = View::new(&mut txn, "");
        let internal = |e: storage::TxnError| SealError::Internal(e.to_string());
        let note = view.get_json::<Note>(NOTE).map_err(internal)?.map(|n| *n).unwrap_or_default();
        view.put_json(NOTE, &Note { issued: Some(self.clock.now()), ..note }).map_err(internal)?;
        parts.extend(txn.finish(&*self.entropy)?);
        for part in parts {
            change.checks.extend(part.checks);
            change.writes.extend(part.writes);
        }
        Ok(())
    }

    /// Takes the shares back: they open nothing any more. `false` if there were none.
    pub(crate) async fn revoke_break_glass(&self, open: &OpenCore) -> Result<bool, CommitError> {
        for _ in 0..CONFLICTS_MAX {
            let Some(change) = open.barrier.revoke_break_glass()? else { return Ok(false) };
            if self.replica.propose(change).await?.committed {
                self.break_glass.lock().reset();
                tracing::warn!("the break-glass shares were taken back");
                return Ok(true);
            }
        }
        Err(CommitError::Contended)
    }
}
