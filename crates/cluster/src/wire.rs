//! How requests look between two nodes: HTTP/2, the place of a request in `:authority`, so that no header or path of a passed-on
//! request can be taken for one of the log.
//!
//! `POST https://log/<rpc>`: a request of the log, its bytes in the body; 200 with the answer's bytes, 503 with a refusal in words.
//! `POST https://log/snapshot`: the head in a header (base64), the state as body. Anything at `https://api`: a passed-on request.

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, BodyStream as Frames, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use replication::Rpc;

use crate::inside::{Body, BodyError, BodyStream};
use crate::limits::{BODY_TIMEOUT, ENTRIES_BYTES_MAX, QUESTION_BYTES_MAX, SNAPSHOT_HEAD_BYTES_MAX};

/// Requests of the log.
pub(crate) const LOG: &str = "log";
/// Passed-on requests.
pub(crate) const API: &str = "api";
/// Path of a snapshot.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Header with the head of a snapshot.
pub(crate) const SNAPSHOT_HEAD: HeaderName = HeaderName::from_static("strongroom-snapshot-head");

/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyRefusal {
    /// Its length is not declared.
    #[error("a body without its length")]
    Unmeasured,
    /// It is longer than its kind may be.
    #[error("a body of {length} bytes, where {max} are allowed")]
    TooLong { length: u64, max: usize },
    /// It takes too long.
    #[error("nothing of the body came for {}s", BODY_TIMEOUT.as_secs())]
    TooSlow,
    /// It ended early.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Longest body of a request of the log.
pub(crate) fn body_bytes_max(rpc: Rpc) -> usize {
    match rpc {
        Rpc::Append | Rpc::Propose => ENTRIES_BYTES_MAX,
        Rpc::Vote | Rpc::PreVote | Rpc::TransferLeader | Rpc::ReadIndex | Rpc::Hello => QUESTION_BYTES_MAX,
    }
}

/// The declared length of a body, checked before anything of it is read.
pub(crate) fn length(body: &Incoming, max: usize) -> Result<usize, BodyRefusal> {
    let length = body.size_hint().exact().ok_or(BodyRefusal::Unmeasured)?;
    usize::try_from(length).ok().filter(|n| *n <= max).ok_or(BodyRefusal::TooLong { length, max })
}

/// A whole body of the checked length. hyper holds the sender to the length it declared.
pub(crate) async fn whole(body: Incoming, length: usize) -> Result<Bytes, BodyRefusal> {
    let mut frames = Frames::new(Whole(body));
    let mut read = Vec::with_capacity(length);
    loop {
        let frame = tokio::time::timeout(BODY_TIMEOUT, frames.next()).await.map_err(|_| BodyRefusal::TooSlow)?;
        let Some(frame) = frame else { return Ok(Bytes::from(read)) };
        let frame = frame.map_err(|e| BodyRefusal::Broken(e.to_string()))?;
        read.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
    }
}

/// A body that ends only where its sender ended it. hyper's own takes a stream that the sender gave up for one that is over, and half a
/// body for a whole one.
struct Whole(Incoming);

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match std::task::ready!(Pin::new(&mut self.0).poll_frame(context)) {
            None if !self.0.is_end_stream() => Poll::Ready(Some(Err("the sender gave up".into()))),
            frame => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Bytes of a body, each as it comes; trailers are dropped. After an error it is over.
pub(crate) fn stream(body: Incoming) -> BodyStream {
    let mut over = false;
    let pieces = Frames::new(Whole(body)).take_while(move |frame| {
        let before = over;
        over |= frame.is_err();
        std::future::ready(!before)
    });
    let pieces = pieces.filter_map(|frame| {
        std::future::ready(match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(e) => Some(Err(std::io::Error::other(e))),
        })
    });
    Box::pin(pieces)
}

/// A body from what hyper received.
pub(crate) fn boxed(body: Incoming) -> Body {
    Whole(body).boxed_unsync()
}

/// A body of these bytes.
pub(crate) fn full(bytes: Bytes) -> Body {
    if bytes.is_empty() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of the log.
pub(crate) fn answer(status: StatusCode, bytes: Bytes) -> http::Response<Body> {
    let mut answer = http::Response::new(full(bytes));
    *answer.status_mut() = status;
    answer
}

/// A request of the log.
pub(crate) fn question(path: &str, body: Body) -> Result<http::Request<Body>, http::Error> {
    http::Request::builder().method(Method::POST).uri(format!("https://{LOG}/{path}")).body(body)
}

/// The head of a snapshot as a header.
pub(crate) fn write_head(head: &[u8]) -> Option<HeaderValue> {
    if head.len() > SNAPSHOT_HEAD_BYTES_MAX {
        return None;
    }
    HeaderValue::from_str(&BASE64_STANDARD_NO_PAD.encode(head)).ok()
}

/// The reverse.
pub(crate) fn read_head(headers: &HeaderMap) -> Option<Bytes> {
    let head = BASE64_STANDARD_NO_PAD.decode(headers.get(SNAPSHOT_HEAD)?.as_bytes()).ok()?;
    (head.len() <= SNAPSHOT_HEAD_BYTES_MAX).then(|| head.into())
}

/// Makes a client's request fit to be passed on: the URI's place is ours, and headers about the client's connection go.
pub(crate) fn outward(request: &mut http::Request<Body>) -> Result<(), http::Error> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTPS).authority(Authority::from_static(API)).path_and_query(path);
    *request.uri_mut() = uri.build()?;
    *request.version_mut() = http::Version::HTTP_2;
    for name in CONNECTION_HEADERS {
        request.headers_mut().remove(name);
    }
    Ok(())
}

/// A passed-on request as it was: path and query only.
pub(crate) fn inward(parts: &mut http::request::Parts) -> Result<(), http::Error> {
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::builder().path_and_query(path).build()?;
    Ok(())
}

/// An error with its causes.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// RFC 9113 §8.2.2, and the client's name for the host.
const CONNECTION_HEADERS: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];
