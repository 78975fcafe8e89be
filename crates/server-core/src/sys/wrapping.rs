//! `sys/wrapping/*`: answers that wait behind a token for whoever unwraps them first (contract §7.3).
//!
//! Wrapping itself is the pipeline's business. Deliberately absent: `sys/wrapping/pubkey`, which this version of Vault's free
//! edition does not have either.

use api_types::Operation;
use barrier::Txn;
use engine::{Call, Data, EngineError, Field, FieldKind, Kind, Outcome, Request, Response, Route};
use secret::{SecretString, ct_eq};
use serde_json::{Value, json};
use storage::View;

use super::{SystemEngine, presented, wrapping_jwt};
use crate::answer::{Failure, FailureKind};
use crate::core::OpenCore;
use crate::pipeline::Scene;

const TOKEN: &[Field] = &[Field::new("token", FieldKind::String, "The wrapping token; the client token if absent.")];
const REWRAP: &str = "sys/wrapping/rewrap";

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("wrapping/wrap", &[], "Wraps what is sent.").on(Operation::Update, "Wrap the body.", wrap).free_form(),
        Route::new("wrapping/lookup", TOKEN, "Shows where a wrapped answer comes from.")
            .on(Operation::Update, "Look up a wrapping token.", lookup)
            .on(Operation::Read, "Look up the client token.", lookup),
        Route::new("wrapping/unwrap", TOKEN, "Gives out a wrapped answer, once.").on(Operation::Update, "Unwrap.", unwrap),
        Route::new("wrapping/rewrap", TOKEN, "Moves a wrapped answer to a new token.").on(Operation::Update, "Rewrap.", rewrap),
    ]
}

/// The paths that take a wrapping token.
fn takes_wrapping_token(path: &str) -> bool {
    matches!(path, "sys/wrapping/lookup" | "sys/wrapping/unwrap" | REWRAP)
}

/// Puts the wrapping token in the place of a JWT that this server signed. Any other JWT stays and is refused below.
pub(crate) fn resolve(open: &OpenCore, request: &mut Request) -> Result<(), EngineError> {
    if !takes_wrapping_token(&request.path) {
        return Ok(());
    }
    let in_body = request.data.get("token").is_some_and(|t| !t.is_null());
    let in_data = request.data.get("token").and_then(Value::as_str).unwrap_or_default();
    let given = if in_body { in_data } else { request.token.expose() };
    if !wrapping_jwt::is_jwt(given) {
        return Ok(());
    }
    let Some(inner) = wrapping_jwt::inner(&mut View::new(&mut open.barrier.begin(), ""), given)? else { return Ok(()) };
    if in_body {
        request.data.insert("token".into(), inner.expose().into());
    } else {
        request.token = inner;
    }
    Ok(())
}

/// The check that comes before any other decision on three of these paths: whoever brings a token that wraps nothing is told so,
/// with or without a token of his own. `None` lets the request go on.
pub(crate) fn refused(scene: &Scene<'_>, txn: &mut Txn) -> Result<Option<Failure>, EngineError> {
    let request = scene.request;
    if !takes_wrapping_token(&request.path) {
        return Ok(None);
    }
    let malformed = |why: &str| {
        let text = format!("error validating wrapping token: {why}");
        Ok(Some(Failure::new(FailureKind::Denied, text)))
    };
    let token = match request.data.get("token") {
        None | Some(Value::Null) => request.token.expose(),
        Some(Value::String(token)) if token.is_empty() => return malformed("empty token in request body"),
        Some(Value::String(token)) => token,
        Some(_) => return malformed("could not decode token in request body"),
    };
    if token.is_empty() {
        return malformed("token is empty");
    }
    if wrapping_jwt::is_jwt(token) {
        return malformed("wrapping token signature could not be validated");
    }
    match scene.open.tokens.validate_wrapping(&mut View::new(txn, ""), token, false, scene.now) {
        Ok(_) => Ok(None),
        Err(EngineError::Invalid(text)) => Ok(Some(Failure::new(FailureKind::Invalid, text))),
        Err(e) => Err(e),
    }
}

/// The header is checked here; what is wrapped is the body, which the pipeline takes itself.
fn wrap(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    if call.request.wrap.is_none() {
        return Err(EngineError::invalid("endpoint requires response wrapping to be used"));
    }
    Ok(Some(Response::data(call.request.data.clone())))
}

fn lookup(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    let (token, _) = wrapping_token(call);
    let found = open.tokens.wrapping_lookup(&mut call.view, token.expose(), call.now)?;
    Ok(Some(Response::json(json!({
        "creation_ttl": found.creation_ttl,
        "creation_time": found.creation_time,
        "creation_path": found.creation_path,
    }))))
}

/// The kept answer goes out word for word, without a new envelope.
fn unwrap(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    let (token, spent_now) = wrapping_token(call);
    let Some(kept) = open.tokens.unwrap_response(&mut call.view, token.expose(), spent_now, call.now)? else {
        return Ok(None);
    };
    let mut body = kept.expose().as_bytes().to_vec();
    body.push(b'\n');
    Ok(Some(Response::bare("application/json", body)))
}

/// Takes the answer out and asks the pipeline to wrap it again; [`kept_answer`] hands it over there.
fn rewrap(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    let (token, spent_now) = wrapping_token(call);
    let ttl = open.tokens.validate_wrapping(&mut call.view, token.expose(), spent_now, call.now)?.entry.ttl;
    let info = open.tokens.wrapping_lookup(&mut call.view, token.expose(), call.now)?;
    let kept = open.tokens.unwrap_response(&mut call.view, token.expose(), spent_now, call.now)?.unwrap_or_default();
    let mut response = Response::json(json!({ "response": kept.expose(), "creation_path": info.creation_path }));
    response.wrap_ttl = Some(ttl);
    Ok(Some(response))
}

/// An answer that is wrapped once more.
pub(crate) struct KeptAnswer {
    /// JSON text of the answer.
    pub(crate) payload: SecretString,
    /// The request path that gave it.
    pub(crate) creation_path: String,
}

/// What [`rewrap`] took out; `None` for every other path.
pub(crate) fn kept_answer(path: &str, response: &Response) -> Option<KeptAnswer> {
    let Some(Data::Map(data)) = response.data.as_ref().filter(|_| path == REWRAP && response.kind == Kind::Envelope) else {
        return None;
    };
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    Some(KeptAnswer { payload: text("response")?.into(), creation_path: text("creation_path")?.to_owned() })
}

/// The wrapping token, and whether it is the client's own: then this request has spent its only use.
fn wrapping_token(call: &Call<'_>) -> (SecretString, bool) {
    let client = presented(call);
    match call.fields.text("token") {
        Some(token) => (token.into(), ct_eq(token.as_bytes(), client.as_bytes())),
        None => (client.into(), true),
    }
}
