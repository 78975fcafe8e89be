//! The replicated log: proposals in, applied state and leadership out. The only room that names `openraft`.
//!
//! There is one write path: a [`Changeset`](storage::Changeset) becomes one log entry, is made durable on a majority
//! (of one, for a single node), applied to [`Space::State`](storage::Space::State), shown to the [`Observer`], and only
//! then acknowledged.
//!
//! Deliberately absent: sockets and TLS (a [`Peers`] implementation brings them), keys and plaintext (`barrier`), and
//! what the changes mean (`server-core`).

mod codec;
mod config;
mod disk;
mod error;
mod home;
mod limits;
mod log;
mod machine;
mod maintenance;
mod network;
mod node;
mod replica;
mod restore;
mod shared;
mod snapshot;
mod status;
mod types;
mod wal;
mod writer;

pub use config::Settings;
pub use error::{OpenError, ProposeError};
pub use limits::MAX_CHANGE_BYTES;
pub use machine::Observer;
pub use network::{Alone, Answer, Peers, Rpc, Unreachable};
pub use replica::Replica;
pub use restore::Incoming;
pub use snapshot::{StateSnapshot, Visit};
pub use status::{Peer, State, Status};
pub use types::Applied;

/// The pieces below [`Replica`], for this crate's own tests and for openraft's storage suite.
#[doc(hidden)]
pub mod internals {
    pub use crate::log::LogStore;
    pub use crate::machine::Machine;
    pub use crate::shared::Shared;
    pub use crate::types::{Member, Proposal, TypeConfig};
}
