//! `oidc/token/<role>` and `oidc/introspect`.

use std::time::Duration;

use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use jose::{Expected, Jws, TimeRules};
use serde_json::{Value, json};

use crate::rows::{self, ROLES, Role};
use crate::{config, keyring, oauth, template};

/// A signed token about the caller's entity.
pub(crate) fn issue(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let role = rows::load::<Role>(&mut call.view, ROLES, &name)?;
    let role = role.ok_or_else(|| EngineError::Invalid(format!("role {name:?} not found")))?;
    let key = keyring::named(&mut call.view, &role.key)?;
    let key = key.ok_or_else(|| EngineError::Invalid(format!("key {:?} not found", role.key)))?;
    if !key.allows(&role.client_id) {
        return Err(EngineError::Invalid(format!(
            "the key {:?} does not list the client ID of the role {name:?} as an allowed client ID",
            role.key
        )));
    }
    if call.caller.entity_id.is_empty() {
        return Err(EngineError::invalid("no entity associated with the request's token"));
    }
    let profile = identity::profile(&mut call.view, &call.caller.entity_id)?;
    let profile = profile.filter(|p| !p.disabled).ok_or_else(|| EngineError::denied("permission denied"))?;
    let key = keyring::ready(&mut call.view, &role.key, &key, call.now, call.entropy)?;
    let mut claims = template::fill(&role.template, &profile.facts, call.now).map_err(EngineError::Invalid)?;
    // Never longer than the key is published, should its settings have changed meanwhile.
    let ttl = role.ttl.min(key.verification_ttl);
    let own = [
        ("iss", Value::from(config::issuer(engine, &mut call.view)?)),
        ("sub", profile.entity_id.into()),
        ("aud", role.client_id.clone().into()),
        ("iat", call.now.unix().into()),
        ("exp", call.now.plus(Duration::from_secs(ttl)).unix().into()),
        ("namespace", "root".into()),
    ];
    claims.extend(own.into_iter().map(|(k, v)| (k.to_owned(), v)));
    let token = keyring::sign(&mut call.view, &key, &claims)?;
    Ok(Some(Response::json(json!({ "token": token.expose(), "client_id": role.client_id, "ttl": ttl }))))
}

/// Whether a token of this server is good now. Always 200; the reason stands in the body.
pub(crate) fn introspect(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let body = match judge(engine, call)? {
        Ok(()) => json!({ "active": true }),
        Err(why) => json!({ "active": false, "error": why }),
    };
    Ok(Some(oauth::bare(200, &body)))
}

fn judge(engine: &IdentityEngine, call: &mut Call<'_>) -> Result<Result<(), String>, EngineError> {
    let token = match Jws::parse(call.fields.str("token")) {
        Ok(token) => token,
        Err(why) => return Ok(Err(format!("error parsing token: {why}"))),
    };
    let unsigned = || Ok(Err("unable to validate the token signature".to_owned()));
    let Some(id) = token.key_id() else { return unsigned() };
    let Some(jwk) = keyring::public(&mut call.view, id, call.now)? else { return unsigned() };
    let Ok(claims) = (jose::JwkSet { keys: vec![jwk] }).verify(&token) else { return unsigned() };
    let issuer = config::issuer(engine, &mut call.view)?;
    let audience: Option<Vec<String>> = call.fields.text("client_id").filter(|c| !c.is_empty()).map(|c| vec![c.to_owned()]);
    let expected = Expected { issuer: Some(&issuer), audiences: audience.as_deref(), times: TimeRules::own() };
    if let Err(why) = claims.check(&expected, call.now) {
        return Ok(Err(format!("error validating claims: {why}")));
    }
    let subject = claims.text("sub").ok().flatten().unwrap_or_default();
    Ok(match identity::profile(&mut call.view, subject)? {
        None => Err("entity was not found".to_owned()),
        Some(profile) if profile.disabled => Err("entity is disabled".to_owned()),
        Some(_) => Ok(()),
    })
}
