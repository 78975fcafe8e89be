//! The cluster: places for nodes, each with a disk that outlives its runs, and the wires between them. Starting, killing,
//! asking. Deliberately absent: what goes wrong and when (`faults`), and what clients want (`clients`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use replication::simulation::on;
use replication::{Observer, OpenError, Replica, Settings};
use storage::{Store, StoreError};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::invariants::observers::Told;
use crate::machine::Machine;
use crate::network::{Endpoint, Network, Reached, address};
use crate::options::Options;
use crate::random::Random;
use crate::records::Records;

/// Places for nodes. The first [`FOUNDERS`] make the cluster, the others join and leave.
pub const PLACES: usize = 5;
/// Nodes of the cluster before anything goes wrong.
pub const FOUNDERS: usize = 3;

/// The whole.
pub struct World {
    /// What is seen.
    pub records: Arc<Records>,
    /// The wires.
    pub network: Arc<Network>,
    /// How this run differs from others.
    pub options: Options,
    places: Vec<Place>,
    random: Mutex<Random>,
    folder: TempDir,
}

struct Place {
    state: Mutex<PlaceState>,
}

struct PlaceState {
    disk: Arc<Disk>,
    run: Option<Reached>,
    /// What a node that is not up yet runs on.
    starting: Option<Arc<Machine>>,
    /// How often its disk was replaced; a new disk is a new node, of the same name.
    disks: u64,
    /// Clock speed, per mille of a right one.
    pace: u64,
}

impl World {
    /// Empty disks, nothing runs. Call inside the runtime whose time is virtual.
    ///
    /// # Errors
    /// No folder for snapshots can be made.
    pub fn new(seed: u64, options: Options) -> std::io::Result<Arc<Self>> {
        let mut random = Random::new(seed ^ 0x5eed);
        let records = Arc::new(Records::new());
        let network = Network::new(PLACES, random.split());
        let places = (0..PLACES)
            .map(|node| {
                let disk = Disk::new(node, Arc::clone(&records) as _, options.break_it.disk);
                let pace = random.between(930, 1070);
                Place { state: Mutex::new(PlaceState { disk, run: None, starting: None, disks: 0, pace }) }
            })
            .collect();
        let folder = if std::path::Path::new("/dev/shm").is_dir() {
            tempfile::Builder::new().prefix("strongroom-sim-").tempdir_in("/dev/shm")?
        } else {
            tempfile::tempdir()?
        };
        Ok(Arc::new(Self { records, network, options, places, random: Mutex::new(random), folder }))
    }

    /// The name of the node at a place.
    #[must_use]
    pub fn name(&self, node: usize) -> String {
        format!("n{node}")
    }

    /// The node that runs at a place.
    #[must_use]
    pub fn run(&self, node: usize) -> Option<Reached> {
        self.places.get(node).and_then(|place| place.state.lock().run.clone())
    }

    /// The disk at a place.
    #[must_use]
    pub fn disk(&self, node: usize) -> Option<Arc<Disk>> {
        self.places.get(node).map(|place| Arc::clone(&place.state.lock().disk))
    }

    /// Places where a node runs.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..PLACES).filter(|node| self.run(*node).is_some()).collect()
    }

    /// The node that says it leads, if one does.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.running().into_iter().find(|node| self.run(*node).is_some_and(|run| *run.replica.leadership().borrow()))
    }

    /// Starts the node at a place, unless it runs. A node that does not come up on the disk that a crash left is a broken
    /// invariant.
    pub async fn start(self: &Arc<Self>, node: usize) {
        let Some(place) = self.places.get(node) else { return };
        let machine = Machine::new(self.random.lock().split());
        let (store, pace, generation) = {
            let mut state = place.state.lock();
            if state.run.is_some() || state.starting.is_some() {
                return;
            }
            state.starting = Some(Arc::clone(&machine));
            (state.disk.mount(), state.pace, state.disks)
        };
        let observer = Arc::new(Watching { node, machine: Arc::clone(&machine), records: Arc::clone(&self.records) });
        self.records.with(|inner| {
            let from = inner.applied.get(&node).copied().unwrap_or(0);
            inner.told.insert(node, Told::since(from));
        });
        let peers = Endpoint::new(Arc::clone(&self.network), node);
        let settings = self.settings(node, pace, generation);
        let opening = on(machine.clone(), Replica::open_with_peers(store as Arc<dyn Store>, settings, observer, peers));
        let opened = tokio::select! {
            biased;
            opened = opening => Some(opened),
            () = machine.died() => None,
        };
        match opened {
            _ if machine.is_dead() => self.records.note(format!("node {node} died while it started")),
            None => {}
            Some(Ok(replica)) => {
                let reached = Reached { replica: Arc::new(replica), machine };
                self.network.place(node, Some(reached.replica.raft_id()), Some(reached.clone()));
                let mut state = place.state.lock();
                (state.run, state.starting) = (Some(reached), None);
                drop(state);
                self.records.note(format!("node {node} runs"));
            }
            Some(Err(error)) => {
                place.state.lock().starting = None;
                if matches!(error, OpenError::Store(StoreError::Full(_))) {
                    return self.records.note(format!("node {node} does not start: {error}"));
                }
                self.records.judge(Err(format!("node {node} does not start on the disk that it left: {error}")));
            }
        }
    }

    /// The node loses power.
    pub fn kill(&self, node: usize) {
        let Some(place) = self.places.get(node) else { return };
        let mut state = place.state.lock();
        let running = state.run.take().map(|run| run.machine);
        let Some(machine) = running.or_else(|| state.starting.take()) else { return };
        machine.kill();
        self.network.place(node, None, None);
        let disk = Arc::clone(&state.disk);
        drop(state);
        let mut random = self.random.lock().split();
        let kept = disk.crash(&mut random).map_err(|e| e.to_string());
        self.records.note(format!("node {node} lost power"));
        self.records.judge(kept);
    }

    /// The node at a place loses power and its disk; what starts there next is another node.
    pub fn replace_disk(&self, node: usize) {
        self.kill(node);
        let Some(place) = self.places.get(node) else { return };
        let mut state = place.state.lock();
        state.disk = Disk::new(node, Arc::clone(&self.records) as _, self.options.break_it.disk);
        state.disks += 1;
        self.records.with(|inner| inner.applied.remove(&node));
        self.records.note(format!("node {node} got an empty disk"));
    }

    /// A sequence of random numbers for one more part of the world.
    #[must_use]
    pub fn random(&self) -> Random {
        self.random.lock().split()
    }

    fn settings(&self, node: usize, pace: u64, generation: u64) -> Settings {
        let usual = Settings::new("", "", "");
        let paced = |d: Duration| d * u32::try_from(pace).unwrap_or(1000) / 1000;
        Settings {
            snapshot_dir: Some(self.folder.path().join(format!("{node}-{generation}"))),
            trailing_logs: self.options.trailing_logs,
            snapshot_threshold: self.options.snapshot_threshold,
            heartbeat: paced(usual.heartbeat),
            election_min: paced(usual.election_min),
            election_max: paced(usual.election_max),
            ..Settings::new(self.name(node), address(node), format!("https://node-{node}:8200"))
        }
    }
}

/// The observer of one run.
struct Watching {
    node: usize,
    machine: Arc<Machine>,
    records: Arc<Records>,
}

impl Observer for Watching {
    fn applied(&self, index: u64, keys: &[&[u8]]) {
        if self.machine.is_dead() {
            return;
        }
        let told = self.records.with(|inner| inner.told.entry(self.node).or_default().applied(self.node, index, keys));
        self.records.judge(told);
    }

    fn reset(&self) {
        if !self.machine.is_dead() {
            self.records.with(|inner| inner.told.entry(self.node).or_default().reset());
        }
    }
}
