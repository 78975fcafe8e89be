//! What the port asks of the node behind it.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http_body_util::combinators::UnsyncBoxBody;
use replication::Rpc;

/// Why a body ended before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or an answer that passes from node to node.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body as it arrives, with the other end held back while nobody reads. An error is an end before the end: what came so far
/// is worth nothing.
pub type BodyStream = BoxStream<'static, std::io::Result<Bytes>>;

/// The node behind the port. `from` is the raft id in the caller's certificate.
pub trait Inside: Send + Sync + 'static {
    /// Whether this id belongs to the cluster, or to a node whose join is under way. Asked at each connection and each request.
    fn admits(&self, raft_id: u64) -> bool;

    /// One request of the replicated log. The error's text goes to the caller.
    fn rpc(&self, from: u64, rpc: Rpc, body: Bytes) -> BoxFuture<'_, Result<Bytes, String>>;

    /// A snapshot: what [`replication::Peers::send_snapshot`] was given.
    fn snapshot(&self, from: u64, head: Bytes, body: BodyStream) -> BoxFuture<'_, Result<Bytes, String>>;

    /// An HTTP request that another node passed on with [`crate::Port::forward`].
    fn request(&self, from: u64, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>>;
}
