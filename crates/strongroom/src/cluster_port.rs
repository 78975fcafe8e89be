//! The cluster port as the core sees it, and the node as the port sees it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cluster::{Body, BodyError, BodyStream, ClusterKeys, Inside, Port, Rpc};
use engine::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use server_core::{Core, Gate};
use server_http::Service;

/// Opens and closes the port.
pub struct PortGate(pub Arc<Port>);

impl Gate for PortGate {
    fn enter(&self, keys: &ClusterKeys, raft_id: u64) -> Result<(), String> {
        self.0.enter(keys, raft_id).map_err(|e| e.to_string())
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.leave())
    }
}

/// This node, behind its port.
pub struct Node {
    /// What it is.
    pub core: Arc<Core>,
    /// What answers requests that other nodes pass on.
    pub service: Arc<Service>,
}

impl Inside for Node {
    /// Whoever has a certificate of the cluster is or was a member. The log itself refuses those that are not, and tells them so: only
    /// thus does a node that was away hear that it was removed.
    fn admits(&self, _raft_id: u64) -> bool {
        true
    }

    fn rpc(&self, from: u64, rpc: Rpc, body: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move { self.core.replica().answer(from, rpc, body).await.map_err(|e| e.to_string()) })
    }

    fn snapshot(&self, from: u64, head: Bytes, body: BodyStream) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move { self.core.replica().receive_snapshot(from, head, body).await.map_err(|e| e.to_string()) })
    }

    fn request(&self, from: u64, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            if !self.core.replica().is_member(from) {
                return refusal(StatusCode::FORBIDDEN);
            }
            let (parts, body) = request.into_parts();
            let Some(bytes) = gathered(body).await else { return refusal(StatusCode::BAD_REQUEST) };
            let answer = self.service.forwarded(Request::from_parts(parts, Full::new(bytes))).await;
            answer.map(|body| Body::new(body.map_err(boxed)))
        })
    }
}

/// Longest request that is passed on, twice what a listener takes unless it is told otherwise. Those that are passed on are small.
const PASSED_ON_MAX_BYTES: usize = 64 << 20;

/// The whole body; `None` if it broke off or is too long.
async fn gathered(mut body: Body) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if bytes.len() + data.len() > PASSED_ON_MAX_BYTES {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes.freeze())
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut refusal = Response::new(Body::default());
    *refusal.status_mut() = status;
    refusal
}

fn boxed(error: io::Error) -> BodyError {
    Box::new(error)
}
