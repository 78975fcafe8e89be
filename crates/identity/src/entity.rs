//! `entity…`: create, update, read, delete, list.

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use serde_json::{Value, json};
use storage::Page;

use crate::paths::IdentityEngine;
use crate::records::{Entity, Pointer};
use crate::{checks, keys, rows, shown};

/// `entity`, `entity/id/<id>` and `entity/name/<name>`: makes an entity (200 with its id) or changes one (204).
pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let old = target(call)?;
    let now = call.now;
    let mut new = match &old {
        Some(e) => e.clone(),
        None => Entity { id: call.entropy.uuid()?, created: now, ..Entity::default() },
    };
    if let Some(name) = checks::name(&call.fields)? {
        new.name = name;
    }
    if let Some(policies) = checks::policies(&call.fields)? {
        new.policies = policies;
    }
    if let Some(disabled) = call.fields.bool("disabled") {
        new.disabled = disabled;
    }
    if let Some(metadata) = checks::metadata(&call.fields, "entity")? {
        new.metadata = Some(metadata);
    }
    if new.name.is_empty() {
        new.name = rows::free_name(&mut call.view, call.entropy, "entity", keys::entity_name)?;
    }
    new.updated = now;
    rows::save_entity(&mut call.view, old.as_ref(), &new)?;
    if old.is_some() {
        return Ok(None);
    }
    Ok(Some(Response::json(json!({ "id": new.id, "name": new.name, "aliases": null }))))
}

/// Which entity the fields mean: by id, else by name; `None` is a new one.
fn target(call: &mut Call<'_>) -> Result<Option<Entity>, EngineError> {
    let id = call.fields.str("id").to_owned();
    let name = checks::name(&call.fields)?;
    let by_id = if id.is_empty() {
        None
    } else {
        Some(rows::entity(&mut call.view, &id)?.ok_or_else(|| EngineError::invalid("entity not found from id"))?)
    };
    let by_name = match name {
        Some(name) => rows::entity_by_name(&mut call.view, &name)?,
        None => None,
    };
    match (&by_id, &by_name) {
        (Some(i), Some(n)) if i.id != n.id => Err(EngineError::invalid("entity name is already in use")),
        _ => Ok(by_id.or(by_name).map(|e| Entity::clone(&e))),
    }
}

/// `entity/id/<id>`.
pub(crate) fn read_by_id(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(entity) = rows::entity(&mut call.view, call.fields.str("id"))? else { return Ok(None) };
    shown::entity(&mut call.view, call.system, &entity).map(Some)
}

/// `entity/name/<name>`.
pub(crate) fn read_by_name(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(entity) = rows::entity_by_name(&mut call.view, call.fields.str("name"))? else { return Ok(None) };
    shown::entity(&mut call.view, call.system, &entity).map(Some)
}

/// `entity/id/<id>`; nothing there is fine.
pub(crate) fn delete_by_id(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    if let Some(entity) = rows::entity(&mut call.view, call.fields.str("id"))? {
        rows::delete_entity(&mut call.view, &entity)?;
    }
    Ok(None)
}

/// `entity/name/<name>`; nothing there is fine.
pub(crate) fn delete_by_name(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    if let Some(entity) = rows::entity_by_name(&mut call.view, call.fields.str("name"))? {
        rows::delete_entity(&mut call.view, &entity)?;
    }
    Ok(None)
}

/// `entity/batch-delete`; ids that name nothing are passed over.
pub(crate) fn batch_delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let ids = call.fields.texts("entity_ids").unwrap_or_default();
    if ids.is_empty() {
        return Err(EngineError::invalid("missing entity ids to delete"));
    }
    for id in ids {
        if let Some(entity) = rows::entity(&mut call.view, id)? {
            rows::delete_entity(&mut call.view, &entity)?;
        }
    }
    Ok(None)
}

/// The page a listing asks for with `after` and `limit`.
pub(crate) fn page(call: &Call<'_>) -> Page {
    Page {
        after: call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned),
        limit: call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    }
}

/// `entity/id`.
pub(crate) fn list_ids(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let ids = call.view.list(keys::ENTITY_IDS, &page(call))?;
    let mut info = Map::new();
    for id in &ids {
        if let Some(entity) = rows::entity(&mut call.view, id)? {
            info.insert(id.clone(), shown::entity_info(call.system, &entity));
        }
    }
    Ok(Some(shown::list_with_info(ids, info)))
}

/// `entity/name`: the names as they were written.
pub(crate) fn list_names(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    names(call, keys::ENTITY_NAMES)
}

/// The names behind the index rows of a folder.
pub(crate) fn names(call: &mut Call<'_>, folder: &str) -> Outcome {
    let mut out = Vec::new();
    for row in call.view.list(folder, &page(call))? {
        if let Some(pointer) = call.view.get_json::<Pointer>(&format!("{folder}{row}"))? {
            out.push(pointer.name.clone());
        }
    }
    Ok(Some(Response::list(out)))
}

/// The answer to a write that made or changed an alias.
pub(crate) fn alias_written(id: &str, owner: &str) -> Response {
    Response::json(json!({ "id": Value::from(id), "canonical_id": Value::from(owner) }))
}
