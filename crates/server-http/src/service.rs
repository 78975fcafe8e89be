//! One request through HTTP: place, rate limits, origin, bounds, body, then a direct answer or the core's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api_types::{Map, Operation, headers};
use arc_swap::ArcSwap;
use audit::SealedReply;
use bytes::Bytes;
use engine::{Connection, Request, WrapRequest};
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use replication::To;
use server_core::{Admission, Core, Failure, FailureKind, NodeState, Verdict};

use crate::body::{self, BodyError};
use crate::cors::{self, Origin};
use crate::custom_headers::CustomHeaders;
use crate::direct;
use crate::direct_raft;
use crate::direct_rekey;
use crate::forward::{self, Forwarder};
use crate::limits::Limits;
use crate::request::{self, Asked, Place};
use crate::respond::{self, Reply};
use crate::upload;

/// Settings of the service on one listener.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Bounds.
    pub limits: Limits,
    /// `sys/metrics` needs no token here.
    pub unauthenticated_metrics: bool,
    /// Headers of the answers.
    pub headers: CustomHeaders,
}

/// Serves HTTP requests of one listener.
pub struct Service {
    core: Arc<Core>,
    config: ServiceConfig,
    /// As configured last: the only settings that can change while the listener is open.
    headers: ArcSwap<CustomHeaders>,
    room: body::Room,
    /// The way to the node that leads; a node alone has none.
    forwarder: Option<Arc<dyn Forwarder>>,
}

/// A request as far as its head says.
struct Head<'a> {
    peer: &'a Peer,
    parts: http::request::Parts,
    path: String,
    operation: Operation,
    query: Map,
}

/// What is known of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The other end.
    pub address: Option<SocketAddr>,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// DER certificates the client offered, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Another node of the cluster passed the request on.
    pub is_forwarded: bool,
}

impl Service {
    /// A service over a core.
    #[must_use]
    pub fn new(core: Arc<Core>, config: ServiceConfig) -> Self {
        let headers = ArcSwap::from_pointee(config.headers.clone());
        Self { core, config, headers, room: body::Room::new(), forwarder: None }
    }

    /// The same with a way to the node that leads.
    #[must_use]
    pub fn with_forwarder(self, forwarder: Arc<dyn Forwarder>) -> Self {
        Self { forwarder: Some(forwarder), ..self }
    }

    /// The bounds of this listener.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Other headers for the answers from now on.
    pub fn set_headers(&self, headers: CustomHeaders) {
        self.headers.store(Arc::new(headers));
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
            place => respond::finish(self.route(peer, request, place).await, namespace.as_ref(), &self.headers.load()),
        }
    }

    /// Answers a request that another node passed on over the cluster port.
    pub async fn forwarded<B>(&self, request: http::Request<B>) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (peer, request) = forward::incoming(request);
        self.call(&peer, request).await
    }

    async fn route<B>(&self, peer: &Peer, request: http::Request<B>, place: Place) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = match place {
            Place::Logical(path) => path,
            Place::Redirect(to) => return respond::redirect(&to, request.method() == Method::GET),
            Place::Ui(_) => return self.ui(respond::nowhere()),
            Place::Nowhere => return respond::nowhere(),
            Place::Unprintable => return respond::unprintable(),
        };
        let (operation, query) = match request::operation(request.method(), request.uri()) {
            Asked::Operation(operation, query) => (operation, query),
            Asked::UnknownMethod => return respond::errors(StatusCode::METHOD_NOT_ALLOWED, &[]),
            Asked::BadQuery => return respond::errors(StatusCode::BAD_REQUEST, &[]),
        };
        let (parts, body) = request.into_parts();
        let head = Head { peer, parts, path, operation, query };
        self.admitted(head, body).await
    }

    /// Asks the rate limits, then whether the origin may come in. Nothing of the body was read yet (CVE class N).
    async fn admitted<B>(&self, head: Head<'_>, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (shown, by_role) = match self.core.admit(&head.path, head.operation, head.client()) {
            Admission::Admitted(shown) => (shown, false),
            Admission::ByRole => (None, true),
            Admission::Refused { failure, shown, audited } => {
                body::drain(&head.parts.headers, body).await;
                return match head.request(Map::new(), Vec::new(), None) {
                    Some(request) if audited => self.limited(&request, failure, shown, true).await,
                    _ => self.limited(&Request::new(head.operation, ""), failure, shown, false).await,
                };
            }
        };
        let cors = self.core.open().and_then(|open| open.cors().ok());
        let origin = cors::check(cors.as_deref().and_then(Option::as_ref), &head.parts.method, &head.parts.headers);
        let mut reply = match &origin {
            Origin::Answered(_) => None,
            _ => Some(self.serve(head, body, by_role).await),
        };
        if let (Some(reply), Some(verdict)) = (&mut reply, &shown) {
            respond::pace(reply.headers_mut(), verdict);
        }
        match (origin, reply) {
            (Origin::Answered(answer), _) => *answer,
            (Origin::Allowed(origin), Some(mut reply)) => {
                cors::allow(reply.headers_mut(), &origin);
                reply
            }
            (_, Some(reply)) => reply,
            (_, None) => respond::nowhere(),
        }
    }

    async fn limited(&self, request: &Request, failure: Failure, shown: Option<Verdict>, audited: bool) -> Reply {
        let logged = if audited {
            self.core.refuse_limited(request, failure).await
        } else {
            self.core.unrecorded(failure, SealedReply::RateLimited)
        };
        let mut reply = respond::answer(logged);
        if let Some(verdict) = &shown {
            respond::pace(reply.headers_mut(), verdict);
        }
        reply
    }

    async fn serve<B>(&self, head: Head<'_>, body: B, by_role: bool) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(refusal) = direct::wrong_method(&head.path, &head.parts.method) {
            return refusal;
        }
        let stays = head.parts.headers.get(headers::NO_REQUEST_FORWARDING).is_some_and(|v| !v.is_empty());
        match self.core.place(&head.path, stays) {
            server_core::Place::Here => self.serve_here(head, body, by_role).await,
            _ if head.peer.is_forwarded => not_leading(),
            server_core::Place::Elsewhere => self.send_away(head, body).await,
            server_core::Place::Leader => self.pass_on(head, body).await,
        }
    }

    async fn serve_here<B>(&self, head: Head<'_>, body: B, by_role: bool) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (path, operation) = (head.path.as_str(), head.operation);
        if takes_raw_body(path) && operation == Operation::Update {
            return self.receive(&head, body).await;
        }
        let _room;
        let (data, raw_body) = if operation.is_write() || direct_rekey::is_cancel(path, operation) {
            _room = match self.room.take(&head.parts.headers, &body, &self.config.limits).await {
                Ok(room) => room,
                Err(e) => return refused_body(&e),
            };
            match self.data(&head, body).await {
                Ok(read) => read,
                Err(e) => return refused_body(&e),
            }
        } else {
            (head.query.clone(), Vec::new())
        };
        if direct::serves(path) {
            return direct::answer(&self.core, path, &head.parts.method, &data).await;
        }
        if direct_raft::may_serve(path)
            && let Some(reply) = direct_raft::answer(&self.core, path, &head.parts.method, &data, head.client()).await
        {
            return reply;
        }
        if path == "sys/metrics" && self.config.unauthenticated_metrics && operation == Operation::Read {
            return direct::metrics(&self.core);
        }
        if path == "sys/seal" {
            match self.core.state() {
                NodeState::Sealed => return respond::empty(StatusCode::NO_CONTENT),
                NodeState::Standby => return respond::refusal(&server_core::refuse_to_seal()),
                NodeState::Uninitialised | NodeState::Active => {}
            }
        }
        let wrap = match request::checked_headers(&head.parts.headers) {
            Ok(wrap) => wrap,
            Err(text) => return respond::refusal(&Failure::new(FailureKind::Invalid, text)),
        };
        let Some(request) = head.request(data, raw_body, wrap) else {
            return respond::refusal(&Failure::internal());
        };
        let mut shown = None;
        if by_role {
            match self.core.admit_login(&request) {
                Admission::Refused { failure, shown, audited } => return self.limited(&request, failure, shown, audited).await,
                Admission::Admitted(figures) => shown = figures,
                Admission::ByRole => {}
            }
        }
        let mut reply = self.through_core(request).await;
        if path == "sys/monitor" && operation == Operation::Read && reply.status() == StatusCode::OK {
            reply = self.monitor(&head.query).unwrap_or(reply);
        }
        if let Some(verdict) = &shown {
            respond::pace(reply.headers_mut(), verdict);
        }
        reply
    }

    /// 307: the client goes to the leader by itself.
    async fn send_away<B>(&self, head: Head<'_>, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        body::drain(&head.parts.headers, body).await;
        match self.core.leader_address().await {
            Ok(Some(address)) => {
                let target = head.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                respond::redirect(&format!("{address}{target}"), false)
            }
            // This node has begun to lead in between; the same request is welcome here.
            Ok(None) => respond::refusal(&Failure::new(FailureKind::Unavailable, "this node leads now, try again")),
            Err(failure) => respond::refusal(&failure),
        }
    }

    /// Has the leader answer, whoever that is by then.
    async fn pass_on<B>(&self, head: Head<'_>, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let _room = match self.room.take(&head.parts.headers, &body, &self.config.limits).await {
            Ok(room) => room,
            Err(e) => return refused_body(&e),
        };
        let bytes = match body::read(&head.parts.headers, body, &self.config.limits).await {
            Ok(bytes) => bytes,
            Err(e) => return refused_body(&e),
        };
        let end = tokio::time::Instant::now() + forward::PATIENCE;
        loop {
            let leader = match self.core.leader_in_reach().await {
                Ok(Some(leader)) => leader,
                Ok(None) => return self.serve_here(head, Full::new(bytes), false).await,
                Err(failure) => return respond::refusal(&failure),
            };
            let Some(forwarder) = &self.forwarder else {
                return respond::refusal(&Failure::new(FailureKind::Unavailable, "no active Vault instance found"));
            };
            let to = To { raft_id: leader.raft_id, node_id: &leader.node_id, address: &leader.address };
            let request = forward::outgoing(head.peer, &head.parts, bytes.clone());
            let limit = self.core.config().request_timeout;
            let answer = tokio::time::timeout(limit, forwarder.forward(to, request)).await;
            let is_late = tokio::time::Instant::now() >= end;
            match answer {
                Ok(Ok(answer)) if answer.headers().contains_key(forward::NOT_LEADING) => {
                    if is_late {
                        return respond::refusal(&Failure::new(FailureKind::Unavailable, "no active Vault instance found"));
                    }
                }
                Ok(Ok(answer)) => return respond::passed_back(answer),
                Ok(Err(e)) => {
                    tracing::warn!(error = %e, leader = leader.node_id, "a request could not be passed on to the leader");
                    if is_late || !forward::is_repeatable(&head.parts.method) {
                        return respond::errors(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            &["error during forwarding RPC request".into()],
                        );
                    }
                }
                Err(_) => return respond::refusal(&Failure::new(FailureKind::Unavailable, TOO_LONG)),
            }
            tokio::time::sleep(forward::PAUSE).await;
        }
    }

    /// Asks first and reads then: the body may be longer than memory. Its length is bounded by the disk, its pace by the
    /// listener's patience.
    async fn receive<B>(&self, head: &Head<'_>, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let wrap = match request::checked_headers(&head.parts.headers) {
            Ok(wrap) => wrap,
            Err(text) => return respond::refusal(&Failure::new(FailureKind::Invalid, text)),
        };
        let Some(mut request) = head.request(head.query.clone(), Vec::new(), wrap) else {
            return respond::refusal(&Failure::internal());
        };
        let (pieces, stream) = upload::stream();
        if !body.is_end_stream() {
            request.upload = Some(stream);
        }
        let mut answer = std::pin::pin!(self.core.handle(request));
        let logged = tokio::select! {
            logged = &mut answer => logged,
            () = upload::pump(body, pieces, self.config.limits.read_timeout) => answer.await,
        };
        respond::answer(logged)
    }

    /// Reads a body and what it says.
    async fn data<B>(&self, head: &Head<'_>, body: B) -> Result<(Map, Vec<u8>), BodyError>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let bytes = body::read(&head.parts.headers, body, &self.config.limits).await?;
        if direct_rekey::is_cancel(&head.path, head.operation) && bytes.is_empty() && self.core.open().is_some() {
            // Vault parses this body before it looks at anything, so an empty one is what its parser says.
            return Err(BodyError::Json("EOF".into()));
        }
        match body::parse(&head.parts.headers, head.operation, &bytes, &self.config.limits) {
            Ok(map) => Ok((map, Vec::new())),
            // Vault's logical paths put words of their own before the parser's; its hard-coded handlers do not.
            Err(BodyError::Json(text)) if head.operation == Operation::Update && !direct::is_hard_coded(&head.path) => {
                Err(BodyError::Json(format!("error parsing JSON: {text}")))
            }
            Err(e) => Err(e),
        }
    }

    /// The log from now on, after the core has allowed it.
    fn monitor(&self, query: &Map) -> Option<Reply> {
        let text = |name: &str| query.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let source = self.core.config().log_stream.as_ref()?;
        Some(match source.follow(text("log_level"), text("log_format") == "json") {
            Some(lines) => respond::lines(lines),
            None => respond::errors(StatusCode::SERVICE_UNAVAILABLE, &["too many others are following the log".to_owned()]),
        })
    }

    /// A reply of the web UI, with the headers configured for it.
    fn ui(&self, mut reply: Reply) -> Reply {
        let Some(headers) = self.core.open().and_then(|open| open.ui_headers().ok()) else { return reply };
        for (name, values) in headers.iter() {
            let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
            reply.headers_mut().remove(&name);
            for value in values.iter().filter_map(|v| HeaderValue::from_str(v).ok()) {
                reply.headers_mut().append(name.clone(), value);
            }
        }
        reply
    }

    async fn through_core(&self, request: Request) -> Reply {
        let limit = self.core.config().request_timeout;
        // On the heap: every future around it would be moved with it, and it is by far the largest.
        match tokio::time::timeout(limit, Box::pin(self.core.handle(request))).await {
            Ok(logged) => respond::answer(logged),
            Err(_) => {
                let failure = Failure::new(FailureKind::Unavailable, TOO_LONG);
                respond::answer(self.core.unrecorded(failure, SealedReply::Standby))
            }
        }
    }
}

impl Head<'_> {
    fn client(&self) -> Option<IpAddr> {
        self.peer.address.map(|a| a.ip().to_canonical())
    }

    /// The request for the core; `None` without randomness for its id.
    fn request(&self, data: Map, raw_body: Vec<u8>, wrap: Option<WrapRequest>) -> Option<Request> {
        Some(Request {
            id: request::id()?,
            operation: self.operation,
            path: self.path.clone(),
            data,
            raw_body,
            upload: None,
            token: request::token(&self.parts.headers),
            headers: request::other_headers(&self.parts.headers),
            connection: Connection {
                remote_addr: self.client(),
                remote_port: self.peer.address.map_or(0, |a| a.port()),
                tls: self.peer.tls,
                client_certificates: self.peer.certificates.clone(),
            },
            wrap,
        })
    }
}

const TOO_LONG: &str = "the request took longer than max_request_duration";

/// To the node that passed a request on: nothing was done, ask whoever leads.
fn not_leading() -> Reply {
    let mut reply = respond::refusal(&Failure::new(FailureKind::Unavailable, "no active Vault instance found"));
    reply.headers_mut().insert(forward::NOT_LEADING, HeaderValue::from_static("1"));
    reply
}

/// Paths whose body is not JSON, and may have any length.
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
