//! What happens to identity when a login succeeds, when a token is renewed, and when an auth mount goes away.

use std::sync::Arc;

use engine::{EngineError, Mount};
use secret::{Entropy, Time};
use storage::{Page, View};

use crate::keys::{self, NAME_MAX_BYTES};
use crate::profile::{self, Groups, Profile};
use crate::records::{Alias, Entity, Group, GroupKind, Pairs, Pointer};
use crate::rows;

/// What a login found or made.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// The entity of the new token.
    pub entity_id: String,
    /// This login made the entity.
    pub created: bool,
    /// The entity after the login, external groups included.
    pub profile: Profile,
}

/// Finds the entity that `alias` names on `mount`, or makes one; refreshes the alias's metadata and the external groups.
/// A repeated login that changes nothing writes nothing.
///
/// `Denied` if the entity is disabled; `Internal` if the auth method gave no usable name.
pub fn login(
    view: &mut View<'_>,
    mount: &Mount,
    alias: &engine::Alias,
    group_aliases: &[String],
    now: Time,
    entropy: &dyn Entropy,
) -> Result<Login, EngineError> {
    if alias.name.is_empty() {
        return Err(EngineError::internal("missing alias name"));
    }
    if alias.name.len() > NAME_MAX_BYTES {
        return Err(EngineError::internal("alias name is too long"));
    }
    let found = rows::entity_by_alias(view, &mount.accessor, &alias.name)?;
    let created = found.is_none();
    let entity = match found {
        Some(entity) if entity.disabled => return Err(EngineError::denied("permission denied")),
        Some(entity) => refresh_alias(view, entity, mount, alias, now)?,
        None => create(view, mount, alias, now, entropy)?,
    };
    refresh_external_groups(view, &entity.id, &mount.accessor, group_aliases)?;
    let groups = Groups::of(view, &entity.id)?;
    Ok(Login { entity_id: entity.id.clone(), created, profile: profile::build(&entity, &groups) })
}

fn create(
    view: &mut View<'_>,
    mount: &Mount,
    alias: &engine::Alias,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<Arc<Entity>, EngineError> {
    let entity = Entity {
        id: entropy.uuid()?,
        name: rows::free_name(view, entropy, "entity", keys::entity_name)?,
        created: now,
        updated: now,
        aliases: vec![Alias {
            id: entropy.uuid()?,
            name: alias.name.clone(),
            mount_accessor: mount.accessor.clone(),
            metadata: metadata(alias),
            created: now,
            updated: now,
            ..Alias::default()
        }],
        ..Entity::default()
    };
    rows::save_entity(view, None, &entity)?;
    Ok(Arc::new(entity))
}

fn refresh_alias(
    view: &mut View<'_>,
    entity: Arc<Entity>,
    mount: &Mount,
    alias: &engine::Alias,
    now: Time,
) -> Result<Arc<Entity>, EngineError> {
    let fresh = metadata(alias);
    // `None` and an empty map say the same; only a real change is worth a write.
    let same = |known: &Alias| known.metadata.clone().unwrap_or_default() == fresh.clone().unwrap_or_default();
    if entity.alias_on(&mount.accessor).is_none_or(same) {
        return Ok(entity);
    }
    let mut new = Entity::clone(&entity);
    for known in new.aliases.iter_mut().filter(|a| a.mount_accessor == mount.accessor) {
        known.metadata.clone_from(&fresh);
        known.updated = now;
    }
    rows::save_entity(view, Some(&entity), &new)?;
    Ok(Arc::new(new))
}

fn metadata(alias: &engine::Alias) -> Option<Pairs> {
    (!alias.metadata.is_empty()).then(|| alias.metadata.clone())
}

/// Makes the entity a member of exactly those external groups whose alias on this mount is named, and touches no group of
/// another mount. The core calls it when a login token is renewed; [`login`] does it itself. Answers whether anything changed.
pub fn refresh_external_groups(
    view: &mut View<'_>,
    entity_id: &str,
    accessor: &str,
    group_aliases: &[String],
) -> Result<bool, EngineError> {
    let Some(entity) = profile::resolve(view, entity_id)? else { return Ok(false) };
    let mut wanted = Vec::new();
    for name in group_aliases.iter().filter(|n| !n.is_empty() && n.len() <= NAME_MAX_BYTES) {
        if let Some(group) = rows::group_by_alias(view, accessor, name)? {
            wanted.push(group.id.clone());
        }
    }
    let mut leave = Vec::new();
    for id in rows::direct_groups(view, &entity.id)? {
        let gone = rows::group(view, &id)?.is_none_or(|g| from_mount(&g, accessor) && !wanted.contains(&id));
        if gone {
            leave.push(id);
        }
    }
    rows::change_membership(view, &entity.id, &wanted, &leave)
}

fn from_mount(group: &Group, accessor: &str) -> bool {
    group.kind == GroupKind::External && group.alias.as_ref().is_none_or(|a| a.mount_accessor == accessor)
}

/// Removes the aliases of entities and groups on a mount that is gone, at most `limit` a call; answers whether all are gone.
/// The entities and groups stay. The accessor is never given out again, so a half-finished removal opens nothing.
pub fn remove_mount_aliases(view: &mut View<'_>, accessor: &str, limit: usize) -> Result<bool, EngineError> {
    let page = Page { after: None, limit: Some(limit.saturating_add(1)) };
    let mut left = limit;
    for (folder, is_group) in [(keys::alias_names(accessor), false), (keys::group_alias_names(accessor), true)] {
        for name in view.list(&folder, &page)? {
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            remove_alias_row(view, &format!("{folder}{name}"), accessor, is_group)?;
        }
    }
    Ok(true)
}

fn remove_alias_row(view: &mut View<'_>, key: &str, accessor: &str, is_group: bool) -> Result<(), EngineError> {
    let owner = view.get_json::<Pointer>(key)?.map(|p| p.id.clone()).unwrap_or_default();
    view.delete(key)?;
    if is_group {
        if let Some(group) = rows::group(view, &owner)? {
            rows::set_members(view, &group.id, &[])?;
            rows::save_group(view, Some(&group), &Group { alias: None, ..Group::clone(&group) })?;
        }
    } else if let Some(entity) = rows::entity(view, &owner)? {
        let mut new = Entity::clone(&entity);
        new.aliases.retain(|a| a.mount_accessor != accessor);
        rows::save_entity(view, Some(&entity), &new)?;
    }
    Ok(())
}
