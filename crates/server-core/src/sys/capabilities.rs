//! `sys/capabilities`, `-self`, `-accessor`: what a token may do on paths.

use std::sync::Arc;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response, Route};
use policy::Acl;
use serde_json::json;
use storage::View;
use tokens::Found;

use super::{SystemEngine, presented};
use crate::core::OpenCore;

const PATHS: Field = Field::new("paths", FieldKind::CommaStringSlice, "Paths to ask about.");
const PATH: Field = Field::new("path", FieldKind::CommaStringSlice, "One path; use paths instead.");
const TOKEN_FIELDS: &[Field] = &[Field::new("token", FieldKind::String, "Token to ask about."), PATHS, PATH];
const SELF_FIELDS: &[Field] = &[Field::new("token", FieldKind::String, "Ignored: the caller's own token is meant."), PATHS, PATH];
const ACCESSOR_FIELDS: &[Field] =
    &[Field::new("accessor", FieldKind::String, "Accessor of the token to ask about."), PATHS, PATH];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    let update = Operation::Update;
    vec![
        Route::new("capabilities", TOKEN_FIELDS, "What a token may do on paths.").on(update, "Ask about a token.", by_token),
        Route::new("capabilities-self", SELF_FIELDS, "What the caller may do on paths.").on(
            update,
            "Ask about oneself.",
            of_self,
        ),
        Route::new("capabilities-accessor", ACCESSOR_FIELDS, "What the token of an accessor may do on paths.").on(
            update,
            "Ask about a token by its accessor.",
            by_accessor,
        ),
    ]
}

/// The access list of a token: its own policies with those of its entity. `None` if the entity is disabled or gone, so that the
/// token may do nothing.
pub(super) fn acl_of(
    open: &OpenCore,
    view: &mut View<'_>,
    policies: &[String],
    entity_id: &str,
) -> Result<Option<Arc<Acl>>, EngineError> {
    let mut names = policies.to_vec();
    let profile = match entity_id {
        "" => None,
        id => match identity::profile(view, id)? {
            Some(profile) if !profile.disabled => Some(profile),
            _ => return Ok(None),
        },
    };
    if let Some(profile) = &profile {
        names.extend(profile.policies.iter().cloned());
    }
    names.sort_unstable();
    names.dedup();
    Ok(Some(open.policies.acl(&open.barrier, &names, profile.as_ref().map(|p| &p.facts))?))
}

fn paths(fields: &Fields) -> Result<Vec<String>, EngineError> {
    let sent = |name| fields.texts(name).filter(|p| !p.is_empty());
    sent("paths").or_else(|| sent("path")).map(<[String]>::to_vec).ok_or_else(|| EngineError::invalid("paths must be supplied"))
}

fn by_token(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let asked = paths(&call.fields)?;
    let (_, open) = engine.opened()?;
    let token = call.fields.str("token").to_owned();
    if token.is_empty() {
        return Err(EngineError::internal("no token found"));
    }
    if secret::ct_eq(token.as_bytes(), presented(call).as_bytes()) {
        // The use that this very request spent may have been the last.
        return own(&open, call, &asked);
    }
    let found = open.tokens.lookup(&mut call.view, &token, call.now)?;
    of_token(&open, call, found, "invalid token", &asked)
}

fn by_accessor(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let accessor = call.fields.str("accessor").to_owned();
    if accessor.is_empty() {
        return Err(EngineError::invalid("missing accessor"));
    }
    let (_, open) = engine.opened()?;
    let found = open.tokens.lookup_accessor(&mut call.view, &accessor, call.now)?;
    if found.is_none() {
        return Err(EngineError::Rejected("invalid accessor".to_owned()));
    }
    let asked = paths(&call.fields)?;
    of_token(&open, call, found, "invalid accessor", &asked)
}

fn of_self(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let asked = paths(&call.fields)?;
    let (_, open) = engine.opened()?;
    own(&open, call, &asked)
}

fn own(open: &OpenCore, call: &mut Call<'_>, asked: &[String]) -> Outcome {
    let acl = acl_of(open, &mut call.view, &call.caller.policies, &call.caller.entity_id)?;
    Ok(Some(answer(acl.as_deref(), asked)))
}

fn of_token(open: &OpenCore, call: &mut Call<'_>, found: Option<Found>, unknown: &str, asked: &[String]) -> Outcome {
    let Some(found) = found else { return Err(EngineError::Rejected(unknown.to_owned())) };
    let acl = acl_of(open, &mut call.view, &found.entry.policies, &found.entry.entity_id)?;
    Ok(Some(answer(acl.as_deref(), asked)))
}

fn answer(acl: Option<&Acl>, asked: &[String]) -> Response {
    let mut data = Map::new();
    for path in asked {
        let names = acl.map_or_else(|| vec!["deny"], |a| a.capabilities(path));
        if asked.len() == 1 {
            data.insert("capabilities".into(), json!(names));
        }
        data.insert(path.clone(), json!(names));
    }
    Response::data(data)
}
