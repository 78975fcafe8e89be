//! Outer seals in the life of the server: opening by itself, recovery shares, and moving from one kind of seal to another.
//!
//! Recovery shares make a key that decides (new root token, new shares, migration) but opens nothing by itself: of it only a hash is
//! kept, behind the barrier.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use autoseal::{Blob, SealFault, SealWrapper};
use barrier::{Barrier, BarrierError, RecoveryConfig, Unsealed, WrappedRoot};
use secret::SecretBytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shamir::Threshold;
use storage::{Changeset, TxnError, View};

use super::SealError;
use crate::core::{CONFLICTS_MAX, Core, OpenCore};

/// Where the hash of the recovery key stands, behind the barrier.
const RECOVERY_KEY: &str = "core/recovery-key";
/// First and longest pause between attempts to open while the seal is away.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How often a node without data looks whether it has got some.
const EMPTY_POLL: Duration = Duration::from_secs(2);

/// The words for recovery shares that are not the right ones.
pub(super) const WRONG_RECOVERY: &str = "recovery key verification failed: recovery key does not match submitted values";

/// The outer seals of the configuration.
#[derive(Clone, Default)]
pub struct Seals {
    /// The one in use; `None` is Shamir's shares.
    pub active: Option<Arc<dyn SealWrapper>>,
    /// One that is `disabled`: only to move away from.
    pub retiring: Option<Arc<dyn SealWrapper>>,
}

/// What is kept of the recovery key. It has 256 random bits, so a plain hash hides it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RecoveryKey {
    sha256: String,
}

/// What trying to open came to.
enum Opening {
    Open,
    /// Nothing is stored here yet.
    Empty,
    /// Shares are needed, or nothing configured opens it: waiting does not help.
    NotByItself,
}

impl Core {
    /// Whether the stored seal is to be exchanged for the configured one.
    pub(crate) fn migration_pending(&self) -> bool {
        let Some(stored) = self.seal_config() else { return false };
        match (&self.config.seals.active, &self.config.seals.retiring) {
            (None, None) => false,
            (Some(_), _) if stored.is_shamir() => true,
            (None, Some(_)) => !stored.is_shamir(),
            (Some(active), _) if active.seal_type() != stored.seal_type => true,
            // Two of one type: only trying tells.
            (Some(_), Some(_)) => self.opens_by_retiring.load(Ordering::Acquire),
            (Some(_), None) => false,
        }
    }

    /// The seal that made the stored root key; `None` if shares do, or if none that is configured did.
    fn keeper(&self) -> Option<&Arc<dyn SealWrapper>> {
        let seals = &self.config.seals;
        if self.migration_pending() { seals.retiring.as_ref() } else { seals.active.as_ref() }
    }

    pub(super) fn recovery_config(&self) -> Result<Option<RecoveryConfig>, BarrierError> {
        self.sealed.recovery_config()
    }

    /// How many shares decide: those of the seal, or the recovery shares beside an outer one; 0 if there are none.
    pub(super) fn deciding_threshold(&self) -> Result<u8, SealError> {
        let config = self.seal_config().ok_or(SealError::Uninitialised)?;
        if config.is_shamir() {
            return Ok(config.secret_threshold);
        }
        Ok(self.recovery_config()?.map_or(0, |c| c.secret_threshold))
    }

    async fn outer_root(&self) -> Result<(SecretBytes, Blob), SealError> {
        let stored = self.seal_config().ok_or(SealError::Uninitialised)?;
        let keeper = self.keeper().ok_or_else(|| SealError::NoSeal(stored.seal_type.clone()))?;
        let blob = Blob::from_bytes(&self.sealed.wrapped_root()?)
            .ok_or_else(|| SealError::Internal("the record core/hsm/barrier-unseal-keys is damaged".into()))?;
        match self.open_by(keeper, &blob).await {
            Ok(root) => Ok((root, blob)),
            Err(e) => {
                let retiring = self.config.seals.retiring.as_ref().filter(|r| r.seal_type() == stored.seal_type);
                if !self.migration_pending()
                    && !matches!(e, SealFault::Away { .. })
                    && let Some(retiring) = retiring
                    && let Ok(root) = retiring.open(&blob).await
                {
                    self.opens_by_retiring.store(true, Ordering::Release);
                    return Ok((root, blob));
                }
                Err(SealError::Outer(e))
            }
        }
    }

    /// Opens with the outer seal and the recovery key, which decides here: somebody has sealed the server on purpose, or the seal
    /// is to be exchanged.
    pub(super) async fn open_with_recovery(&self, key: &SecretBytes) -> Result<Arc<Barrier<Unsealed>>, SealError> {
        let (root, _) = self.outer_root().await?;
        let barrier = Arc::new(self.sealed.unseal_with_root(root)?);
        let matches = is_recovery_key(&barrier, key).map_err(|e| SealError::Internal(e.to_string()))?;
        if matches { Ok(barrier) } else { Err(SealError::Key(WRONG_RECOVERY.into())) }
    }

    /// Opens without anybody's help, if the seal allows it.
    async fn open_by_itself(&self) -> Result<Opening, SealError> {
        let _alone = self.lifecycle.lock().await;
        if self.open().is_some() {
            return Ok(Opening::Open);
        }
        if self.closed_by_hand.load(Ordering::Acquire) {
            return Ok(Opening::NotByItself);
        }
        let Some(stored) = self.seal_config() else { return Ok(Opening::Empty) };
        if stored.is_shamir() || self.migration_pending() || self.keeper().is_none() {
            return Ok(Opening::NotByItself);
        }
        let (root, _) = self.outer_root().await?;
        if self.migration_pending() {
            return Ok(Opening::NotByItself);
        }
        let barrier = self.sealed.unseal_with_root(root)?;
        self.post_unseal(Arc::new(barrier)).await?;
        Ok(Opening::Open)
    }

    /// Opens once after the keys were made. A seal that fails now is tried again by [`Core::open_when_possible`].
    pub(super) async fn open_after_init(&self) {
        if let Err(e) = self.open_by_itself().await {
            tracing::warn!(error = %e, "initialised, but the seal does not open the server yet");
        }
    }

    /// Starts what opens this node by itself, with pauses while the seal is away. It ends when the node is open: whoever seals
    /// it by hand afterwards means it.
    pub fn open_when_possible(self: &Arc<Self>) {
        let core = Arc::clone(self);
        if let Some(active) = core.config.seals.active.clone() {
            tokio::spawn(async move { active.keep_alive().await });
            self.watch_seal();
        } else if core.config.seals.retiring.is_none() {
            if let Some(stored) = core.seal_config().filter(|c| !c.is_shamir()) {
                tracing::error!(seal = stored.seal_type, "the data is sealed by a seal that is not configured");
            }
            return;
        }
        tokio::spawn(async move { core.keep_trying().await });
    }

    /// Begins to open this node again, if an outer seal can.
    pub(super) fn try_opening(&self) {
        if let Some(core) = self.itself.upgrade().filter(|core| core.config.seals.active.is_some()) {
            tokio::spawn(async move { core.keep_trying().await });
        }
    }

    async fn keep_trying(&self) {
        let mut pause = RETRY_FIRST;
        loop {
            match self.open_by_itself().await {
                Ok(Opening::Open) => break,
                Ok(Opening::Empty) => tokio::time::sleep(EMPTY_POLL).await,
                Ok(Opening::NotByItself) => {
                    if self.migration_pending() {
                        tracing::warn!("a seal migration is pending: give shares with \"operator unseal -migrate\"");
                    }
                    return;
                }
                Err(e) => {
                    tracing::warn!(error = %e, pause_seconds = pause.as_secs(), "the seal did not open the server; it is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
            }
        }
        if let Err(e) = self.rewrap_if_old().await {
            tracing::warn!(error = %e, "the root key could not be wrapped with the seal's current key; the next start tries again");
        }
    }

    /// A root key that an older key of the seal hides gets a successor under the current one.
    async fn rewrap_if_old(&self) -> Result<(), SealError> {
        let (Some(open), Some(active)) = (self.open(), self.config.seals.active.as_ref()) else { return Ok(()) };
        let blob = Blob::from_bytes(&self.sealed.wrapped_root()?);
        if blob.is_none_or(|b| active.is_current(&b)) || self.wait_active().await.is_err() {
            return Ok(());
        }
        for _ in 0..CONFLICTS_MAX {
            if self.replica.propose(self.outer_entry(&open.barrier).await?).await?.committed {
                break;
            }
        }
        tracing::info!("the root key was exchanged, under the seal's current key");
        Ok(())
    }

    /// The entry that puts a fresh root key under the active outer seal.
    pub(super) async fn outer_entry(&self, barrier: &Barrier<Unsealed>) -> Result<Changeset, SealError> {
        let active = self.config.seals.active.as_ref().ok_or_else(|| SealError::NoSeal("outer".into()))?;
        let next = barrier.next_root(&*self.entropy)?;
        let blob = self.wrap_by(&**active, next.root()).await.map_err(SealError::Outer)?;
        let wrapped = WrappedRoot::under_seal(active.seal_type(), blob.to_bytes());
        Ok(barrier.rekey(&next, wrapped, &*self.entropy)?)
    }

    /// Exchanges the seal. `key` is what the given shares made: it goes on as recovery key, or becomes the key of the shares.
    pub(super) async fn migrate(&self, barrier: &Arc<Barrier<Unsealed>>, key: &SecretBytes) -> Result<(), SealError> {
        let stored = self.seal_config().ok_or(SealError::Uninitialised)?;
        let shape = if stored.is_shamir() {
            Some(
                Threshold::new(stored.secret_shares.into(), stored.secret_threshold.into())
                    .map_err(|e| SealError::Shape(e.to_string()))?,
            )
        } else {
            self.recovery_config()?.map(RecoveryConfig::shape).transpose()?
        };
        self.exchange(barrier, key, shape).await
    }

    /// The same with the shape of the shares that made `key`.
    pub(super) async fn exchange(
        &self,
        barrier: &Arc<Barrier<Unsealed>>,
        key: &SecretBytes,
        shape: Option<Threshold>,
    ) -> Result<(), SealError> {
        self.caught_up().await.map_err(|f| SealError::Internal(f.errors.join(", ")))?;
        let stored = self.seal_config().ok_or(SealError::Uninitialised)?;
        let from_shares = stored.is_shamir();
        let mut committed = false;
        for _ in 0..CONFLICTS_MAX {
            let mut change = match shape.filter(|_| self.config.seals.active.is_none()) {
                Some(shape) => {
                    let next = barrier.next_root(&*self.entropy)?;
                    let wrapped = WrappedRoot::under_shares(next.root(), key, shape, &*self.entropy)?;
                    let mut change = barrier.rekey(&next, wrapped, &*self.entropy)?;
                    if self.sealed.break_glass()?.is_some() {
                        // Beside shares there is no other way in.
                        barrier.drop_break_glass(&mut change)?;
                    }
                    change
                }
                None => self.outer_entry(barrier).await?,
            };
            if let (true, Some(shape)) = (from_shares, shape) {
                self.add_recovery(barrier, &mut change, shape, key)?;
            }
            committed = self.replica.propose(change).await?.committed;
            if committed {
                break;
            }
        }
        if !committed {
            return Err(SealError::Internal("too many concurrent changes to the same records".into()));
        }
        self.opens_by_retiring.store(false, Ordering::Release);
        barrier.reload()?;
        tracing::info!(from = stored.seal_type, to = self.active_seal_type(), "the seal was exchanged");
        Ok(())
    }

    /// Exchanges the seal as soon as entries can be committed, unless another node was faster. It ends when the node is sealed.
    /// `shape` is that of break-glass shares, if they made the key.
    pub(super) fn migrate_later(&self, barrier: Arc<Barrier<Unsealed>>, key: SecretBytes, shape: Option<Threshold>) {
        let (core, open) = (self.itself.clone(), self.open().map(|open| Arc::downgrade(&open)).unwrap_or_default());
        tokio::spawn(async move {
            loop {
                let Some(core) = core.upgrade().filter(|_| open.strong_count() > 0) else { return };
                if core.caught_up().await.is_ok() {
                    if !core.migration_pending() {
                        return;
                    }
                    let exchanged = match shape {
                        Some(_) => core.exchange(&barrier, &key, shape).await,
                        None => core.migrate(&barrier, &key).await,
                    };
                    match exchanged {
                        Ok(()) => return,
                        Err(e) => tracing::warn!(error = %e, "the seal could not be exchanged yet; it is tried again"),
                    }
                }
                drop(core);
                tokio::time::sleep(RETRY_FIRST).await;
            }
        });
    }

    pub(crate) fn active_seal_type(&self) -> &'static str {
        self.config.seals.active.as_ref().map_or(barrier::SHAMIR, |s| s.seal_type())
    }

    /// Puts recovery shares in force: their shape in the open, the hash of their key behind the barrier.
    pub(super) fn add_recovery(
        &self,
        barrier: &Arc<Barrier<Unsealed>>,
        change: &mut Changeset,
        shape: Threshold,
        key: &SecretBytes,
    ) -> Result<(), SealError> {
        RecoveryConfig::from(shape).put(change)?;
        let mut txn = barrier.begin();
        note_recovery_key(&mut View::new(&mut txn, ""), key).map_err(|e| SealError::Internal(e.to_string()))?;
        if let Some(rest) = txn.finish(&*self.entropy)? {
            change.checks.extend(rest.checks);
            change.writes.extend(rest.writes);
        }
        Ok(())
    }
}

/// Keeps the hash of a recovery key.
pub(super) fn note_recovery_key(view: &mut View<'_>, key: &SecretBytes) -> Result<(), TxnError> {
    view.put_json(RECOVERY_KEY, &RecoveryKey { sha256: hex::encode(Sha256::digest(key.expose())) })
}

/// Whether this is the recovery key. Without one, nothing is.
pub(super) fn is_recovery_key(barrier: &Arc<Barrier<Unsealed>>, key: &SecretBytes) -> Result<bool, TxnError> {
    let kept = View::new(&mut barrier.begin(), "").get_json::<RecoveryKey>(RECOVERY_KEY)?;
    Ok(kept.is_some_and(|k| secret::ct_eq(k.sha256.as_bytes(), hex::encode(Sha256::digest(key.expose())).as_bytes())))
}

/// For ceremonies on an open core.
pub(super) fn is_authority(core: &Core, open: &OpenCore, key: &SecretBytes) -> Result<bool, SealError> {
    if core.seal_config().is_some_and(|c| !c.is_shamir()) {
        return is_recovery_key(&open.barrier, key).map_err(|e| SealError::Internal(e.to_string()));
    }
    Ok(open.barrier.verify(key)?)
}
