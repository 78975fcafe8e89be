//! `sys/break-glass` and `sys/rekey-break-glass/*`: what is told of break-glass shares, taking them back, and issuing new ones
//! (decision record 0008). Vault has no such paths; these are shaped like its rekeys. Unlike those they need a token with `sudo`
//! beside the consent of recovery shares, and audit records each step.

use api_types::{Map, Operation};
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Route};
use secret::SecretBytes;
use serde::Serialize;
use serde_json::Value;

use super::SystemEngine;
use super::generate_root::{once, refused, text};
use super::support::{bare_json, uncommitted};
use crate::seal::{CeremonyError, RekeyRequest, RekeyTarget, share_from_text};

const TARGET: RekeyTarget = RekeyTarget::BreakGlass;

const INIT: &[Field] = &[
    Field::new("secret_shares", FieldKind::Int, "How many break-glass shares to make."),
    Field::new("secret_threshold", FieldKind::Int, "How many of them open the server."),
    Field::new("pgp_keys", FieldKind::StringSlice, "OpenPGP public keys in base64, one a share."),
    Field::new("require_verification", FieldKind::Bool, "The shares come into force when they were given back once."),
    Field::new("nonce", FieldKind::String, "To cancel: the nonce."),
];
const GIVE: &[Field] = &[
    Field::new("key", FieldKind::String, "A share, in hexadecimal or base64."),
    Field::new("nonce", FieldKind::String, "The nonce."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("break-glass", &[], "Break-glass shares: they open the server when its seal is gone.")
            .on(Operation::Read, "Show how many there are, and when they were used.", status)
            .on_async(Operation::Delete, "Take them back.", revoke),
        Route::new("rekey-break-glass/init", INIT, "Issues break-glass shares.")
            .on_async(Operation::Read, "Show where it stands.", |e, c| step(e, c, Step::Status))
            .on_async(Operation::Update, "Start.", |e, c| step(e, c, Step::Start))
            .on_async(Operation::Delete, "Cancel.", cancel),
        Route::new("rekey-break-glass/update", GIVE, "Takes a recovery share that consents.").on_async(
            Operation::Update,
            "Give a recovery share.",
            |e, c| step(e, c, Step::Give),
        ),
        Route::new("rekey-break-glass/verify", GIVE, "Takes back a new break-glass share.")
            .on_async(Operation::Read, "Show where it stands.", |e, c| step(e, c, Step::VerifyStatus))
            .on_async(Operation::Update, "Give a new share back.", |e, c| step(e, c, Step::Verify))
            .on_async(Operation::Delete, "Begin anew.", |e, c| step(e, c, Step::VerifyRestart)),
    ]
}

#[derive(Clone, Copy)]
enum Step {
    Status,
    Start,
    Give,
    VerifyStatus,
    Verify,
    VerifyRestart,
}

/// One step of the ceremony: it happens outside the request's transaction, and once.
fn step<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>, step: Step) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let data = &call.request.data;
        once(engine, &call.request.id, async || {
            let core = engine.core()?;
            match step {
                Step::Status => shown(core.rekey_status(TARGET).await),
                Step::Start => shown(core.rekey_init(TARGET, request(data)?).await),
                Step::Give => {
                    let (nonce, share) = given(data)?;
                    shown(core.rekey_update(TARGET, nonce, share).await)
                }
                Step::VerifyStatus => shown(core.rekey_verify_status(TARGET).await),
                Step::Verify => {
                    let (nonce, share) = given(data)?;
                    shown(core.rekey_verify(TARGET, nonce, share).await)
                }
                Step::VerifyRestart => shown(core.rekey_verify_restart(TARGET).await),
            }
        })
        .await
    })
}

fn shown<T: Serialize>(outcome: Result<T, CeremonyError>) -> Outcome {
    outcome.map_err(|e| refused(&e)).and_then(|value| bare_json(&value, 200)).map(Some)
}

fn request(data: &Map) -> Result<RekeyRequest, EngineError> {
    let flag = |name: &str| data.get(name).and_then(Value::as_bool).unwrap_or(false);
    Ok(RekeyRequest {
        secret_shares: number(data, "secret_shares")?,
        secret_threshold: number(data, "secret_threshold")?,
        pgp_keys: texts(data, "pgp_keys")?,
        backup: flag("backup"),
        require_verification: flag("require_verification"),
    })
}

fn cancel<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let nonce = text(&call.request.data, "nonce")?;
        engine.core()?.rekey_cancel(TARGET, nonce).await.map_err(|e| refused(&e))?;
        Ok(None)
    })
}

fn status(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let status = engine.core()?.break_glass_status(&mut call.view)?;
    let shown = serde_json::to_value(status).map_err(|_| EngineError::internal("internal error"))?;
    Ok(Some(engine::Response::json(shown)))
}

fn revoke<'a>(engine: &'a SystemEngine, _: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        core.revoke_break_glass(&open).await.map_err(uncommitted)?;
        Ok(None)
    })
}

fn given(data: &Map) -> Result<(&str, SecretBytes), EngineError> {
    let (key, nonce) = (text(data, "key")?, text(data, "nonce")?);
    if key.is_empty() {
        return Err(EngineError::invalid("'key' must be specified in request body as JSON"));
    }
    let share = share_from_text(key).ok_or_else(|| EngineError::invalid("'key' must be a valid hex or base64 string"))?;
    Ok((nonce, share))
}

fn number(data: &Map, name: &str) -> Result<u64, EngineError> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value.as_u64().ok_or_else(|| EngineError::Invalid(format!("{name} must be a whole number"))),
    }
}

fn texts(data: &Map, name: &str) -> Result<Vec<String>, EngineError> {
    let wrong = || EngineError::Invalid(format!("{name} must be a list of texts"));
    match data.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => {
            let items = value.as_array().ok_or_else(wrong)?;
            items.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
    }
}
