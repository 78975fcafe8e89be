//! What the binary tells the core at start: addresses, limits, and the engines there are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::{Backend, EngineError};
use secret::Time;
use serde_json::Value;
use storage::View;

use crate::MountEntry;
use crate::cluster::ClusterConfig;
use crate::seal::Seals;

/// Makes the engine of one mount. The entry's `options` choose between versions (KV).
pub type Factory = Arc<dyn Fn(&MountEntry) -> Arc<dyn Backend> + Send + Sync>;

/// Moves the data of a mount that was tuned from version 1 (or none) to version 2, at most the given number of records a call,
/// and answers whether all is done. Gets the mount's own view. Each call is committed before the next, and an interrupted
/// upgrade is taken up again, so every step must be complete in itself.
pub type Upgrade = Arc<dyn Fn(&mut View<'_>, &MountEntry, Time, usize) -> Result<bool, EngineError> + Send + Sync>;

/// Gives all metric series as Prometheus text (version 0.0.4).
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// The verbosity of the server's own log, for `sys/loggers`.
pub trait LogControl: Send + Sync {
    /// The loggers by name, each with its level (`trace`, `debug`, `info`, `warn`, `error`).
    fn levels(&self) -> BTreeMap<String, String>;

    /// Sets the level of one logger, or of all. `false` if there is no such logger.
    fn set(&self, logger: Option<&str>, level: &str) -> bool;

    /// Back to the configured level. `false` if there is no such logger.
    fn reset(&self, logger: Option<&str>) -> bool;
}

/// The server's own log as it is written, for `sys/monitor`.
pub trait LogStream: Send + Sync {
    /// Lines of `level` (`trace`, `debug`, `info`, `warn`, `error`; empty is `info`) and above from now on, as text or JSON. The queue
    /// is bounded: who reads too slowly misses lines. `None` if too many are following already.
    fn follow(&self, level: &str, json: bool) -> Option<tokio::sync::mpsc::Receiver<bytes::Bytes>>;
}

/// The engines and auth methods that can be mounted, by type.
#[derive(Clone, Default)]
pub struct Registry {
    /// Secrets engines, `cubbyhole` included.
    pub secrets: BTreeMap<&'static str, Factory>,
    /// Auth methods, without `token`.
    pub auth: BTreeMap<&'static str, Factory>,
    /// Secrets engines whose mounts can be tuned to version 2 while they hold data.
    pub upgrades: BTreeMap<&'static str, Upgrade>,
    /// The counters of failed logins that the auth methods were made with, to list and unlock names.
    pub lockout: Arc<lockout::Lockout>,
}

/// Settings of the core, from the configuration file.
#[derive(Clone)]
pub struct CoreConfig {
    /// `https://…:8200`, what other nodes and redirects use.
    pub api_addr: String,
    /// `https://…:8201`.
    pub cluster_addr: String,
    /// Configured name of the cluster; made up at init if empty.
    pub cluster_name: String,
    /// Default lease TTL of the system.
    pub default_lease_ttl: Duration,
    /// Maximum lease TTL of the system.
    pub max_lease_ttl: Duration,
    /// When failed logins lock a name, where a mount does not say it.
    pub lockout: lockout::Defaults,
    /// Version as the API tells it, for example `1.21.4`.
    pub version: String,
    /// When this program was built, RFC 3339.
    pub build_date: String,
    /// `raft` or `inmem`, as seal-status tells it.
    pub storage_type: String,
    /// High availability: the storage could have more than one node.
    pub ha_enabled: bool,
    /// `sys/raw` is on (`raw_storage_endpoint`).
    pub raw_storage_endpoint: bool,
    /// The web UI is on.
    pub ui: bool,
    /// Audit lines may begin with a configured prefix (`allow_audit_log_prefixing`).
    pub allow_audit_log_prefixing: bool,
    /// Where no audit file may be put: plugins (CVE-2025-6000), the store, the configuration itself.
    pub guarded_from_audit: Vec<audit::Guarded>,
    /// `sys/internal/specs/openapi` and others that list routes may answer.
    pub introspection_endpoint: bool,
    /// The configuration without its secrets, for `sys/config/state/sanitized`.
    pub sanitized: Value,
    /// The outer seals; none is Shamir's shares.
    pub seals: Seals,
    /// Milliseconds a request may take at most before the server gives up on it.
    pub request_timeout: Duration,
    /// Where `sys/metrics` comes from; `None` if telemetry is off.
    pub metrics: Option<MetricsText>,
    /// What `sys/loggers` turns; `None` leaves the path read-only and empty.
    pub log_control: Option<Arc<dyn LogControl>>,
    /// What `sys/monitor` shows; `None` switches it off.
    pub log_stream: Option<Arc<dyn LogStream>>,
    /// The way to other nodes.
    pub cluster: ClusterConfig,
}

impl Default for CoreConfig {
    fn default() -> Self {
        // 768 h is Vault's default for both; see contract §3.3.
        let month = Duration::from_secs(768 * 3600);
        Self {
            api_addr: String::new(),
            cluster_addr: String::new(),
            cluster_name: String::new(),
            default_lease_ttl: month,
            max_lease_ttl: month,
            lockout: lockout::Defaults::default(),
            version: api_types::API_VERSION.to_owned(),
            build_date: String::new(),
            storage_type: "raft".to_owned(),
            ha_enabled: true,
            raw_storage_endpoint: false,
            ui: false,
            allow_audit_log_prefixing: false,
            guarded_from_audit: Vec::new(),
            introspection_endpoint: false,
            sanitized: Value::Null,
            seals: Seals::default(),
            request_timeout: Duration::from_secs(90),
            metrics: None,
            log_control: None,
            log_stream: None,
            cluster: ClusterConfig::default(),
        }
    }
}
