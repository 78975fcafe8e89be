//! The server's own affairs below `sys/`, asked of a whole core: seal, wrapping, leases, audit, raft, tools and the rest.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of a test binary may fail loudly")]

#[path = "../common/mod.rs"]
mod common;

mod audit;
mod config;
mod identity;
mod leases;
mod lessor;
mod listing;
mod locked_users;
mod misc;
mod quotas;
mod raft;
mod scale;
mod seal;
mod snapshot;
mod tools;
mod wrapping;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_types::{Map, Operation};
use engine::{Kind, Request, WrapRequest};
use secret::SecretString;
use serde_json::Value;
use server_core::{Answer, FailureKind};

use common::Server;

/// What the edge makes of an answer.
#[derive(Debug)]
pub struct Seen {
    /// HTTP status.
    pub status: u16,
    /// The envelope, the bare body (JSON or text), or `{"errors": […]}`; null if there is none.
    pub body: Value,
    /// Bytes of a bare body.
    pub bytes: Vec<u8>,
}

impl Seen {
    /// The first error's text.
    #[track_caller]
    pub fn error(&self) -> &str {
        self.body["errors"][0].as_str().unwrap_or_else(|| panic!("no error in {self:?}"))
    }

    /// The data of an answer with status 200.
    #[track_caller]
    pub fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{self:?}");
        &self.body["data"]
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A request with an id of its own.
pub fn request(operation: Operation, path: &str, body: Value, token: &str) -> Request {
    let mut request = Request::new(operation, path);
    request.id = format!("00000000-0000-4000-8000-{:012}", NUMBER.fetch_add(1, Ordering::Relaxed));
    request.token = SecretString::from(token);
    request.data = match body {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    request
}

/// Sends a request.
pub async fn send(server: &Server, request: Request) -> Seen {
    let nothing = |status| Seen { status, body: Value::Null, bytes: Vec::new() };
    match server.core.handle(request).await.into_inner() {
        Answer::Failure(f) => {
            let status = match f.kind {
                FailureKind::Invalid => 400,
                FailureKind::Denied => 403,
                FailureKind::NotFound => 404,
                FailureKind::UnsupportedOperation => 405,
                FailureKind::TooLarge => 413,
                FailureKind::Limited => 429,
                FailureKind::Internal => 500,
                FailureKind::Unavailable => 503,
                #[allow(unreachable_patterns, reason = "kinds that no path here gives")]
                _ => 599,
            };
            Seen { body: serde_json::json!({ "errors": f.errors }), ..nothing(status) }
        }
        Answer::Wrapped(wrap) => {
            Seen { body: serde_json::from_slice(&server_core::render_wrapped(&wrap)).unwrap(), ..nothing(200) }
        }
        Answer::Response { request_id, mount_type, response, is_list, is_read, inject } => {
            if let Kind::Bare { body, status, .. } = response.kind {
                let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
                return Seen { body: serde_json::from_slice(&body).unwrap_or_else(|_| text()), bytes: body, status };
            }
            if let Kind::Stream { body, .. } = &response.kind {
                let bytes = snapshot::all(body.take().unwrap()).await;
                return Seen { bytes, ..nothing(200) };
            }
            let body = serde_json::from_slice(&server_core::render(&response, &request_id, &mount_type, inject)).unwrap();
            let empty =
                response.data.is_none() && response.auth.is_none() && response.secret.is_none() && response.warnings.is_empty();
            let no_names = is_list && response.data.as_ref().is_some_and(|d| d.to_map().is_empty());
            match response.kind {
                Kind::Accepted => Seen { body, ..nothing(202) },
                _ if no_names || (empty && (is_list || is_read)) => nothing(404),
                _ if empty => nothing(204),
                _ => Seen { body, ..nothing(200) },
            }
        }
        #[allow(unreachable_patterns, reason = "answers that no path here gives")]
        _ => nothing(599),
    }
}

/// Any operation by anybody.
pub async fn ask(server: &Server, operation: Operation, path: &str, body: Value, token: &str) -> Seen {
    send(server, request(operation, path, body, token)).await
}

/// Root reads.
pub async fn get(server: &Server, path: &str) -> Seen {
    ask(server, Operation::Read, path, Value::Null, &server.root).await
}

/// Root writes.
pub async fn post(server: &Server, path: &str, body: Value) -> Seen {
    ask(server, Operation::Update, path, body, &server.root).await
}

/// Root lists.
pub async fn list(server: &Server, path: &str) -> Seen {
    ask(server, Operation::List, path, Value::Null, &server.root).await
}

/// Root deletes.
pub async fn delete(server: &Server, path: &str) -> Seen {
    ask(server, Operation::Delete, path, Value::Null, &server.root).await
}

/// The same with a wrap header of so many seconds; the answer is what the edge shows.
pub async fn wrapped(server: &Server, operation: Operation, path: &str, body: Value, token: &str, seconds: u64) -> Seen {
    let mut request = request(operation, path, body, token);
    request.wrap = Some(WrapRequest { ttl: Duration::from_secs(seconds), format: None });
    send(server, request).await
}

/// A token with one policy of this text.
pub async fn token_with(server: &Server, name: &str, policy: &str) -> String {
    let made = post(server, &format!("sys/policies/acl/{name}"), serde_json::json!({ "policy": policy })).await;
    assert_eq!(made.status, 204, "{made:?}");
    let made = post(server, "auth/token/create", serde_json::json!({ "policies": [name] })).await;
    made.body["auth"]["client_token"].as_str().unwrap().to_owned()
}
