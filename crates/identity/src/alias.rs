//! `entity-alias…`: names of an entity on auth mounts.

use std::sync::Arc;

use api_types::Map;
use engine::{Call, EngineError, Outcome};

use crate::entity::{alias_written, page};
use crate::keys;
use crate::login::refresh_external_groups;
use crate::paths::IdentityEngine;
use crate::records::{Alias, Entity, Pairs};
use crate::{checks, rows, shown};

/// What an alias is to become.
struct Wanted {
    name: String,
    mount_accessor: String,
    /// Empty means "stay", or for a new alias "make an entity".
    canonical_id: String,
    custom_metadata: Option<Pairs>,
}

/// `entity-alias` and `entity-alias/id/<id>`: makes an alias or changes one (200 with its id); no change is 204.
pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let fields = &call.fields;
    let canonical_id = fields.text("canonical_id").filter(|c| !c.is_empty()).unwrap_or_else(|| fields.str("entity_id"));
    let mut wanted = Wanted {
        name: checks::name(fields)?.unwrap_or_default(),
        mount_accessor: fields.str("mount_accessor").to_owned(),
        canonical_id: canonical_id.to_owned(),
        custom_metadata: checks::custom_metadata(fields)?,
    };
    let id = fields.str("id").to_owned();
    if !id.is_empty() {
        let owner = rows::entity_by_alias_id(&mut call.view, &id)?;
        let Some((owner, alias)) = owner.and_then(|o| o.alias(&id).cloned().map(|a| (o, a))) else {
            return Err(EngineError::invalid("invalid alias ID provided"));
        };
        if wanted.name.is_empty() {
            wanted.name.clone_from(&alias.name);
        }
        if wanted.mount_accessor.is_empty() {
            wanted.mount_accessor.clone_from(&alias.mount_accessor);
        }
        return update(call, &owner, &alias, wanted);
    }
    if wanted.mount_accessor.is_empty() || wanted.name.is_empty() {
        return Err(EngineError::invalid("'id' or 'mount_accessor' and 'name' must be provided"));
    }
    known_mount(call, &wanted.mount_accessor)?;
    if let Some(owner) = rows::entity_by_alias(&mut call.view, &wanted.mount_accessor, &wanted.name)?
        && let Some(alias) = owner.alias_on(&wanted.mount_accessor).cloned()
    {
        return update(call, &owner, &alias, wanted);
    }
    create(call, wanted)
}

fn known_mount(call: &Call<'_>, accessor: &str) -> Result<(), EngineError> {
    match call.system.mount_by_accessor(accessor) {
        Some(_) => Ok(()),
        None => Err(EngineError::Invalid(format!("invalid mount accessor {accessor:?}"))),
    }
}

fn create(call: &mut Call<'_>, wanted: Wanted) -> Outcome {
    let now = call.now;
    let old = if wanted.canonical_id.is_empty() {
        None
    } else {
        let found = rows::entity(&mut call.view, &wanted.canonical_id)?;
        Some(found.ok_or_else(|| EngineError::invalid("invalid canonical ID"))?)
    };
    let mut entity = match &old {
        Some(entity) => Entity::clone(entity),
        None => Entity {
            id: call.entropy.uuid()?,
            name: rows::free_name(&mut call.view, call.entropy, "entity", keys::entity_name)?,
            created: now,
            updated: now,
            ..Entity::default()
        },
    };
    if entity.alias_on(&wanted.mount_accessor).is_some() {
        return Err(EngineError::invalid("Alias already exists for requested entity and mount accessor"));
    }
    let alias = Alias {
        id: call.entropy.uuid()?,
        name: wanted.name,
        mount_accessor: wanted.mount_accessor,
        // An alias made by an operator shows `{}` where one made by a login shows `null`.
        custom_metadata: Some(wanted.custom_metadata.unwrap_or_default()),
        created: now,
        updated: now,
        ..Alias::default()
    };
    let answer = alias_written(&alias.id, &entity.id);
    entity.aliases.push(alias);
    rows::save_entity(&mut call.view, old.as_deref(), &entity)?;
    Ok(Some(answer))
}

fn update(call: &mut Call<'_>, owner: &Arc<Entity>, alias: &Alias, wanted: Wanted) -> Outcome {
    let moves = !wanted.canonical_id.is_empty() && wanted.canonical_id != owner.id;
    let mut new = alias.clone();
    new.name = wanted.name;
    new.mount_accessor = wanted.mount_accessor;
    if wanted.custom_metadata.is_some() {
        new.custom_metadata = wanted.custom_metadata;
    }
    if !moves && new == *alias {
        return Ok(None);
    }
    new.updated = call.now;
    if new.mount_accessor != alias.mount_accessor && !moves && owner.alias_on(&new.mount_accessor).is_some() {
        return Err(EngineError::invalid(
            "Alias cannot be updated as the entity already has an alias for the given 'mount_accessor' ",
        ));
    }
    known_mount(call, &new.mount_accessor)?;
    let holder = rows::entity_by_alias(&mut call.view, &new.mount_accessor, &new.name)?;
    if holder.and_then(|h| h.alias_on(&new.mount_accessor).cloned()).is_some_and(|a| a.id != alias.id) {
        return Err(EngineError::invalid("alias with combination of mount accessor and name already exists"));
    }
    let target = if moves { wanted.canonical_id } else { owner.id.clone() };
    replace(call, owner, alias, new, &target)
}

/// Takes `old` from its owner and gives `new` to `target`. External groups that came with the old place are left.
fn replace(call: &mut Call<'_>, owner: &Arc<Entity>, old: &Alias, new: Alias, target: &str) -> Outcome {
    let answer = alias_written(&new.id, target);
    let mut giver = Entity::clone(owner);
    let leaves_place = owner.id != target || old.mount_accessor != new.mount_accessor || old.name != new.name;
    if owner.id == target {
        for a in giver.aliases.iter_mut().filter(|a| a.id == old.id) {
            a.clone_from(&new);
        }
        rows::save_entity(&mut call.view, Some(owner), &giver)?;
    } else {
        let Some(receiver) = rows::entity(&mut call.view, target)? else {
            return Err(EngineError::invalid("given 'canonical_id' is not associated with an entity"));
        };
        if receiver.alias_on(&new.mount_accessor).is_some() {
            return Err(EngineError::invalid("Alias cannot be updated as the given entity already has an alias for this mount "));
        }
        giver.aliases.retain(|a| a.id != old.id);
        rows::save_entity(&mut call.view, Some(owner), &giver)?;
        let mut taker = Entity::clone(&receiver);
        taker.aliases.push(new);
        // After the giver: its index rows are gone and the same keys are written anew.
        rows::save_entity(&mut call.view, Some(&receiver), &taker)?;
    }
    if leaves_place {
        refresh_external_groups(&mut call.view, &owner.id, &old.mount_accessor, &[])?;
    }
    Ok(Some(answer))
}

/// `entity-alias/id/<id>`.
pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("id");
    let Some(owner) = rows::entity_by_alias_id(&mut call.view, id)? else { return Ok(None) };
    Ok(owner.alias(id).map(|a| shown::alias(call.system, a, &owner.id)))
}

/// `entity-alias/id/<id>`; nothing there is fine. External groups that came with the alias are left.
pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("id");
    let Some(owner) = rows::entity_by_alias_id(&mut call.view, id)? else { return Ok(None) };
    let Some(alias) = owner.alias(id).cloned() else { return Ok(None) };
    let mut new = Entity::clone(&owner);
    new.aliases.retain(|a| a.id != alias.id);
    rows::save_entity(&mut call.view, Some(&owner), &new)?;
    refresh_external_groups(&mut call.view, &owner.id, &alias.mount_accessor, &[])?;
    Ok(None)
}

/// `entity-alias/id`.
pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let ids = call.view.list(keys::ALIAS_IDS, &page(call))?;
    let mut info = Map::new();
    for id in &ids {
        let Some(owner) = rows::entity_by_alias_id(&mut call.view, id)? else { continue };
        if let Some(alias) = owner.alias(id) {
            info.insert(id.clone(), shown::alias_info(call.system, alias, &owner.id));
        }
    }
    Ok(Some(shown::list_with_info(ids, info)))
}
