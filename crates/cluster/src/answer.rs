//! What a member's request gets.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use replication::Rpc;
use tokio::sync::Semaphore;

use crate::inside::{Body, Inside};
use crate::limits::{BODIES_BYTES_MAX, REFUSAL_BYTES_MAX, SMALL_BODY_BYTES};
use crate::wire::{self, BodyRefusal};

/// The node and the memory for its callers' bodies.
pub(crate) struct Desk {
    pub(crate) inside: Arc<dyn Inside>,
    bodies: Semaphore,
}

impl Desk {
    pub(crate) fn new(inside: Arc<dyn Inside>) -> Self {
        Self { inside, bodies: Semaphore::new(BODIES_BYTES_MAX) }
    }

    /// Answers one request of a member.
    pub(crate) async fn answer(&self, from: u64, request: http::Request<Incoming>) -> http::Response<Body> {
        let (mut parts, body) = request.into_parts();
        match parts.uri.authority().map(|a| a.as_str()) {
            Some(wire::API) => match wire::inward(&mut parts) {
                Ok(()) => self.inside.request(from, http::Request::from_parts(parts, wire::boxed(body))).await,
                Err(e) => refusal(StatusCode::BAD_REQUEST, &e.to_string()),
            },
            Some(wire::LOG) if parts.method == Method::POST => {
                let path = parts.uri.path().strip_prefix('/').unwrap_or_default();
                let answered = if path == wire::SNAPSHOT {
                    let Some(head) = wire::read_head(&parts.headers) else {
                        return refusal(StatusCode::BAD_REQUEST, "a snapshot without its head");
                    };
                    self.inside.snapshot(from, head, wire::stream(body)).await
                } else if let Some(rpc) = Rpc::named(path) {
                    match self.read(rpc, body).await {
                        Ok(body) => self.inside.rpc(from, rpc, body).await,
                        Err(e) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, &e.to_string()),
                    }
                } else {
                    return refusal(StatusCode::NOT_FOUND, "this version knows no such request");
                };
                match answered {
                    Ok(bytes) => wire::answer(StatusCode::OK, bytes),
                    Err(text) => refusal(StatusCode::SERVICE_UNAVAILABLE, &text),
                }
            }
            _ => refusal(StatusCode::NOT_FOUND, "this version knows no such place"),
        }
    }

    async fn read(&self, rpc: Rpc, body: Incoming) -> Result<Bytes, BodyRefusal> {
        let length = wire::length(&body, wire::body_bytes_max(rpc))?;
        let share = if length <= SMALL_BODY_BYTES { 0 } else { u32::try_from(length).unwrap_or(u32::MAX) };
        // The semaphore is never closed. The share ends with the reading: what is read belongs to the log's own limits.
        let _share = self.bodies.acquire_many(share).await;
        wire::whole(body, length).await
    }
}

/// For a caller that is no member any more.
pub(crate) fn stranger() -> http::Response<Body> {
    refusal(StatusCode::FORBIDDEN, "the caller is not a member of the cluster")
}

fn refusal(status: StatusCode, text: &str) -> http::Response<Body> {
    let end = text.floor_char_boundary(REFUSAL_BYTES_MAX);
    wire::answer(status, Bytes::copy_from_slice(text.as_bytes().get(..end).unwrap_or_default()))
}
