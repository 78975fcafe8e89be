//! A request after HTTP was understood and before anything was decided.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api_types::{Map, Operation};
use secret::SecretString;

use crate::stream::Stream;

/// Where a request came from.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The client's address, after `X-Forwarded-For` was honoured where configured.
    pub remote_addr: Option<IpAddr>,
    /// The client's port, 0 if unknown.
    pub remote_port: u16,
    /// Whether it came over TLS that this server ended.
    pub tls: bool,
    /// DER of the client certificates of the TLS connection, leaf first; empty if none was offered.
    pub client_certificates: Vec<Vec<u8>>,
}

/// `X-Vault-Wrap-TTL` and `X-Vault-Wrap-Format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapRequest {
    /// How long the wrapping token lives; never zero.
    pub ttl: Duration,
    /// `jwt` or nothing.
    pub format: Option<String>,
}

/// What the client sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// A fresh UUID; the `request_id` of the answer and the id in audit lines.
    pub id: String,
    /// The operation as the method says it; the pipeline turns `Update` into `Create` after the existence check.
    pub operation: Operation,
    /// The whole path below `/v1/`, for example `secret/data/app`.
    pub path: String,
    /// Body or query parameters.
    pub data: Map,
    /// The body where the path takes raw bytes instead of JSON.
    pub raw_body: Vec<u8>,
    /// The body where the path takes one of any length; whoever takes it reads it while it comes.
    pub upload: Option<Stream>,
    /// The client's token as presented; empty if there was none.
    pub token: SecretString,
    /// Headers by lower-case name, without those that carry the token. An engine sees those that its mount's
    /// `passthrough_request_headers` names.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Where it came from.
    pub connection: Connection,
    /// Whether and how the answer is to be wrapped.
    pub wrap: Option<WrapRequest>,
}

impl Request {
    /// A request without headers or token, as internal calls and tests make it.
    #[must_use]
    pub fn new(operation: Operation, path: impl Into<String>) -> Self {
        Self {
            id: String::new(),
            operation,
            path: path.into(),
            data: Map::new(),
            raw_body: Vec::new(),
            upload: None,
            token: SecretString::default(),
            headers: BTreeMap::new(),
            connection: Connection::default(),
            wrap: None,
        }
    }

    /// The first value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.first()).map(String::as_str)
    }
}
