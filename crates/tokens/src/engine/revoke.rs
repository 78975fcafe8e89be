//! Revoking tokens. What one transaction cannot take away is left to the expiry worker; the token is useless at once.

use engine::{Call, EngineError, Outcome, Response};

use super::TokenEngine;
use crate::limits::REVOKE_STEPS;

pub(super) fn token(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let token = given(call)?;
    let Some(found) = engine.store.find(&mut call.view, &token, call.now)? else { return Ok(None) };
    refuse_batch(found.entry.is_batch())?;
    engine.store.revoke_tree(&mut call.view, &found.key, call.now, REVOKE_STEPS)?;
    Ok(None)
}

pub(super) fn own(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let Some(found) = engine.caller(call)? else { return Ok(None) };
    refuse_batch(found.entry.is_batch())?;
    engine.store.revoke_tree(&mut call.view, &found.key, call.now, REVOKE_STEPS)?;
    Ok(None)
}

pub(super) fn accessor(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let accessor = call.fields.str("accessor").to_owned();
    if accessor.is_empty() {
        return Err(EngineError::Rejected("missing accessor".into()));
    }
    match engine.store.lookup_accessor(&mut call.view, &accessor, call.now)? {
        Some(found) => {
            engine.store.revoke_tree(&mut call.view, &found.key, call.now, REVOKE_STEPS)?;
            Ok(None)
        }
        None => Ok(Some(Response::warning("No token found with this accessor"))),
    }
}

pub(super) fn orphan(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let token = given(call)?;
    // The router demands sudo as well; asked here too because children escape their parent's end this way.
    if !call.caller.sudo {
        return Err(EngineError::invalid("root or sudo privileges required to revoke and orphan"));
    }
    let found = engine.store.find(&mut call.view, &token, call.now)?;
    let found = found.ok_or_else(|| EngineError::invalid("token to revoke not found"))?;
    refuse_batch(found.entry.is_batch())?;
    engine.store.revoke_orphan(&mut call.view, &found.key, call.now, REVOKE_STEPS)?;
    Ok(None)
}

fn given(call: &Call<'_>) -> Result<String, EngineError> {
    match call.fields.str("token") {
        "" => Err(EngineError::invalid("missing token ID")),
        token => Ok(token.to_owned()),
    }
}

fn refuse_batch(batch: bool) -> Result<(), EngineError> {
    if batch { Err(EngineError::invalid("batch tokens cannot be revoked")) } else { Ok(()) }
}
