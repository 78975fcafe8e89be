//! `oidc/role`: what identity tokens say.

use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use serde_json::json;

use crate::limits::{DAY, ROLE_CLIENT_ID_CHARS};
use crate::rows::{self, ROLES, Role};
use crate::{keyring, template};

pub(crate) fn exists(_: &IdentityEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(rows::load::<Role>(&mut call.view, ROLES, call.fields.str("name"))?.is_some())
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let old = rows::load::<Role>(&mut call.view, ROLES, &name)?;
    let mut role = old.map_or_else(|| Role { ttl: DAY.as_secs(), ..Role::default() }, |r| Role::clone(&r));
    if let Some(key) = call.fields.text("key") {
        key.clone_into(&mut role.key);
    }
    if role.key.is_empty() {
        return Err(EngineError::invalid("the key parameter is required"));
    }
    if let Some(text) = call.fields.text("template") {
        role.template = template::accept(text).map_err(EngineError::Invalid)?;
    }
    if let Some(ttl) = call.fields.duration("ttl") {
        role.ttl = ttl.as_secs();
    }
    let key = keyring::named(&mut call.view, &role.key)?;
    let key = key.ok_or_else(|| EngineError::Invalid(format!("cannot find key {:?}", role.key)))?;
    if role.ttl > key.verification_ttl {
        return Err(EngineError::invalid(
            "a role's token ttl cannot be longer than the verification_ttl of the key it references",
        ));
    }
    if let Some(id) = call.fields.text("client_id") {
        id.clone_into(&mut role.client_id);
    }
    if role.client_id.is_empty() {
        role.client_id = call.entropy.base62(ROLE_CLIENT_ID_CHARS)?;
    }
    // From here on the key is published, so it has to be there.
    keyring::ready(&mut call.view, &role.key, &key, call.now, call.entropy)?;
    rows::save(&mut call.view, ROLES, &name, &role)?;
    Ok(None)
}

pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(role) = rows::load::<Role>(&mut call.view, ROLES, call.fields.str("name"))? else { return Ok(None) };
    Ok(Some(Response::json(json!({
        "client_id": role.client_id,
        "key": role.key,
        "template": role.template,
        "ttl": role.ttl,
    }))))
}

pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(rows::names(&mut call.view, ROLES)?)))
}

pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    rows::remove(&mut call.view, ROLES, &name)?;
    Ok(None)
}
