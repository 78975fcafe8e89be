//! The configuration file, HCL or JSON, as Vault's (contract §8): read into plain values, checked once, with the key and place at
//! fault in every message. Unknown keys are warned of by name and do not stop the server.

mod cluster;
mod listener;
mod lockout;
mod read;
mod seal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hcl1::Object;
use serde_json::{Value, json};
use server_core::Target;

pub use cluster::Addresses;
pub use listener::ListenerConfig;
pub use read::ConfigError;
use read::Reader;
pub use seal::{SealKind, SealStanza};

/// The whole configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where data is kept.
    pub storage: StorageConfig,
    /// Where the API is served.
    pub listeners: Vec<ListenerConfig>,
    /// The outer seals.
    pub seals: Vec<SealStanza>,
    /// `api_addr`; empty if not configured.
    pub api_addr: String,
    /// `cluster_addr`; empty if not configured.
    pub cluster_addr: String,
    /// `cluster_name`.
    pub cluster_name: String,
    /// `disable_clustering`: no cluster port, and so no other nodes.
    pub disable_clustering: bool,
    /// `default_lease_ttl`.
    pub default_lease_ttl: Duration,
    /// `max_lease_ttl`.
    pub max_lease_ttl: Duration,
    /// `user_lockout` stanzas.
    pub lockout: ::lockout::Defaults,
    /// `log_level`: trace, debug, info, warn, error.
    pub log_level: String,
    /// `log_format`: standard or json.
    pub log_format: String,
    /// `ui`.
    pub ui: bool,
    /// `raw_storage_endpoint`.
    pub raw_storage_endpoint: bool,
    /// `introspection_endpoint`.
    pub introspection_endpoint: bool,
    /// `allow_audit_log_prefixing`.
    pub allow_audit_log_prefixing: bool,
    /// `plugin_directory`: no audit file may be put there.
    pub plugin_directory: Option<PathBuf>,
    /// `pid_file`.
    pub pid_file: Option<PathBuf>,
    /// `default_max_request_duration`.
    pub max_request_duration: Duration,
    /// `telemetry.prometheus_retention_time` is above zero.
    pub prometheus: bool,
    /// Keys that are accepted and mean nothing here, and keys nobody knows.
    pub warnings: Vec<String>,
    /// Default and maximum lease TTL in seconds as the file has them, 0 where it does not.
    configured_ttls: (u64, u64),
}

/// The `storage` stanza.
#[derive(Debug, Clone)]
pub enum StorageConfig {
    /// Kept on disk by the log.
    Raft {
        /// The data directory.
        path: PathBuf,
        /// The node's name; empty keeps the stored one or draws one.
        node_id: String,
        /// `fjall` or `sled`.
        engine: Engine,
        /// `trailing_logs`.
        trailing_logs: Option<u64>,
        /// `snapshot_threshold`.
        snapshot_threshold: Option<u64>,
        /// `retry_join` stanzas.
        retry_join: Vec<Target>,
        /// `retry_join_as_non_voter`.
        joins_as_non_voter: bool,
    },
    /// Forgotten at the end.
    Memory,
}

/// The disk engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The default; see docs/decisions/0001.
    #[default]
    Fjall,
    /// sled 0.34.
    Sled,
}

const KNOWN: &[&str] = &[
    "storage",
    "backend",
    "ha_storage",
    "ha_backend",
    "listener",
    "seal",
    "telemetry",
    "service_registration",
    "user_lockout",
    "reporting",
    "cluster_name",
    "api_addr",
    "cluster_addr",
    "disable_clustering",
    "ui",
    "default_lease_ttl",
    "max_lease_ttl",
    "default_max_request_duration",
    "cache_size",
    "disable_cache",
    "disable_mlock",
    "disable_printable_check",
    "disable_sentinel_trace",
    "disable_indexing",
    "disable_sealwrap",
    "disable_performance_standby",
    "plugin_directory",
    "plugin_tmpdir",
    "plugin_file_uid",
    "plugin_file_permissions",
    "raw_storage_endpoint",
    "introspection_endpoint",
    "log_level",
    "log_format",
    "log_file",
    "log_rotate_bytes",
    "log_rotate_duration",
    "log_rotate_max_files",
    "log_requests_level",
    "pid_file",
    "enable_response_header_hostname",
    "enable_response_header_raft_node_id",
    "allow_audit_log_prefixing",
    "detect_deadlocks",
    "experiments",
    "imprecise_lease_role_tracking",
    "license_path",
    "enable_post_unseal_trace",
    "post_unseal_trace_directory",
    "remove_irrevocable_lease_after",
    "observations",
    "disable_clustering",
];

const TELEMETRY: &[&str] = &[
    "statsite_address",
    "statsd_address",
    "dogstatsd_addr",
    "dogstatsd_tags",
    "prometheus_retention_time",
    "disable_hostname",
    "enable_hostname_label",
    "metrics_prefix",
    "usage_gauge_period",
    "maximum_gauge_cardinality",
    "lease_metrics_epsilon",
    "num_lease_metrics_buckets",
    "add_lease_metrics_namespace_labels",
    "add_mount_point_rollback_metrics",
    "filter_default",
    "prefix_filter",
];

const RAFT: &[&str] = &[
    "path",
    "node_id",
    "engine",
    "performance_multiplier",
    "trailing_logs",
    "snapshot_threshold",
    "snapshot_interval",
    "max_entry_size",
    "max_mount_and_namespace_table_entry_size",
    "raft_wal",
    "raft_log_verifier_enabled",
    "raft_log_verification_interval",
    "autopilot_reconcile_interval",
    "autopilot_update_interval",
    "retry_join",
    "retry_join_as_non_voter",
    "autopilot_redundancy_zone",
    "autopilot_upgrade_version",
];

impl Config {
    /// Reads files and directories (their `.hcl` and `.json` files in order of name) and joins them: later files win.
    pub fn load(paths: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut files = Vec::new();
        for path in paths {
            files.extend(expand(path)?);
        }
        let mut whole = Object { items: Vec::new() };
        for file in &files {
            let text = std::fs::read_to_string(file).map_err(|e| ConfigError::file(file, e))?;
            let object = hcl1::parse(&text).map_err(|e| ConfigError::file(file, e))?;
            for item in object.items {
                let single = item.keys.len() == 1 && item.assigned;
                if let (true, Some(key)) = (single, item.key().map(|k| k.text.clone())) {
                    whole.items.retain(|i| !(i.keys.len() == 1 && i.assigned && i.is(&key)));
                }
                whole.items.push(item);
            }
        }
        Self::from_object(&whole)
    }

    /// Checks a parsed document.
    pub fn from_object(object: &Object) -> Result<Self, ConfigError> {
        let mut root = Reader::new("", object);
        let month = Duration::from_secs(768 * 3600);
        let storage = storage(&mut root)?;
        let listeners = listener::read(&mut root)?;
        match root.object().blocks("service_registration", 1)?.first() {
            None => {}
            Some(block) => match block.labels.first().map(|k| k.text.as_str()) {
                Some("kubernetes") => {
                    root.warn("service_registration \"kubernetes\" is accepted, but this version sets no pod labels")
                }
                Some("consul") => root.warn("service_registration \"consul\" is not supported and ignored"),
                other => return Err(ConfigError::Invalid(format!("unknown service_registration type {}", other.unwrap_or("")))),
            },
        }
        let seals = seal::read(&mut root)?;
        let lockout = lockout::read(&mut root)?;
        let prometheus = telemetry(&mut root)?;
        let warned: Vec<String> = root.object().unknown_keys(KNOWN).map(|k| unknown("", k)).collect();
        let (default_ttl, max_ttl) = (root.duration("default_lease_ttl")?, root.duration("max_lease_ttl")?);
        let config = Self {
            storage,
            listeners,
            seals,
            lockout,
            api_addr: env_or("VAULT_API_ADDR", Some(env_or("VAULT_REDIRECT_ADDR", root.text("api_addr")?))),
            cluster_addr: env_or("VAULT_CLUSTER_ADDR", root.text("cluster_addr")?),
            cluster_name: root.text("cluster_name")?.unwrap_or_default(),
            disable_clustering: root.flag("disable_clustering")?.unwrap_or(false),
            default_lease_ttl: default_ttl.filter(|d| !d.is_zero()).unwrap_or(month),
            max_lease_ttl: max_ttl.filter(|d| !d.is_zero()).unwrap_or(month),
            configured_ttls: (default_ttl.unwrap_or_default().as_secs(), max_ttl.unwrap_or_default().as_secs()),
            log_level: env_or("VAULT_LOG_LEVEL", root.text("log_level")?).to_lowercase(),
            log_format: env_or("VAULT_LOG_FORMAT", root.text("log_format")?).to_lowercase(),
            ui: root.flag("ui")?.unwrap_or(false),
            raw_storage_endpoint: root.flag("raw_storage_endpoint")?.unwrap_or(false),
            introspection_endpoint: root.flag("introspection_endpoint")?.unwrap_or(false),
            allow_audit_log_prefixing: root.flag("allow_audit_log_prefixing")?.unwrap_or(false),
            plugin_directory: root.text("plugin_directory")?.filter(|t| !t.is_empty()).map(PathBuf::from),
            pid_file: root.text("pid_file")?.filter(|t| !t.is_empty()).map(PathBuf::from),
            max_request_duration: root
                .duration("default_max_request_duration")?
                .filter(|d| !d.is_zero())
                .unwrap_or(Duration::from_secs(90)),
            prometheus,
            warnings: warned.into_iter().chain(root.into_warnings()).collect(),
        };
        config.check()
    }

    fn check(self) -> Result<Self, ConfigError> {
        if self.default_lease_ttl > self.max_lease_ttl {
            return Err(ConfigError::Invalid("default_lease_ttl cannot be larger than max_lease_ttl".into()));
        }
        if self.listeners.is_empty() {
            return Err(ConfigError::Invalid("no listener is configured".into()));
        }
        if !self.log_level.is_empty() && crate::log_levels::level(&self.log_level).is_none() {
            return Err(ConfigError::Invalid(format!(
                "log_level {:?} is none of trace, debug, info, warn, error",
                self.log_level
            )));
        }
        if !matches!(self.log_format.as_str(), "" | "standard" | "json") {
            return Err(ConfigError::Invalid(format!("log_format {:?} is neither standard nor json", self.log_format)));
        }
        Ok(self)
    }

    /// What `sys/config/state/sanitized` shows.
    #[must_use]
    pub fn sanitized(&self) -> Value {
        let listeners: Vec<Value> = self
            .listeners
            .iter()
            .map(|l| json!({ "type": "tcp", "config": { "address": l.address, "tls_disable": l.tls.is_none() } }))
            .collect();
        let storage_type = match self.storage {
            StorageConfig::Raft { .. } => "raft",
            StorageConfig::Memory => "inmem",
        };
        json!({
            "api_addr": self.api_addr, "cluster_addr": self.cluster_addr, "cluster_name": self.cluster_name,
            "default_lease_ttl": self.configured_ttls.0, "max_lease_ttl": self.configured_ttls.1,
            "default_max_request_duration": self.max_request_duration.as_secs(),
            "disable_mlock": true, "enable_ui": self.ui, "log_level": self.log_level, "log_format": self.log_format,
            "raw_storage_endpoint": self.raw_storage_endpoint, "introspection_endpoint": self.introspection_endpoint,
            "listeners": listeners,
            "seals": seal::sanitized(&self.seals),
            "storage": { "type": storage_type, "redirect_addr": self.api_addr, "cluster_addr": self.cluster_addr, "disable_clustering": self.disable_clustering },
        })
    }
}

fn env_or(name: &str, configured: Option<String>) -> String {
    std::env::var(name).ok().filter(|v| !v.is_empty()).or(configured).unwrap_or_default()
}

fn unknown(place: &str, key: &hcl1::Key) -> String {
    format!("unknown or unsupported field {place}{} at line {}, column {}", key.text, key.position.line, key.position.column)
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(|e| ConfigError::file(path, e))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "hcl" || e == "json"))
        .collect();
    files.sort();
    if files.is_empty() { Err(ConfigError::file(path, "holds no .hcl or .json file")) } else { Ok(files) }
}

fn storage(root: &mut Reader<'_>) -> Result<StorageConfig, ConfigError> {
    let object = root.object();
    let mut blocks = object.blocks("storage", 1)?;
    blocks.extend(object.blocks("backend", 1)?);
    let [block] = blocks.as_slice() else {
        return Err(ConfigError::Invalid(match blocks.len() {
            0 => "a storage stanza must be configured".into(),
            _ => "only one storage stanza can be configured".into(),
        }));
    };
    match block.labels.first().map(|k| k.text.as_str()) {
        Some("inmem" | "inmem_ha") => Ok(StorageConfig::Memory),
        Some("raft") => {
            let mut r = Reader::new("storage.raft.", block.body);
            let path = env_or("VAULT_RAFT_PATH", r.text("path")?);
            if path.is_empty() {
                return Err(ConfigError::Invalid("storage.raft.path must be set".into()));
            }
            let engine = match r.text("engine")?.unwrap_or_default().as_str() {
                "" | "fjall" => Engine::Fjall,
                "sled" => Engine::Sled,
                other => return Err(ConfigError::Invalid(format!("storage.raft.engine {other:?} is neither fjall nor sled"))),
            };
            let retry_join = cluster::retry_join(&mut r)?;
            let as_non_voter = env_or("VAULT_RAFT_RETRY_JOIN_AS_NON_VOTER", r.text_of_flag("retry_join_as_non_voter")?);
            let config = StorageConfig::Raft {
                path: PathBuf::from(path),
                node_id: env_or("VAULT_RAFT_NODE_ID", r.text("node_id")?),
                engine,
                trailing_logs: r.number("trailing_logs")?.filter(|n| *n > 0),
                snapshot_threshold: r.number("snapshot_threshold")?.filter(|n| *n > 0),
                retry_join,
                joins_as_non_voter: cluster::is_on("VAULT_RAFT_RETRY_JOIN_AS_NON_VOTER", &as_non_voter)?,
            };
            let unknown_keys: Vec<String> = block.body.unknown_keys(RAFT).map(|k| unknown("storage.raft.", k)).collect();
            let warnings = r.into_warnings();
            warnings.into_iter().chain(unknown_keys).for_each(|w| root.warn(w));
            Ok(config)
        }
        other => Err(ConfigError::Invalid(format!("unknown storage type {}: raft and inmem are supported", other.unwrap_or("")))),
    }
}

/// Whether Prometheus metrics are kept.
fn telemetry(root: &mut Reader<'_>) -> Result<bool, ConfigError> {
    let object = root.object();
    let mut on = true;
    for block in object.blocks("telemetry", 0)? {
        let mut r = Reader::new("telemetry.", block.body);
        if let Some(d) = r.duration("prometheus_retention_time")? {
            on = !d.is_zero();
        }
        for name in ["statsite_address", "statsd_address", "dogstatsd_addr"] {
            if r.text(name)?.is_some_and(|t| !t.is_empty()) {
                root.warn(format!("telemetry.{name} is not supported and ignored; use sys/metrics"));
            }
        }
        let unknown_keys: Vec<String> = block.body.unknown_keys(TELEMETRY).map(|k| unknown("telemetry.", k)).collect();
        unknown_keys.into_iter().for_each(|w| root.warn(w));
    }
    Ok(on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        hcl1::parse(text).map_err(|e| e.to_string()).and_then(|o| Config::from_object(&o).map_err(|e| e.to_string()))
    }

    const CHART: &str = r#"
        disable_mlock = true
        ui = true
        listener "tcp" {
          tls_disable = 1
          address = "[::]:8200"
          cluster_address = "[::]:8201"
        }
        storage "raft" {
          path = "/vault/data"
          retry_join { leader_api_addr = "http://vault-0:8200" }
        }
        service_registration "kubernetes" {}
    "#;

    #[test]
    fn the_charts_configuration_is_read() {
        let c = read(CHART).unwrap();
        assert!(c.ui);
        assert!(c.warnings.iter().any(|w| w.contains("service_registration")), "{:?}", c.warnings);
        assert_eq!(c.listeners[0].address, "[::]:8200");
        assert!(c.listeners[0].tls.is_none());
        assert!(matches!(&c.storage, StorageConfig::Raft { path, .. } if path == Path::new("/vault/data")));
    }

    #[test]
    fn json_with_objects_and_old_names_is_read() {
        let c = read(r#"{"backend": {"inmem": {}}, "listener": {"tcp": {"address": "127.0.0.1:1", "tls_disable": "true"}}, "default_lease_ttl": "1h", "max_lease_ttl": "768h"}"#).unwrap();
        assert!(matches!(c.storage, StorageConfig::Memory));
        assert_eq!(c.default_lease_ttl, Duration::from_secs(3600));
        let list = r#"{"storage": [{"inmem": {}}], "listener": [{"tcp": {"tls_disable": true}}]}"#;
        assert_eq!(read(list).unwrap().listeners[0].address, "127.0.0.1:8200");
    }

    #[test]
    fn unknown_keys_are_warned_of_by_name_and_place() {
        let c = read(&format!("{CHART}\nfrobnicate = 3\n")).unwrap();
        assert!(c.warnings.iter().any(|w| w.contains("frobnicate at line 15, column 1")), "{:?}", c.warnings);
    }

    #[test]
    fn mistakes_name_the_key() {
        let listener = r#"listener "tcp" { tls_disable = true }"#;
        for (text, part) in [
            ("", "a storage stanza must be configured"),
            (r#"storage "inmem" {}"#, "no listener is configured"),
            (&format!("storage \"raft\" {{}}\n{listener}"), "storage.raft.path must be set"),
            (&format!("storage \"consul\" {{}}\n{listener}"), "unknown storage type consul"),
            (&format!("storage \"raft\" {{ path = \"/x\" engine = \"lmdb\" }}\n{listener}"), "engine \"lmdb\""),
            (&format!("storage \"inmem\" {{}}\n{listener}\nlog_level = \"loud\""), "log_level \"loud\""),
            (&format!("storage \"inmem\" {{}}\n{listener}\ndefault_lease_ttl = \"soon\""), "default_lease_ttl"),
            (&format!("storage \"inmem\" {{}}\n{listener}\nui = \"perhaps\""), "ui must be"),
            (&format!("storage \"inmem\" {{}}\n{listener}\ndefault_lease_ttl = \"9000h\""), "cannot be larger"),
            (&format!("storage \"inmem\" {{}}\n{listener}\nseal \"gcpckms\" {{}}"), "seal \"gcpckms\""),
            ("storage \"inmem\" {}\nlistener \"tcp\" {}", "tls_cert_file"),
            ("storage \"inmem\" {}\nlistener \"udp\" {}", "listener type udp"),
            ("storage {", "line 1"),
        ] {
            let e = read(text).map(|_| ()).unwrap_err();
            assert!(e.contains(part), "{text}: {e}");
        }
    }
}
