//! The side of a node without data: finds the leader, proves the root key, and waits for the data.
//!
//! With shares the node first only learns what it will need; who gives the shares gives them to this node, and the rest follows. An outer
//! seal opens the root key at once. A join that broke off anywhere can be repeated: the node keeps its raft id, and the cluster takes in
//! the same node twice without noticing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use autoseal::Blob;
use barrier::{BareRoot, BarrierError, SealConfig};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secret::SecretBytes;
use serde::Deserialize;
use serde_json::json;
use storage::{Batch, Durability, Space, Store, StoreError};

use super::Target;
use super::ceremony::{Challenge, Neighbour, Statement, Welcome};
use crate::core::Core;
use crate::seal::SealError;

/// Pause between two rounds over all leaders, as Vault's; a random part more keeps nodes that start together apart.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
const RETRY_JITTER_MILLIS: u64 = 1000;
/// How often it is looked whether the data have come.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long an unsealing waits for the data before it answers; they may take longer than a client waits.
const DATA_PATIENCE: Duration = Duration::from_secs(10);

/// What `sys/storage/raft/join` is asked for.
#[derive(Clone, Default)]
pub struct JoinRequest {
    /// Whom to ask.
    pub target: Target,
    /// Go on trying in the background.
    pub retry: bool,
    /// Only learn.
    pub non_voter: bool,
}

/// Why a node does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not on this storage.
    #[error("raft backend not in use")]
    NotRaft,
    /// It serves already.
    #[error("node must be sealed before joining")]
    NotSealed,
    /// In words.
    #[error("failed to join raft cluster: {0}")]
    Failed(String),
}

/// A join that has found its cluster.
#[derive(Clone)]
pub(super) struct Pending {
    base: String,
    target: Target,
    non_voter: bool,
    pub(super) seal: SealConfig,
    /// The cluster's root key, sealed.
    root_key: Vec<u8>,
    /// The root key is proved, and the data are on the way.
    admitted: bool,
}

/// How far this node has to come before its data are of use: noted in its own store when it is taken in, so that a node which ends in
/// between joins anew instead of opening what is only half there, under certificates that may have been replaced since.
#[derive(Default)]
pub(super) struct Unfinished(AtomicU64);

/// Where the note stands, in the space that is this node's own.
const UNFINISHED_KEY: &[u8] = b"cluster/unfinished-join";

impl Unfinished {
    /// What an earlier process noted.
    pub(super) fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let stored = store.get(Space::Meta, UNFINISHED_KEY)?;
        let upto = stored.and_then(|b| b.first_chunk().map(|b| u64::from_be_bytes(*b)));
        Ok(Self(AtomicU64::new(upto.unwrap_or(0))))
    }

    fn note(&self, store: &dyn Store, upto: u64) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(Space::Meta, UNFINISHED_KEY.to_vec(), upto.to_be_bytes().to_vec());
        store.commit(batch, Durability::Synced)?;
        self.0.store(upto, Ordering::Release);
        Ok(())
    }

    /// Whether this node has still to come there.
    pub(super) fn is(&self, applied: u64) -> bool {
        applied < self.0.load(Ordering::Acquire)
    }
}

/// `data` of a challenge.
#[derive(Deserialize)]
struct Challenged {
    challenge: String,
    seal_config: SealConfig,
    root_key: Option<String>,
    raft_id: Option<String>,
    cluster_addr: Option<String>,
}

/// `data` of an answer.
#[derive(Deserialize)]
struct Answered {
    tls_keyring: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize, Default)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

/// What a leader gave out.
struct Asked {
    challenge: Vec<u8>,
    seal: SealConfig,
    root_key: Vec<u8>,
}

impl Core {
    /// Joins a cluster. `true`: this node belongs to one, or will when it has got its shares. `false`: it is being tried on.
    pub async fn join(&self, request: JoinRequest) -> Result<bool, JoinError> {
        if self.config.storage_type != "raft" {
            return Err(JoinError::NotRaft);
        }
        if self.initialised() {
            return Ok(true);
        }
        if self.open().is_some() {
            return Err(JoinError::NotSealed);
        }
        let target = &request.target;
        match (target.leader_api_addr.is_empty(), target.auto_join.is_empty()) {
            (true, true) => return Err(JoinError::Failed("neither leader_api_addr nor auto_join is given".into())),
            (false, false) => return Err(JoinError::Failed("leader_api_addr and auto_join exclude each other".into())),
            _ => {}
        }
        if request.retry {
            if let Some(core) = self.itself.upgrade() {
                tokio::spawn(async move { core.keep_joining(&[request.target], request.non_voter).await });
            }
            return Ok(false);
        }
        self.try_target(target, request.non_voter).await.map(|()| true).map_err(JoinError::Failed)
    }

    /// Starts what joins this node by its configuration; it ends when the node belongs to a cluster.
    pub fn join_when_possible(self: &Arc<Self>) {
        let settings = &self.config.cluster;
        if settings.retry_join.is_empty() || self.config.storage_type != "raft" {
            return;
        }
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let settings = core.config.cluster.clone();
            core.keep_joining(&settings.retry_join, settings.joins_as_non_voter).await;
        });
    }

    async fn keep_joining(&self, targets: &[Target], non_voter: bool) {
        let mut last = String::new();
        while !self.initialised() && self.open().is_none() {
            for target in targets {
                match self.try_target(target, non_voter).await {
                    Ok(()) => return,
                    // The same words every two seconds would bury the rest of the log.
                    Err(e) if e == last => tracing::debug!(error = e, "the join is tried again"),
                    Err(e) => {
                        tracing::warn!(error = e, "this node could not join yet; it is tried again");
                        last = e;
                    }
                }
            }
            let random = self.entropy.bytes(2).ok().and_then(|b| b.first_chunk().map(|b| u16::from_be_bytes(*b)));
            let jitter = u64::from(random.unwrap_or_default()) % RETRY_JITTER_MILLIS;
            tokio::time::sleep(RETRY_PAUSE + Duration::from_millis(jitter)).await;
        }
    }

    /// Tries the addresses of a target, one after the other. The error tells of each.
    async fn try_target(&self, target: &Target, non_voter: bool) -> Result<(), String> {
        let _alone = self.cluster.joining.lock().await;
        if self.initialised() {
            return Ok(());
        }
        if self.config.cluster.gate.is_none() {
            return Err("this node has no cluster port".into());
        }
        let mut told = Vec::new();
        for base in self.addresses_of(target).await? {
            match self.try_leader(&base, target, non_voter).await {
                Ok(()) => return Ok(()),
                Err(e) => told.push(format!("{base}: {e}")),
            }
        }
        Err(if told.is_empty() { "no address was found".into() } else { told.join("; ") })
    }

    async fn addresses_of(&self, target: &Target) -> Result<Vec<String>, String> {
        if !target.leader_api_addr.is_empty() {
            return Ok(vec![target.leader_api_addr.clone()]);
        }
        let leaders = self.config.cluster.leaders.as_ref().ok_or("this node cannot ask others")?;
        leaders.discover(target).await
    }

    /// The nodes that answer at a target's addresses: raft id and cluster address, unproved.
    pub(super) async fn found_at(&self, target: &Target) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        for base in self.addresses_of(target).await.unwrap_or_default() {
            match self.challenged(&base, target).await {
                Ok(Challenged { raft_id: Some(id), cluster_addr: Some(address), .. }) => {
                    found.extend(u64::from_str_radix(&id, 16).ok().map(|id| (id, address)));
                }
                Ok(_) => {}
                Err(e) => tracing::debug!(error = e, base, "nobody was found"),
            }
        }
        found
    }

    async fn try_leader(&self, base: &str, target: &Target, non_voter: bool) -> Result<(), String> {
        let asked = self.ask_challenge(base, target).await?;
        let here = self.active_seal_type();
        if asked.seal.seal_type != here {
            let there = &asked.seal.seal_type;
            return Err(format!("mismatching seal types between raft leader ({there}) and follower ({here})"));
        }
        let Asked { seal, root_key, .. } = asked;
        let pending = Pending { base: base.to_owned(), target: target.clone(), non_voter, seal, root_key, admitted: false };
        if pending.seal.is_shamir() {
            tracing::info!(leader = base, "a cluster was found; this node joins it when it gets the unseal keys");
            *self.cluster.pending.lock() = Some(pending);
            return Ok(());
        }
        let root = self.root_by_seal(&pending.root_key).await?;
        self.prove(&pending, |_| Ok(root)).await.map_err(|e| e.to_string())
        // The data come by themselves now, and the outer seal opens them when they are there.
    }

    async fn root_by_seal(&self, root_key: &[u8]) -> Result<BareRoot, String> {
        let active = self.config.seals.active.as_ref().ok_or("no seal is configured")?;
        let blob = Blob::from_bytes(root_key).ok_or("the leader's root key is damaged")?;
        let root = active.open(&blob).await.map_err(|e| e.to_string())?;
        BareRoot::new(root).map_err(|e| e.to_string())
    }

    /// Asks a node for a challenge.
    async fn ask_challenge(&self, base: &str, target: &Target) -> Result<Asked, String> {
        let data = self.challenged(base, target).await?;
        let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| "the leader's answer is damaged".to_owned());
        let root_key = data.root_key.as_deref().ok_or("the leader is no server of this kind")?;
        Ok(Asked { challenge: decoded(&data.challenge)?, seal: data.seal_config, root_key: decoded(root_key)? })
    }

    async fn challenged(&self, base: &str, target: &Target) -> Result<Challenged, String> {
        let body = json!({ "server_id": self.replica.status().this.node_id, "with_root_key": true });
        self.put(base, target, "sys/storage/raft/bootstrap/challenge", &body).await
    }

    async fn put<T: for<'d> Deserialize<'d>>(
        &self,
        base: &str,
        target: &Target,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, String> {
        let leaders = self.config.cluster.leaders.as_ref().ok_or("this node cannot ask others")?;
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        let told = leaders.put(base, target, path, body).await?;
        if !told.ok {
            let errors = serde_json::from_slice::<Errors>(&told.body).unwrap_or_default().errors;
            return Err(if errors.is_empty() { "the leader refused without a word".into() } else { errors.join(", ") });
        }
        let envelope: Envelope<T> =
            serde_json::from_slice(&told.body).map_err(|_| "the answer is none of a leader".to_owned())?;
        Ok(envelope.data)
    }

    /// Proves the root key with a fresh challenge and enters the cluster port. `open` opens the root key as the leader has it now: it
    /// may have been exchanged since it was asked for first.
    async fn prove(
        &self,
        pending: &Pending,
        open: impl FnOnce(&[u8]) -> Result<BareRoot, BarrierError> + Send,
    ) -> Result<(), SealError> {
        let failed = |e: String| SealError::Internal(format!("failed to join raft cluster: {e}"));
        let asked = self.ask_challenge(&pending.base, &pending.target).await.map_err(failed)?;
        let root = open(&asked.root_key)?;
        let challenge = Challenge::open(&root, &asked.challenge)?;
        let status = self.replica.status().this;
        let this = Neighbour {
            raft_id: self.replica.raft_id(),
            node_id: status.node_id,
            address: status.address,
            api_addr: status.api_addr,
            voter: false,
        };
        let statement = Statement::new(&challenge, this.clone(), pending.non_voter).seal(&root, &*self.entropy)?;
        let body = json!({
            "server_id": this.node_id,
            "cluster_addr": this.address,
            "answer": BASE64_STANDARD.encode(challenge.bytes().expose()),
            "statement": BASE64_STANDARD.encode(statement),
            "non_voter": pending.non_voter,
            "sdk_version": self.config.version,
            "upgrade_version": self.config.version,
        });
        let path = "sys/storage/raft/bootstrap/answer";
        let answered: Answered = self.put(&pending.base, &pending.target, path, &body).await.map_err(failed)?;
        let sealed = BASE64_STANDARD.decode(&answered.tls_keyring).map_err(|_| failed("the answer is damaged".into()))?;
        let welcome = Welcome::open(&root, &sealed).map_err(|e| failed(e.to_string()))?;
        // A note that says more than there is only makes the node wait; none would let it open too early.
        let store = Arc::clone(self.replica.store());
        self.cluster.unfinished.note(&*store, welcome.upto).map_err(|e| SealError::Internal(e.to_string()))?;
        self.enter_with(Arc::new(welcome.keys));
        tracing::info!(leader = pending.base, nodes = welcome.neighbours.len(), "this node was taken into the cluster");
        Ok(())
    }

    /// The shares of a node that is joining are complete. `Ok(false)`: no join is under way.
    pub(crate) async fn join_with_shares(&self, share_key: &SecretBytes) -> Result<bool, SealError> {
        let Some(pending) = self.cluster.pending.lock().clone() else { return Ok(false) };
        let right = |stored: &[u8]| BareRoot::from_shares(stored, share_key);
        right(&pending.root_key).map_err(wrong_shares)?;
        if !pending.admitted {
            self.prove(&pending, right).await.map_err(|e| match e {
                SealError::Internal(text) if text.contains("failed to decrypt keys") => SealError::Key(text),
                other => other,
            })?;
            if let Some(pending) = self.cluster.pending.lock().as_mut() {
                pending.admitted = true;
            }
            if let Some(core) = self.itself.upgrade() {
                let key = share_key.clone();
                tokio::spawn(async move { core.open_when_data_come(&key).await });
            }
        }
        Ok(true)
    }

    /// Waits for the data of a join, bounded: the unsealing that completed it then answers what is.
    pub(crate) async fn wait_for_data(&self) {
        let opened = async {
            while self.open().is_none() && self.cluster.pending.lock().is_some() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // Longer, and the client hears that the node is still sealed.
        let _ = tokio::time::timeout(DATA_PATIENCE, opened).await;
    }

    async fn open_when_data_come(&self, share_key: &SecretBytes) {
        while !self.has_data() {
            if self.cluster.pending.lock().is_none() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let _alone = self.lifecycle.lock().await;
        if self.open().is_some() {
            return;
        }
        let opened = match self.sealed.unseal(share_key) {
            Ok(barrier) => self.post_unseal(Arc::new(barrier)).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = opened {
            tracing::error!(error = %e, "the data came, but they do not open with the shares that were given; give the present ones");
            self.cluster.pending.lock().take();
        }
    }

    /// Whether this node's own store can be opened: it belongs to a cluster, and its join is complete.
    pub(crate) fn has_data(&self) -> bool {
        self.replica.initialized() && !self.cluster.unfinished.is(self.replica.applied_index())
    }
}

fn wrong_shares(error: BarrierError) -> SealError {
    match error {
        BarrierError::WrongKey => SealError::Key(error.to_string()),
        BarrierError::Envelope(e) => SealError::Key(format!("failed to decrypt keys from storage: {e}")),
        e => SealError::Internal(e.to_string()),
    }
}
