//! Nodes with a port and a memory of what was asked of them, and callers that are no port.

use std::collections::HashSet;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cluster::internals::{PROTOCOL, certificate_for};
use cluster::{Body, BodyStream, ClusterKeys, Inside, Port, Rpc, Settings, Timing, To};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use replication::Peers;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use secret::{Clock, SystemClock, SystemEntropy, Time};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than any machine needs.
pub const LONG: Duration = Duration::from_secs(600);

/// What a node does with a request of the log.
pub type Act = dyn Fn(u64, Rpc, Bytes) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync;
/// What it does with a snapshot.
pub type Take = dyn Fn(u64, Bytes, BodyStream) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync;

/// A node behind a port.
pub struct Memory {
    pub members: Mutex<HashSet<u64>>,
    pub asked: Mutex<Vec<(u64, Rpc, usize)>>,
    pub passed_on: Mutex<Vec<(u64, http::request::Parts, Bytes)>>,
    act: Box<Act>,
    take: Box<Take>,
}

/// Answers with who asked, what, and the bytes.
pub fn echo(from: u64, rpc: Rpc, body: &Bytes) -> Bytes {
    [format!("{from:x} {} ", rpc.as_str()).as_bytes(), body].concat().into()
}

impl Memory {
    pub fn new(act: Box<Act>, take: Box<Take>) -> Arc<Self> {
        let members = Mutex::new(HashSet::from([1, 2, 3]));
        Arc::new(Self { members, asked: Mutex::default(), passed_on: Mutex::default(), act, take })
    }

    pub fn echoing() -> Arc<Self> {
        Self::new(Box::new(|from, rpc, body| Box::pin(ready(Ok(echo(from, rpc, &body))))), Box::new(no_snapshot))
    }

    pub fn taking(take: Box<Take>) -> Arc<Self> {
        Self::new(Box::new(|from, rpc, body| Box::pin(ready(Ok(echo(from, rpc, &body))))), take)
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn no_snapshot(_: u64, _: Bytes, _: BodyStream) -> BoxFuture<'static, Result<Bytes, String>> {
    Box::pin(ready(Err("no snapshot is expected".to_owned())))
}

impl Inside for Memory {
    fn admits(&self, raft_id: u64) -> bool {
        self.members.lock().unwrap().contains(&raft_id)
    }

    fn rpc(&self, from: u64, rpc: Rpc, body: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        self.asked.lock().unwrap().push((from, rpc, body.len()));
        (self.act)(from, rpc, body)
    }

    fn snapshot(&self, from: u64, head: Bytes, body: BodyStream) -> BoxFuture<'_, Result<Bytes, String>> {
        (self.take)(from, head, body)
    }

    fn request(&self, from: u64, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
            self.passed_on.lock().unwrap().push((from, parts, body.clone()));
            let answer = http::Response::builder().status(418).header("x-answer", "yes");
            answer.body(Full::new(body).map_err(|never| match never {}).boxed_unsync()).unwrap()
        })
    }
}

/// A port with a node behind it.
pub struct Node {
    pub raft_id: u64,
    pub port: Arc<Port>,
    pub inside: Arc<Memory>,
    pub address: String,
}

/// Time limits that nothing here meets.
pub fn patient() -> Timing {
    Timing {
        connect: LONG,
        handshake: LONG,
        ping_interval: LONG,
        ping_timeout: LONG,
        door_ping_interval: LONG,
        door_ping_timeout: LONG,
    }
}

pub fn settings() -> Settings {
    Settings { timing: patient(), ..Settings::default() }
}

impl Node {
    /// A node that has not entered yet.
    pub async fn sealed(raft_id: u64, inside: Arc<Memory>, settings: Settings) -> Self {
        let port = Port::bind(&["127.0.0.1:0".to_owned()], settings).await.unwrap();
        port.serve(Arc::<Memory>::clone(&inside));
        let address = port.addresses()[0].to_string();
        Self { raft_id, port, inside, address }
    }

    pub async fn new(raft_id: u64, keys: &ClusterKeys) -> Self {
        Self::with(raft_id, keys, Memory::echoing()).await
    }

    pub async fn with(raft_id: u64, keys: &ClusterKeys, inside: Arc<Memory>) -> Self {
        let node = Self::sealed(raft_id, inside, settings()).await;
        node.port.enter(keys, raft_id).unwrap();
        node
    }

    pub fn to(&self) -> To<'_> {
        To { raft_id: self.raft_id, node_id: "other", address: &self.address }
    }

    pub async fn call(&self, to: To<'_>, rpc: Rpc, body: &[u8]) -> Result<Bytes, String> {
        self.port.call(to, rpc, Bytes::copy_from_slice(body), LONG).await.map_err(|e| e.to_string())
    }

    /// Asks until it is answered: for what comes about soon, and says no more than that it did.
    pub async fn call_until_answered(&self, to: To<'_>) {
        while self.call(to, Rpc::Vote, b"").await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

/// Now, by the clock of the ports.
pub fn now() -> Time {
    SystemClock.now()
}

pub fn keys() -> ClusterKeys {
    ClusterKeys::first(now(), &SystemEntropy).unwrap()
}

/// How a caller that is no port speaks TLS.
pub struct Caller {
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub certificate: Option<(ClusterKeys, u64, Time)>,
    pub protocols: Vec<Vec<u8>>,
}

impl Caller {
    /// As member 2 would, at present.
    pub fn member(keys: &ClusterKeys) -> Self {
        Self {
            versions: vec![&rustls::version::TLS13],
            certificate: Some((keys.clone(), 2, now())),
            protocols: vec![PROTOCOL.to_vec()],
        }
    }

    pub async fn connect(&self, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((keys, raft_id, made)) => {
                let (leaf, key) = certificate_for(keys, *raft_id, *made, &SystemEntropy).unwrap();
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().to_vec()));
                builder.with_client_auth_cert(vec![leaf], key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.clone();
        let tcp = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// HTTP/2 over such a connection.
    pub async fn http2(&self, address: &str) -> SendRequest<Body> {
        let stream = self.connect(address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
