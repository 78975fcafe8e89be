//! Initialising: keys, shares, the first records and the root token, in one entry.

use std::sync::Arc;

use autoseal::SealWrapper;
use barrier::{FreshShares, WrappedRoot};
use engine::EngineError;
use pgp_keys::PublicKey;
use secret::{SecretBytes, SecretString, Time};
use shamir::Threshold;
use storage::{Transaction, View};
use tokens::TokenStore;

use super::SealError;
use super::recipients::{Recipients, to_base64};
use crate::core::{CLUSTER_ROW, ClusterInfo, Core, OpenCore};
use crate::mounts::{MountConfig, MountEntry, Table};
use crate::policies;

/// What `sys/init` is asked for.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    /// Number of shares.
    pub secret_shares: u64,
    /// Number of shares that open.
    pub secret_threshold: u64,
    /// OpenPGP keys in base64, one a share, or none.
    pub pgp_keys: Vec<String>,
    /// Number of recovery shares, beside an outer seal; 0 makes none.
    pub recovery_shares: u64,
    /// Number of recovery shares that decide.
    pub recovery_threshold: u64,
    /// OpenPGP keys in base64, one a recovery share, or none.
    pub recovery_pgp_keys: Vec<String>,
    /// Number of break-glass shares, beside an outer seal; 0 makes none.
    pub break_glass_shares: u64,
    /// Number of break-glass shares that open.
    pub break_glass_threshold: u64,
    /// OpenPGP keys in base64, one a break-glass share, or none.
    pub break_glass_pgp_keys: Vec<String>,
    /// OpenPGP key in base64 for the root token, or empty.
    pub root_token_pgp_key: String,
    /// A custom root token, in dev mode only.
    pub root_token: Option<SecretString>,
}

/// What `sys/init` hands out, once.
pub struct InitOutcome {
    /// The shares, or an OpenPGP message for each; empty beside an outer seal.
    pub shares: Vec<SecretBytes>,
    /// The recovery shares, or an OpenPGP message for each; empty without an outer seal.
    pub recovery_shares: Vec<SecretBytes>,
    /// The break-glass shares, or an OpenPGP message for each; empty unless they were asked for.
    pub break_glass_shares: Vec<SecretBytes>,
    /// The root token, or an OpenPGP message of it in base64.
    pub root_token: SecretString,
}

/// A request whose parts were all read before anything was made.
struct Checked {
    /// Of the shares, or of the recovery shares; `None` makes none.
    shape: Option<Threshold>,
    recipients: Recipients,
    break_glass: Option<(Threshold, Recipients)>,
    root_recipient: Option<PublicKey>,
}

impl InitRequest {
    /// `outer` is the type of the outer seal, if there is one.
    fn check(&self, outer: Option<&str>, now: Time) -> Result<Checked, SealError> {
        let break_glass = self.check_break_glass(outer, now)?;
        let not_applicable = |names: &str, seal: &str| {
            Err(SealError::NotApplicable(format!("parameters {names} not applicable to seal type {seal}")))
        };
        let root_recipient = match self.root_token_pgp_key.as_str() {
            "" => None,
            key => Some(PublicKey::parse(key, now).map_err(|e| SealError::RootTokenKey(e.to_string()))?),
        };
        let Some(outer) = outer else {
            if self.recovery_shares != 0 || self.recovery_threshold != 0 || !self.recovery_pgp_keys.is_empty() {
                return not_applicable("recovery_shares,recovery_threshold", barrier::SHAMIR);
            }
            let shape = Threshold::new(self.secret_shares, self.secret_threshold).map_err(|e| SealError::Shape(e.to_string()))?;
            let recipients = recipients(&self.pgp_keys, shape, now).map_err(SealError::Shape)?;
            return Ok(Checked { shape: Some(shape), recipients, break_glass, root_recipient });
        };
        if self.secret_shares != 0 || self.secret_threshold != 0 || !self.pgp_keys.is_empty() {
            return not_applicable("secret_shares,secret_threshold", outer);
        }
        if self.recovery_shares == 0 && self.recovery_threshold == 0 && self.recovery_pgp_keys.is_empty() {
            return Ok(Checked { shape: None, recipients: Recipients::default(), break_glass, root_recipient });
        }
        let shape = Threshold::new(self.recovery_shares, self.recovery_threshold);
        let shape = shape.map_err(|e| SealError::Recovery(e.to_string()))?;
        let recipients = recipients(&self.recovery_pgp_keys, shape, now).map_err(SealError::Recovery)?;
        Ok(Checked { shape: Some(shape), recipients, break_glass, root_recipient })
    }

    fn check_break_glass(&self, outer: Option<&str>, now: Time) -> Result<Option<(Threshold, Recipients)>, SealError> {
        if self.break_glass_shares == 0 && self.break_glass_threshold == 0 && self.break_glass_pgp_keys.is_empty() {
            return Ok(None);
        }
        if outer.is_none() {
            let names = "break_glass_shares,break_glass_threshold";
            return Err(SealError::NotApplicable(format!("parameters {names} not applicable to seal type {}", barrier::SHAMIR)));
        }
        let shape = Threshold::new(self.break_glass_shares, self.break_glass_threshold);
        let shape = shape.map_err(|e| SealError::BreakGlass(e.to_string()))?;
        Ok(Some((shape, recipients(&self.break_glass_pgp_keys, shape, now).map_err(SealError::BreakGlass)?)))
    }
}

/// One key a share, or none.
pub(super) fn recipients(keys: &[String], shape: Threshold, now: Time) -> Result<Recipients, String> {
    if !keys.is_empty() && keys.len() != usize::from(shape.shares()) {
        return Err("count mismatch between number of provided PGP keys and number of shares".into());
    }
    Recipients::parse(keys, now).map_err(|e| e.to_string())
}

impl Core {
    /// Makes keys, shares, the built-in mounts and policies, and the root token: all in one entry. An outer seal opens the server
    /// at once.
    pub async fn init(&self, request: InitRequest) -> Result<InitOutcome, SealError> {
        let outcome = self.init_alone(request).await?;
        if self.config.seals.active.is_some() {
            self.open_after_init().await;
        }
        Ok(outcome)
    }

    async fn init_alone(&self, request: InitRequest) -> Result<InitOutcome, SealError> {
        let _alone = self.lifecycle.lock().await;
        if self.initialised() {
            return Err(SealError::AlreadyInitialised);
        }
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        if self.replica.initialized() && !self.has_data() {
            return Err(SealError::Joining);
        }
        let outer = self.config.seals.active.as_deref();
        let Checked { shape, recipients, break_glass, root_recipient } = request.check(outer.map(SealWrapper::seal_type), now)?;
        let made = self.sealed.prepare(now, entropy)?;
        let fresh = shape.map(|shape| FreshShares::generate(shape, entropy)).transpose()?;
        let handed = fresh.as_ref().map(|f| recipients.seal(f.shares(), entropy)).transpose()?.unwrap_or_default();
        let (glass, glass_handed) = match &break_glass {
            None => (None, Vec::new()),
            Some((shape, recipients)) => {
                let fresh = FreshShares::generate(*shape, entropy)?;
                let handed = recipients.seal(fresh.shares(), entropy)?;
                (Some(fresh), handed)
            }
        };
        let wrapped = match (outer, &fresh) {
            (Some(outer), _) => WrappedRoot::under_seal(outer.seal_type(), self.wrap_by(outer, made.root()).await?.to_bytes()),
            (None, Some(fresh)) => WrappedRoot::under_shares(made.root(), fresh.key(), fresh.shape(), entropy)?,
            (None, None) => return Err(SealError::Shape("there are no shares".into())),
        };
        if !self.replica.initialized() {
            self.replica.bootstrap().await?;
        }
        let (mut change, barrier) = made.finish(wrapped, entropy)?;
        let barrier = Arc::new(barrier);
        if let (Some(_), Some(fresh)) = (outer, &fresh) {
            self.add_recovery(&barrier, &mut change, fresh.shape(), fresh.key())?;
        }
        if let Some(fresh) = &glass {
            self.issue_break_glass(&barrier, &mut change, fresh)?;
        }
        let open = OpenCore::build(self, Arc::clone(&barrier), now).map_err(|e| SealError::Internal(e.to_string()))?;
        let mut txn = barrier.begin();
        let root_token = self.first_records(&open, &mut txn, now, request.root_token)?;
        let root_token = match &root_recipient {
            None => root_token,
            Some(key) => to_base64(key, &SecretBytes::from(root_token.expose().as_bytes()), entropy)?.into(),
        };
        let rest = txn.finish(entropy)?.ok_or(SealError::AlreadyInitialised)?;
        change.checks.extend(rest.checks);
        change.writes.extend(rest.writes);
        if !self.replica.propose(change).await?.committed {
            return Err(SealError::AlreadyInitialised);
        }
        tracing::info!(seal = self.active_seal_type(), shares = handed.len(), break_glass = glass_handed.len(), "initialised");
        let (shares, recovery_shares) = if outer.is_some() { (Vec::new(), handed) } else { (handed, Vec::new()) };
        Ok(InitOutcome { shares, recovery_shares, break_glass_shares: glass_handed, root_token })
    }

    fn first_records(
        &self,
        open: &OpenCore,
        txn: &mut dyn Transaction,
        now: Time,
        custom: Option<SecretString>,
    ) -> Result<SecretString, EngineError> {
        let mut view = View::new(txn, "");
        for entry in self.builtin_mounts()? {
            view.put_json(&entry.row(), &entry)?;
        }
        policies::put_builtin(&mut view)?;
        let name = match self.config.cluster_name.as_str() {
            "" => format!("vault-cluster-{}", self.entropy.hex(8)?),
            name => name.to_owned(),
        };
        view.put_json(CLUSTER_ROW, &ClusterInfo { name, id: self.entropy.uuid()? })?;
        crate::cluster::put_first_ring(&mut view, now, &*self.entropy)?;
        crate::sys::versions::note(&mut view, &self.config, now)?;
        TokenStore::initialise(&mut view, &*self.entropy)?;
        open.tokens.root(&mut view, now, &*self.entropy, custom.as_ref().map(SecretString::expose))
    }

    fn builtin_mounts(&self) -> Result<Vec<MountEntry>, EngineError> {
        let mut out = Vec::new();
        for (table, path, mount_type, description, headers) in [
            (Table::Mounts, "cubbyhole/", "cubbyhole", "per-token private secret storage", None),
            (Table::Mounts, "sys/", "system", "system endpoints used for control, policy and debugging", Some("Accept")),
            (Table::Mounts, "identity/", "identity", "identity store", Some("Authorization")),
            (Table::Auth, "token/", "token", "token based credentials", None),
        ] {
            let prefix = if table == Table::Auth { "auth_" } else { "" };
            out.push(MountEntry {
                table,
                path: path.into(),
                mount_type: mount_type.into(),
                description: description.into(),
                uuid: self.entropy.uuid()?,
                accessor: format!("{prefix}{mount_type}_{}", self.entropy.hex(8)?),
                config: MountConfig {
                    passthrough_request_headers: headers.map(|h| vec![h.to_owned()]),
                    token_type: if table == Table::Auth { engine::TokenType::DefaultService } else { engine::TokenType::Default },
                    ..MountConfig::default()
                },
                options: None,
                local: mount_type == "cubbyhole",
                seal_wrap: mount_type == "system",
                external_entropy_access: false,
                plugin_version: String::new(),
            });
        }
        Ok(out)
    }
}
