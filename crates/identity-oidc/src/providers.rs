//! `oidc/provider`: issuers that clients know.

use std::sync::Arc;

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use serde_json::{Value, json};
use storage::View;

use crate::rows::{self, ANY, DEFAULT, PROVIDERS, Provider, SCOPES, Scope};
use crate::{config, scopes};

/// A provider; the default one is there before anybody wrote it.
pub(crate) fn find(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Provider>>, EngineError> {
    let found = rows::load::<Provider>(view, PROVIDERS, name)?;
    let builtin = || Arc::new(Provider { allowed_client_ids: vec![ANY.to_owned()], ..Provider::default() });
    Ok(found.or_else(|| (name == DEFAULT).then(builtin)))
}

/// Scheme, host and port of a provider's addresses.
pub(crate) fn base<'a>(engine: &'a IdentityEngine, provider: &'a Provider) -> &'a str {
    if provider.issuer.is_empty() { engine.address() } else { &provider.issuer }
}

/// The issuer as tokens name it.
pub(crate) fn issuer(engine: &IdentityEngine, provider: &Provider, name: &str) -> String {
    format!("{}/v1/identity/oidc/provider/{name}", base(engine, provider))
}

pub(crate) fn exists(_: &IdentityEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(find(&mut call.view, call.fields.str("name"))?.is_some())
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let mut row = find(&mut call.view, &name)?.map(|p| Provider::clone(&p)).unwrap_or_default();
    let issuer = call.fields.text("issuer").map(str::to_owned);
    if let Some(issuer) = &issuer {
        config::check_issuer(issuer)?;
        row.issuer.clone_from(issuer);
    }
    if let Some(ids) = call.fields.texts("allowed_client_ids") {
        row.allowed_client_ids = rows::unique(ids);
    }
    if let Some(names) = call.fields.texts("scopes_supported") {
        row.scopes_supported = rows::unique(names);
    }
    for scope in row.scopes_supported.clone() {
        if rows::load::<Scope>(&mut call.view, SCOPES, &scope)?.is_none() {
            return Err(EngineError::Invalid(format!("scope {scope:?} does not exist")));
        }
    }
    let conflict = scopes::conflict(&mut call.view, &row.scopes_supported)?;
    rows::save(&mut call.view, PROVIDERS, &name, &row)?;
    let mut answer = config::warned(issuer.as_deref().unwrap_or_default());
    if let Some(which) = conflict {
        let warning = format!(
            "Found scope templates with conflicting top-level keys: {which}. This may result in an error if the scopes are \
             requested in an OIDC Authentication Request."
        );
        answer = Some(answer.unwrap_or_default().with_warning(warning));
    }
    Ok(answer)
}

pub(crate) fn read(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    Ok(find(&mut call.view, &name)?.map(|p| Response::json(shown(engine, &p, &name))))
}

/// With `allowed_client_id` only those that allow the client.
pub(crate) fn list(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let client = call.fields.str("allowed_client_id").to_owned();
    let (mut keys, mut info) = (Vec::new(), Map::new());
    for name in rows::names_with(&mut call.view, PROVIDERS, DEFAULT)? {
        let Some(provider) = find(&mut call.view, &name)? else { continue };
        if client.is_empty() || provider.allows(&client) {
            info.insert(name.clone(), shown(engine, &provider, &name));
            keys.push(name);
        }
    }
    if keys.is_empty() {
        return Ok(Some(Response::list(keys)));
    }
    Ok(Some(Response::json(json!({ "keys": keys, "key_info": info }))))
}

pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if name == DEFAULT {
        return Err(EngineError::invalid("deletion of OIDC provider \"default\" not allowed"));
    }
    rows::remove(&mut call.view, PROVIDERS, &name)?;
    Ok(None)
}

fn shown(engine: &IdentityEngine, provider: &Provider, name: &str) -> Value {
    json!({
        "allowed_client_ids": provider.allowed_client_ids,
        "issuer": issuer(engine, provider, name),
        "scopes_supported": provider.scopes_supported,
    })
}
