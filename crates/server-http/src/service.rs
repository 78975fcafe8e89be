//! One request through HTTP: place, bounds, body, then a direct answer or the core's.

use std::net::SocketAddr;
use std::sync::Arc;

use api_types::{Operation, headers};
use audit::SealedReply;
use bytes::Bytes;
use engine::{Connection, Request};
use http::{Method, StatusCode};
use hyper::body::Body;
use secret::{Entropy, SystemEntropy};
use server_core::{Core, Failure, FailureKind, NodeState};

use crate::body::{self, BodyError};
use crate::direct;
use crate::limits::Limits;
use crate::request::{self, Asked, Place};
use crate::respond::{self, Reply};

/// Settings of the service on one listener.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Bounds.
    pub limits: Limits,
    /// `sys/metrics` needs no token here.
    pub unauthenticated_metrics: bool,
}

/// Serves HTTP requests of one listener.
pub struct Service {
    core: Arc<Core>,
    config: ServiceConfig,
    room: body::Room,
}

/// What is known of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The other end.
    pub address: Option<SocketAddr>,
    /// DER certificates the client offered, leaf first.
    pub certificates: Vec<Vec<u8>>,
}

impl Service {
    /// A service over a core.
    #[must_use]
    pub fn new(core: Arc<Core>, config: ServiceConfig) -> Self {
        Self { core, config, room: body::Room::new() }
    }

    /// The bounds of this listener.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Answers one request. Never fails: what goes wrong is an answer as well.
    pub async fn call<B>(&self, peer: &Peer, request: http::Request<B>) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let namespace = request.headers().get(headers::NAMESPACE).cloned();
        match request::place(request.uri(), self.core.config().ui) {
            // Vault answers these before anything of its own, headers included.
            Place::Unprintable => respond::unprintable(),
            place => respond::finish(self.route(peer, request, place).await, namespace.as_ref()),
        }
    }

    async fn route<B>(&self, peer: &Peer, request: http::Request<B>, place: Place) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = match place {
            Place::Logical(path) => path,
            Place::Redirect(to) => return respond::redirect(&to, request.method() == Method::GET),
            Place::Ui(_) | Place::Nowhere => return respond::nowhere(),
            Place::Unprintable => return respond::unprintable(),
        };
        let (operation, query) = match request::operation(request.method(), request.uri()) {
            Asked::Operation(operation, query) => (operation, query),
            Asked::UnknownMethod => return respond::errors(StatusCode::METHOD_NOT_ALLOWED, &[]),
            Asked::BadQuery => return respond::errors(StatusCode::BAD_REQUEST, &[]),
        };
        if let Some(refusal) = direct::wrong_method(&path, request.method()) {
            return refusal;
        }
        let (head, body) = request.into_parts();
        let mut data = query;
        let mut raw_body = Vec::new();
        let _room;
        if operation.is_write() {
            _room = match self.room.take(&head.headers, &body, &self.config.limits).await {
                Ok(room) => room,
                Err(e) => return refused_body(&e),
            };
            let bytes = match body::read(&head.headers, body, &self.config.limits).await {
                Ok(bytes) => bytes,
                Err(e) => return refused_body(&e),
            };
            if takes_raw_body(&path) {
                raw_body = bytes.to_vec();
            } else {
                match body::parse(&head.headers, operation, &bytes, &self.config.limits) {
                    Ok(map) => data = map,
                    // Vault's logical paths put words of their own before the parser's; its hard-coded handlers do not.
                    Err(BodyError::Json(text)) if operation == Operation::Update && !direct::serves(&path) => {
                        return refused_body(&BodyError::Json(format!("error parsing JSON: {text}")));
                    }
                    Err(e) => return refused_body(&e),
                }
            }
        }
        if direct::serves(&path) {
            return direct::answer(&self.core, &path, &head.method, &data).await;
        }
        if path == "sys/metrics" && self.config.unauthenticated_metrics && operation == Operation::Read {
            return direct::metrics(&self.core);
        }
        if path == "sys/seal" && self.core.state() == NodeState::Sealed {
            return respond::empty(StatusCode::NO_CONTENT);
        }
        let wrap = match request::checked_headers(&head.headers) {
            Ok(wrap) => wrap,
            Err(text) => return respond::refusal(&Failure::new(FailureKind::Invalid, text)),
        };
        let Ok(id) = SystemEntropy.uuid() else {
            return respond::refusal(&Failure::internal());
        };
        let request = Request {
            id,
            operation,
            path,
            data,
            raw_body,
            token: request::token(&head.headers),
            headers: request::other_headers(&head.headers),
            connection: Connection {
                remote_addr: peer.address.map(|a| a.ip().to_canonical()),
                remote_port: peer.address.map_or(0, |a| a.port()),
                client_certificates: peer.certificates.clone(),
            },
            wrap,
        };
        self.through_core(request).await
    }

    async fn through_core(&self, request: Request) -> Reply {
        let limit = self.core.config().request_timeout;
        match tokio::time::timeout(limit, self.core.handle(request)).await {
            Ok(logged) => respond::answer(logged),
            Err(_) => {
                let failure = Failure::new(FailureKind::Unavailable, "the request took longer than max_request_duration");
                respond::answer(self.core.unrecorded(failure, SealedReply::Standby))
            }
        }
    }
}

/// Paths whose body is not JSON.
fn takes_raw_body(path: &str) -> bool {
    matches!(path, "sys/storage/raft/snapshot" | "sys/storage/raft/snapshot-force")
}

fn refused_body(error: &BodyError) -> Reply {
    let status = match error {
        BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyError::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        BodyError::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        BodyError::Broken | BodyError::Limit(_) | BodyError::Json(_) => StatusCode::BAD_REQUEST,
    };
    respond::errors(status, &[error.to_string()])
}
