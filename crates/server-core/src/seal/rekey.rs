//! `sys/rekey/*` and `sys/rekey-recovery-key/*`: new shares by consent of enough holders of the old ones (contract §2.2).
//!
//! CVE class F: whoever cannot name the nonce can neither give a share nor, in the first ten minutes, cancel. The new root key
//! and the new shares come into force in one entry, and only after they were verified if that was asked for.

mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use barrier::{FreshShares, WrappedRoot};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secret::{SecretBytes, Time};
use serde::{Deserialize, Serialize};
use shamir::Threshold;
use storage::{Changeset, View};

use super::ceremony::{Ceremonies, CeremonyError, GiveOutcome, Given};
use super::check_length;
use super::init::recipients;
use super::recipients::Recipients;
use crate::core::{CONFLICTS_MAX, Core, OpenCore};
use crate::pipeline::commit_failure;

/// How long only the nonce cancels (contract §2.2): time enough for holders of shares to come together.
const NONCE_CANCELS: Duration = Duration::from_secs(600);

/// Which key gets new shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RekeyTarget {
    /// The key that unseals.
    Barrier,
    /// The recovery key of an outer seal.
    Recovery,
    /// The break-glass key beside an outer seal. The first shares are made like all later ones.
    BreakGlass,
}

impl RekeyTarget {
    fn word(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Recovery => "recovery",
            Self::BreakGlass => "break-glass",
        }
    }
}

/// What a rekey is started with.
#[derive(Debug, Clone, Default)]
pub struct RekeyRequest {
    /// Number of new shares.
    pub secret_shares: u64,
    /// Number of new shares that are needed.
    pub secret_threshold: u64,
    /// OpenPGP keys in base64, one a share, or none.
    pub pgp_keys: Vec<String>,
    /// Keep the encrypted shares on the server.
    pub backup: bool,
    /// The new shares count once they were given back.
    pub require_verification: bool,
}

/// Where a rekey stands.
#[derive(Debug, Clone, Serialize)]
pub struct RekeyStatus {
    nonce: String,
    started: bool,
    t: u8,
    n: u8,
    progress: usize,
    required: u8,
    pgp_fingerprints: Option<Vec<String>>,
    backup: bool,
    verification_required: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    verification_nonce: String,
}

/// The new shares. They are secrets unless they were encrypted, so this is not `Debug`.
#[derive(Serialize)]
pub struct RekeyResult {
    nonce: String,
    complete: bool,
    keys: Vec<String>,
    keys_base64: Vec<String>,
    pgp_fingerprints: Option<Vec<String>>,
    backup: bool,
    verification_required: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    verification_nonce: String,
}

/// What giving a share came to.
#[derive(Serialize)]
#[serde(untagged)]
pub enum RekeyUpdate {
    /// More are needed.
    Waiting(RekeyStatus),
    /// Enough were given.
    Complete(RekeyResult),
}

/// Where the verification of new shares stands.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyStatus {
    nonce: String,
    started: bool,
    t: u8,
    n: u8,
    progress: usize,
}

/// What giving back a new share came to.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum VerifyUpdate {
    /// More are needed.
    Waiting(VerifyStatus),
    /// The new shares are in force.
    Complete {
        /// The verification's nonce.
        nonce: String,
        /// Always true.
        complete: bool,
    },
}

/// Encrypted shares that are kept: fingerprint → messages in hexadecimal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Backup {
    pub(crate) nonce: String,
    pub(crate) keys: BTreeMap<String, Vec<String>>,
}

impl Backup {
    /// Where it is kept.
    pub(crate) fn row(target: RekeyTarget) -> &'static str {
        match target {
            RekeyTarget::Barrier => "core/unseal-keys-backup",
            RekeyTarget::Recovery => "core/recovery-keys-backup",
            RekeyTarget::BreakGlass => "core/break-glass-keys-backup",
        }
    }
}

/// One rekey under way.
pub(crate) struct Rekey {
    nonce: String,
    started: Time,
    /// `None`: a fresh root key under the outer seal, and no shares.
    shape: Option<Threshold>,
    recipients: Recipients,
    backup: bool,
    verify: bool,
    given: Given,
    /// Made, handed out, and not in force before they were given back.
    fresh: Option<FreshShares>,
    verification_nonce: String,
    given_back: Given,
}

impl Rekey {
    fn verify_status(&self) -> VerifyStatus {
        VerifyStatus {
            nonce: self.verification_nonce.clone(),
            started: self.fresh.is_some(),
            t: self.shape.map_or(0, Threshold::threshold),
            n: self.shape.map_or(0, Threshold::shares),
            progress: self.given_back.count(),
        }
    }

    fn check_nonce(&self, nonce: &str) -> Result<(), CeremonyError> {
        if secret::ct_eq(nonce.as_bytes(), self.nonce.as_bytes()) {
            return Ok(());
        }
        Err(CeremonyError::Invalid(format!("incorrect nonce supplied; nonce for this rekey operation is {:?}", self.nonce)))
    }
}

fn status_of(rekey: Option<&Rekey>, required: u8) -> RekeyStatus {
    RekeyStatus {
        nonce: rekey.map(|r| r.nonce.clone()).unwrap_or_default(),
        started: rekey.is_some(),
        t: rekey.and_then(|r| r.shape).map_or(0, Threshold::threshold),
        n: rekey.and_then(|r| r.shape).map_or(0, Threshold::shares),
        progress: rekey.map_or(0, |r| r.given.count()),
        required,
        pgp_fingerprints: rekey.and_then(|r| r.recipients.fingerprints()),
        backup: rekey.is_some_and(|r| r.backup),
        verification_required: rekey.is_some_and(|r| r.verify),
        verification_nonce: rekey.map(|r| r.verification_nonce.clone()).unwrap_or_default(),
    }
}

impl Ceremonies {
    fn rekey(&mut self, target: RekeyTarget) -> &mut Option<Rekey> {
        match target {
            RekeyTarget::Barrier => &mut self.barrier_rekey,
            RekeyTarget::Recovery => &mut self.recovery_rekey,
            RekeyTarget::BreakGlass => &mut self.break_glass_rekey,
        }
    }
}

impl Core {
    /// `GET init`.
    pub async fn rekey_status(&self, target: RekeyTarget) -> Result<RekeyStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        let required = self.quorum(target)?;
        let mut ceremonies = self.ceremonies(&open).await;
        Ok(status_of(ceremonies.rekey(target).as_ref(), required))
    }

    /// `PUT init`.
    pub async fn rekey_init(&self, target: RekeyTarget, request: RekeyRequest) -> Result<RekeyStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        if request.backup && request.pgp_keys.is_empty() {
            let text = "cannot request a backup of the new keys without providing PGP keys for encryption";
            return Err(CeremonyError::invalid(text));
        }
        if request.backup && target == RekeyTarget::BreakGlass {
            return Err(CeremonyError::invalid("break-glass shares are not kept on the server"));
        }
        if !request.pgp_keys.is_empty() && request.pgp_keys.len() as u64 != request.secret_shares {
            return Err(CeremonyError::invalid("incorrect number of PGP keys for rekey"));
        }
        let required = self.quorum(target)?;
        let now = self.clock.now();
        let shape = self.new_shape(target, &request)?;
        let recipients = match shape {
            Some(shape) => recipients(&request.pgp_keys, shape, now).map_err(CeremonyError::Shape)?,
            None => Recipients::default(),
        };
        let mut ceremonies = self.ceremonies(&open).await;
        let place = ceremonies.rekey(target);
        if place.is_some() {
            return Err(CeremonyError::invalid("rekey already in progress"));
        }
        let rekey = place.insert(Rekey {
            nonce: self.nonce()?,
            started: now,
            shape,
            recipients,
            backup: request.backup,
            verify: request.require_verification,
            given: Given::default(),
            fresh: None,
            verification_nonce: String::new(),
            given_back: Given::default(),
        });
        tracing::info!(of = target.word(), "rekey started");
        Ok(status_of(Some(rekey), required))
    }

    /// What the new shares are to be; `None` where an outer seal keeps the key.
    fn new_shape(&self, target: RekeyTarget, request: &RekeyRequest) -> Result<Option<Threshold>, CeremonyError> {
        if target == RekeyTarget::Barrier && self.is_outer() {
            for (is_asked, what) in [
                (request.require_verification, "requiring verification"),
                (!request.pgp_keys.is_empty(), "PGP key encryption"),
                (request.backup, "key backup"),
            ] {
                if is_asked {
                    let text = format!("{what} not supported when rekeying the barrier key with recovery keys");
                    return Err(CeremonyError::Invalid(text));
                }
            }
            return Ok(None);
        }
        if request.secret_threshold > request.secret_shares {
            return Err(CeremonyError::invalid("provided threshold greater than the total shares"));
        }
        let shape = Threshold::new(request.secret_shares, request.secret_threshold);
        shape.map(Some).map_err(|e| CeremonyError::Shape(e.to_string()))
    }

    /// `PUT update`.
    pub async fn rekey_update(&self, target: RekeyTarget, nonce: &str, share: SecretBytes) -> Result<RekeyUpdate, CeremonyError> {
        let open = self.for_ceremony().await?;
        let required = self.quorum_to_give(target)?;
        check_length(&share).map_err(CeremonyError::Invalid)?;
        let mut ceremonies = self.ceremonies(&open).await;
        let place = ceremonies.rekey(target);
        let Some(rekey) = place.as_mut() else {
            return Err(CeremonyError::Invalid(format!("no {} rekey in progress", target.word())));
        };
        if rekey.fresh.is_some() {
            return Err(CeremonyError::Invalid(format!(
                "rekey operation already finished; verification must be performed; nonce for the verification operation is {:?}",
                rekey.verification_nonce
            )));
        }
        rekey.check_nonce(nonce)?;
        let joined = match rekey.given.give(share, required) {
            GiveOutcome::Repeated => {
                return Err(CeremonyError::invalid("given key has already been provided during this generation operation"));
            }
            GiveOutcome::Waiting => return Ok(RekeyUpdate::Waiting(status_of(Some(rekey), required))),
            GiveOutcome::Refused(e) => return Err(CeremonyError::WrongShares(format!("failed to compute root key: {e}"))),
            GiveOutcome::Joined(joined) => joined,
        };
        if !self.is_authority(&open, &joined)? {
            return Err(if self.is_outer() {
                CeremonyError::invalid(super::outer::WRONG_RECOVERY)
            } else {
                CeremonyError::WrongShares(format!("failed to read root key: {WRONG_SHARES}"))
            });
        }
        let result = self.make_shares(&open, target, rekey).await?;
        if rekey.fresh.is_none() {
            *place = None;
        }
        Ok(RekeyUpdate::Complete(result))
    }

    /// Makes the new shares, and puts them in force unless they are to be verified first.
    async fn make_shares(
        &self,
        open: &Arc<OpenCore>,
        target: RekeyTarget,
        rekey: &mut Rekey,
    ) -> Result<RekeyResult, CeremonyError> {
        let entropy = &*self.entropy;
        let fresh = rekey.shape.map(|shape| FreshShares::generate(shape, entropy)).transpose();
        let fresh = fresh.map_err(|e| CeremonyError::internal(&e))?;
        let shares = fresh.as_ref().map(FreshShares::shares).unwrap_or_default();
        let handed = rekey.recipients.seal(shares, entropy).map_err(|e| CeremonyError::internal(&e))?;
        let keys: Vec<String> = handed.iter().map(|s| hex::encode(s.expose())).collect();
        let backup = rekey.backup.then(|| {
            let mut backup = Backup { nonce: rekey.nonce.clone(), keys: BTreeMap::new() };
            for (fingerprint, key) in rekey.recipients.fingerprints().unwrap_or_default().into_iter().zip(&keys) {
                backup.keys.entry(fingerprint).or_default().push(key.clone());
            }
            backup
        });
        if rekey.verify {
            if let Some(backup) = &backup {
                let keep = |view: &mut View<'_>| Ok(view.put_json(Backup::row(target), backup)?);
                self.transact(open, keep).await.map_err(|e| CeremonyError::Failed(commit_failure(&e)))?;
            }
            rekey.verification_nonce = self.nonce()?;
            rekey.fresh = fresh;
        } else {
            self.put_in_force(open, target, fresh.as_ref(), backup.as_ref()).await?;
        }
        Ok(RekeyResult {
            nonce: rekey.nonce.clone(),
            complete: true,
            keys_base64: handed.iter().map(|s| BASE64_STANDARD.encode(s.expose())).collect(),
            keys,
            pgp_fingerprints: rekey.recipients.fingerprints(),
            backup: rekey.backup,
            verification_required: rekey.verify,
            verification_nonce: rekey.verification_nonce.clone(),
        })
    }

    async fn put_in_force(
        &self,
        open: &Arc<OpenCore>,
        target: RekeyTarget,
        fresh: Option<&FreshShares>,
        backup: Option<&Backup>,
    ) -> Result<(), CeremonyError> {
        for _ in 0..CONFLICTS_MAX {
            let mut change = self.rekey_entry(open, target, fresh).await.map_err(|e| CeremonyError::internal(&e))?;
            if let Some(backup) = backup {
                let mut txn = open.barrier.begin();
                let kept = View::new(&mut txn, "").put_json(Backup::row(target), backup);
                kept.map_err(|e| CeremonyError::internal(&e))?;
                let Some(rest) = txn.finish(&*self.entropy).map_err(|e| CeremonyError::internal(&e))? else { continue };
                change.checks.extend(rest.checks);
                change.writes.extend(rest.writes);
            }
            let proposed = self.replica.propose(change).await;
            if proposed.map_err(|e| CeremonyError::Failed(commit_failure(&e.into())))?.committed {
                tracing::info!(of = target.word(), shares = fresh.map_or(0, |f| f.shares().len()), "rekeyed");
                return Ok(());
            }
        }
        Err(CeremonyError::Failed(commit_failure(&crate::core::CommitError::Contended)))
    }

    async fn rekey_entry(
        &self,
        open: &OpenCore,
        target: RekeyTarget,
        fresh: Option<&FreshShares>,
    ) -> Result<Changeset, super::SealError> {
        match (target, fresh) {
            (RekeyTarget::Barrier, Some(fresh)) => {
                let next = open.barrier.next_root(&*self.entropy)?;
                let wrapped = WrappedRoot::under_shares(next.root(), fresh.key(), fresh.shape(), &*self.entropy)?;
                Ok(open.barrier.rekey(&next, wrapped, &*self.entropy)?)
            }
            (RekeyTarget::Recovery, Some(fresh)) => {
                let mut change = Changeset::default();
                self.add_recovery(&open.barrier, &mut change, fresh.shape(), fresh.key())?;
                Ok(change)
            }
            (RekeyTarget::BreakGlass, Some(fresh)) => {
                let mut change = Changeset::default();
                self.issue_break_glass(&open.barrier, &mut change, fresh)?;
                Ok(change)
            }
            (_, None) => self.outer_entry(&open.barrier).await,
        }
    }

    /// `DELETE init`. An empty nonce is none.
    pub async fn rekey_cancel(&self, target: RekeyTarget, nonce: &str) -> Result<(), CeremonyError> {
        let open = self.for_ceremony().await?;
        self.quorum(target)?;
        let now = self.clock.now();
        let mut ceremonies = self.ceremonies(&open).await;
        let place = ceremonies.rekey(target);
        let Some(rekey) = place.as_ref() else { return Ok(()) };
        let is_named = secret::ct_eq(nonce.as_bytes(), rekey.nonce.as_bytes());
        let is_forsaken = nonce.is_empty() && now.since(rekey.started) >= NONCE_CANCELS;
        if !is_named && !is_forsaken {
            return Err(CeremonyError::invalid("invalid request"));
        }
        *place = None;
        tracing::info!(of = target.word(), "rekey cancelled");
        Ok(())
    }

    pub(super) fn nonce(&self) -> Result<String, CeremonyError> {
        self.entropy.uuid().map_err(|e| CeremonyError::internal(&e))
    }

    /// The open core of a node that can commit.
    pub(super) async fn for_ceremony(&self) -> Result<Arc<OpenCore>, CeremonyError> {
        let open = self.open().ok_or(CeremonyError::Sealed)?;
        self.wait_active().await.map_err(CeremonyError::Failed)?;
        Ok(open)
    }

    /// What is under way in this term of leadership.
    pub(super) async fn ceremonies<'o>(&self, open: &'o OpenCore) -> tokio::sync::MutexGuard<'o, Ceremonies> {
        let mut ceremonies = open.ceremonies.lock().await;
        let term = self.replica.status().term;
        if ceremonies.term != term {
            *ceremonies = Ceremonies { term, ..Ceremonies::default() };
        }
        ceremonies
    }

    /// Whether an outer seal keeps the root key.
    pub(super) fn is_outer(&self) -> bool {
        self.seal_config().is_some_and(|c| !c.is_shamir())
    }

    /// How many shares decide, for everything but giving one.
    pub(super) fn quorum(&self, target: RekeyTarget) -> Result<u8, CeremonyError> {
        if target == RekeyTarget::Recovery && !self.is_outer() {
            return Err(CeremonyError::invalid("recovery rekeying not supported"));
        }
        if target == RekeyTarget::BreakGlass && !self.is_outer() {
            return Err(CeremonyError::invalid(
                "break-glass shares are for servers with an auto seal; here the unseal shares open",
            ));
        }
        let deciding = self.deciding_threshold().map_err(|e| CeremonyError::internal(&e))?;
        if target == RekeyTarget::BreakGlass && deciding == 0 {
            return Err(CeremonyError::invalid("break-glass shares need the consent of recovery shares, and there are none"));
        }
        Ok(deciding)
    }

    /// The same; Vault has other words where a share is given.
    fn quorum_to_give(&self, target: RekeyTarget) -> Result<u8, CeremonyError> {
        self.quorum(target).map_err(|e| match target {
            RekeyTarget::Barrier | RekeyTarget::BreakGlass => e,
            RekeyTarget::Recovery => {
                CeremonyError::WrongShares("failed to fetch existing recovery config: recovery not supported".into())
            }
        })
    }

    /// Whether the holders of the shares that made this key may decide.
    pub(super) fn is_authority(&self, open: &OpenCore, joined: &SecretBytes) -> Result<bool, CeremonyError> {
        super::outer::is_authority(self, open, joined).map_err(|e| CeremonyError::internal(&e))
    }
}

/// The words for shares that do not make the key.
pub(super) const WRONG_SHARES: &str = "invalid key: failed to decrypt keys from storage: cipher: message authentication failed";
