//! Renewing tokens: who may be asked, and what is shown.

use std::sync::Arc;

use engine::{Call, EngineError, Mount, Outcome, Response};
use secret::SecretString;

use super::{TokenEngine, lookup};
use crate::names::normalise_policies;
use crate::{Found, RenewLimits, RoleLimits, TokenRole};

pub(super) fn token(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let token = call.fields.str("token").to_owned();
    if token.is_empty() {
        return Err(EngineError::invalid("missing token ID"));
    }
    by_token(engine, call, &token)
}

pub(super) fn own(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let token = call.request.token.expose().to_owned();
    by_token(engine, call, &token)
}

pub(super) fn accessor(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let found = lookup::by_accessor(engine, call)?;
    // Who holds an accessor never learns the token: the answer's `client_token` stays empty.
    renew(engine, call, &found, SecretString::default())
}

fn by_token(engine: &TokenEngine, call: &mut Call<'_>, token: &str) -> Outcome {
    let found = engine.store.find(&mut call.view, token, call.now)?;
    let found = found.ok_or_else(|| EngineError::invalid("token not found"))?;
    renew(engine, call, &found, token.into())
}

fn renew(engine: &TokenEngine, call: &mut Call<'_>, found: &Found, token: SecretString) -> Outcome {
    let entry = &found.entry;
    if entry.is_batch() {
        return Err(EngineError::invalid("batch tokens cannot be renewed"));
    }
    if entry.expire_time.is_some() && !entry.renewable {
        return Err(EngineError::invalid("lease is not renewable"));
    }
    let mut auth = entry.to_auth();
    let own = entry.mount_accessor.is_empty() || entry.mount_accessor == call.mount.accessor;
    let mount: Arc<Mount> = if own || entry.expire_time.is_none() {
        Arc::new(call.mount.clone())
    } else {
        let neighbours = Arc::clone(&engine.neighbours);
        neighbours.renew_login(call, entry, &mut auth)?
    };
    let limits = RenewLimits { mount: &mount, role: current_role(call, &entry.role)?, auth };
    let increment = call.fields.duration("increment").unwrap_or_default();
    let mut renewed = engine.store.renew(&mut call.view, found, increment, limits, call.now)?;
    let identity = engine.identity_policies(&mut call.view, &entry.entity_id)?;
    // A renewal never changes policies, whatever the method put into its answer.
    renewed.auth.token_policies.clone_from(&entry.policies);
    renewed.auth.policies = normalise_policies(entry.policies.iter().chain(&identity), false);
    renewed.auth.identity_policies = identity;
    renewed.auth.client_token = token;
    Ok(Some(Response { auth: Some(Box::new(renewed.auth)), warnings: renewed.warnings, ..Response::default() }))
}

/// The role as it is now; a token whose role is gone is not renewed.
fn current_role(call: &mut Call<'_>, name: &str) -> Result<RoleLimits, EngineError> {
    if name.is_empty() {
        return Ok(RoleLimits::default());
    }
    match TokenRole::load(&mut call.view, name)? {
        Some(role) => Ok(role.limits()),
        None => Err(EngineError::Internal(format!(
            "failed to renew entry: original token role {name:?} could not be found, not renewing"
        ))),
    }
}
