//! HTTP to requests and answers to HTTP: the only room that knows status codes.
//!
//! It decides nothing. What needs no token and no open barrier (health, init, unseal…) is answered in `direct`; everything
//! else goes through the core's pipeline, and only what came back recorded is serialised.
//!
//! Deliberately absent: the configuration file and signals (`strongroom`), the connections between nodes (`cluster`).

mod body;
mod cors;
mod custom_headers;
mod direct;
mod direct_raft;
mod direct_rekey;
mod forward;
mod json_limits;
mod limits;
mod listener;
mod patience;
mod reply_body;
mod request;
mod respond;
mod service;
mod status;
mod tls;
mod upload;

pub use custom_headers::{CustomHeaderError, CustomHeaders};
pub use forward::Forwarder;
pub use limits::Limits;
pub use listener::{Listener, ListenerError};
pub use reply_body::ReplyBody;
pub use service::{Peer, Service, ServiceConfig};
pub use tls::{TlsError, TlsSettings, TlsState};
