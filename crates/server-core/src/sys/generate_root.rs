//! `sys/generate-root/*`, without a token, and the backups of rekeys, with one. Vault serves the first with handlers of its own,
//! which take names in any case and no value of another type; audit sees them all the same.

use api_types::{Map, Operation};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use secret::{SecretBytes, SecretString};
use serde_json::{Value, json};

use super::SystemEngine;
use super::support::bare_json;
use crate::answer::FailureKind;
use crate::seal::{Backup, CeremonyError, GenerateRootRequest, GenerateRootStatus, RekeyTarget, share_from_text};

const ATTEMPT: &[Field] = &[
    Field::new("otp", FieldKind::String, "One-time password that the token is combined with."),
    Field::new("pgp_key", FieldKind::String, "OpenPGP public key that the token is encrypted for, in base64."),
];
const UPDATE: &[Field] = &[
    Field::new("key", FieldKind::String, "A share, in hexadecimal or base64."),
    Field::new("nonce", FieldKind::String, "The nonce of the attempt."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    let backup = "Keeps the encrypted shares of a rekey.";
    vec![
        Route::new("generate-root/attempt", ATTEMPT, "Makes a new root token.")
            .on_async(Operation::Read, "Show where it stands.", status)
            .on_async(Operation::Update, "Start.", start)
            .on_async(Operation::Delete, "Cancel.", cancel),
        Route::new("generate-root/update", UPDATE, "Takes a share towards a new root token.").on_async(
            Operation::Update,
            "Give a share.",
            update,
        ),
        Route::new("rekey/backup", &[], backup)
            .on(Operation::Read, "Show them.", |_, call| read_backup(RekeyTarget::Barrier, call))
            .on(Operation::Delete, "Forget them.", |_, call| delete_backup(RekeyTarget::Barrier, call)),
        Route::new("rekey/recovery-key-backup", &[], backup)
            .on(Operation::Read, "Show them.", |_, call| read_backup(RekeyTarget::Recovery, call))
            .on(Operation::Delete, "Forget them.", |_, call| delete_backup(RekeyTarget::Recovery, call)),
    ]
}

fn status<'a>(engine: &'a SystemEngine, _: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move { shown(engine.core()?.generate_root_status().await) })
}

fn start<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        once(engine, &call.request.id, async || {
            let data = &call.request.data;
            let request =
                GenerateRootRequest { otp: SecretString::from(text(data, "otp")?), pgp_key: text(data, "pgp_key")?.to_owned() };
            shown(engine.core()?.generate_root_init(request).await)
        })
        .await
    })
}

fn update<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        once(engine, &call.request.id, async || {
            let data = &call.request.data;
            let (key, nonce) = (text(data, "key")?, text(data, "nonce")?);
            if key.is_empty() {
                return Err(EngineError::invalid("'key' must be specified in request body as JSON"));
            }
            let share = share_from_text(key).ok_or_else(|| EngineError::invalid("'key' must be a valid hex or base64 string"))?;
            shown(engine.core()?.generate_root_update(nonce, share).await)
        })
        .await
    })
}

fn cancel<'a>(engine: &'a SystemEngine, _: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        engine.core()?.generate_root_cancel().await.map_err(|e| refused(&e))?;
        Ok(None)
    })
}

/// A request that runs anew after a conflict must not count its share twice: it gets the answer it had.
pub(super) async fn once(engine: &SystemEngine, id: &str, run: impl AsyncFnOnce() -> Outcome) -> Outcome {
    if !id.is_empty() {
        let held = engine.memory.ceremony.lock();
        if let Some((_, body)) = held.as_ref().filter(|(of, _)| of == id) {
            return bare_json(&serde_json::from_slice::<Value>(body.expose()).unwrap_or_default(), 200).map(Some);
        }
    }
    let outcome = run().await?;
    if let Some(Response { kind: engine::Kind::Bare { body, .. }, .. }) = &outcome {
        *engine.memory.ceremony.lock() = Some((id.to_owned(), SecretBytes::from(body.as_slice())));
    }
    Ok(outcome)
}

fn shown(outcome: Result<GenerateRootStatus, CeremonyError>) -> Outcome {
    outcome.map_err(|e| refused(&e)).and_then(|status| bare_json(&status, 200)).map(Some)
}

pub(super) fn refused(error: &CeremonyError) -> EngineError {
    let failure = error.failure();
    let text = failure.errors.into_iter().next().unwrap_or_default();
    match failure.kind {
        FailureKind::Invalid => EngineError::Invalid(text),
        FailureKind::Unavailable => EngineError::Unavailable(text),
        _ => EngineError::Internal(text),
    }
}

/// A field of a hard-coded handler: its name in any case, `null` as absent, no other type.
pub(super) fn text<'d>(data: &'d Map, name: &str) -> Result<&'d str, EngineError> {
    match data.iter().find(|(k, v)| k.eq_ignore_ascii_case(name) && !v.is_null()) {
        None => Ok(""),
        Some((_, value)) => value.as_str().ok_or_else(|| {
            EngineError::Invalid(format!("failed to parse JSON input: json: cannot unmarshal into field {name:?}"))
        }),
    }
}

fn read_backup(target: RekeyTarget, call: &mut Call<'_>) -> Outcome {
    let kept = call.view.get_json::<Backup>(Backup::row(target))?;
    let backup = kept.ok_or_else(|| EngineError::invalid("no backed-up keys found"))?;
    let base64 = |hexed: &String| hex::decode(hexed).map(|b| BASE64_STANDARD.encode(b)).unwrap_or_default();
    let keys_base64: Map =
        backup.keys.iter().map(|(f, keys)| (f.clone(), keys.iter().map(base64).collect::<Vec<_>>().into())).collect();
    Ok(Some(Response::json(json!({ "nonce": backup.nonce, "keys": backup.keys, "keys_base64": keys_base64 }))))
}

fn delete_backup(target: RekeyTarget, call: &mut Call<'_>) -> Outcome {
    call.view.delete(Backup::row(target))?;
    Ok(None)
}
