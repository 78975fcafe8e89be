//! The answering end: who may come in, and the life of a connection that did.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answer::Desk;
use crate::crowd::Crowd;
use crate::identity::{self, Badge, PROTOCOL};
use crate::limits::{
    ACCEPT_PAUSE, CONNECTION_WINDOW_BYTES, CONNECTIONS_PER_MEMBER_MAX, FRAME_BYTES, HEADERS_BYTES_MAX, LEAF_LIFE, LEAVE_PATIENCE,
    SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::port::Timing;
use crate::series::{ACCEPTED, Refusal};
use crate::wire::said;

/// The answering end of a port.
pub(crate) struct Door {
    badge: Arc<Badge>,
    timing: Timing,
    crowd: Crowd,
    /// Counts the times the node has left; connections belong to one of them.
    leavings: watch::Sender<u64>,
    /// Connections that stand.
    open: watch::Sender<usize>,
    members: Mutex<HashMap<u64, Vec<Arc<Notify>>>>,
}

/// A connection that came in.
struct Visitor<'a> {
    door: &'a Door,
    raft_id: u64,
    /// Told when it should end: its certificate, its membership or its place is gone.
    farewell: Arc<Notify>,
}

impl Door {
    pub(crate) fn new(badge: Arc<Badge>, timing: Timing) -> Self {
        Self {
            badge,
            timing,
            crowd: Crowd::default(),
            leavings: watch::Sender::new(0),
            open: watch::Sender::new(0),
            members: Mutex::default(),
        }
    }

    /// Accepts until it is aborted.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, desk: Arc<Desk>) {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(pair) => pair,
                Err(e) => {
                    tracing::warn!(error = %e, "a connection to the cluster port could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (door, desk) = (Arc::clone(&self), Arc::clone(&desk));
            tokio::spawn(async move {
                if let Err(refusal) = door.greet(stream, address, &desk).await {
                    refusal.count();
                    tracing::debug!(%address, reason = ?refusal, "a connection to the cluster port was turned away");
                }
            });
        }
    }

    /// Ends all connections: no new requests, a moment for those under way.
    pub(crate) async fn leave(&self) {
        self.turn_out();
        let mut open = self.open.subscribe();
        let _ = tokio::time::timeout(LEAVE_PATIENCE, open.wait_for(|n| *n == 0)).await;
    }

    /// Tells all connections to end.
    pub(crate) fn turn_out(&self) {
        self.leavings.send_modify(|n| *n += 1);
    }

    async fn greet(&self, stream: TcpStream, address: SocketAddr, desk: &Arc<Desk>) -> Result<(), Refusal> {
        let mut leavings = self.leavings.subscribe();
        leavings.mark_unchanged();
        let identity = self.badge.current().ok_or(Refusal::Sealed)?;
        let _ = stream.set_nodelay(true);
        let mut place = self.crowd.join(address.ip());
        let handshake = TlsAcceptor::from(Arc::clone(&identity.server)).accept(stream);
        let stream = tokio::select! {
            shaken = tokio::time::timeout(self.timing.handshake, handshake) => shaken.map_err(|_| Refusal::Slow)?.map_err(|e| {
                tracing::debug!(%address, error = %said(&e), "TLS with the cluster port failed");
                Refusal::Handshake
            })?,
            _ = &mut place.out => return Err(Refusal::Crowded),
            _ = leavings.changed() => return Err(Refusal::Sealed),
        };
        let raft_id = self.judge(&stream)?;
        if !desk.inside.admits(raft_id) {
            return Err(Refusal::Stranger);
        }
        place.is_member();
        drop(place);
        metrics::counter!(ACCEPTED).increment(1);
        let visitor = Visitor::new(self, raft_id);
        visitor.serve(stream, desk, &mut leavings).await;
        Ok(())
    }

    /// The chain was verified in the handshake; what is left is the protocol and the name.
    fn judge(&self, stream: &TlsStream<TcpStream>) -> Result<u64, Refusal> {
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(PROTOCOL) {
            return Err(Refusal::Protocol);
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        leaf.and_then(identity::raft_id).ok_or(Refusal::Nameless)
    }
}

impl<'a> Visitor<'a> {
    fn new(door: &'a Door, raft_id: u64) -> Self {
        let farewell = Arc::new(Notify::new());
        let mut members = door.members.lock();
        let connections = members.entry(raft_id).or_default();
        if connections.len() >= CONNECTIONS_PER_MEMBER_MAX {
            connections.remove(0).notify_one();
        }
        connections.push(Arc::clone(&farewell));
        drop(members);
        door.open.send_modify(|n| *n += 1);
        Self { door, raft_id, farewell }
    }

    async fn serve(&self, stream: TlsStream<TcpStream>, desk: &Arc<Desk>, leavings: &mut watch::Receiver<u64>) {
        let (from, timing) = (self.raft_id, &self.door.timing);
        let handler = service_fn(|request: http::Request<Incoming>| {
            let (desk, farewell) = (Arc::clone(desk), Arc::clone(&self.farewell));
            async move {
                if !desk.inside.admits(from) {
                    farewell.notify_one();
                    return Ok::<_, Infallible>(crate::answer::stranger());
                }
                Ok(desk.answer(from, request).await)
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(timing.door_ping_interval)
            .keep_alive_timeout(timing.door_ping_timeout)
            .auto_date_header(false);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), handler));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.farewell.notified() => None,
            _ = leavings.changed() => None,
            // The caller's certificate has ended; it has called with a newer one long since.
            () = tokio::time::sleep(LEAF_LIFE) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(LEAVE_PATIENCE, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(e) = ended {
            tracing::debug!(error = %said(&e), "a connection of a member ended");
        }
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let mut members = self.door.members.lock();
        if let Some(connections) = members.get_mut(&self.raft_id) {
            connections.retain(|c| !Arc::ptr_eq(c, &self.farewell));
            if connections.is_empty() {
                members.remove(&self.raft_id);
            }
        }
        drop(members);
        self.door.open.send_modify(|n| *n = n.saturating_sub(1));
    }
}
