//! Changes to the rows with all their index rows, so that no handler writes one without the other.

use std::any::Any;
use std::sync::Arc;

use engine::EngineError;
use secret::{Entropy, SecretBytes};
use serde::de::DeserializeOwned;
use storage::{Page, View};

use crate::keys::{self, KEY_MAX_BYTES};
use crate::records::{Alias, Entity, Group, Membership, Pointer};

/// How often a made-up name may meet a taken one. With eight hexadecimal digits and a million names, one try in four
/// thousand does.
const NAME_TRIES: usize = 16;

/// A row, shared with the cache, if it is there.
pub(crate) type Found<T> = Result<Option<Arc<T>>, EngineError>;

/// An entity by its id only; unlike `profile::resolve` a merged id finds nothing.
pub(crate) fn entity(view: &mut View<'_>, id: &str) -> Found<Entity> {
    row(view, &keys::entity(id))
}

/// An entity by name.
pub(crate) fn entity_by_name(view: &mut View<'_>, name: &str) -> Found<Entity> {
    through(view, &keys::entity_name(name), entity)
}

/// The entity that has the alias with this id.
pub(crate) fn entity_by_alias_id(view: &mut View<'_>, alias_id: &str) -> Found<Entity> {
    through(view, &keys::alias_id(alias_id), entity)
}

/// The entity that has this name on this mount.
pub(crate) fn entity_by_alias(view: &mut View<'_>, accessor: &str, name: &str) -> Found<Entity> {
    through(view, &keys::alias_name(accessor, name), entity)
}

/// A group by its id.
pub(crate) fn group(view: &mut View<'_>, id: &str) -> Found<Group> {
    row(view, &keys::group(id))
}

/// A group by name.
pub(crate) fn group_by_name(view: &mut View<'_>, name: &str) -> Found<Group> {
    through(view, &keys::group_name(name), group)
}

/// The group that has the alias with this id.
pub(crate) fn group_by_alias_id(view: &mut View<'_>, alias_id: &str) -> Found<Group> {
    through(view, &keys::group_alias_id(alias_id), group)
}

/// The group that has this name on this mount.
pub(crate) fn group_by_alias(view: &mut View<'_>, accessor: &str, name: &str) -> Found<Group> {
    through(view, &keys::group_alias_name(accessor, name), group)
}

/// The row at `key`. A client may ask for a name or id of any length; one that no key can have finds nothing.
fn row<T: DeserializeOwned + Any + Send + Sync>(view: &mut View<'_>, key: &str) -> Found<T> {
    if key.len() > KEY_MAX_BYTES {
        return Ok(None);
    }
    Ok(view.get_json(key)?)
}

fn through<T>(view: &mut View<'_>, index: &str, load: fn(&mut View<'_>, &str) -> Found<T>) -> Found<T> {
    match row::<Pointer>(view, index)? {
        Some(pointer) => load(view, &pointer.id),
        None => Ok(None),
    }
}

/// A name that nothing has, `<kind>_<8 hex>`.
pub(crate) fn free_name(
    view: &mut View<'_>,
    entropy: &dyn Entropy,
    kind: &str,
    key: fn(&str) -> String,
) -> Result<String, EngineError> {
    for _ in 0..NAME_TRIES {
        let name = format!("{kind}_{}", entropy.hex(8)?);
        if view.get(&key(&name))?.is_none() {
            return Ok(name);
        }
    }
    Err(EngineError::internal(format!("failed to generate {kind} name")))
}

/// Writes an entity and the index rows in which it differs from `old`.
pub(crate) fn save_entity(view: &mut View<'_>, old: Option<&Entity>, new: &Entity) -> Result<(), EngineError> {
    if old.is_none_or(|o| o.name != new.name) {
        if let Some(old) = old {
            view.delete(&keys::entity_name(&old.name))?;
        }
        view.put_json(&keys::entity_name(&new.name), &Pointer { id: new.id.clone(), name: new.name.clone() })?;
    }
    let old_aliases = old.map(|o| o.aliases.as_slice()).unwrap_or_default();
    for gone in old_aliases.iter().filter(|a| !new.aliases.iter().any(|n| same_place(a, n))) {
        view.delete(&keys::alias_name(&gone.mount_accessor, &gone.name))?;
        if new.alias(&gone.id).is_none() {
            view.delete(&keys::alias_id(&gone.id))?;
        }
    }
    for added in new.aliases.iter().filter(|a| !old_aliases.iter().any(|o| same_place(a, o))) {
        let pointer = Pointer { id: new.id.clone(), name: added.name.clone() };
        view.put_json(&keys::alias_name(&added.mount_accessor, &added.name), &pointer)?;
        view.put_json(&keys::alias_id(&added.id), &pointer)?;
    }
    Ok(view.put_json(&keys::entity(&new.id), new)?)
}

/// Makes every id that was merged into this entity lead to it.
pub(crate) fn point_merged(view: &mut View<'_>, entity: &Entity) -> Result<(), EngineError> {
    for merged in &entity.merged {
        view.put_json(&keys::merged(merged), &Pointer { id: entity.id.clone(), name: String::new() })?;
    }
    Ok(())
}

/// The index rows of the two aliases are the same.
fn same_place(a: &Alias, b: &Alias) -> bool {
    a.id == b.id && a.mount_accessor == b.mount_accessor && a.name == b.name
}

/// Removes an entity, its index rows and its memberships.
pub(crate) fn delete_entity(view: &mut View<'_>, entity: &Entity) -> Result<(), EngineError> {
    for alias in &entity.aliases {
        view.delete(&keys::alias_name(&alias.mount_accessor, &alias.name))?;
        view.delete(&keys::alias_id(&alias.id))?;
    }
    for merged in &entity.merged {
        view.delete(&keys::merged(merged))?;
    }
    for group in direct_groups(view, &entity.id)? {
        view.delete(&keys::member(&group, &entity.id))?;
    }
    view.delete(&keys::membership(&entity.id))?;
    view.delete(&keys::entity_name(&entity.name))?;
    Ok(view.delete(&keys::entity(&entity.id))?)
}

/// Ids of the groups an entity is directly in.
pub(crate) fn direct_groups(view: &mut View<'_>, entity_id: &str) -> Result<Vec<String>, EngineError> {
    Ok(view.get_json::<Membership>(&keys::membership(entity_id))?.map(|m| m.groups.clone()).unwrap_or_default())
}

/// Puts an entity into some groups and takes it out of others; writes only what changes.
pub(crate) fn change_membership(
    view: &mut View<'_>,
    entity_id: &str,
    join: &[String],
    leave: &[String],
) -> Result<bool, EngineError> {
    let old = direct_groups(view, entity_id)?;
    let mut new = old.clone();
    new.retain(|g| !leave.contains(g));
    new.extend(join.iter().filter(|g| !old.contains(g)).cloned());
    new.sort();
    new.dedup();
    if new == old {
        return Ok(false);
    }
    for gone in old.iter().filter(|g| !new.contains(g)) {
        view.delete(&keys::member(gone, entity_id))?;
    }
    for added in new.iter().filter(|g| !old.contains(g)) {
        view.put(&keys::member(added, entity_id), SecretBytes::new(Vec::new()))?;
    }
    if new.is_empty() {
        view.delete(&keys::membership(entity_id))?;
    } else {
        view.put_json(&keys::membership(entity_id), &Membership { groups: new })?;
    }
    Ok(true)
}

/// Ids of a group's member entities, sorted.
pub(crate) fn members(view: &mut View<'_>, group_id: &str) -> Result<Vec<String>, EngineError> {
    let mut ids = view.list(&keys::members(group_id), &Page::default())?;
    ids.sort();
    Ok(ids)
}

/// Makes exactly these entities the group's members; `wanted` is sorted.
pub(crate) fn set_members(view: &mut View<'_>, group_id: &str, wanted: &[String]) -> Result<(), EngineError> {
    let this = [group_id.to_owned()];
    let present = members(view, group_id)?;
    for gone in present.iter().filter(|e| wanted.binary_search(e).is_err()) {
        change_membership(view, gone, &[], &this)?;
    }
    for added in wanted.iter().filter(|e| present.binary_search(e).is_err()) {
        change_membership(view, added, &this, &[])?;
    }
    Ok(())
}

/// Writes a group and the index rows in which it differs from `old`.
pub(crate) fn save_group(view: &mut View<'_>, old: Option<&Group>, new: &Group) -> Result<(), EngineError> {
    if old.is_none_or(|o| o.name != new.name) {
        if let Some(old) = old {
            view.delete(&keys::group_name(&old.name))?;
        }
        view.put_json(&keys::group_name(&new.name), &Pointer { id: new.id.clone(), name: new.name.clone() })?;
    }
    let old_alias = old.and_then(|o| o.alias.as_ref());
    if let Some(gone) = old_alias.filter(|o| new.alias.as_ref().is_none_or(|n| !same_place(o, n))) {
        view.delete(&keys::group_alias_name(&gone.mount_accessor, &gone.name))?;
        view.delete(&keys::group_alias_id(&gone.id))?;
    }
    if let Some(added) = new.alias.as_ref().filter(|n| old_alias.is_none_or(|o| !same_place(o, n))) {
        let pointer = Pointer { id: new.id.clone(), name: added.name.clone() };
        view.put_json(&keys::group_alias_name(&added.mount_accessor, &added.name), &pointer)?;
        view.put_json(&keys::group_alias_id(&added.id), &pointer)?;
    }
    Ok(view.put_json(&keys::group(&new.id), new)?)
}

/// Makes exactly these groups the children of `group` (which the caller saves afterwards), in their own rows too.
pub(crate) fn set_children(view: &mut View<'_>, group: &mut Group, wanted: &[String]) -> Result<(), EngineError> {
    let old = std::mem::replace(&mut group.children, wanted.to_vec());
    for id in old.iter().filter(|c| !wanted.contains(c)) {
        edit_parents(view, id, |parents| parents.retain(|p| *p != group.id))?;
    }
    for id in wanted.iter().filter(|c| !old.contains(c)) {
        edit_parents(view, id, |parents| parents.push(group.id.clone()))?;
    }
    Ok(())
}

fn edit_parents(view: &mut View<'_>, id: &str, edit: impl FnOnce(&mut Vec<String>)) -> Result<(), EngineError> {
    let Some(child) = group(view, id)? else { return Ok(()) };
    let mut child = Group::clone(&child);
    edit(&mut child.parents);
    child.parents.sort();
    child.parents.dedup();
    child.modify_index += 1;
    Ok(view.put_json(&keys::group(id), &child)?)
}

/// Removes a group, its index rows, its memberships and its place in other groups.
pub(crate) fn delete_group(view: &mut View<'_>, gone: &Group) -> Result<(), EngineError> {
    set_members(view, &gone.id, &[])?;
    set_children(view, &mut gone.clone(), &[])?;
    for parent_id in &gone.parents {
        if let Some(parent) = group(view, parent_id)? {
            let mut parent = Group::clone(&parent);
            parent.children.retain(|c| *c != gone.id);
            view.put_json(&keys::group(parent_id), &parent)?;
        }
    }
    if let Some(alias) = &gone.alias {
        view.delete(&keys::group_alias_name(&alias.mount_accessor, &alias.name))?;
        view.delete(&keys::group_alias_id(&alias.id))?;
    }
    view.delete(&keys::group_name(&gone.name))?;
    Ok(view.delete(&keys::group(&gone.id))?)
}
