//! `sys/rekey/*` and `sys/rekey-recovery-key/*`: the shares are the authority, not a token (contract §2.2).

use std::sync::Arc;

use api_types::{Map, Operation};
use http::{Method, StatusCode};
use secret::SecretBytes;
use serde::Serialize;
use server_core::{CeremonyError, Core, RekeyRequest, RekeyTarget, share_from_text};

use crate::direct::{Body, Refusal, invalid};
use crate::respond::{self, Reply};
use crate::status;

/// `(target, step)` of a path.
fn parts(path: &str) -> Option<(RekeyTarget, &str)> {
    let (target, step) = match path.strip_prefix("sys/rekey/") {
        Some(step) => (RekeyTarget::Barrier, step),
        None => (RekeyTarget::Recovery, path.strip_prefix("sys/rekey-recovery-key/")?),
    };
    matches!(step, "init" | "update" | "verify").then_some((target, step))
}

pub(crate) fn serves(path: &str) -> bool {
    parts(path).is_some()
}

pub(crate) fn takes(path: &str, method: &str) -> bool {
    match parts(path) {
        // A read of `update` is a share that is missing, as in Vault.
        Some((_, "update")) => matches!(method, "GET" | "PUT" | "POST"),
        Some(_) => matches!(method, "GET" | "PUT" | "POST" | "DELETE"),
        None => false,
    }
}

/// The one deletion whose body counts: it names the nonce.
pub(crate) fn is_cancel(path: &str, operation: Operation) -> bool {
    operation == Operation::Delete && matches!(parts(path), Some((_, "init")))
}

/// Answers one of [`serves`]'s paths.
pub(crate) async fn answer(core: &Arc<Core>, path: &str, method: &Method, data: &Map) -> Reply {
    let Some((target, step)) = parts(path) else { return respond::errors(StatusCode::NOT_FOUND, &[]) };
    if core.open().is_none() {
        return refusal(&CeremonyError::Sealed).reply();
    }
    let body = Body::new(data);
    let reply = match (step, method.as_str()) {
        ("init", "GET") => told(core.rekey_status(target).await),
        ("init", "DELETE") => cancel(core, target, &body).await,
        ("init", _) => start(core, target, &body).await,
        ("verify", "GET") => told(core.rekey_verify_status(target).await),
        ("verify", "DELETE") => told(core.rekey_verify_restart(target).await),
        ("verify", _) => verify(core, target, &body).await,
        _ => update(core, target, &body).await,
    };
    reply.unwrap_or_else(Refusal::reply)
}

async fn start(core: &Core, target: RekeyTarget, body: &Body) -> Result<Reply, Refusal> {
    body.number("stored_shares")?;
    let request = RekeyRequest {
        secret_shares: body.number("secret_shares")?,
        secret_threshold: body.number("secret_threshold")?,
        pgp_keys: body.texts("pgp_keys")?,
        backup: body.flag("backup")?,
        require_verification: body.flag("require_verification")?,
    };
    told(core.rekey_init(target, request).await)
}

async fn cancel(core: &Core, target: RekeyTarget, body: &Body) -> Result<Reply, Refusal> {
    core.rekey_cancel(target, body.text("nonce")?).await.map_err(|e| refusal(&e))?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

async fn update(core: &Core, target: RekeyTarget, body: &Body) -> Result<Reply, Refusal> {
    let (nonce, share) = given(body)?;
    told(core.rekey_update(target, nonce, share).await)
}

async fn verify(core: &Core, target: RekeyTarget, body: &Body) -> Result<Reply, Refusal> {
    let (nonce, share) = given(body)?;
    told(core.rekey_verify(target, nonce, share).await)
}

fn given(body: &Body) -> Result<(&str, SecretBytes), Refusal> {
    let (nonce, key) = (body.text("nonce")?, body.text("key")?);
    if key.is_empty() {
        return Err(invalid("'key' must be specified in request body as JSON"));
    }
    let share = share_from_text(key).ok_or_else(|| invalid("'key' must be a valid hex or base64 string"))?;
    Ok((nonce, share))
}

fn told<T: Serialize>(outcome: Result<T, CeremonyError>) -> Result<Reply, Refusal> {
    outcome.map(|value| respond::json_body(StatusCode::OK, &value)).map_err(|e| refusal(&e))
}

fn refusal(error: &CeremonyError) -> Refusal {
    let failure = error.failure();
    Refusal(status::of(failure.kind), failure.errors.into_iter().next().unwrap_or_default())
}
