//! The port of one node: its sockets, its identity, and the two ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secret::{Clock, Entropy, SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::answer::Desk;
use crate::door::Door;
use crate::identity::Badge;
use crate::inside::Inside;
use crate::keys::{ClusterKeys, KeysError};
use crate::lane::Means;
use crate::limits::{CONNECT_TIMEOUT, DOOR_PING_INTERVAL, DOOR_PING_TIMEOUT, HANDSHAKE_TIMEOUT, PING_INTERVAL, PING_TIMEOUT};
use crate::peers::Lanes;

/// Why the port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cluster address {address}: {source}")]
pub struct BindError {
    /// The configured address.
    pub address: String,
    /// What the system says.
    pub source: std::io::Error,
}

/// What a port is told when it is opened.
#[derive(Clone)]
pub struct Settings {
    /// Judges certificates.
    pub clock: Arc<dyn Clock>,
    /// Keys and serial numbers of certificates.
    pub entropy: Arc<dyn Entropy>,
    /// How long it waits for what.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), timing: Timing::default() }
    }
}

/// How long a port waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// TCP to a peer.
    pub connect: Duration,
    /// TLS, at either end.
    pub handshake: Duration,
    /// Silence of a peer after which it is pinged.
    pub ping_interval: Duration,
    /// Silence after a ping that ends the connection.
    pub ping_timeout: Duration,
    /// The same two for callers.
    pub door_ping_interval: Duration,
    /// See above.
    pub door_ping_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
            door_ping_interval: DOOR_PING_INTERVAL,
            door_ping_timeout: DOOR_PING_TIMEOUT,
        }
    }
}

/// The cluster port. Sealed (before [`Port::enter`] and after [`Port::leave`]) it closes what comes and reaches nobody.
/// Dropped, it closes everything at once.
pub struct Port {
    addresses: Vec<SocketAddr>,
    listeners: Mutex<Vec<TcpListener>>,
    badge: Arc<Badge>,
    door: Arc<Door>,
    lanes: Arc<Lanes>,
    accepting: Mutex<Vec<AbortHandle>>,
}

impl Port {
    /// Binds the addresses (`host:port`) at once. Connections live on the runtime that this is called on.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub async fn bind(addresses: &[String], settings: Settings) -> Result<Arc<Self>, BindError> {
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for address in addresses {
            let error = |source| BindError { address: address.clone(), source };
            let listener = TcpListener::bind(address.as_str()).await.map_err(error)?;
            bound.push(listener.local_addr().map_err(error)?);
            listeners.push(listener);
        }
        let badge = Arc::new(Badge::new(settings.clock, settings.entropy));
        let door = Arc::new(Door::new(Arc::clone(&badge), settings.timing));
        let means = Means { badge: Arc::clone(&badge), timing: settings.timing, runtime: Handle::current() };
        Ok(Arc::new(Self {
            addresses: bound,
            listeners: Mutex::new(listeners),
            badge,
            door,
            lanes: Arc::new(Lanes::new(Arc::new(means))),
            accepting: Mutex::default(),
        }))
    }

    /// The bound addresses; with port 0 configured, those that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Takes part under this identity from now on. Once more with other keys: new connections are made with them at once, those
    /// that stand are replaced at their next use, and no call is lost.
    ///
    /// # Errors
    /// [`KeysError`], with the identity before still in use.
    pub fn enter(&self, keys: &ClusterKeys, raft_id: u64) -> Result<(), KeysError> {
        self.badge.put_on(keys, raft_id)
    }

    /// Forgets the identity and closes all connections. Calls to others end at once; requests of others that are being answered
    /// get a moment (two seconds at most). [`Port::enter`] opens again.
    pub async fn leave(&self) {
        self.badge.take_off();
        self.lanes.close();
        self.door.leave().await;
    }

    /// Opens the door to this node: from now on the port answers, as soon as it has an identity. Once; the port keeps `inside`
    /// until [`Port::close`].
    pub fn serve(&self, inside: Arc<dyn Inside>) {
        let desk = Arc::new(Desk::new(inside));
        let mut accepting = self.accepting.lock();
        for listener in self.listeners.lock().drain(..) {
            let serving = Arc::clone(&self.door).run(listener, Arc::clone(&desk));
            accepting.push(self.lanes.runtime().spawn(serving).abort_handle());
        }
    }

    /// Leaves, and gives the addresses back. For good.
    pub async fn close(&self) {
        self.listeners.lock().clear();
        for task in self.accepting.lock().drain(..) {
            task.abort();
        }
        self.leave().await;
    }

    pub(crate) fn lanes(&self) -> Arc<Lanes> {
        Arc::clone(&self.lanes)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        for task in self.accepting.lock().drain(..) {
            task.abort();
        }
        self.badge.take_off();
        self.lanes.close();
        self.door.turn_out();
    }
}
