//! Rows as answers: the exact keys, and `null` where Vault says `null`.

use api_types::Map;
use engine::{EngineError, Response, System};
use serde_json::{Value, json};
use storage::View;

use crate::profile::Groups;
use crate::records::{Alias, Entity, Group, GroupKind, Pairs};
use crate::rows;

/// The only namespace there is.
const NAMESPACE: &str = "root";

/// An entity with its aliases and groups.
pub(crate) fn entity(view: &mut View<'_>, system: &dyn System, e: &Entity) -> Result<Response, EngineError> {
    let groups = Groups::of(view, &e.id)?;
    let direct: Vec<&str> = groups.direct.iter().map(|g| g.id.as_str()).collect();
    let inherited: Vec<&str> = groups.inherited.iter().map(|g| g.id.as_str()).collect();
    let all: Vec<&str> = direct.iter().chain(&inherited).copied().collect();
    Ok(Response::json(json!({
        "id": e.id,
        "name": e.name,
        "metadata": e.metadata,
        "policies": e.policies,
        "disabled": e.disabled,
        "namespace_id": NAMESPACE,
        "creation_time": e.created.rfc3339(),
        "last_update_time": e.updated.rfc3339(),
        "merged_entity_ids": or_null(&e.merged),
        "direct_group_ids": direct,
        "inherited_group_ids": inherited,
        "group_ids": all,
        "aliases": e.aliases.iter().map(|a| alias_in_entity(system, a, &e.id)).collect::<Vec<_>>(),
    })))
}

/// An alias of an entity or a group, on its own.
pub(crate) fn alias(system: &dyn System, a: &Alias, owner: &str) -> Response {
    let mut map = alias_in_entity(system, a, owner);
    map.insert("namespace_id".into(), NAMESPACE.into());
    Response::data(map)
}

fn alias_in_entity(system: &dyn System, a: &Alias, owner: &str) -> Map {
    let mut map = alias_in_group(system, a, owner);
    map.insert("local".into(), false.into());
    map.insert("custom_metadata".into(), pairs(a.custom_metadata.as_ref()));
    map
}

fn alias_in_group(system: &dyn System, a: &Alias, owner: &str) -> Map {
    let mut map = Map::new();
    map.insert("id".into(), a.id.clone().into());
    map.insert("canonical_id".into(), owner.into());
    map.insert("name".into(), a.name.clone().into());
    map.insert("mount_accessor".into(), a.mount_accessor.clone().into());
    map.insert("metadata".into(), pairs(a.metadata.as_ref()));
    map.insert("merged_from_canonical_ids".into(), or_null(&a.merged_from));
    map.insert("creation_time".into(), a.created.rfc3339().into());
    map.insert("last_update_time".into(), a.updated.rfc3339().into());
    add_mount(system, &a.mount_accessor, &mut map);
    map
}

/// A group with its members.
pub(crate) fn group(view: &mut View<'_>, system: &dyn System, g: &Group) -> Result<Response, EngineError> {
    let members = rows::members(view, &g.id)?;
    let members =
        if members.is_empty() && !(g.members_set && g.kind == GroupKind::Internal) { Value::Null } else { members.into() };
    Ok(Response::json(json!({
        "id": g.id,
        "name": g.name,
        "type": g.kind.as_str(),
        "policies": g.policies,
        "metadata": g.metadata,
        "member_entity_ids": members,
        "member_group_ids": or_null(&g.children),
        "parent_group_ids": or_null(&g.parents),
        "modify_index": g.modify_index,
        "namespace_id": NAMESPACE,
        "creation_time": g.created.rfc3339(),
        "last_update_time": g.updated.rfc3339(),
        "alias": g.alias.as_ref().map(|a| alias_in_group(system, a, &g.id)).unwrap_or_default(),
    })))
}

/// What a listing of entity ids says about each.
pub(crate) fn entity_info(system: &dyn System, e: &Entity) -> Value {
    let mut map = Map::new();
    map.insert("name".into(), e.name.clone().into());
    if !e.aliases.is_empty() {
        map.insert("aliases".into(), e.aliases.iter().map(|a| alias_brief(system, a)).collect());
    }
    Value::Object(map)
}

/// What a listing of group ids says about each.
pub(crate) fn group_info(view: &mut View<'_>, system: &dyn System, g: &Group) -> Result<Value, EngineError> {
    let mut map = Map::new();
    map.insert("name".into(), g.name.clone().into());
    map.insert("num_member_entities".into(), rows::members(view, &g.id)?.len().into());
    map.insert("num_parent_groups".into(), g.parents.len().into());
    if let Some(a) = &g.alias {
        map.insert("alias".into(), alias_brief(system, a));
    }
    Ok(Value::Object(map))
}

/// What a listing of alias ids says about each.
pub(crate) fn alias_info(system: &dyn System, a: &Alias, owner: &str) -> Value {
    let mut map = Map::new();
    map.insert("canonical_id".into(), owner.into());
    map.insert("custom_metadata".into(), pairs(a.custom_metadata.as_ref()));
    map.insert("local".into(), false.into());
    map.insert("metadata".into(), pairs(a.metadata.as_ref()));
    map.insert("mount_accessor".into(), a.mount_accessor.clone().into());
    map.insert("name".into(), a.name.clone().into());
    add_mount(system, &a.mount_accessor, &mut map);
    Value::Object(map)
}

fn alias_brief(system: &dyn System, a: &Alias) -> Value {
    let mut map = Map::new();
    map.insert("id".into(), a.id.clone().into());
    map.insert("name".into(), a.name.clone().into());
    map.insert("mount_accessor".into(), a.mount_accessor.clone().into());
    add_mount(system, &a.mount_accessor, &mut map);
    Value::Object(map)
}

/// A mount that is gone adds nothing, as in Vault.
fn add_mount(system: &dyn System, accessor: &str, map: &mut Map) {
    if let Some(mount) = system.mount_by_accessor(accessor) {
        map.insert("mount_path".into(), mount.path.clone().into());
        map.insert("mount_type".into(), mount.mount_type.clone().into());
    }
}

fn pairs(p: Option<&Pairs>) -> Value {
    p.map_or(Value::Null, |p| p.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect())
}

fn or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { list.to_vec().into() }
}

/// A listing with facts about each key; an empty one is no data.
pub(crate) fn list_with_info(keys: Vec<String>, info: Map) -> Response {
    if keys.is_empty() {
        return Response::list(keys);
    }
    Response::json(json!({ "keys": keys, "key_info": info }))
}
