//! `oidc/scope`: sets of claims a client may ask for.

use std::collections::BTreeMap;

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use policy::Identity;
use secret::Time;
use serde_json::json;
use storage::View;

use crate::rows::{self, PROVIDERS, Provider, SCOPES, Scope};
use crate::template;

/// The scope every request has to name; it has no claims of its own.
pub(crate) const OPENID: &str = "openid";

pub(crate) fn exists(_: &IdentityEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(rows::load::<Scope>(&mut call.view, SCOPES, call.fields.str("name"))?.is_some())
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if name == OPENID {
        return Err(EngineError::invalid("the \"openid\" scope name is reserved"));
    }
    let mut row = rows::load::<Scope>(&mut call.view, SCOPES, &name)?.map(|s| Scope::clone(&s)).unwrap_or_default();
    if let Some(text) = call.fields.text("description") {
        text.clone_into(&mut row.description);
    }
    if let Some(text) = call.fields.text("template") {
        row.template = template::accept(text).map_err(EngineError::Invalid)?;
    }
    rows::save(&mut call.view, SCOPES, &name, &row)?;
    Ok(None)
}

pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let found = rows::load::<Scope>(&mut call.view, SCOPES, call.fields.str("name"))?;
    Ok(found.map(|s| Response::json(json!({ "description": s.description, "template": s.template }))))
}

pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(rows::names(&mut call.view, SCOPES)?)))
}

pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let users = rows::names_where::<Provider>(&mut call.view, PROVIDERS, |p| p.scopes_supported.contains(&name))?;
    if !users.is_empty() {
        return Err(EngineError::Invalid(format!(
            "unable to delete scope {name:?} because it is currently referenced by these providers: {}",
            users.join(", ")
        )));
    }
    rows::remove(&mut call.view, SCOPES, &name)?;
    Ok(None)
}

/// A claim that two scopes have, with the scopes.
pub(crate) fn conflict(view: &mut View<'_>, names: &[String]) -> Result<Option<String>, EngineError> {
    let mut owners = BTreeMap::new();
    for name in names {
        let Some(scope) = rows::load::<Scope>(view, SCOPES, name)? else { continue };
        for key in template::keys(&scope.template) {
            if let Some(other) = owners.insert(key.clone(), name.clone()) {
                return Ok(Some(format!("conflict {key:?} in scopes {name:?}, {other:?}")));
            }
        }
    }
    Ok(None)
}

/// The claims of the scopes that were asked for and that the provider has; the inner error is a conflict of two of them.
pub(crate) fn claims(
    view: &mut View<'_>,
    provider: &Provider,
    asked: &[String],
    who: &Identity,
    now: Time,
) -> Result<Result<Map, ()>, EngineError> {
    let mut out = Map::new();
    for name in asked.iter().filter(|n| provider.scopes_supported.contains(n)) {
        let Some(scope) = rows::load::<Scope>(view, SCOPES, name)? else { continue };
        for (key, value) in template::fill(&scope.template, who, now).map_err(EngineError::Invalid)? {
            if out.insert(key, value).is_some() {
                return Ok(Err(()));
            }
        }
    }
    Ok(Ok(out))
}
