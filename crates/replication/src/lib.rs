//! The replicated log: proposals in, applied state and leadership out. The only room that names `openraft`.
//!
//! There is one write path: a [`Changeset`](storage::Changeset) becomes one log entry, is made durable on a majority
//! (of one, for a single node), applied to [`Space::State`](storage::Space::State), shown to the [`Observer`], and only
//! then acknowledged.
//!
//! Deliberately absent: sockets and TLS (a [`Peers`] implementation brings them), keys and plaintext (`barrier`), and
//! what the changes mean (`server-core`).

mod answer;
mod book;
mod codec;
mod config;
mod desk;
mod disk;
mod error;
mod hello;
mod home;
mod inner;
mod install;
mod ledger;
mod limits;
mod log;
mod machine;
mod maintenance;
mod members;
mod network;
mod node;
mod reads;
mod recover;
mod replica;
mod restore;
mod runtime;
mod shared;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshot;
mod spool;
mod status;
#[cfg(feature = "testing")]
pub mod testing;
mod together;
mod types;
mod wal;
mod wire;
mod writer;

pub use config::Settings;
pub use error::{ChangeError, OpenError, ProposeError, Refused};
pub use limits::{MAX_CHANGE_BYTES, MAX_MESSAGE_BYTES};
pub use machine::Observer;
pub use members::{Follower, NewMember};
pub use network::{Alone, Answer, Peers, Rpc, To, Unreachable};
pub use node::identity;
pub use recover::{RecoverError, Recovery, Survivor, recover};
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
