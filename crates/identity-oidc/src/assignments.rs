//! `oidc/assignment`: which entities and groups may use a client.

use engine::{Call, EngineError, Outcome, Response};
use identity::{IdentityEngine, Profile};
use serde_json::json;
use std::sync::Arc;
use storage::View;

use crate::rows::{self, ALLOW_ALL, ANY, ASSIGNMENTS, Assignment, CLIENTS, Client};

/// An assignment; `allow_all` is always there.
pub(crate) fn find(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Assignment>>, EngineError> {
    if name == ALLOW_ALL {
        let any = vec![ANY.to_owned()];
        return Ok(Some(Arc::new(Assignment { entity_ids: any.clone(), group_ids: any })));
    }
    rows::load(view, ASSIGNMENTS, name)
}

/// Whether one of the client's assignments names the entity or a group it is in.
pub(crate) fn allow(view: &mut View<'_>, client: &Client, who: &Profile) -> Result<bool, EngineError> {
    for name in &client.assignments {
        let Some(assignment) = find(view, name)? else { continue };
        let entity = assignment.entity_ids.iter().any(|id| id == ANY || *id == who.entity_id);
        let in_group = |id: &String| id == ANY || who.facts.groups.iter().any(|g| g.id == *id);
        if entity || assignment.group_ids.iter().any(in_group) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn exists(_: &IdentityEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(find(&mut call.view, call.fields.str("name"))?.is_some())
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if name == ALLOW_ALL {
        return Err(EngineError::invalid("modification of assignment \"allow_all\" not allowed"));
    }
    let mut row =
        rows::load::<Assignment>(&mut call.view, ASSIGNMENTS, &name)?.map(|a| Assignment::clone(&a)).unwrap_or_default();
    if let Some(ids) = call.fields.texts("entity_ids") {
        row.entity_ids = rows::unique(ids);
    }
    if let Some(ids) = call.fields.texts("group_ids") {
        row.group_ids = rows::unique(ids);
    }
    rows::save(&mut call.view, ASSIGNMENTS, &name, &row)?;
    Ok(None)
}

pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let found = find(&mut call.view, call.fields.str("name"))?;
    Ok(found.map(|a| Response::json(json!({ "entity_ids": a.entity_ids, "group_ids": a.group_ids }))))
}

pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(rows::names_with(&mut call.view, ASSIGNMENTS, ALLOW_ALL)?)))
}

pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if name == ALLOW_ALL {
        return Err(EngineError::invalid("deletion of assignment \"allow_all\" not allowed"));
    }
    let users = rows::names_where::<Client>(&mut call.view, CLIENTS, |c| c.assignments.contains(&name))?;
    if !users.is_empty() {
        return Err(EngineError::Invalid(format!(
            "unable to delete assignment {name:?} because it is currently referenced by these clients: {}",
            users.join(", ")
        )));
    }
    rows::remove(&mut call.view, ASSIGNMENTS, &name)?;
    Ok(None)
}
