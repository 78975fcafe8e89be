//! Joining, as far as it is answered beside the pipeline: by a node that is not open yet, and challenges, which every open node gives,
//! also while nobody leads and nothing can be read for certain. What takes a node in goes the way of all requests.

use std::net::IpAddr;
use std::sync::Arc;

use api_types::Map;
use http::{Method, StatusCode};
use serde_json::json;
use server_core::{Core, HostError, JoinError, JoinRequest, Target, render};

use crate::direct::{Body, Refusal, invalid};
use crate::request;
use crate::respond::{self, Reply};

const JOIN: &str = "sys/storage/raft/join";
const CHALLENGE: &str = "sys/storage/raft/bootstrap/challenge";

/// The paths that may be answered here.
pub(crate) fn may_serve(path: &str) -> bool {
    matches!(path, JOIN | CHALLENGE)
}

/// Answers, if this request is to be answered beside the pipeline.
pub(crate) async fn answer(core: &Arc<Core>, path: &str, method: &Method, data: &Map, from: Option<IpAddr>) -> Option<Reply> {
    let now = match path {
        JOIN => core.open().is_none(),
        CHALLENGE => core.open().is_some(),
        _ => false,
    };
    if !now {
        return None;
    }
    if !matches!(*method, Method::PUT | Method::POST) {
        return Some(respond::errors(StatusCode::METHOD_NOT_ALLOWED, &[]));
    }
    let reply = if path == JOIN { join(core, data).await } else { challenge(core, data, from) };
    Some(reply.unwrap_or_else(Refusal::reply))
}

async fn join(core: &Core, data: &Map) -> Result<Reply, Refusal> {
    let body = Body::new(data);
    let text = |name: &str| body.text(name).map(str::to_owned);
    let port = body.number("auto_join_port")?;
    let target = Target {
        leader_api_addr: text("leader_api_addr")?,
        auto_join: text("auto_join")?,
        auto_join_scheme: text("auto_join_scheme")?,
        auto_join_port: u16::try_from(port).map_err(|_| invalid("auto_join_port is no port"))?,
        ca_cert: text("leader_ca_cert")?,
        client_cert: text("leader_client_cert")?,
        client_key: text("leader_client_key")?.into(),
        tls_server_name: text("leader_tls_servername")?,
    };
    let request = JoinRequest { target, retry: body.flag("retry")?, non_voter: body.flag("non_voter")? };
    let joined = core.join(request).await.map_err(|e| {
        let status = match e {
            JoinError::NotRaft => StatusCode::BAD_REQUEST,
            JoinError::NotSealed | JoinError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, e.to_string())
    })?;
    Ok(respond::json_body(StatusCode::OK, &json!({ "joined": joined })))
}

fn challenge(core: &Core, data: &Map, from: Option<IpAddr>) -> Result<Reply, Refusal> {
    let body = Body::new(data);
    let data = core.challenge(body.text("server_id")?, body.flag("with_root_key")?, from).map_err(|e| {
        let status = match e {
            HostError::TooMany => StatusCode::TOO_MANY_REQUESTS,
            HostError::Sealed | HostError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            HostError::NotRaft | HostError::Invalid(_) => StatusCode::BAD_REQUEST,
            HostError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, e.to_string())
    })?;
    let id = request::id().unwrap_or_default();
    let body = render(&engine::Response::json(data), &id, "", false);
    Ok(respond::bare(200, "application/json", body))
}
