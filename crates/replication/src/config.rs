//! What a replica is told when it is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::error::OpenError;

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The operator's name for the node, empty: keep the stored one, or draw a UUID for a new store.
    pub node_id: String,
    /// `host:port` where the other nodes reach it.
    pub cluster_addr: String,
    /// URL where clients reach it.
    pub api_addr: String,
    /// Where a received snapshot lies while it is installed. `None` only for memory stores.
    pub snapshot_dir: Option<PathBuf>,
    /// Where the log's files are. `None` keeps the log in the store: for memory stores, and for stores that older programs
    /// wrote; such a log moves to the files. With files, replication runs on a thread of its own.
    pub log_dir: Option<PathBuf>,
    /// Applied entries kept in the log for followers that lag.
    pub trailing_logs: u64,
    /// Entries between two snapshots, after which the log is purged down to `trailing_logs`.
    pub snapshot_threshold: u64,
    /// Log bytes kept at most (once applied), whatever their number.
    pub log_bytes: u64,
    /// Age at which an applied entry leaves the log: a deleted secret's ciphertext must not stay for ever.
    pub log_age: Duration,
    /// Pause between the leader's signs of life.
    pub heartbeat: Duration,
    /// Shortest silence after which a follower stands for election.
    pub election_min: Duration,
    /// Longest such silence; also the leader's lease.
    pub election_max: Duration,
    /// How long a proposal or a read waits while nobody leads, and for its own end.
    pub patience: Duration,
}

impl Settings {
    /// Default limits and timings for a node of this name.
    #[must_use]
    pub fn new(node_id: impl Into<String>, cluster_addr: impl Into<String>, api_addr: impl Into<String>) -> Self {
        Self {
            node_id: node_id.into(),
            cluster_addr: cluster_addr.into(),
            api_addr: api_addr.into(),
            snapshot_dir: None,
            log_dir: None,
            trailing_logs: 1024,
            snapshot_threshold: 2048,
            log_bytes: 8 * 1024 * 1024,
            log_age: Duration::from_secs(24 * 3600),
            heartbeat: Duration::from_millis(80),
            // A follower stands for election when the leader's lease (the longest silence) and then its own silence have
            // passed, after 400 + 200..400 ms; asking for votes adds two messages and a disk write. So a dead leader is
            // replaced within a second, and one that pauses for less than 400 ms keeps its office.
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            patience: Duration::from_secs(10),
        }
    }

    pub(crate) fn raft(&self) -> Result<Arc<Config>, OpenError> {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "strongroom".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_threshold.max(1)),
            // The log is purged by `maintenance`, which knows who lags.
            max_in_snapshot_log_to_keep: u64::MAX,
            // A snapshot is streamed; this is for the time in which nothing moves, such as while the follower installs it.
            install_snapshot_timeout: 120_000,
            enable_pre_vote: Some(true),
            // A leader that restarts wins an election like any other: only so its first entry proves what was committed.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|e| OpenError::Settings(e.to_string()))
    }
}
