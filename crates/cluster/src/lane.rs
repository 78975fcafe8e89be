//! A connection to one peer that is made when it is needed, made again when it is lost, and replaced when this node has a new
//! certificate. Two of them lead to each peer, so that a heartbeat never waits behind a snapshot.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::identity::{self, Badge, Identity, PROTOCOL};
use crate::inside::Body;
use crate::limits::{
    ADDRESSES_MAX, BACKOFF_FIRST, BACKOFF_MAX, CONNECTION_WINDOW_BYTES, FRAME_BYTES, HEADERS_BYTES_MAX, SEND_BUFFER_BYTES,
    STREAM_WINDOW_BYTES,
};
use crate::port::Timing;
use crate::series::DIAL_FAILURE;
use crate::wire::said;

/// What all lanes of a port share.
pub(crate) struct Means {
    pub(crate) badge: Arc<Badge>,
    pub(crate) timing: Timing,
    /// Where connections live: a call may come from replication's own thread.
    pub(crate) runtime: Handle,
}

/// The way to one peer.
pub(crate) struct Lane {
    means: Arc<Means>,
    raft_id: u64,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

struct State {
    up: Option<Up>,
    /// By address: a peer that moves has two for a while, and a dead one must not hold up the other. Latest last.
    dials: Vec<(String, Dial)>,
    /// Counts closings: a connection that was begun before one must not stand after it.
    closings: u64,
    used: Instant,
}

/// A connection that stands, as far as anybody knows.
struct Up {
    sender: SendRequest<Body>,
    address: String,
    /// The certificate it was made with.
    epoch: u64,
    proof: Proof,
    cut: Cut,
}

/// How it stands with an address, as far as there is no connection. `failures`: attempts since the peer last answered there.
enum Dial {
    Running {
        failures: u32,
    },
    Failed {
        until: Instant,
        why: String,
        failures: u32,
    },
    /// It led to a connection, which has still to prove itself.
    Led {
        failures: u32,
    },
}

/// What a request is sent through.
pub(crate) struct Line {
    pub(crate) sender: SendRequest<Body>,
    pub(crate) proof: Proof,
}

/// Whether the peer has answered on this connection. In TLS 1.3 the caller is through before the other end has judged it, so
/// a connection alone is no success.
#[derive(Clone, Default)]
pub(crate) struct Proof(Arc<AtomicBool>);

impl Proof {
    pub(crate) fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Lane {
    pub(crate) fn new(means: Arc<Means>, raft_id: u64) -> Self {
        let state = State { up: None, dials: Vec::new(), closings: 0, used: Instant::now() };
        Self { means, raft_id, state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    /// A connection to send through. Waits while one is being made; fails at once while the peer is known not to answer.
    pub(crate) async fn line(self: &Arc<Self>, address: &str) -> Result<Line, String> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let identity = self.means.badge.current().ok_or_else(|| "this node is sealed".to_owned())?;
            if let Some(found) = self.look(address, identity) {
                return found;
            }
            if changed.changed().await.is_err() {
                return Err("the cluster port is closed".to_owned());
            }
        }
    }

    /// Closes the connection, in the middle of whatever goes on there.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closings += 1;
        state.up = None;
        state.dials.clear();
        drop(state);
        self.changed.send_replace(());
    }

    /// When it was last asked for.
    pub(crate) fn used(&self) -> Instant {
        self.state.lock().used
    }

    fn look(self: &Arc<Self>, address: &str, identity: Arc<Identity>) -> Option<Result<Line, String>> {
        let mut state = self.state.lock();
        state.used = Instant::now();
        state.weigh();
        if state.up.as_ref().is_none_or(|up| up.epoch != identity.epoch) && state.begin(address) {
            let (lane, closings, address) = (Arc::clone(self), state.closings, address.to_owned());
            self.means.runtime.spawn(async move {
                let dialled = dial(&lane.means, lane.raft_id, &address, &identity).await;
                lane.settle(closings, &address, identity.epoch, dialled);
            });
        }
        match (&state.up, state.dial(address)) {
            (Some(up), _) => Some(Ok(Line { sender: up.sender.clone(), proof: up.proof.clone() })),
            (None, Some(Dial::Failed { why, .. })) => Some(Err(why.clone())),
            (None, _) => None,
        }
    }

    fn settle(&self, closings: u64, address: &str, epoch: u64, dialled: Result<(SendRequest<Body>, Cut), String>) {
        let mut state = self.state.lock();
        if state.closings != closings {
            return;
        }
        match dialled {
            Ok((sender, cut)) => {
                let up = Up { sender, address: address.to_owned(), epoch, proof: Proof::default(), cut };
                // The one before ends when its last answer has come.
                if let Some(replaced) = state.up.replace(up) {
                    replaced.cut.spare();
                }
                let failures = state.failures(address);
                state.put(address, Dial::Led { failures });
            }
            Err(why) => {
                metrics::counter!(DIAL_FAILURE).increment(1);
                tracing::debug!(address, error = %why, "a peer cannot be reached");
                state.fail(address, why);
            }
        }
        drop(state);
        self.changed.send_replace(());
    }
}

impl State {
    /// Sees whether the connection still stands, and what is to be thought of it.
    fn weigh(&mut self) {
        let Some(up) = &self.up else { return };
        let (proved, closed, address) = (up.proof.is_given(), up.sender.is_closed(), up.address.clone());
        if proved {
            self.dials.retain(|(known, dial)| *known != address || !matches!(dial, Dial::Led { .. }));
        }
        if closed {
            // Lost after it served: the peer may be back already. Lost before: it does not want us, and asking again at once would
            // only be a storm.
            if !proved && !matches!(self.dial(&address), Some(Dial::Running { .. })) {
                self.fail(&address, "the peer closed the connection at once".to_owned());
            }
            if let Some(lost) = self.up.take() {
                lost.cut.spare();
            }
        }
    }

    fn dial(&self, address: &str) -> Option<&Dial> {
        self.dials.iter().find(|(known, _)| known == address).map(|(_, dial)| dial)
    }

    fn failures(&self, address: &str) -> u32 {
        match self.dial(address) {
            Some(Dial::Running { failures } | Dial::Failed { failures, .. } | Dial::Led { failures }) => *failures,
            None => 0,
        }
    }

    fn put(&mut self, address: &str, dial: Dial) {
        self.dials.retain(|(known, _)| known != address);
        if self.dials.len() >= ADDRESSES_MAX {
            self.dials.remove(0);
        }
        self.dials.push((address.to_owned(), dial));
    }

    /// Whether an attempt is to begin now; it counts as running from here on.
    fn begin(&mut self, address: &str) -> bool {
        let begins = match self.dial(address) {
            None | Some(Dial::Led { .. }) => true,
            Some(Dial::Running { .. }) => false,
            Some(Dial::Failed { until, .. }) => Instant::now() >= *until,
        };
        if begins {
            let failures = self.failures(address);
            self.put(address, Dial::Running { failures });
        }
        begins
    }

    fn fail(&mut self, address: &str, why: String) {
        let failures = self.failures(address);
        let pause = BACKOFF_FIRST.saturating_mul(2u32.saturating_pow(failures)).min(BACKOFF_MAX);
        self.put(address, Dial::Failed { until: Instant::now() + pause, why, failures: failures.saturating_add(1) });
    }
}

/// Ends a connection's tasks when it is dropped, unless it is spared: then they end with their last request.
struct Cut(Option<watch::Sender<bool>>);

impl Cut {
    fn spare(mut self) {
        if let Some(cut) = self.0.take() {
            // The tasks keep the receiving side; whoever could send is gone for good.
            drop(cut);
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(cut) = &self.0 {
            cut.send_replace(true);
        }
    }
}

/// Runs what hyper wants to run on the port's runtime, until the connection is cut.
#[derive(Clone)]
struct Crew {
    runtime: Handle,
    cut: watch::Receiver<bool>,
}

impl<F> Executor<F> for Crew
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, work: F) {
        let mut cut = self.cut.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                _ = work => {}
                () = is_cut(&mut cut) => {}
            }
        });
    }
}

/// Ends when the connection is cut; never when it was spared.
async fn is_cut(cut: &mut watch::Receiver<bool>) {
    if cut.wait_for(|cut| *cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn dial(means: &Means, raft_id: u64, address: &str, identity: &Identity) -> Result<(SendRequest<Body>, Cut), String> {
    let timing = &means.timing;
    let tcp = reach(address, timing.connect).await?;
    // Requests are small and waited for; waiting to fill a packet only adds latency.
    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
    let connector = TlsConnector::from(Arc::clone(&identity.client));
    let name = identity::server_name(raft_id).map_err(|e| e.to_string())?;
    let tls = within(timing.handshake, connector.connect(name, tcp)).await?.map_err(|e| said(&e))?;
    if tls.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
        return Err("the other end is no cluster port".to_owned());
    }
    let (cut, watched) = watch::channel(false);
    let mut crew = Crew { runtime: means.runtime.clone(), cut: watched };
    let handshake = Builder::new(crew.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(timing.ping_interval)
        .keep_alive_timeout(timing.ping_timeout)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(tls));
    let (sender, connection) = within(timing.handshake, handshake).await?.map_err(|e| said(&e))?;
    means.runtime.spawn(async move {
        tokio::select! {
            ended = connection => if let Err(e) = ended {
                tracing::debug!(error = %said(&e), "a connection to a peer ended");
            },
            () = is_cut(&mut crew.cut) => {}
        }
    });
    Ok((sender, Cut(Some(cut))))
}

/// TCP to the first of the address's hosts that answers. Looking the name up has no time limit of ours: it holds a thread until it
/// ends by itself, and one at a time is enough.
async fn reach(address: &str, limit: Duration) -> Result<TcpStream, String> {
    let mut failed = "the name has no address".to_owned();
    for host in tokio::net::lookup_host(address).await.map_err(|e| e.to_string())? {
        match within(limit, TcpStream::connect(host)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => failed = e.to_string(),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, work).await.map_err(|_| format!("no answer within {limit:?}"))
}
