//! One node's part in the replicated log: what the core holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader, InitializeError, LinearizableReadError, RaftError};
use openraft::{ReadPolicy, ServerState};
use secret::SystemEntropy;
use storage::{Changeset, Check, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::codec::{Position, meta};
use crate::config::Settings;
use crate::error::{OpenError, ProposeError};
use crate::home::Home;
use crate::limits::{MAX_CHANGE_BYTES, MAX_KEY_BYTES, RECORD_OVERHEAD_BYTES, SHUTDOWN_PATIENCE};
use crate::log::{LogStore, read_meta};
use crate::machine::{Machine, Observer};
use crate::maintenance::{self, Lead};
use crate::network::{Alone, Network, Peers};
use crate::node;
use crate::shared::Shared;
use crate::snapshot::StateSnapshot;
use crate::status::{Peer, State, Status};
use crate::types::{Applied, Member, Proposal, Raft, StoredMembership, TypeConfig};

/// A running node. Dropping it stops the background tasks; [`Replica::shutdown`] also waits for the disk.
pub struct Replica {
    raft: Raft,
    id: u64,
    this: Member,
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    lead: Arc<Lead>,
    tasks: [JoinHandle<()>; 2],
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
        let identity = node::identify(&*store, &settings.node_id, &SystemEntropy)?;
        let log = LogStore::open(Arc::clone(&store), Arc::clone(&shared), settings.log_bytes, settings.log_dir.as_deref())?;
        let machine = Machine::open(Arc::clone(&store), Arc::clone(&shared), observer, settings.snapshot_dir.clone())?;
        check_joined(&*store, &log, &machine, settings.log_dir.is_some())?;
        let raft = Raft::new(identity.raft_id, config, Network(peers), log.clone(), machine)
            .await
            .map_err(|e| OpenError::Start(shared.failure().map_or_else(|| e.to_string(), str::to_owned)))?;
        let lead = Arc::new(Lead::new());
        let this = Member { node_id: identity.node_id, address: settings.cluster_addr, api_addr: settings.api_addr };
        let watching = maintenance::watch_leadership(raft.clone(), Arc::clone(&lead), Arc::clone(&shared), this.clone());
        let purging = maintenance::keep_log_small(raft.clone(), log, Arc::clone(&shared), settings.log_age);
        let tasks = [tokio::spawn(watching), tokio::spawn(purging)];
        let replica = Self {
            raft,
            id: identity.raft_id,
            this,
            store,
            shared,
            lead,
            tasks,
            snapshot_dir: settings.snapshot_dir,
            _home: None,
        };
        let known = replica.raft.with_raft_state(|state| state.membership_state.effective().nodes().next().is_some());
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
        self.membership().nodes().next().is_some()
    }

    /// Makes this node the first of a new cluster and waits until it leads. On a node that already belongs to one it only
    /// waits, so a start that was interrupted can be repeated.
    pub async fn bootstrap(&self) -> Result<(), ProposeError> {
        let members = BTreeMap::from([(self.id, self.this.clone())]);
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(RaftError::APIError(e @ InitializeError::NotInMembers(_))) => {
                return Err(ProposeError::Storage(e.to_string()));
            }
            Err(RaftError::Fatal(e)) => return Err(self.fatal(&e)),
        }
        self.membership_shows().await?;
        if !self.is_sole_voter() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        self.elect().await?;
        self.leadership().wait_for(|leading| *leading).await.map(drop).map_err(|_| self.stopped())
    }

    /// Commits a change: durable on a majority, applied here, seen by the observer. `committed: false` means that a check
    /// failed and nothing was written. If the future is dropped, the change may or may not be committed later.
    pub async fn propose(&self, change: Changeset) -> Result<Applied, ProposeError> {
        check_size(&change)?;
        self.write(Proposal::Change(Arc::new(change))).await
    }

    pub(crate) async fn write(&self, proposal: Proposal) -> Result<Applied, ProposeError> {
        if let Some(refusal) = self.shared.blocked() {
            return Err(refusal);
        }
        let written = tokio::select! {
            written = self.raft.client_write(proposal) => written,
            refusal = self.shared.stays_full() => return Err(refusal),
        };
        match written {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to))) => {
                Err(self.not_leader(&to))
            }
            Err(RaftError::APIError(e)) => Err(ProposeError::Storage(e.to_string())),
            Err(RaftError::Fatal(e)) => Err(self.fatal(&e)),
        }
    }

    /// After this, the applied state holds everything that was acknowledged anywhere before the call. Two atomic loads on
    /// a sole voter; a round to a majority otherwise.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        if self.lead.alone(&self.shared) {
            return Ok(());
        }
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => linearizer.await_ready(&self.raft).await.map(drop).map_err(|e| self.fatal(&e)),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => Err(self.not_leader(&to)),
            Err(RaftError::APIError(_)) => Err(ProposeError::NotLeader { leader: self.leader() }),
            Err(RaftError::Fatal(e)) => Err(self.fatal(&e)),
        }
    }

    /// The applied state, in `Space::State`.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Index of the last entry in the applied state, 0 for none.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.shared.applied_index()
    }

    /// Index up to which this node knows the log is committed, 0 for none.
    #[must_use]
    pub fn committed_index(&self) -> u64 {
        let metrics = self.raft.data_metrics();
        let committed = metrics.borrow_watched().local_committed.map_or(0, |id| id.index());
        committed.max(self.applied_index())
    }

    /// One look at the node and its cluster.
    #[must_use]
    pub fn status(&self) -> Status {
        let watch = self.raft.metrics();
        let m = watch.borrow_watched().clone();
        let members = &m.membership_config;
        let peers = peers_of(members, m.current_leader);
        let state = match m.state {
            _ if m.running_state.is_err() => State::Shutdown,
            ServerState::Leader => State::Leader,
            ServerState::Follower => State::Follower,
            ServerState::Candidate => State::Candidate,
            ServerState::Learner => State::Learner,
            ServerState::Shutdown => State::Shutdown,
        };
        let voter = members.voter_ids().any(|id| id == self.id);
        let leads = m.current_leader == Some(self.id);
        Status {
            state,
            term: m.current_term,
            leader: peers.iter().find(|p| p.leader).cloned(),
            this: Peer::new(&self.this, voter, leads),
            peers,
            last_log: m.last_log_index.unwrap_or(0),
            committed: m.local_committed.map_or(0, |id| id.index()).max(self.applied_index()),
            applied: self.applied_index(),
            membership_index: members.log_id().map_or(0, |id| id.index()),
            since_leader_change: self.lead.changed_at.lock().elapsed(),
            failure: self.shared.failure().map(str::to_owned),
        }
    }

    /// Whether this node leads and may write, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.lead.leading.subscribe()
    }

    /// The applied state at this instant, for a backup.
    pub fn snapshot(&self) -> Result<StateSnapshot, ProposeError> {
        self.store.snapshot().map(StateSnapshot::of_view).map_err(|e| ProposeError::Storage(e.to_string()))
    }

    /// Stops taking part. What was acknowledged is durable before this returns, and nothing here holds the store but
    /// [`Replica::store`] itself.
    pub async fn shutdown(&self) -> Result<(), ProposeError> {
        self.shared.stop();
        self.lead.resign();
        for task in &self.tasks {
            task.abort();
        }
        self.raft.shutdown().await.map_err(|e| ProposeError::Storage(e.to_string()))?;
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.shared.released()).await.is_err() {
            tracing::warn!("a part of replication still holds the store");
        }
        let store = Arc::clone(&self.store);
        let failed = |text: String| ProposeError::Storage(text);
        tokio::task::spawn_blocking(move || store.sync())
            .await
            .map_err(|e| failed(e.to_string()))?
            .map_err(|e| failed(e.to_string()))
    }

    pub(crate) fn snapshot_dir(&self) -> Option<&Path> {
        self.snapshot_dir.as_deref()
    }

    async fn elect(&self) -> Result<(), ProposeError> {
        self.raft.trigger().elect(false).await.map_err(|e| self.fatal(&e))
    }

    /// The core publishes what it knows a moment after it knows it.
    async fn membership_shows(&self) -> Result<(), ProposeError> {
        let mut metrics = self.raft.server_metrics();
        while !self.initialized() {
            metrics.changed().await.map_err(|_| self.stopped())?;
        }
        Ok(())
    }

    fn membership(&self) -> Arc<StoredMembership> {
        Arc::clone(&self.raft.server_metrics().borrow_watched().membership_config)
    }

    fn is_sole_voter(&self) -> bool {
        self.membership().voter_ids().eq([self.id])
    }

    fn leader(&self) -> Option<Peer> {
        let metrics = self.raft.server_metrics();
        let m = metrics.borrow_watched();
        let id = m.current_leader?;
        m.membership_config.get_node(&id).map(|member| Peer::new(member, true, true))
    }

    fn not_leader(&self, to: &ForwardToLeader<TypeConfig>) -> ProposeError {
        if !self.initialized() {
            return ProposeError::Uninitialized;
        }
        let leader = to.leader_node.as_ref().filter(|_| to.leader_id != Some(self.id));
        ProposeError::NotLeader { leader: leader.map(|member| Peer::new(member, true, true)) }
    }

    fn fatal(&self, error: &Fatal<TypeConfig>) -> ProposeError {
        match (self.shared.failure(), error) {
            (Some(failure), _) => ProposeError::Storage(failure.to_owned()),
            (None, Fatal::Stopped) => ProposeError::Shutdown,
            (None, other) => ProposeError::Storage(other.to_string()),
        }
    }

    fn stopped(&self) -> ProposeError {
        self.fatal(&Fatal::Stopped)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shared.stop();
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
        members.nodes().map(|(id, member)| Peer::new(member, voters.contains(id), leader == Some(*id))).collect();
    peers.sort_by(|a, b| (!a.voter, &a.node_id).cmp(&(!b.voter, &b.node_id)));
    peers
}

fn check_size(change: &Changeset) -> Result<(), ProposeError> {
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
