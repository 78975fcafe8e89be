//! The wires between the nodes: delays, losses, cuts in one or both directions, requests that arrive twice. Requests
//! overtake each other, as streams of one connection do. Deliberately absent: sockets and TLS (crate `cluster`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use replication::simulation::on;
use replication::{Answer, Peers, Replica, Rpc, StateSnapshot, To, Unreachable};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::machine::Machine;
use crate::random::Random;

/// Piece of a snapshot that travels at once.
const SNAPSHOT_PIECE_BYTES: usize = 512;

/// Time until pings find out that a connection is dead.
const PINGS_FIND_OUT: Duration = Duration::from_secs(2);

/// Time that a piece of a snapshot takes.
const SNAPSHOT_PIECE_MICROS: u64 = 200;

/// How the wires behave.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Shortest time from one node to another.
    pub delay_min_micros: u64,
    /// Longest such time.
    pub delay_max_micros: u64,
    /// Messages that vanish, per mille.
    pub lost_per_mille: u64,
    /// Requests that arrive again later, per mille; only those that the protocol expects twice.
    pub twice_per_mille: u64,
}

impl Weather {
    /// A quiet network.
    pub const FAIR: Self = Self { delay_min_micros: 100, delay_max_micros: 700, lost_per_mille: 0, twice_per_mille: 0 };
}

/// A node that runs, as the network reaches it.
#[derive(Clone)]
pub struct Reached {
    /// The node.
    pub replica: Arc<Replica>,
    /// What it runs on.
    pub machine: Arc<Machine>,
}

/// All wires.
pub struct Network(Mutex<Wires>);

struct Wires {
    random: Random,
    weather: Weather,
    /// `[from][to]`: nothing passes.
    cut: Vec<Vec<bool>>,
    nodes: Vec<Place>,
    delivered: u64,
    vanished: u64,
}

#[derive(Default, Clone)]
struct Place {
    raft_id: Option<u64>,
    reached: Option<Reached>,
}

enum Fate {
    /// Arrives after this time, and again after that one.
    Arrives(Duration, Option<Duration>),
    Vanishes,
}

impl Network {
    /// Wires between `nodes` places, in fair weather.
    #[must_use]
    pub fn new(nodes: usize, random: Random) -> Arc<Self> {
        let cut = vec![vec![false; nodes]; nodes];
        let nodes = vec![Place::default(); nodes];
        Arc::new(Self(Mutex::new(Wires { random, weather: Weather::FAIR, cut, nodes, delivered: 0, vanished: 0 })))
    }

    /// Sets how all wires behave.
    pub fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    /// Cuts or mends one direction.
    pub fn set_cut(&self, from: usize, to: usize, cut: bool) {
        if let Some(wire) = self.0.lock().cut.get_mut(from).and_then(|row| row.get_mut(to)) {
            *wire = cut;
        }
    }

    /// Mends all.
    pub fn mend(&self) {
        let mut wires = self.0.lock();
        wires.weather = Weather::FAIR;
        wires.cut.iter_mut().flatten().for_each(|wire| *wire = false);
    }

    /// Says who is reached at a place, if anybody.
    pub fn place(&self, node: usize, raft_id: Option<u64>, reached: Option<Reached>) {
        if let Some(place) = self.0.lock().nodes.get_mut(node) {
            *place = Place { raft_id: raft_id.or(place.raft_id), reached };
        }
    }

    /// Requests and answers that arrived, and those that did not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let wires = self.0.lock();
        (wires.delivered, wires.vanished)
    }

    fn find(&self, to: To<'_>) -> Option<usize> {
        let wires = self.0.lock();
        wires.nodes.iter().position(|place| place.raft_id == Some(to.raft_id))
    }

    fn reached(&self, node: usize) -> Option<Reached> {
        self.0.lock().nodes.get(node).and_then(|place| place.reached.clone())
    }

    fn coin(&self) -> bool {
        self.0.lock().random.chance(500)
    }

    fn fate(&self, from: usize, to: usize, rpc: Option<Rpc>) -> Fate {
        let mut wires = self.0.lock();
        let weather = wires.weather;
        let cut = wires.cut.get(from).and_then(|row| row.get(to)).copied().unwrap_or(false);
        if cut || wires.random.chance(weather.lost_per_mille) {
            wires.vanished += 1;
            return Fate::Vanishes;
        }
        wires.delivered += 1;
        let delay = Duration::from_micros(wires.random.between(weather.delay_min_micros, weather.delay_max_micros));
        let expected = match rpc {
            Some(Rpc::Append | Rpc::Vote | Rpc::PreVote | Rpc::TransferLeader | Rpc::ReadIndex | Rpc::Propose | Rpc::Hello) => {
                weather.twice_per_mille
            }
            _ => 0,
        };
        let again = wires.random.chance(expected).then(|| Duration::from_micros(wires.random.below(400_000)));
        Fate::Arrives(delay, again)
    }
}

/// The cluster address of a place.
#[must_use]
pub fn address(node: usize) -> String {
    format!("node-{node}:8201")
}

/// One node's end of the wires.
pub struct Endpoint {
    network: Arc<Network>,
    node: usize,
}

impl Endpoint {
    /// The end at `node`.
    #[must_use]
    pub fn new(network: Arc<Network>, node: usize) -> Arc<Self> {
        Arc::new(Self { network, node })
    }

    /// This end's raft id.
    fn raft_id(&self) -> u64 {
        self.network.0.lock().nodes.get(self.node).and_then(|place| place.raft_id).unwrap_or(0)
    }
}

impl Peers for Endpoint {
    fn call(&self, to: To<'_>, rpc: Rpc, body: Bytes, patience: Duration) -> Answer<'_> {
        let Some(target) = self.network.find(to) else { return unknown(to) };
        let from = self.raft_id();
        let serve = move |reached: Reached, body: Bytes| async move {
            reached.replica.answer(from, rpc, body).await.map_err(|e| Unreachable(e.to_string()))
        };
        Box::pin(exchange(Arc::clone(&self.network), (self.node, target), Some(rpc), body, patience, serve))
    }

    fn send_snapshot(&self, to: To<'_>, head: Bytes, state: StateSnapshot, patience: Duration) -> Answer<'_> {
        let Some(target) = self.network.find(to) else { return unknown(to) };
        let mut bytes = Vec::new();
        if let Err(e) = state.write_to(&mut bytes) {
            return Box::pin(futures::future::ready(Err(Unreachable(e.to_string()))));
        }
        let from = self.raft_id();
        let network = Arc::clone(&self.network);
        let ends = (self.node, target);
        let serve = move |reached: Reached, head: Bytes| async move {
            let pieces: Vec<Bytes> = bytes.chunks(SNAPSHOT_PIECE_BYTES).map(Bytes::copy_from_slice).collect();
            let body = stream::unfold((pieces.into_iter(), network), move |(mut pieces, network)| async move {
                let piece = pieces.next()?;
                sleep(Duration::from_micros(SNAPSHOT_PIECE_MICROS)).await;
                let arrived = match network.fate(ends.0, ends.1, None) {
                    Fate::Arrives(..) => Ok(piece),
                    Fate::Vanishes => Err(std::io::Error::other("the connection broke")),
                };
                Some((arrived, (pieces, network)))
            });
            reached.replica.receive_snapshot(from, head, Box::pin(body)).await.map_err(|e| Unreachable(e.to_string()))
        };
        Box::pin(exchange(Arc::clone(&self.network), ends, None, head, patience, serve))
    }
}

fn unknown(to: To<'_>) -> Answer<'static> {
    let error = Unreachable(format!("nobody is at {}", to.address));
    Box::pin(futures::future::ready(Err(error)))
}

/// A request and its answer, either of which may be lost.
async fn exchange<S, F>(
    network: Arc<Network>,
    (from, to): (usize, usize),
    rpc: Option<Rpc>,
    body: Bytes,
    patience: Duration,
    serve: S,
) -> Result<Bytes, Unreachable>
where
    S: FnOnce(Reached, Bytes) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Bytes, Unreachable>> + Send + 'static,
{
    let travel = async {
        let again = match network.fate(from, to, rpc) {
            Fate::Arrives(delay, again) => {
                sleep(delay).await;
                again
            }
            Fate::Vanishes => return broken(rpc).await,
        };
        if let Some(later) = again {
            let (network, body, serve) = (Arc::clone(&network), body.clone(), serve.clone());
            tokio::spawn(async move {
                sleep(later).await;
                if let Some(reached) = network.reached(to) {
                    let _nobody_waits = on(reached.machine.clone(), serve(reached, body)).await;
                }
            });
        }
        let refused = || Unreachable("connection refused".to_owned());
        let reached = network.reached(to).ok_or_else(refused)?;
        let (reply, answer) = oneshot::channel();
        let machine = Arc::clone(&reached.machine);
        // A request that has arrived is served, whether the caller waits for the answer or not.
        tokio::spawn(on(reached.machine.clone(), async move {
            let _caller_gave_up = reply.send(serve(reached, body).await);
        }));
        let answer = tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(Unreachable("connection reset".to_owned()))),
            () = machine.died() => {
                if network.coin() {
                    return Err(Unreachable("connection reset".to_owned()));
                }
                return broken(rpc).await;
            }
        };
        match network.fate(to, from, None) {
            Fate::Arrives(delay, _) => sleep(delay).await,
            Fate::Vanishes => return broken(rpc).await,
        }
        answer
    };
    timeout(patience, travel).await.unwrap_or_else(|_| Err(Unreachable("no answer in time".to_owned())))
}

/// What a message that vanished ends in. A request hangs until its time is up. A snapshot may take minutes in which nothing
/// moves, so the pings of its connection find out (`cluster`'s lanes).
async fn broken<T>(rpc: Option<Rpc>) -> Result<T, Unreachable> {
    match rpc {
        Some(_) => futures::future::pending().await,
        None => {
            sleep(PINGS_FIND_OUT).await;
            Err(Unreachable("the connection is dead".to_owned()))
        }
    }
}
