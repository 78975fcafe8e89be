//! HTTP to requests and answers to HTTP: the only room that knows status codes.
//!
//! It decides nothing. What needs no token and no open barrier (health, init, unseal…) is answered in `direct`; everything
//! else goes through the core's pipeline, and only what came back recorded is serialised.
//!
//! Deliberately absent: the configuration file and signals (`strongroom`), forwarding to another node (the cluster's issue).

mod body;
mod direct;
mod json_limits;
mod limits;
mod listener;
mod patience;
mod request;
mod respond;
mod service;
mod status;
mod tls;

pub use limits::Limits;
pub use listener::{Listener, ListenerError};
pub use service::{Service, ServiceConfig};
pub use tls::{TlsError, TlsSettings, TlsState};
