//! Three whole cores in one process, each with its own store, that reach each other through memory: what the tests of standbys ask.
//!
//! Nothing here is timed: what has to come about is waited for, far longer than it ever takes.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use replication::{Answer, NewMember, Peers, Rpc, Settings, StateSnapshot, To, Unreachable};
use secret::{Clock, ManualClock, SecretBytes, SystemEntropy, Time};
use server_core::{Core, CoreConfig, InitRequest, Registry};
use storage::MemoryStore;

use crate::common::{Server, registry};

/// Far longer than anything takes, on a machine that stands still for seconds.
const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until it is so.
#[track_caller]
pub fn eventually<F: FnMut() -> bool>(what: &'static str, mut is_so: F) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < DEADLINE, "{caller}: not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The lines between the nodes.
#[derive(Default)]
pub struct Lines {
    cores: Mutex<BTreeMap<u64, Weak<Core>>>,
    /// Nodes that nobody reaches, and that reach nobody.
    cut: Mutex<BTreeSet<u64>>,
}

impl Lines {
    fn core(&self, raft_id: u64) -> Option<Arc<Core>> {
        self.cores.lock().unwrap().get(&raft_id)?.upgrade()
    }

    fn is_cut(&self, a: u64, b: u64) -> bool {
        let cut = self.cut.lock().unwrap();
        cut.contains(&a) || cut.contains(&b)
    }

    /// Takes a node off the net.
    pub fn cut(&self, core: &Core) {
        self.cut.lock().unwrap().insert(core.replica().raft_id());
    }

    /// And puts it back.
    pub fn mend(&self, core: &Core) {
        self.cut.lock().unwrap().remove(&core.replica().raft_id());
    }
}

/// One node's way to the others.
struct Line {
    me: Arc<OnceLock<u64>>,
    lines: Arc<Lines>,
}

impl Line {
    fn other(&self, to: To<'_>) -> Result<(u64, Arc<Core>), Unreachable> {
        let gone = || Unreachable("the line is cut".to_owned());
        let me = *self.me.get().ok_or_else(gone)?;
        if self.lines.is_cut(me, to.raft_id) {
            return Err(gone());
        }
        Ok((me, self.lines.core(to.raft_id).ok_or_else(gone)?))
    }
}

impl Peers for Line {
    fn call(&self, to: To<'_>, rpc: Rpc, body: Bytes, timeout: Duration) -> Answer<'_> {
        let other = self.other(to);
        let (lines, to) = (Arc::clone(&self.lines), to.raft_id);
        Box::pin(async move {
            let (me, core) = other?;
            let answer = tokio::time::timeout(timeout, core.replica().answer(me, rpc, body)).await;
            let answer = answer.map_err(|e| Unreachable(e.to_string()))?.map_err(|e| Unreachable(e.to_string()))?;
            // An answer is lost as well.
            if lines.is_cut(me, to) { Err(Unreachable("the line was cut".to_owned())) } else { Ok(answer) }
        })
    }

    fn send_snapshot(&self, to: To<'_>, head: Bytes, state: StateSnapshot, _: Duration) -> Answer<'_> {
        let other = self.other(to);
        Box::pin(async move {
            let (me, core) = other?;
            let mut bytes = Vec::new();
            state.write_to(&mut bytes).map_err(|e| Unreachable(e.to_string()))?;
            let stream = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
            core.replica().receive_snapshot(me, head, stream).await.map_err(|e| Unreachable(e.to_string()))
        })
    }
}

/// Three nodes, unsealed.
pub struct Trio {
    pub nodes: Vec<Server>,
    pub lines: Arc<Lines>,
    pub clock: Arc<ManualClock>,
}

impl Trio {
    /// Makes one with a registry and a configuration for each node. The lead passes from node to node only if it is given away.
    pub async fn start_with(make: impl Fn(usize) -> (Registry, CoreConfig)) -> Self {
        Self::start_paced(make, |settings| {
            (settings.election_min, settings.election_max) = (DEADLINE, DEADLINE * 2);
            settings.patience = DEADLINE;
        })
        .await
    }

    /// With the pace of a real cluster: a leader that is not heard for a moment is replaced, also if the machine stood still.
    pub async fn start_lively() -> Self {
        Self::start_paced(|index| (registry(), config(index)), |_| {}).await
    }

    async fn start_paced(make: impl Fn(usize) -> (Registry, CoreConfig), pace: impl Fn(&mut Settings)) -> Self {
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let lines = Arc::new(Lines::default());
        let mut started = Vec::new();
        for index in 0..3 {
            let (registry, config) = make(index);
            started.push(start(index, &lines, &clock, registry, config, &pace).await);
        }
        let made = {
            let (core, _) = started.first().expect("three");
            let request = InitRequest { secret_shares: 1, secret_threshold: 1, ..InitRequest::default() };
            core.init(request).await.expect("init")
        };
        let share = made.shares.first().expect("one share").expose().to_vec();
        let mut nodes = Vec::new();
        for (index, (core, store)) in started.into_iter().enumerate() {
            if index > 0 {
                take_in(&nodes, &core, index).await;
            }
            core.unseal(SecretBytes::new(share.clone()), false).await.expect("unseal");
            let (root, clock) = (made.root_token.expose().to_owned(), Arc::clone(&clock));
            nodes.push(Server { core, clock, root, share: share.clone(), store });
        }
        Self { nodes, lines, clock }
    }

    /// With the engines of the common tests.
    pub async fn start() -> Self {
        Self::start_with(|index| (registry(), config(index))).await
    }

    /// The node that leads.
    pub async fn leader(&self) -> &Server {
        eventually("a leader", || self.nodes.iter().any(|n| n.core.leads())).await;
        self.nodes.iter().find(|n| n.core.leads()).unwrap_or_else(|| panic!("it led a moment ago"))
    }

    /// Those that do not lead.
    pub async fn standbys(&self) -> Vec<&Server> {
        let leader = self.leader().await.core.replica().raft_id();
        self.nodes.iter().filter(|n| n.core.replica().raft_id() != leader).collect()
    }
}

/// A node's configuration.
pub fn config(index: usize) -> CoreConfig {
    CoreConfig { api_addr: api_addr(index), ..CoreConfig::default() }
}

/// Where a node's API would be.
pub fn api_addr(index: usize) -> String {
    format!("https://node{index}.example:8200")
}

async fn start(
    index: usize,
    lines: &Arc<Lines>,
    clock: &Arc<ManualClock>,
    registry: Registry,
    config: CoreConfig,
    pace: impl Fn(&mut Settings),
) -> (Arc<Core>, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::default());
    let me = Arc::new(OnceLock::new());
    let peers = Arc::new(Line { me: Arc::clone(&me), lines: Arc::clone(lines) });
    let mut settings = Settings::new(format!("node{index}"), address(index), &config.api_addr);
    pace(&mut settings);
    let ticking: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let disk = Arc::<MemoryStore>::clone(&store);
    let core = Core::start_with_peers(disk, settings, config, registry, ticking, Arc::new(SystemEntropy), peers);
    let core = core.await.expect("start");
    let raft_id = core.replica().raft_id();
    me.set(raft_id).expect("once");
    lines.cores.lock().unwrap().insert(raft_id, Arc::downgrade(&core));
    (core, store)
}

fn address(index: usize) -> String {
    format!("10.0.0.{index}:8201")
}

/// Makes a node a voter, and waits until it has the data.
async fn take_in(members: &[Server], core: &Core, index: usize) {
    let new = NewMember {
        raft_id: core.replica().raft_id(),
        node_id: format!("node{index}"),
        address: address(index),
        api_addr: api_addr(index),
    };
    let began = Instant::now();
    loop {
        let taken = async {
            let Some(leader) = members.iter().map(|m| m.core.replica()).find(|r| *r.leadership().borrow()) else {
                return Err("nobody leads".to_owned());
            };
            leader.add_learner(new.clone()).await.map_err(|e| e.to_string())?;
            leader.promote(&new.node_id).await.map_err(|e| e.to_string())
        };
        match taken.await {
            Ok(()) => break,
            // Another change is being confirmed, or the machine stood still.
            Err(e) => assert!(began.elapsed() < DEADLINE, "{e}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("the data of the cluster", || core.initialised()).await;
}
