//! What is told of seal and nodes without a token: `sys/seal-status`, `sys/health`, `sys/leader`.

use std::time::Duration;

use barrier::SealConfig;
use replication::State;
use secret::Time;
use serde::Serialize;

use crate::core::{Core, OpenCore};

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
    /// `shamir`, or the type of the outer seal.
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
    /// The seal is to be exchanged, which needs shares.
    pub migration: bool,
    /// Only when unsealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Only when unsealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The shares are recovery shares beside an outer seal.
    pub recovery_seal: bool,
    /// `shamir`, only beside an outer seal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_seal_type: Option<&'static str>,
    /// Only where break-glass shares were issued. Vault has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<super::BreakGlassProgress>,
    /// `raft` or `inmem`.
    pub storage_type: String,
    /// The others have taken this node out.
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
    /// The others have taken this node out.
    pub removed: bool,
    /// Only on a standby.
    pub leader: Option<LeaderHeard>,
}

/// What a standby hears of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderHeard {
    /// There is one, and it was heard lately.
    pub healthy: bool,
    /// How long ago; `None` if never.
    pub ago: Option<Duration>,
    /// How long its answer took then.
    pub took: Duration,
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
    pub(crate) fn seal_config(&self) -> Option<SealConfig> {
        if !self.has_data() {
            return self.cluster.pending_seal();
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
            return if self.leads() { NodeState::Active } else { NodeState::Standby };
        }
        if self.initialised() { NodeState::Sealed } else { NodeState::Uninitialised }
    }

    /// `sys/seal-status`.
    #[must_use]
    pub fn seal_status(&self) -> SealStatus {
        let config = self.seal_config();
        let open = self.open();
        let seal_type = config.as_ref().map_or_else(|| self.active_seal_type().to_owned(), |c| c.seal_type.clone());
        let is_outer = seal_type != barrier::SHAMIR;
        let shares = if is_outer {
            self.recovery_config().ok().flatten().map(|c| (c.secret_threshold, c.secret_shares))
        } else {
            config.as_ref().map(|c| (c.secret_threshold, c.secret_shares))
        };
        let (t, n) = shares.unwrap_or_default();
        let migration = self.migration_pending();
        let progress = self.progress.lock();
        SealStatus {
            seal_type,
            initialized: config.is_some(),
            sealed: open.is_none(),
            t,
            n,
            progress: progress.given(),
            nonce: progress.nonce().to_owned(),
            version: self.config.version.clone(),
            build_date: self.config.build_date.clone(),
            migration,
            cluster_name: open.as_ref().map(|o| o.cluster.name.clone()),
            cluster_id: open.as_ref().map(|o| o.cluster.id.clone()),
            recovery_seal: is_outer,
            recovery_seal_type: is_outer.then_some(barrier::SHAMIR),
            break_glass: self.break_glass_progress(),
            storage_type: self.config.storage_type.clone(),
            removed_from_cluster: self.is_removed(),
        }
    }

    /// `sys/health`.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.state();
        Health {
            state,
            now: self.clock.now(),
            version: self.config.version.clone(),
            cluster: self.open().map(|o| (o.cluster.name.clone(), o.cluster.id.clone())),
            removed: self.is_removed(),
            leader: (state == NodeState::Standby).then(|| self.leader_heard()),
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
            active_time: if is_self { self.led_since(&open, status.since_leader_change).rfc3339() } else { GO_ZERO_TIME.into() },
            leader_address: leader.as_ref().map(|l| l.api_addr.clone()).unwrap_or_default(),
            leader_cluster_address: self.cluster_url(leader.as_ref().map_or("", |l| l.address.as_str())),
            performance_standby: false,
            performance_standby_last_remote_wal: 0,
            raft_committed_index: status.committed,
            raft_applied_index: status.applied,
        })
    }

    /// Since when this node is active: it leads and is open.
    fn led_since(&self, open: &OpenCore, leading_for: Duration) -> Time {
        self.clock.now().minus(leading_for).max(open.since)
    }

    /// The cluster port always speaks TLS, whatever scheme the configuration wrote.
    pub(crate) fn cluster_url(&self, address: &str) -> String {
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
        if bare.is_empty() { String::new() } else { format!("https://{bare}") }
    }
}
