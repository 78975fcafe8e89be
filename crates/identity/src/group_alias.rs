//! `group-alias…`: the name by which an auth mount's logins put entities into an external group.

use std::sync::Arc;

use api_types::Map;
use engine::{Call, EngineError, Outcome};

use crate::entity::{alias_written, page};
use crate::paths::IdentityEngine;
use crate::records::{Alias, Group, GroupKind};
use crate::{checks, keys, rows, shown};

/// `group-alias`: makes an alias (200 with its id), or changes the one that `id` means.
pub(crate) fn write(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    if call.fields.has("id") {
        return write_by_id(engine, call);
    }
    save(call, None)
}

/// `group-alias/id/<id>`: changes an alias (200); no change is 204.
pub(crate) fn write_by_id(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("id");
    if id.is_empty() {
        return Err(EngineError::invalid("empty group alias ID"));
    }
    let owner = rows::group_by_alias_id(&mut call.view, id)?;
    if owner.is_none() {
        return Err(EngineError::invalid("invalid group alias ID"));
    }
    save(call, owner)
}

fn save(call: &mut Call<'_>, owner: Option<Arc<Group>>) -> Outcome {
    let name = checks::name(&call.fields)?.ok_or_else(|| EngineError::invalid("missing alias name"))?;
    let accessor = call.fields.str("mount_accessor").to_owned();
    if accessor.is_empty() {
        return Err(EngineError::invalid("missing mount_accessor"));
    }
    let canonical = call.fields.str("canonical_id").to_owned();
    let old = owner.as_ref().and_then(|g| g.alias.clone());
    if let (Some(group), Some(alias)) = (&owner, &old)
        && alias.name == name
        && alias.mount_accessor == accessor
        && (canonical.is_empty() || canonical == group.id)
    {
        return Ok(None);
    }
    let target = target(call, &canonical)?;
    if call.system.mount_by_accessor(&accessor).is_none() {
        return Err(EngineError::Invalid(format!("invalid mount accessor {accessor:?}")));
    }
    let holder = rows::group_by_alias(&mut call.view, &accessor, &name)?.and_then(|g| g.alias.clone());
    if holder.is_some_and(|h| old.as_ref().is_none_or(|o| o.id != h.id)) {
        return Err(EngineError::invalid("combination of mount and group alias name is already in use"));
    }
    let alias = match old {
        Some(old) => Alias { name, mount_accessor: accessor, updated: call.now, ..old },
        None => Alias {
            id: call.entropy.uuid()?,
            name,
            mount_accessor: accessor,
            created: call.now,
            updated: call.now,
            ..Alias::default()
        },
    };
    give(call, owner, target, alias)
}

/// The group that `canonical_id` means.
fn target(call: &mut Call<'_>, canonical: &str) -> Result<Option<Arc<Group>>, EngineError> {
    if canonical.is_empty() {
        return Ok(None);
    }
    let group = rows::group(&mut call.view, canonical)?;
    let group = group.ok_or_else(|| EngineError::invalid("invalid group ID given in 'canonical_id'"))?;
    if group.kind != GroupKind::External {
        return Err(EngineError::invalid("alias can't be set on an internal group"));
    }
    Ok(Some(group))
}

/// Gives the alias to its group and takes it from the former one. The members of both were members through another name,
/// so they are let go; their next login or renewal brings back those who still belong.
fn give(call: &mut Call<'_>, owner: Option<Arc<Group>>, target: Option<Arc<Group>>, alias: Alias) -> Outcome {
    let now = call.now;
    let target = target.or_else(|| owner.clone());
    if let Some(owner) = owner.filter(|o| target.as_ref().is_none_or(|t| t.id != o.id)) {
        rows::set_members(&mut call.view, &owner.id, &[])?;
        let without = Group { alias: None, updated: now, modify_index: owner.modify_index + 1, ..Group::clone(&owner) };
        rows::save_group(&mut call.view, Some(&owner), &without)?;
    }
    let mut new = match &target {
        Some(group) => Group::clone(group),
        None => Group {
            id: call.entropy.uuid()?,
            name: rows::free_name(&mut call.view, call.entropy, "group", keys::group_name)?,
            kind: GroupKind::External,
            created: now,
            ..Group::default()
        },
    };
    rows::set_members(&mut call.view, &new.id, &[])?;
    let answer = alias_written(&alias.id, &new.id);
    new.alias = Some(alias);
    new.updated = now;
    new.modify_index += 1;
    rows::save_group(&mut call.view, target.as_deref(), &new)?;
    Ok(Some(answer))
}

/// `group-alias/id/<id>`.
pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(group) = rows::group_by_alias_id(&mut call.view, call.fields.str("id"))? else { return Ok(None) };
    Ok(group.alias.as_ref().map(|a| shown::alias(call.system, a, &group.id)))
}

/// `group-alias/id/<id>`; nothing there is fine. The members, who were in by this name, are out.
pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(group) = rows::group_by_alias_id(&mut call.view, call.fields.str("id"))? else { return Ok(None) };
    rows::set_members(&mut call.view, &group.id, &[])?;
    let new = Group { alias: None, updated: call.now, modify_index: group.modify_index + 1, ..Group::clone(&group) };
    rows::save_group(&mut call.view, Some(&group), &new)?;
    Ok(None)
}

/// `group-alias/id`.
pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let ids = call.view.list(keys::GROUP_ALIAS_IDS, &page(call))?;
    let mut info = Map::new();
    for id in &ids {
        let Some(group) = rows::group_by_alias_id(&mut call.view, id)? else { continue };
        if let Some(alias) = &group.alias {
            info.insert(id.clone(), shown::alias_info(call.system, alias, &group.id));
        }
    }
    Ok(Some(shown::list_with_info(ids, info)))
}
