//! `group…`: create, update, read, delete, list.

use std::collections::BTreeSet;

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;
use storage::View;

use crate::entity::{names, page};
use crate::paths::IdentityEngine;
use crate::records::{Group, GroupKind};
use crate::{checks, keys, rows, shown};

/// `group`: makes a group (200 with its id), or changes the one that `id` or `name` means (204).
pub(crate) fn write(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    if call.fields.has("id") {
        return write_by_id(engine, call);
    }
    write_by_name(engine, call)
}

/// `group/id/<id>`: changes a group.
pub(crate) fn write_by_id(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("id");
    if id.is_empty() {
        return Err(EngineError::invalid("empty group ID"));
    }
    let Some(group) = rows::group(&mut call.view, id)? else { return Err(EngineError::invalid("invalid group ID")) };
    save(call, Some(Group::clone(&group)))
}

/// `group/name/<name>`: makes or changes a group.
pub(crate) fn write_by_name(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let old = match checks::name(&call.fields)? {
        Some(name) => rows::group_by_name(&mut call.view, &name)?,
        None if call.fields.has("name") => return Err(EngineError::invalid("empty group name")),
        None => None,
    };
    save(call, old.map(|g| Group::clone(&g)))
}

fn save(call: &mut Call<'_>, old: Option<Group>) -> Outcome {
    let mut new = match &old {
        Some(g) => g.clone(),
        None => Group { id: call.entropy.uuid()?, created: call.now, ..Group::default() },
    };
    if let Some(policies) = checks::policies(&call.fields)? {
        new.policies = Some(policies);
    }
    new.kind = kind(call, old.as_ref())?;
    if let Some(name) = checks::name(&call.fields)? {
        if rows::group_by_name(&mut call.view, &name)?.is_some_and(|g| g.id != new.id) {
            return Err(EngineError::invalid("group name is already in use"));
        }
        new.name = name;
    }
    if let Some(metadata) = checks::metadata(&call.fields, "group")? {
        new.metadata = Some(metadata);
    }
    let entities = sorted(call.fields.texts("member_entity_ids"));
    let groups = sorted(call.fields.texts("member_group_ids"));
    if new.kind == GroupKind::External && entities.is_some() {
        return Err(EngineError::invalid("member entities can't be set manually for external groups"));
    }
    if new.kind == GroupKind::External && groups.is_some() {
        return Err(EngineError::invalid("member groups can't be set for external groups"));
    }
    if new.name.is_empty() {
        new.name = rows::free_name(&mut call.view, call.entropy, "group", keys::group_name)?;
    }
    if let Some(entities) = entities {
        known_entities(&mut call.view, &entities)?;
        rows::set_members(&mut call.view, &new.id, &entities)?;
        new.members_set = true;
    }
    if let Some(groups) = groups {
        acyclic(&mut call.view, &new.id, &groups)?;
        rows::set_children(&mut call.view, &mut new, &groups)?;
    }
    new.updated = call.now;
    new.modify_index += 1;
    rows::save_group(&mut call.view, old.as_ref(), &new)?;
    Ok(old.is_none().then(|| Response::json(json!({ "id": new.id, "name": new.name }))))
}

fn kind(call: &Call<'_>, old: Option<&Group>) -> Result<GroupKind, EngineError> {
    let known = old.map(|g| g.kind);
    match call.fields.text("type") {
        Some(text) if known.is_some_and(|k| k.as_str() != text) => Err(EngineError::invalid("group type cannot be changed")),
        Some("external") => Ok(GroupKind::External),
        Some("internal" | "") => Ok(GroupKind::Internal),
        Some(text) => Err(EngineError::Invalid(format!("invalid group type {text:?}"))),
        None => Ok(known.unwrap_or_default()),
    }
}

fn sorted(ids: Option<&[String]>) -> Option<Vec<String>> {
    let trimmed = ids?.iter().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    Some(trimmed.collect::<BTreeSet<_>>().into_iter().collect())
}

fn known_entities(view: &mut View<'_>, ids: &[String]) -> Result<(), EngineError> {
    for id in ids {
        if rows::entity(view, id)?.is_none() {
            return Err(EngineError::Internal(format!("invalid entity ID {id:?}")));
        }
    }
    Ok(())
}

/// Refuses members that do not exist, and those from which `group` can be reached.
fn acyclic(view: &mut View<'_>, group: &str, members: &[String]) -> Result<(), EngineError> {
    for member in members {
        if member == group {
            return Err(EngineError::Internal(format!("member group ID {member:?} is same as the ID of the group")));
        }
        if rows::group(view, member)?.is_none() {
            return Err(EngineError::Internal(format!("invalid member group ID {member:?}")));
        }
        let mut seen = BTreeSet::new();
        let mut open = vec![member.clone()];
        while let Some(id) = open.pop() {
            if id == group {
                return Err(EngineError::Invalid(format!("cyclic relationship detected for member group ID {member:?}")));
            }
            if seen.insert(id.clone()) {
                open.extend(rows::group(view, &id)?.map(|g| g.children.clone()).unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// `group/id/<id>`.
pub(crate) fn read_by_id(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(group) = rows::group(&mut call.view, call.fields.str("id"))? else { return Ok(None) };
    shown::group(&mut call.view, call.system, &group).map(Some)
}

/// `group/name/<name>`.
pub(crate) fn read_by_name(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(group) = rows::group_by_name(&mut call.view, call.fields.str("name"))? else { return Ok(None) };
    shown::group(&mut call.view, call.system, &group).map(Some)
}

/// `group/id/<id>`; nothing there is fine.
pub(crate) fn delete_by_id(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    if let Some(group) = rows::group(&mut call.view, call.fields.str("id"))? {
        rows::delete_group(&mut call.view, &group)?;
    }
    Ok(None)
}

/// `group/name/<name>`; nothing there is fine.
pub(crate) fn delete_by_name(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    if let Some(group) = rows::group_by_name(&mut call.view, call.fields.str("name"))? {
        rows::delete_group(&mut call.view, &group)?;
    }
    Ok(None)
}

/// `group/id`.
pub(crate) fn list_ids(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let ids = call.view.list(keys::GROUP_IDS, &page(call))?;
    let mut info = Map::new();
    for id in &ids {
        if let Some(group) = rows::group(&mut call.view, id)? {
            info.insert(id.clone(), shown::group_info(&mut call.view, call.system, &group)?);
        }
    }
    Ok(Some(shown::list_with_info(ids, info)))
}

/// `group/name`.
pub(crate) fn list_names(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    names(call, keys::GROUP_NAMES)
}
