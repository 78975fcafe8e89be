//! This node among others: joining, the cluster's own certificates, who belongs to it and who votes.
//!
//! `join` is the side of a node without data, `host` that of the cluster; `ceremony` is what they say to each other. `ring` keeps the
//! certificate authorities, `autopilot` decides, and `tend` is the one worker that looks and acts.
//!
//! Deliberately absent: sockets (`Gate` and `Leaders` are brought by the binary), the log (`replication`), and what a standby does with
//! requests (`standby`).

pub(crate) mod autopilot;
mod ceremony;
mod challenges;
mod host;
mod join;
mod ring;
mod tend;

use std::sync::Arc;

use ::cluster::ClusterKeys;
use barrier::SealConfig;
use engine::BoxFuture;
use parking_lot::Mutex;
use secret::SecretString;
use storage::{Store, StoreError};

use self::autopilot::Memory;
use self::challenges::Challenges;
use self::join::{Pending, Unfinished};
use crate::core::{Core, OpenCore};

pub use host::HostError;
pub(crate) use host::Joiner;
pub use join::{JoinError, JoinRequest};
pub(crate) use ring::put_first as put_first_ring;

/// The door to the other nodes, as the core opens and closes it.
pub trait Gate: Send + Sync {
    /// Takes part under these keys from now on, or from now on under these.
    fn enter(&self, keys: &ClusterKeys, raft_id: u64) -> Result<(), String>;

    /// Takes no part any more.
    fn leave(&self) -> BoxFuture<'_, ()>;
}

/// How a node that is to be joined is reached. `Debug` shows where only.
#[derive(Clone, Default)]
pub struct Target {
    /// URL of its API; or else `auto_join`.
    pub leader_api_addr: String,
    /// How it is discovered: `provider=k8s …`.
    pub auto_join: String,
    /// Scheme of discovered addresses; `https` if empty.
    pub auto_join_scheme: String,
    /// Port of discovered addresses; 8200 if 0.
    pub auto_join_port: u16,
    /// Who may vouch for its certificate, PEM; the system's roots if empty.
    pub ca_cert: String,
    /// The certificate this node shows, PEM; none if empty.
    pub client_cert: String,
    /// Its key, PEM.
    pub client_key: SecretString,
    /// The name its certificate must carry, if it is not the URL's.
    pub tls_server_name: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}{})", self.leader_api_addr, self.auto_join)
    }
}

/// What another node's API answered.
#[derive(Debug, Clone)]
pub struct Told {
    /// Whether it did what it was asked.
    pub ok: bool,
    /// JSON.
    pub body: Vec<u8>,
}

/// The way to another node's API, for a node that has no identity in the cluster yet.
pub trait Leaders: Send + Sync {
    /// Puts JSON to a path below `/v1/` of a node, follows it to the leader, and answers what came. `base` is the URL, the rest of the
    /// target says how. The error is in words.
    fn put<'a>(&'a self, base: &'a str, target: &'a Target, path: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<Told, String>>;

    /// The URLs that an `auto_join` text leads to.
    fn discover<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Vec<String>, String>>;
}

/// What the binary brings and the configuration says.
#[derive(Clone, Default)]
pub struct ClusterConfig {
    /// `None`: this node is alone, and cannot be joined.
    pub gate: Option<Arc<dyn Gate>>,
    /// `None`: this node cannot join another.
    pub leaders: Option<Arc<dyn Leaders>>,
    /// `retry_join` stanzas.
    pub retry_join: Vec<Target>,
    /// `retry_join_as_non_voter`.
    pub joins_as_non_voter: bool,
}

/// This node's part in the cluster; exists once a process.
#[derive(Default)]
pub(crate) struct Cluster {
    /// A join whose shares are not all given yet, or whose data are on the way.
    pending: Mutex<Option<Pending>>,
    unfinished: Unfinished,
    /// Only one may be tried at a time.
    joining: tokio::sync::Mutex<()>,
    challenges: Mutex<Challenges>,
    /// Nodes are taken in and out one after the other.
    changing: tokio::sync::Mutex<()>,
    autopilot: Mutex<Memory>,
    /// The ring in use on this node.
    living_ring: Mutex<Option<Arc<ClusterKeys>>>,
    /// Where the log stood when a step of the ring was found to be due.
    ring_mark: Mutex<Option<u64>>,
}

impl Cluster {
    /// What an earlier process left in this node's store.
    pub(crate) fn load(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self { unfinished: Unfinished::load(store)?, ..Self::default() })
    }

    /// The seal of the cluster that is being joined.
    pub(crate) fn pending_seal(&self) -> Option<SealConfig> {
        self.pending.lock().as_ref().map(|p| p.seal.clone())
    }
}

impl Core {
    /// The node has been opened: it enters the cluster, and tends it from now on.
    pub(crate) fn cluster_opened(&self, open: &Arc<OpenCore>) {
        self.cluster.pending.lock().take();
        self.enter_with_stored_ring(open);
        if let Some(core) = self.itself.upgrade() {
            tend::spawn(&core, open);
        }
    }

    /// The node has been sealed: it takes no part.
    pub(crate) async fn cluster_closed(&self) {
        self.cluster.living_ring.lock().take();
        if let Some(gate) = &self.config.cluster.gate {
            gate.leave().await;
        }
    }
}
