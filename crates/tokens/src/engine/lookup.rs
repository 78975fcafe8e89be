//! Looking tokens up.

use engine::{Call, EngineError, Outcome, Response};
use storage::Page;

use super::TokenEngine;
use crate::Found;

pub(super) fn token(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let token = match call.fields.str("token") {
        "" => call.request.token.expose().to_owned(),
        given => given.to_owned(),
    };
    by_token(engine, call, &token)
}

pub(super) fn own(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    // A `token` in the body is ignored: this endpoint is open to everyone for their own token only.
    let token = call.request.token.expose().to_owned();
    by_token(engine, call, &token)
}

pub(super) fn accessor(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let found = by_accessor(engine, call)?;
    show(engine, call, &found, "")
}

pub(super) fn accessors(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(engine.store.list_accessors(&mut call.view, &Page::default())?)))
}

/// The token whose accessor stands in the body.
pub(super) fn by_accessor(engine: &TokenEngine, call: &mut Call<'_>) -> Result<Found, EngineError> {
    let accessor = call.fields.str("accessor").to_owned();
    if accessor.is_empty() {
        return Err(EngineError::Rejected("missing accessor".into()));
    }
    let found = engine.store.lookup_accessor(&mut call.view, &accessor, call.now)?;
    found.ok_or_else(|| EngineError::Rejected("invalid accessor".into()))
}

fn by_token(engine: &TokenEngine, call: &mut Call<'_>, token: &str) -> Outcome {
    match engine.store.find(&mut call.view, token, call.now)? {
        Some(found) => show(engine, call, &found, token),
        None => Err(EngineError::denied("bad token")),
    }
}

fn show(engine: &TokenEngine, call: &mut Call<'_>, found: &Found, id: &str) -> Outcome {
    let identity = engine.identity_policies(&mut call.view, &found.entry.entity_id)?;
    Ok(Some(Response::data(found.entry.show(id, &identity, call.now))))
}
