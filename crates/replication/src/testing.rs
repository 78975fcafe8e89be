//! Clusters in one process: replicas over stores in memory, whose links can be cut and whose answers can get lost. Nothing
//! here sleeps for effect; a test waits until something is so.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use storage::{MemoryStore, Space, Store, versioned};

use crate::config::Settings;
use crate::error::ChangeError as E;
use crate::machine::Observer;
use crate::members::NewMember;
use crate::network::{Answer, Peers, Rpc, To, Unreachable};
use crate::replica::Replica;
use crate::snapshot::StateSnapshot;
use crate::status::State;

/// How long a condition may take to come about. Machines stall; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until something is so.
///
/// # Panics
/// After two minutes.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    within(what, waiting).await;
}

/// Waits for a future.
///
/// # Panics
/// After two minutes.
#[expect(clippy::panic, reason = "a test that waits in vain has failed")]
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// The links between the nodes, by their names.
#[derive(Default)]
pub struct Net(Mutex<Links>);

#[derive(Default)]
struct Links {
    nodes: BTreeMap<String, (String, Arc<Replica>)>,
    /// From, to.
    cut: BTreeSet<(String, String)>,
    /// Calls of this kind to this node arrive, and their answers are lost.
    deaf: BTreeSet<(String, &'static str)>,
    /// Parts after which a snapshot to this node breaks off, once each.
    torn: BTreeMap<String, usize>,
    calls: BTreeMap<&'static str, usize>,
    snapshots: usize,
}

impl Net {
    /// Cuts a node off from all others, both ways.
    pub fn isolate(&self, node: &str, nodes: &[&str]) {
        for other in nodes.iter().filter(|other| **other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Cuts one direction.
    pub fn cut(&self, from: &str, to: &str) {
        self.0.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Mends everything.
    pub fn heal(&self) {
        let mut links = self.0.lock();
        links.cut.clear();
        links.deaf.clear();
    }

    /// From now on the answers of `node` to calls of this kind are lost.
    pub fn lose_answers(&self, node: &str, rpc: Rpc) {
        self.0.lock().deaf.insert((node.to_owned(), rpc.as_str()));
    }

    /// The next snapshot to `node` ends after so many parts as if it were whole.
    pub fn tear_snapshot(&self, node: &str, parts: usize) {
        self.0.lock().torn.insert(node.to_owned(), parts);
    }

    /// Calls of this kind so far.
    #[must_use]
    pub fn calls(&self, rpc: Rpc) -> usize {
        self.0.lock().calls.get(rpc.as_str()).copied().unwrap_or(0)
    }

    /// Snapshots begun so far.
    #[must_use]
    pub fn snapshots(&self) -> usize {
        self.0.lock().snapshots
    }

    fn way(&self, from: &str, to: To<'_>) -> Result<(u64, Arc<Replica>), Unreachable> {
        let links = self.0.lock();
        let lost = || Unreachable(format!("no way from {from} to {} at {}", to.node_id, to.address));
        let id = links.nodes.get(from).ok_or_else(lost)?.1.raft_id();
        let there = links.nodes.iter().find(|(_, (address, _))| address == to.address).ok_or_else(lost)?;
        let (name, (_, replica)) = there;
        let broken = links.cut.contains(&(from.to_owned(), name.clone())) || replica.raft_id() != to.raft_id;
        if broken { Err(lost()) } else { Ok((id, Arc::clone(replica))) }
    }
}

/// One node's end of the net.
struct Port {
    name: String,
    net: Arc<Net>,
}

impl Peers for Port {
    fn call(&self, to: To<'_>, rpc: Rpc, body: Bytes, _: Duration) -> Answer<'_> {
        *self.net.0.lock().calls.entry(rpc.as_str()).or_default() += 1;
        let (way, node) = (self.net.way(&self.name, to), to.node_id.to_owned());
        Box::pin(async move {
            let (from, replica) = way?;
            let name = replica.status().this.node_id;
            // The called node goes on when the caller gives up.
            let answered = tokio::spawn(async move { replica.answer(from, rpc, body).await });
            let answer = answered.await.map_err(|e| Unreachable(e.to_string()))?;
            let links = self.net.0.lock();
            let lost = links.deaf.contains(&(node, rpc.as_str())) || links.cut.contains(&(name, self.name.clone()));
            if lost { Err(Unreachable("the answer was lost".to_owned())) } else { answer.map_err(|e| Unreachable(e.to_string())) }
        })
    }

    fn send_snapshot(&self, to: To<'_>, head: Bytes, state: StateSnapshot, _: Duration) -> Answer<'_> {
        let way = self.net.way(&self.name, to);
        let torn = {
            let mut links = self.net.0.lock();
            links.snapshots += 1;
            links.torn.remove(to.node_id)
        };
        Box::pin(async move {
            let (from, replica) = way?;
            let mut bytes = Vec::new();
            state.write_to(&mut bytes).map_err(|e| Unreachable(e.to_string()))?;
            let mut parts: Vec<Result<Bytes, String>> = bytes.chunks(4096).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
            if let Some(torn) = torn {
                parts.truncate(torn);
            }
            let received = tokio::spawn(async move { replica.receive_snapshot(from, head, stream::iter(parts)).await });
            let answer = received.await.map_err(|e| Unreachable(e.to_string()))?;
            answer.map_err(|e| Unreachable(e.to_string()))
        })
    }
}

/// What a node keeps when its process ends.
pub struct Node {
    /// Its data.
    pub store: Arc<dyn Store>,
    /// How it is opened.
    pub settings: Settings,
    replica: Option<Arc<Replica>>,
}

/// A cluster.
pub struct Cluster {
    /// The links.
    pub net: Arc<Net>,
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    observer: fn() -> Arc<dyn Observer>,
}

/// An observer that keeps nothing.
#[derive(Debug, Default)]
pub struct Blind;

impl Observer for Blind {
    fn applied(&self, _: u64, _: &[&[u8]]) {}

    fn reset(&self) {}
}

/// Settings of a node in a test: as in production, but with more patience, since the machine may be slow.
#[must_use]
pub fn settings(name: &str) -> Settings {
    let mut settings = Settings::new(name, format!("{name}:8201"), format!("https://{name}:8200"));
    settings.patience = PATIENCE / 2;
    settings
}

impl Default for Cluster {
    fn default() -> Self {
        Self { net: Arc::default(), nodes: BTreeMap::new(), observer: || Arc::new(Blind) }
    }
}

#[expect(clippy::expect_used, clippy::panic, reason = "a test that names a node that is not there is wrong")]
impl Cluster {
    /// Voters `n1`, `n2`, … of which the first leads. `adapt` changes the settings of each.
    ///
    /// # Panics
    /// If they do not come together.
    pub async fn of(size: usize, adapt: impl Fn(&mut Settings)) -> Self {
        let mut cluster = Self::default();
        for number in 1..=size {
            let name = format!("n{number}");
            let mut settings = settings(&name);
            adapt(&mut settings);
            cluster.nodes.insert(name.clone(), Node { store: Arc::new(MemoryStore::default()), settings, replica: None });
            cluster.start(&name).await;
            if number == 1 {
                cluster.at(&name).bootstrap().await.expect("the first node bootstraps");
            } else {
                cluster.join(&name).await;
                cluster.promote(&name).await;
            }
        }
        cluster
    }

    /// Adds an empty node, which belongs to nothing yet.
    pub async fn add(&mut self, name: &str, adapt: impl Fn(&mut Settings)) {
        let mut settings = settings(name);
        adapt(&mut settings);
        self.nodes.insert(name.to_owned(), Node { store: Arc::new(MemoryStore::default()), settings, replica: None });
        self.start(name).await;
    }

    /// Opens a node.
    ///
    /// # Panics
    /// If it does not open.
    pub async fn start(&mut self, name: &str) {
        let observer = (self.observer)();
        let net = Arc::clone(&self.net);
        let node = self.nodes.get_mut(name).expect("the node exists");
        let peers = Arc::new(Port { name: name.to_owned(), net });
        let opened = Replica::open_with_peers(Arc::clone(&node.store), node.settings.clone(), observer, peers).await;
        let replica = Arc::new(opened.expect("the node opens"));
        let entry = (node.settings.cluster_addr.clone(), Arc::clone(&replica));
        self.net.0.lock().nodes.insert(name.to_owned(), entry);
        node.replica = Some(replica);
    }

    /// Ends a node: nobody hears from it any more, as after `kill -9`. Its store stays.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self, name: &str) {
        self.net.0.lock().nodes.remove(name);
        let replica = self.nodes.get_mut(name).and_then(|node| node.replica.take()).expect("the node runs");
        let _ended = replica.shutdown().await;
    }

    /// A running node.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn at(&self, name: &str) -> Arc<Replica> {
        match self.nodes.get(name).and_then(|node| node.replica.clone()) {
            Some(replica) => replica,
            None => panic!("{name} does not run"),
        }
    }

    /// The names of all running nodes.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.nodes.iter().filter(|(_, node)| node.replica.is_some()).map(|(name, _)| name.as_str()).collect()
    }

    /// Waits until a running node leads of which a majority says so, and answers its name.
    pub async fn leader(&self) -> String {
        let mut found = String::new();
        until("a leader", || {
            let leading = self.names().into_iter().find(|name| {
                let (status, leads) = (self.at(name).status(), *self.at(name).leadership().borrow());
                let term = status.term;
                leads && status.state == State::Leader && self.names().iter().all(|other| self.at(other).status().term <= term)
            });
            found = leading.unwrap_or_default().to_owned();
            !found.is_empty()
        })
        .await;
        found
    }

    /// Adds a running node as a learner.
    ///
    /// # Panics
    /// If the leader refuses it.
    pub async fn join(&self, name: &str) {
        let this = self.at(name);
        let status = this.status().this;
        let new =
            NewMember { raft_id: this.raft_id(), node_id: status.node_id, address: status.address, api_addr: status.api_addr };
        within("a node joins", async {
            loop {
                match self.at(&self.leader().await).add_learner(new.clone()).await {
                    Ok(()) => return,
                    Err(E::Busy | E::NotLeader { .. } | E::Unconfirmed) => tokio::time::sleep(LOOK).await,
                    Err(e) => panic!("{name} does not join: {e}"),
                }
            }
        })
        .await;
    }

    /// Gives a node a vote, and waits until it knows.
    ///
    /// # Panics
    /// If the leader refuses.
    pub async fn promote(&self, name: &str) {
        within("a node is promoted", async {
            loop {
                match self.at(&self.leader().await).promote(name).await {
                    Ok(()) => return,
                    Err(E::Busy | E::NotLeader { .. } | E::Unconfirmed) => tokio::time::sleep(LOOK).await,
                    Err(e) => panic!("{name} gets no vote: {e}"),
                }
            }
        })
        .await;
        until("the new voter knows", || self.at(name).status().this.voter).await;
    }

    /// What a node's state says, without asking anybody.
    ///
    /// # Panics
    /// If its store is broken.
    #[must_use]
    pub fn read(&self, name: &str, key: &str) -> Option<String> {
        let store = &self.nodes.get(name).expect("the node exists").store;
        let stored = store.get(Space::State, key.as_bytes()).expect("the store answers")?;
        let (_, value) = versioned(&stored).expect("the record has a version");
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Waits until all running nodes have the same state, up to the leader's last entry.
    pub async fn agree(&self) {
        until("all nodes agree", || {
            let indexes: BTreeSet<(u64, u64)> = self
                .names()
                .iter()
                .map(|name| {
                    let status = self.at(name).status();
                    (status.last_log, status.applied)
                })
                .collect();
            indexes.len() == 1 && indexes.iter().all(|(last, applied)| last == applied)
        })
        .await;
    }
}
