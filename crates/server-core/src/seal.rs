//! The life of the seal: initialise, unseal, seal; and what is told of it without a token.

use std::sync::Arc;
use std::time::Duration;

use barrier::{Barrier, BarrierError, SealConfig, ShareOutcome, Unsealed};
use engine::EngineError;
use replication::{ProposeError, State};
use secret::{SecretBytes, SecretString, Time};
use serde::Serialize;
use shamir::{ShamirError, Threshold};
use storage::{Transaction, View};
use tokens::TokenStore;

use crate::core::{CLUSTER_ROW, ClusterInfo, Core, OpenCore};
use crate::mounts::{MountConfig, MountEntry, Table};
use crate::{answer::Failure, expiry, policies};

/// Shortest and longest share: 16 bytes is AES-128, 33 is a 256-bit key with its x (contract §2.1).
const SHARE_BYTES_MIN: usize = 16;
const SHARE_BYTES_MAX: usize = 33;
/// How long requests that were under way at seal may still be recorded, and how often it is looked.
const DRAIN: Duration = Duration::from_secs(5);
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// What `sys/init` is asked for.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    /// Number of shares.
    pub secret_shares: u64,
    /// Number of shares that open.
    pub secret_threshold: u64,
    /// A custom root token, in dev mode only.
    pub root_token: Option<SecretString>,
}

/// What `sys/init` hands out, once.
pub struct InitOutcome {
    /// The shares.
    pub shares: Vec<SecretBytes>,
    /// The root token.
    pub root_token: SecretString,
}

/// Why initialising, unsealing or sealing fails.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Done before.
    #[error("Vault is already initialized")]
    AlreadyInitialised,
    /// Not done yet.
    #[error("Vault is not initialized")]
    Uninitialised,
    /// A bad number of shares.
    #[error("invalid seal configuration: {0}")]
    Shape(ShamirError),
    /// A share, or the set of shares, is bad.
    #[error("invalid key: {0}")]
    Key(String),
    /// Reset while open.
    #[error("vault is unsealed")]
    IsUnsealed,
    /// Storage or cluster.
    #[error("{0}")]
    Internal(String),
}

impl From<ProposeError> for SealError {
    fn from(e: ProposeError) -> Self {
        Self::Internal(e.to_string())
    }
}

impl From<EngineError> for SealError {
    fn from(e: EngineError) -> Self {
        Self::Internal(e.to_string())
    }
}

/// Whether requests are served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// No keys exist yet.
    Uninitialised,
    /// Keys exist, none is here.
    Sealed,
    /// Open, another node leads.
    Standby,
    /// Open and leading.
    Active,
}

/// `sys/seal-status`, field names and order as Vault's.
#[derive(Debug, Clone, Serialize)]
pub struct SealStatus {
    /// `shamir`.
    #[serde(rename = "type")]
    pub seal_type: String,
    /// Keys exist.
    pub initialized: bool,
    /// No key is here.
    pub sealed: bool,
    /// Threshold.
    pub t: u8,
    /// Shares.
    pub n: u8,
    /// Shares given.
    pub progress: usize,
    /// Names the attempt.
    pub nonce: String,
    /// API version.
    pub version: String,
    /// RFC 3339.
    pub build_date: String,
    /// Always false here.
    pub migration: bool,
    /// Only when unsealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Only when unsealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Always false with shares.
    pub recovery_seal: bool,
    /// `raft` or `inmem`.
    pub storage_type: String,
    /// Always false here.
    pub removed_from_cluster: bool,
}

/// `sys/health`, without the codes.
#[derive(Debug, Clone)]
pub struct Health {
    /// Decides the code.
    pub state: NodeState,
    /// Server's time.
    pub now: Time,
    /// API version.
    pub version: String,
    /// Only when unsealed.
    pub cluster: Option<(String, String)>,
}

/// `sys/leader`.
#[derive(Debug, Clone, Serialize)]
pub struct Leader {
    /// More than one node is possible.
    pub ha_enabled: bool,
    /// This node leads.
    pub is_self: bool,
    /// Since when, RFC 3339; Go's zero time if it does not lead.
    pub active_time: String,
    /// API address of the leader.
    pub leader_address: String,
    /// Cluster address of the leader.
    pub leader_cluster_address: String,
    /// Always false here.
    pub performance_standby: bool,
    /// Always 0 here.
    pub performance_standby_last_remote_wal: u64,
    /// Committed log index.
    pub raft_committed_index: u64,
    /// Applied log index.
    pub raft_applied_index: u64,
}

const GO_ZERO_TIME: &str = "0001-01-01T00:00:00Z";

impl Core {
    fn seal_config(&self) -> Option<SealConfig> {
        if !self.replica.initialized() {
            return None;
        }
        self.sealed.config().ok().flatten()
    }

    /// Whether keys exist.
    #[must_use]
    pub fn initialised(&self) -> bool {
        self.seal_config().is_some()
    }

    /// What this node does now.
    #[must_use]
    pub fn state(&self) -> NodeState {
        if self.open().is_some() {
            return if *self.replica.leadership().borrow() { NodeState::Active } else { NodeState::Standby };
        }
        if self.initialised() { NodeState::Sealed } else { NodeState::Uninitialised }
    }

    /// `sys/seal-status`.
    #[must_use]
    pub fn seal_status(&self) -> SealStatus {
        let config = self.seal_config();
        let open = self.open();
        let progress = self.progress.lock();
        SealStatus {
            seal_type: "shamir".into(),
            initialized: config.is_some(),
            sealed: open.is_none(),
            t: config.as_ref().map_or(0, |c| c.secret_threshold),
            n: config.as_ref().map_or(0, |c| c.secret_shares),
            progress: progress.given(),
            nonce: progress.nonce().to_owned(),
            version: self.config.version.clone(),
            build_date: self.config.build_date.clone(),
            migration: false,
            cluster_name: open.as_ref().map(|o| o.cluster.name.clone()),
            cluster_id: open.as_ref().map(|o| o.cluster.id.clone()),
            recovery_seal: false,
            storage_type: self.config.storage_type.clone(),
            removed_from_cluster: false,
        }
    }

    /// `sys/health`.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            state: self.state(),
            now: self.clock.now(),
            version: self.config.version.clone(),
            cluster: self.open().map(|o| (o.cluster.name.clone(), o.cluster.id.clone())),
        }
    }

    /// `sys/leader`; `None` while sealed.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        let open = self.open()?;
        let status = self.replica.status();
        let is_self = status.state == State::Leader;
        let leader = status.leader;
        Some(Leader {
            ha_enabled: self.config.ha_enabled,
            is_self,
            active_time: if is_self { open.since.rfc3339() } else { GO_ZERO_TIME.into() },
            leader_address: leader.as_ref().map(|l| l.api_addr.clone()).unwrap_or_default(),
            leader_cluster_address: self.cluster_url(leader.as_ref().map_or("", |l| l.address.as_str())),
            performance_standby: false,
            performance_standby_last_remote_wal: 0,
            raft_committed_index: status.committed,
            raft_applied_index: status.applied,
        })
    }

    /// The cluster port always speaks TLS, whatever scheme the configuration wrote.
    pub(crate) fn cluster_url(&self, address: &str) -> String {
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
        if bare.is_empty() { String::new() } else { format!("https://{bare}") }
    }

    /// Makes keys, shares, the built-in mounts and policies, and the root token: all in one entry.
    pub async fn init(&self, request: InitRequest) -> Result<InitOutcome, SealError> {
        let _alone = self.lifecycle.lock().await;
        if self.initialised() {
            return Err(SealError::AlreadyInitialised);
        }
        let shape = Threshold::new(request.secret_shares, request.secret_threshold).map_err(SealError::Shape)?;
        if !self.replica.initialized() {
            self.replica.bootstrap().await?;
        }
        let now = self.clock.now();
        let internal = |e: BarrierError| SealError::Internal(e.to_string());
        let made = self.sealed.initialise(shape, now, &*self.entropy).map_err(internal)?;
        let barrier = Arc::new(made.barrier);
        let open = OpenCore::build(self, Arc::clone(&barrier), now).map_err(|e| SealError::Internal(e.to_string()))?;
        let mut txn = barrier.begin();
        let root_token = self.first_records(&open, &mut txn, now, request.root_token)?;
        let mut change = made.change;
        let rest = txn.finish(&*self.entropy).map_err(internal)?.ok_or(SealError::AlreadyInitialised)?;
        change.checks.extend(rest.checks);
        change.writes.extend(rest.writes);
        if !self.replica.propose(change).await?.committed {
            return Err(SealError::AlreadyInitialised);
        }
        tracing::info!(shares = shape.shares(), threshold = shape.threshold(), "initialised");
        Ok(InitOutcome { shares: made.shares, root_token })
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

    /// Takes a share. Bad shares never harm the progress of others: a share of the wrong length is refused before it counts,
    /// and a wrong set only ends the attempt that it completed.
    pub async fn unseal(&self, share: SecretBytes) -> Result<(), SealError> {
        let _alone = self.lifecycle.lock().await;
        let config = self.seal_config().ok_or(SealError::Uninitialised)?;
        if self.open().is_some() {
            return Ok(());
        }
        if share.len() < SHARE_BYTES_MIN {
            return Err(SealError::Key(format!("key is shorter than minimum {SHARE_BYTES_MIN} bytes")));
        }
        if share.len() > SHARE_BYTES_MAX {
            return Err(SealError::Key(format!("key is longer than maximum {SHARE_BYTES_MAX} bytes")));
        }
        let outcome = self
            .progress
            .lock()
            .give(share, config.secret_threshold, &*self.entropy)
            .map_err(|e| SealError::Internal(e.to_string()))?;
        match outcome {
            ShareOutcome::Waiting => Ok(()),
            ShareOutcome::Refused(e) => Err(SealError::Key(format!("failed to compute combined key: {e}"))),
            ShareOutcome::Complete(key) => match self.sealed.unseal(&key) {
                Ok(barrier) => self.post_unseal(barrier).await,
                Err(e @ BarrierError::WrongKey) => Err(SealError::Key(e.to_string())),
                Err(BarrierError::Envelope(e)) => Err(SealError::Key(format!("failed to decrypt keys from storage: {e}"))),
                Err(e) => Err(SealError::Internal(e.to_string())),
            },
        }
    }

    async fn post_unseal(&self, barrier: Barrier<Unsealed>) -> Result<(), SealError> {
        let barrier = Arc::new(barrier);
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
        if let Err(e) = crate::sys::audit::enable_stored(self, &open).await {
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
        if self.open().is_none() {
            return;
        }
        self.set_open(None);
        self.attach(None);
        tracing::info!("sealed");
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
