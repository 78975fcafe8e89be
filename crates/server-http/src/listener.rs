//! The accept loop: bounded connections, TLS, HTTP/1.1 and HTTP/2, time-outs, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::limits::{HEAD_BYTES_MAX, HTTP2_STREAMS_MAX};
use crate::patience::{Patience, Patient, Phase};
use crate::respond::Reply;
use crate::service::{Peer, Service};
use crate::tls::TlsState;

/// How long connections get to end by themselves when the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a failed accept (no file descriptors): trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener {address}: {source}")]
pub struct ListenerError {
    /// The configured address.
    pub address: String,
    /// What the system says.
    pub source: std::io::Error,
}

/// A bound TCP listener.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<TlsState>>,
    service: Arc<Service>,
}

impl Listener {
    /// Binds `address` (`host:port`).
    pub async fn bind(address: &str, tls: Option<Arc<TlsState>>, service: Arc<Service>) -> Result<Self, ListenerError> {
        let tcp = TcpListener::bind(address).await.map_err(|source| ListenerError { address: address.to_owned(), source })?;
        Ok(Self { tcp, tls, service })
    }

    /// The bound address; with port 0 configured, the one the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// Serves until `stop` becomes true, then lets connections finish.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(self.service.limits().max_connections));
        let graceful = GracefulShutdown::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                _ = stop.wait_for(|s| *s) => break,
            };
            let (stream, address) = match accepted {
                Ok(pair) => pair,
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Answers are small; waiting to fill a packet only adds latency.
            let _ = stream.set_nodelay(true);
            let (service, tls, watcher) = (Arc::clone(&self.service), self.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                greet(stream, address, tls, service, watcher).await;
                drop(place);
            });
        }
        drop(self.tcp);
        let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    }
}

async fn greet(stream: TcpStream, address: SocketAddr, tls: Option<Arc<TlsState>>, service: Arc<Service>, watcher: Watcher) {
    let mut peer = Peer { address: Some(address), tls: tls.is_some(), ..Peer::default() };
    match tls {
        None => serve(stream, peer, service, watcher).await,
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.current()).accept(stream);
            match tokio::time::timeout(service.limits().header_timeout, handshake).await {
                Ok(Ok(stream)) => {
                    let (_, session) = stream.get_ref();
                    peer.certificates = session.peer_certificates().unwrap_or_default().iter().map(|c| c.to_vec()).collect();
                    serve(stream, peer, service, watcher).await;
                }
                Ok(Err(e)) => tracing::debug!(error = %e, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake took too long"),
            }
        }
    }
}

async fn serve<S>(stream: S, peer: Peer, service: Arc<Service>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = *service.limits();
    let peer = Arc::new(peer);
    let phase = Arc::new(Phase::default());
    let idle = limits.idle_timeout.max(limits.header_timeout);
    let times = Patience { head: limits.header_timeout, idle, stall: limits.idle_timeout };
    let stream = Patient::new(stream, Arc::clone(&phase), times);
    let handler = service_fn(move |request: http::Request<Incoming>| {
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        let answering = phase.answering(request.version());
        async move {
            let reply = service.call(&peer, request).await;
            drop(answering);
            Ok::<Reply, Infallible>(reply)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // `Patient` has all the times of a connection.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.header_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), handler).into_owned();
    if let Err(e) = watcher.watch(connection).await {
        tracing::debug!(error = %e, "connection ended");
    }
}
