//! What the core needs about an entity on each request: live policies and the facts that policy templates may name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::EngineError;
use policy::{AliasFacts, GroupFacts, Identity};
use storage::View;

use crate::records::{Entity, Group, Membership, Pointer};
use crate::{keys, rows};

/// How many groups one entity may draw policies from, directly and through parents. A guard on the cost of one request, far
/// above what an operator would write by hand.
const GROUPS_PER_ENTITY_MAX: usize = 4096;

/// An entity as the core sees it.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The entity, after following merges: not always the id that was asked for.
    pub entity_id: String,
    /// Its tokens may do nothing.
    pub disabled: bool,
    /// Policies of the entity and of all its groups, inherited ones included; lower case, sorted, without doubles, never `root`.
    pub policies: Vec<String>,
    /// For policy templates.
    pub facts: Identity,
}

/// The profile of an entity, or `None` if it is gone. An id that was merged away leads to the entity it went into.
///
/// Reads the entity, its membership row and each of its groups: all point reads of rows the cache holds decoded.
pub fn profile(view: &mut View<'_>, entity_id: &str) -> Result<Option<Profile>, EngineError> {
    let Some(entity) = resolve(view, entity_id)? else { return Ok(None) };
    let groups = Groups::of(view, &entity.id)?;
    Ok(Some(build(&entity, &groups)))
}

/// The entity, following a merge.
pub(crate) fn resolve(view: &mut View<'_>, id: &str) -> Result<Option<Arc<Entity>>, EngineError> {
    if id.is_empty() {
        return Ok(None);
    }
    if let Some(entity) = rows::entity(view, id)? {
        return Ok(Some(entity));
    }
    let Some(heir) = view.get_json::<Pointer>(&keys::merged(id))? else { return Ok(None) };
    rows::entity(view, &heir.id)
}

/// The groups of one entity, read once.
#[derive(Default)]
pub(crate) struct Groups {
    /// Those it is in itself.
    pub(crate) direct: Vec<Arc<Group>>,
    /// Those that contain a group it is in, and are not direct.
    pub(crate) inherited: Vec<Arc<Group>>,
}

impl Groups {
    /// Reads the membership row and climbs from each group to its parents.
    pub(crate) fn of(view: &mut View<'_>, entity_id: &str) -> Result<Self, EngineError> {
        let Some(membership) = view.get_json::<Membership>(&keys::membership(entity_id))? else { return Ok(Self::default()) };
        let mut out = Self::default();
        let mut seen = BTreeSet::new();
        let mut parents = Vec::new();
        for id in &membership.groups {
            let Some(group) = view.get_json::<Group>(&keys::group(id))? else { continue };
            seen.insert(group.id.clone());
            parents.extend(group.parents.iter().cloned());
            out.direct.push(group);
        }
        // `seen` also ends the climb should a cycle ever have been stored.
        while let Some(id) = parents.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let Some(group) = view.get_json::<Group>(&keys::group(&id))? else { continue };
            if seen.len() > GROUPS_PER_ENTITY_MAX {
                return Err(EngineError::internal("entity has too many groups"));
            }
            parents.extend(group.parents.iter().cloned());
            out.inherited.push(group);
        }
        out.inherited.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(out)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.direct.iter().chain(&self.inherited)
    }
}

/// Joins an entity and its groups.
pub(crate) fn build(entity: &Entity, groups: &Groups) -> Profile {
    let written = entity.policies.iter().chain(groups.all().flat_map(|g| g.policies.iter().flatten()));
    // Writing `root` is refused; should it be stored all the same, it still gives nothing.
    let policies: BTreeSet<String> = written.map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty() && p != "root").collect();
    Profile {
        entity_id: entity.id.clone(),
        disabled: entity.disabled,
        policies: policies.into_iter().collect(),
        facts: facts(entity, groups),
    }
}

fn facts(entity: &Entity, groups: &Groups) -> Identity {
    let aliases = entity.aliases.iter().map(|a| AliasFacts {
        mount_accessor: a.mount_accessor.clone(),
        id: a.id.clone(),
        name: a.name.clone(),
        metadata: map(a.metadata.as_ref()),
        custom_metadata: map(a.custom_metadata.as_ref()),
    });
    let groups = groups.all().map(|g| GroupFacts { id: g.id.clone(), name: g.name.clone(), metadata: map(g.metadata.as_ref()) });
    Identity {
        id: entity.id.clone(),
        name: entity.name.clone(),
        metadata: map(entity.metadata.as_ref()),
        aliases: aliases.collect(),
        groups: groups.collect(),
    }
}

fn map(pairs: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    pairs.cloned().unwrap_or_default()
}
