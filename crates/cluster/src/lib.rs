//! The cluster port: HTTP/2 between the nodes of one cluster, over TLS 1.3 with certificates that the cluster issues itself.
//!
//! The cluster's certificate authorities ([`ClusterKeys`]) live behind the barrier, so only an unsealed node can make itself a
//! certificate. It names the node by its raft id; both ends verify it, and the door lets in only ids of the membership.
//!
//! Deliberately absent: what the requests mean (`replication` and the node [`Inside`]), who is a member, and any way in for a node
//! that has no certificate: joining goes through the API port.

mod answer;
mod crowd;
mod discover;
mod door;
mod identity;
mod inside;
mod keys;
mod lane;
mod limits;
mod peers;
mod port;
mod series;
mod wire;

pub use discover::{DiscoverError, Pod, discover, discover_from};
pub use inside::{Body, BodyError, BodyStream, Inside};
pub use keys::{ClusterKeys, KeysError};
pub use port::{BindError, Port, Settings, Timing};
pub use replication::{Rpc, To, Unreachable};

/// The pieces below [`Port`], for this crate's own tests.
#[doc(hidden)]
pub mod internals {
    pub use crate::identity::{PROTOCOL, certificate_for};
}
