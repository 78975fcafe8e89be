//! A client of the HTTP API, for the command line, the agent and the injector.
//!
//! It honours the environment of Vault's own client ([`Config::from_environment`]), retries and redirects as that one does, and
//! formats errors in the same words, because scripts match them.
//! Deliberately absent: the meaning of any path (callers build [`Request`]s), the token helper (the command line's), and metrics.
//! SNI stays the address's host: `VAULT_TLS_SERVER_NAME` changes which name the certificate must carry, not the name that is sent.

mod config;
mod environment;
mod error;
mod http_client;
mod limits;
mod reply;
mod request;
pub mod retry;
mod secret_reply;
mod tls;

pub use config::{Config, ConfigError, Proxy, Tls};
pub use environment::Environment;
pub use error::{ClientError, ResponseError};
pub use http_client::Client;
pub use limits::{DEFAULT_ADDRESS, DEFAULT_MAX_RETRIES};
pub use reply::Reply;
pub use request::{Body, Method, Request};
pub use secret_reply::{SecretAuth, SecretReply, WrapInfo};
