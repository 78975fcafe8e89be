//! Passing a request on to the node that leads, and taking one that another node passed on.
//!
//! Only what the leader alone can answer travels like that (`server_core::Place`). The client's address goes along in headers that are
//! believed on the cluster port only. A request that was passed on is never passed on again, so nothing can go round in circles.
//!
//! Deliberately absent: connections and who may use them (`cluster`), which requests those are (`server-core`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cluster::{Body, BodyError};
use futures::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use replication::{To, Unreachable};

use crate::service::Peer;

/// Longest answer that is passed back. Those of the leader's own paths are small; sign-ins hold a token.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The client's address and port.
const CLIENT: HeaderName = HeaderName::from_static("x-strongroom-client");
/// The client came over TLS.
const CLIENT_TLS: HeaderName = HeaderName::from_static("x-strongroom-client-tls");
/// In the answer of a node that does not lead (any more): it has done nothing.
pub(crate) const NOT_LEADING: HeaderName = HeaderName::from_static("x-strongroom-not-leading");

/// The way to other nodes for HTTP requests.
pub trait Forwarder: Send + Sync + 'static {
    /// Passes a request on and gives the whole answer. An error: whether anything was done there is unknown.
    fn forward<'a>(&'a self, to: To<'a>, request: Request<Bytes>) -> BoxFuture<'a, Result<Response<Bytes>, Unreachable>>;
}

impl Forwarder for cluster::Port {
    fn forward<'a>(&'a self, to: To<'a>, request: Request<Bytes>) -> BoxFuture<'a, Result<Response<Bytes>, Unreachable>> {
        Box::pin(async move {
            let (parts, bytes) = request.into_parts();
            let body = Body::new(Full::new(bytes).map_err(whole));
            let answer = Self::forward(self, to, Request::from_parts(parts, body)).await?;
            let (parts, body) = answer.into_parts();
            Ok(Response::from_parts(parts, gathered(body).await?))
        })
    }
}

async fn gathered(mut body: Body) -> Result<Bytes, Unreachable> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Unreachable(e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(Unreachable(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Bytes that are there cannot fail to come.
fn whole(never: Infallible) -> BodyError {
    match never {}
}

/// What is passed on of a request: all of it but what belongs to the connection it came over.
pub(crate) fn outgoing(peer: &Peer, parts: &http::request::Parts, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // It was part of a URI before.
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.headers_mut() = end_to_end(&parts.headers);
    let head = request.headers_mut();
    for name in [HOST, CONTENT_LENGTH, CLIENT, CLIENT_TLS, NOT_LEADING] {
        head.remove(name);
    }
    if let Some(address) = peer.address.and_then(|a| HeaderValue::from_str(&a.to_string()).ok()) {
        head.insert(CLIENT, address);
    }
    if peer.tls {
        head.insert(CLIENT_TLS, HeaderValue::from_static("1"));
    }
    request
}

/// Who sent a request that came over the cluster port, and the request without the marks of its way.
pub(crate) fn incoming<B>(mut request: Request<B>) -> (Peer, Request<B>) {
    let head = request.headers_mut();
    let address = head.remove(CLIENT).and_then(|v| v.to_str().ok().and_then(|t| t.parse::<SocketAddr>().ok()));
    let tls = head.remove(CLIENT_TLS).is_some();
    (Peer { address, tls, certificates: Vec::new(), is_forwarded: true }, request)
}

/// The headers of an answer that are passed back.
pub(crate) fn end_to_end(head: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = head
        .get_all(CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    let mut out = head.clone();
    for name in named.into_iter().chain([CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]) {
        out.remove(name);
    }
    for name in ["keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"] {
        out.remove(name);
    }
    out
}

/// Whether asking twice is as good as asking once.
pub(crate) fn is_repeatable(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "LIST" | "SCAN" | "HELP" | "OPTIONS")
}

/// How long a request is tried to be passed on, through an election, and the pause between attempts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_stays_behind_and_marks_cannot_be_brought_along() {
        let request = Request::builder()
            .method("PUT")
            .uri("https://host:8200/v1/sys/step-down?a=b%20c")
            .header("host", "host:8200")
            .header("connection", "keep-alive, X-Hop")
            .header("keep-alive", "5")
            .header("x-hop", "1")
            .header("transfer-encoding", "chunked")
            .header("content-length", "3")
            .header("x-strongroom-client", "6.6.6.6:6")
            .header("x-strongroom-client-tls", "1")
            .header("x-strongroom-not-leading", "1")
            .header("x-vault-token", "hvs.x")
            .header("x-vault-namespace", "a/")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let peer = Peer { address: Some("10.1.2.3:4567".parse().unwrap()), ..Peer::default() };
        let sent = outgoing(&peer, &parts, Bytes::from_static(b"{}x"));
        assert_eq!((sent.method().as_str(), sent.uri().to_string().as_str()), ("PUT", "/v1/sys/step-down?a=b%20c"));
        let mut names: Vec<&str> = sent.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-strongroom-client", "x-vault-namespace", "x-vault-token"]);
        let (peer, taken) = incoming(sent);
        assert_eq!((peer.address, peer.tls, peer.is_forwarded), (Some("10.1.2.3:4567".parse().unwrap()), false, true));
        assert!(!taken.headers().contains_key(CLIENT));
        assert_eq!(&taken.body()[..], b"{}x");
    }

    #[test]
    fn an_address_that_is_none_is_nobodys() {
        let request = Request::builder().header("x-strongroom-client", "somewhere").body(()).unwrap();
        let (peer, request) = incoming(request);
        assert!(peer.address.is_none() && peer.is_forwarded && request.headers().is_empty());
    }
}
