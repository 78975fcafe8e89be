//! One node's part in the replicated log: what the core holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use parking_lot::Mutex;
use storage::{Changeset, Check, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::codec::{Position, meta};
use crate::config::Settings;
use crate::desk::Desk;
use crate::error::{OpenError, ProposeError};
use crate::hello;
use crate::home::Home;
use crate::inner::Inner;
use crate::limits::{MAX_CHANGE_BYTES, MAX_KEY_BYTES, RECORD_OVERHEAD_BYTES, SHUTDOWN_PATIENCE};
use crate::log::{LogStore, read_meta};
use crate::machine::{Machine, Observer};
use crate::maintenance::{self, Keep, Lead};
use crate::network::{Alone, Network, Peers};
use crate::node;
use crate::reads;
use crate::restore;
use crate::runtime;
use crate::shared::Shared;
use crate::snapshot::StateSnapshot;
use crate::spool;
use crate::status::{Peer, State, Status};
use crate::types::{Applied, Member, Proposal, Raft, StoredMembership};
use crate::wire::Wire;

/// A running node. Dropping it stops the background tasks; [`Replica::shutdown`] also waits for the disk.
pub struct Replica {
    pub(crate) inner: Arc<Inner>,
    store: Arc<dyn Store>,
    tasks: [JoinHandle<()>; 4],
    snapshot_dir: Option<PathBuf>,
    /// The thread on which all of it runs, if not the caller's.
    _home: Option<Home>,
}

impl Replica {
    /// Opens the log and state in `store` as the only node that can be reached. An empty store gives a node without a
    /// cluster, to be bootstrapped; an existing sole voter stands for election at once.
    pub async fn open(store: Arc<dyn Store>, settings: Settings, observer: Arc<dyn Observer>) -> Result<Self, OpenError> {
        Self::open_with_peers(store, settings, observer, Arc::new(Alone)).await
    }

    /// The same with a way to other nodes.
    pub async fn open_with_peers(
        store: Arc<dyn Store>,
        settings: Settings,
        observer: Arc<dyn Observer>,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, OpenError> {
        if settings.log_dir.is_none() {
            return Self::open_here(store, settings, observer, peers).await;
        }
        let home = Home::start().map_err(|e| OpenError::Start(e.to_string()))?;
        let opened = home.run(Self::open_here(store, settings, observer, peers)).await;
        let mut replica = opened.ok_or_else(|| OpenError::Start("replication panicked".to_owned()))??;
        replica._home = Some(home);
        Ok(replica)
    }

    async fn open_here(
        store: Arc<dyn Store>,
        settings: Settings,
        observer: Arc<dyn Observer>,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, OpenError> {
        let config = settings.raft()?;
        if let Some(dir) = &settings.snapshot_dir {
            std::fs::create_dir_all(dir)
                .map_err(|source| storage::StoreError::Io { context: format!("creating {}", dir.display()), source })?;
        }
        let shared = Arc::new(Shared::default());
        let identity = node::identify(&*store, &settings.node_id, &runtime::Source)?;
        let id = identity.raft_id;
        let this = Member { node_id: identity.node_id, address: settings.cluster_addr, api_addr: settings.api_addr };
        shared.ledger.set_origin(node::draw(&runtime::Source)?);
        let wire = Arc::new(Wire::new(peers, id));
        wire.book.load(&*store, &this)?;
        if let Some(dir) = &settings.snapshot_dir {
            spool::forget(dir);
            restore::forget(dir);
        }
        let log = LogStore::open(Arc::clone(&store), Arc::clone(&shared), settings.log_bytes, settings.log_dir.as_deref())?;
        log.hold_state_back();
        let machine = Machine::open(Arc::clone(&store), Arc::clone(&shared), observer, settings.snapshot_dir.clone())?;
        check_joined(&*store, &log, &machine, settings.log_dir.is_some())?;
        let raft = Raft::new(id, config, Network(Arc::clone(&wire)), log.clone(), machine)
            .await
            .map_err(|e| OpenError::Start(shared.failure().map_or_else(|| e.to_string(), str::to_owned)))?;
        wire.follow(raft.server_metrics());
        let (readers, waiting) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            raft,
            id,
            this,
            shared,
            lead: Arc::new(Lead::new()),
            wire,
            desk: Desk::default(),
            readers,
            patience: settings.patience,
            gone: Mutex::default(),
        });
        let keep = Keep { entries: settings.trailing_logs, threshold: settings.snapshot_threshold, age: settings.log_age };
        let tasks = [
            runtime::spawn(maintenance::watch_leadership(Arc::clone(&inner))),
            runtime::spawn(maintenance::keep_log_small(Arc::clone(&inner), log, keep)),
            runtime::spawn(reads::serve(Arc::clone(&inner), waiting)),
            runtime::spawn(hello::keep_in_touch(Arc::clone(&inner), Arc::clone(&store))),
        ];
        let replica = Self { inner, store, tasks, snapshot_dir: settings.snapshot_dir, _home: None };
        let known = replica.inner.raft.with_raft_state(|state| state.membership_state.effective().nodes().next().is_some());
        if known.await.map_err(|e| OpenError::Start(e.to_string()))? {
            replica.membership_shows().await.map_err(|e| OpenError::Start(e.to_string()))?;
        }
        if replica.is_sole_voter() {
            replica.elect().await.map_err(|e| OpenError::Start(e.to_string()))?;
        }
        Ok(replica)
    }

    /// Whether this node belongs to a cluster.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.inner.initialized()
    }

    /// This node's identity: a random number kept in its store.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.inner.id
    }

    /// Whether a node belongs to the cluster, as far as this one knows; one that is being removed still does.
    #[must_use]
    pub fn is_member(&self, raft_id: u64) -> bool {
        self.inner.is_member(raft_id)
    }

    /// Makes this node the first of a new cluster and waits until it leads. On a node that already belongs to one it only
    /// waits, so a start that was interrupted can be repeated.
    pub async fn bootstrap(&self) -> Result<(), ProposeError> {
        let members = BTreeMap::from([(self.inner.id, self.inner.this.clone())]);
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(RaftError::APIError(e @ InitializeError::NotInMembers(_))) => {
                return Err(ProposeError::Storage(e.to_string()));
            }
            Err(RaftError::Fatal(e)) => return Err(self.inner.fatal(&e)),
        }
        self.membership_shows().await?;
        if !self.is_sole_voter() {
            return Err(ProposeError::NotLeader { leader: self.inner.leader() });
        }
        self.elect().await?;
        self.leadership().wait_for(|leading| *leading).await.map(drop).map_err(|_| self.inner.stopped())
    }

    /// Commits a change: durable on a majority, applied here, seen by the observer. `committed: false` means that a check
    /// failed and nothing was written. Any member can be asked; the change goes to the leader, and while there is none it
    /// waits, within the settings' patience. It is applied once or not at all, whatever happens on the way. If the future is
    /// dropped, the change may or may not be committed later.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if no leader took it in time; [`ProposeError::Unknown`] if its fate cannot be found out.
    pub async fn propose(&self, change: Changeset) -> Result<Applied, ProposeError> {
        check_size(&change)?;
        if self.inner.shared.is_sole() {
            return self.write(Proposal::Change(Arc::new(change))).await;
        }
        self.inner.propose_together(change).await
    }

    /// Appends to the log as the leader.
    pub(crate) async fn write(&self, proposal: Proposal) -> Result<Applied, ProposeError> {
        let inner = &self.inner;
        if let Some(refusal) = inner.shared.blocked() {
            return Err(refusal);
        }
        let written = tokio::select! {
            biased;
            written = inner.raft.client_write(proposal) => written,
            refusal = inner.shared.stays_full() => return Err(refusal),
        };
        match written {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) if !inner.initialized() => {
                Err(ProposeError::Uninitialized)
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(ProposeError::NotLeader { leader: inner.leader().filter(|leader| leader.raft_id != inner.id) })
            }
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Err(ProposeError::Unknown),
            Err(RaftError::APIError(e)) => Err(ProposeError::Storage(e.to_string())),
            Err(RaftError::Fatal(e)) => Err(inner.fatal(&e)),
        }
    }

    /// After this, the applied state here holds everything that was acknowledged anywhere before the call. Two atomic loads
    /// on a sole voter; otherwise a round of the leader to a majority, which concurrent readers share. While nobody leads it
    /// waits, within the settings' patience.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if no leader answered in time.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        if self.inner.lead.alone(&self.inner.shared) {
            return Ok(());
        }
        self.inner.read_together().await
    }

    /// The applied state, in `Space::State`.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Index of the last entry in the applied state, 0 for none.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.inner.shared.applied_index()
    }

    /// Index up to which this node knows the log is committed, 0 for none.
    #[must_use]
    pub fn committed_index(&self) -> u64 {
        let metrics = self.inner.raft.data_metrics();
        let committed = metrics.borrow_watched().local_committed.map_or(0, |id| id.index());
        committed.max(self.applied_index())
    }

    /// One look at the node and its cluster.
    #[must_use]
    pub fn status(&self) -> Status {
        let watch = self.inner.raft.metrics();
        let m = watch.borrow_watched().clone();
        let members = &m.membership_config;
        let peers = peers_of(members, m.current_leader);
        let state = match m.state {
            _ if m.running_state.is_err() => State::Shutdown,
            _ if self.inner.is_removed() => State::Removed,
            ServerState::Leader => State::Leader,
            ServerState::Follower => State::Follower,
            ServerState::Candidate => State::Candidate,
            ServerState::Learner => State::Learner,
            ServerState::Shutdown => State::Shutdown,
        };
        let voter = members.voter_ids().any(|id| id == self.inner.id);
        let leads = m.current_leader == Some(self.inner.id);
        Status {
            state,
            term: m.current_term,
            leader: peers.iter().find(|p| p.leader).cloned(),
            this: Peer::new(self.inner.id, &self.inner.this, voter, leads),
            peers,
            last_log: m.last_log_index.unwrap_or(0),
            committed: m.local_committed.map_or(0, |id| id.index()).max(self.applied_index()),
            applied: self.applied_index(),
            membership_index: members.log_id().map_or(0, |id| id.index()),
            since_leader_change: self.inner.lead.changed_at.lock().elapsed(),
            failure: self.inner.shared.failure().map(str::to_owned),
        }
    }

    /// Whether this node leads and may write, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.inner.lead.leading.subscribe()
    }

    /// The applied state at this instant, for a backup.
    pub fn snapshot(&self) -> Result<StateSnapshot, ProposeError> {
        self.store.snapshot().map(StateSnapshot::proper).map_err(|e| ProposeError::Storage(e.to_string()))
    }

    /// Stops taking part. What was acknowledged is durable before this returns, and nothing here holds the store but
    /// [`Replica::store`] itself.
    pub async fn shutdown(&self) -> Result<(), ProposeError> {
        self.inner.shared.stop();
        self.inner.lead.resign();
        for task in &self.tasks {
            task.abort();
        }
        self.inner.raft.shutdown().await.map_err(|e| ProposeError::Storage(e.to_string()))?;
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.inner.shared.released()).await.is_err() {
            tracing::warn!("a part of replication still holds the store");
        }
        let store = Arc::clone(&self.store);
        let failed = |text: String| ProposeError::Storage(text);
        runtime::blocking(move || store.sync()).await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    }

    pub(crate) fn snapshot_dir(&self) -> Option<&Path> {
        self.snapshot_dir.as_deref()
    }

    async fn elect(&self) -> Result<(), ProposeError> {
        self.inner.raft.trigger().elect(false).await.map_err(|e| self.inner.fatal(&e))
    }

    /// The core publishes what it knows a moment after it knows it.
    async fn membership_shows(&self) -> Result<(), ProposeError> {
        let mut metrics = self.inner.raft.server_metrics();
        while !self.initialized() {
            metrics.changed().await.map_err(|_| self.inner.stopped())?;
        }
        Ok(())
    }

    fn is_sole_voter(&self) -> bool {
        self.inner.membership().voter_ids().eq([self.inner.id])
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.inner.shared.stop();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The state has to reach to where the log begins. Where both can be damaged apart, it may not lead the log either, unless a
/// snapshot put it there: what was applied had been in the log.
fn check_joined(store: &dyn Store, log: &LogStore, machine: &Machine, apart: bool) -> Result<(), OpenError> {
    let (applied, purged, last) = (machine.applied_index(), log.purged_index(), log.last_index());
    if let Some(purged) = purged.filter(|purged| applied.is_none_or(|applied| applied < *purged)) {
        return Err(OpenError::Start(format!(
            "the state ends at entry {}, but the log was purged up to entry {purged}; restore a backup, or empty the \
             data directory and join again",
            applied.unwrap_or(0)
        )));
    }
    let installed = read_meta::<Position>(store, meta::INSTALLED, "installed position")?.map(|position| position.index);
    if apart && applied > last && applied != installed {
        return Err(OpenError::Start(format!(
            "the state stands at entry {}, but the log ends at entry {}: acknowledged entries are missing; restore a backup, \
             or empty the data directory and join again",
            applied.unwrap_or(0),
            last.unwrap_or(0)
        )));
    }
    Ok(())
}

fn peers_of(members: &StoredMembership, leader: Option<u64>) -> Vec<Peer> {
    let voters: Vec<u64> = members.voter_ids().collect();
    let mut peers: Vec<Peer> =
        members.nodes().map(|(id, member)| Peer::new(*id, member, voters.contains(id), leader == Some(*id))).collect();
    peers.sort_by(|a, b| (!a.voter, &a.node_id).cmp(&(!b.voter, &b.node_id)));
    peers
}

pub(crate) fn check_size(change: &Changeset) -> Result<(), ProposeError> {
    let mut bytes = 0;
    let mut longest = 0;
    let mut count = |keys: &[&[u8]], value: usize| {
        bytes += keys.iter().map(|k| k.len()).sum::<usize>() + value + RECORD_OVERHEAD_BYTES;
        longest = keys.iter().map(|k| k.len()).fold(longest, usize::max);
    };
    for check in &change.checks {
        match check {
            Check::Version { key, .. } => count(&[key], 0),
            Check::Range { from, to, .. } => count(&[from, to], 0),
        }
    }
    for write in &change.writes {
        count(&[&write.key], write.value.as_ref().map_or(0, Vec::len));
    }
    if longest > MAX_KEY_BYTES {
        return Err(ProposeError::TooLarge { what: "a stored name", bytes: longest, limit: MAX_KEY_BYTES });
    }
    if bytes > MAX_CHANGE_BYTES {
        return Err(ProposeError::TooLarge { what: "the change", bytes, limit: MAX_CHANGE_BYTES });
    }
    Ok(())
}
