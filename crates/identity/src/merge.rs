//! `entity/merge`: several entities become one. Aliases and group memberships move, policies and metadata do not: a merge
//! must not give the target more than an operator wrote on it or on its groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_types::multi_error;
use engine::{Call, EngineError, Outcome};
use storage::View;

use crate::login::refresh_external_groups;
use crate::paths::IdentityEngine;
use crate::records::Entity;
use crate::rows;

/// `entity/merge`. All or nothing.
pub(crate) fn merge(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let to = call.fields.str("to_entity_id").to_owned();
    if to.is_empty() {
        return Err(EngineError::invalid("missing entity id to merge to"));
    }
    let from: BTreeSet<String> = call.fields.texts("from_entity_ids").unwrap_or_default().iter().cloned().collect();
    if from.is_empty() {
        return Err(EngineError::invalid("missing entity ids to merge from"));
    }
    let keep: Vec<String> = call.fields.texts("conflicting_alias_ids_to_keep").unwrap_or_default().to_vec();
    let Some(target) = rows::entity(&mut call.view, &to)? else {
        return Err(EngineError::invalid("entity id to merge to is invalid"));
    };
    if from.len() > 1 && keep.len() > 1 {
        return Err(EngineError::invalid(
            "aliases conflicts cannot be resolved with multiple from entity ids - merge one entity at a time",
        ));
    }
    let sources = sources(&mut call.view, &to, &from)?;
    if keep.is_empty() {
        refuse_clashes(&target, &sources)?;
    }
    let mut new = Entity::clone(&target);
    let mut dropped = Vec::new();
    for source in &sources {
        take_over(&mut new, source, &keep, &mut dropped)?;
    }
    new.updated = call.now;
    let view = &mut call.view;
    let mut joined = Vec::new();
    for source in &sources {
        joined.extend(rows::direct_groups(view, &source.id)?);
        rows::delete_entity(view, source)?;
    }
    rows::save_entity(view, Some(&target), &new)?;
    // `delete_entity` removed the pointers of earlier merges into the sources; they lead to the target now.
    rows::point_merged(view, &new)?;
    rows::change_membership(view, &new.id, &joined, &[])?;
    for accessor in dropped {
        // Membership that came with an alias nobody kept.
        refresh_external_groups(view, &new.id, &accessor, &[])?;
    }
    Ok(None)
}

fn sources(view: &mut View<'_>, to: &str, from: &BTreeSet<String>) -> Result<Vec<Arc<Entity>>, EngineError> {
    from.iter()
        .map(|id| {
            if id == to {
                return Err(EngineError::invalid("to_entity_id should not be present in from_entity_ids"));
            }
            rows::entity(view, id)?.ok_or_else(|| EngineError::invalid("entity id to merge from is invalid"))
        })
        .collect()
}

/// An entity has one alias per mount, so two aliases on one mount need a decision.
fn refuse_clashes(target: &Entity, sources: &[Arc<Entity>]) -> Result<(), EngineError> {
    let mut by_accessor: BTreeMap<&str, &str> = BTreeMap::new();
    let mut clashes = Vec::new();
    for source in sources {
        for alias in &source.aliases {
            if by_accessor.insert(&alias.mount_accessor, &source.id).is_some_and(|other| other != source.id) {
                return Err(EngineError::Invalid(format!(
                    "mount accessor {} found in multiple fromEntities, merge should be done with one fromEntity at a time",
                    alias.mount_accessor
                )));
            }
            if let Some(own) = target.alias_on(&alias.mount_accessor) {
                clashes.push(format!(
                    "mountAccessor: {}, toEntity ID: {}, fromEntity ID: {}, conflicting toEntity alias ID: {}, \
                     conflicting fromEntity alias ID: {}",
                    alias.mount_accessor, target.id, source.id, own.id, alias.id
                ));
            }
        }
    }
    if clashes.is_empty() {
        return Ok(());
    }
    let head = "toEntity and at least one fromEntity have aliases with the same mount accessor, \
                repeat the merge request specifying exactly one fromEntity, clashes: ";
    let texts: Vec<&str> = std::iter::once(head).chain(clashes.iter().map(String::as_str)).collect();
    Err(EngineError::Invalid(multi_error(&texts)))
}

/// Adds the source's aliases and merged ids. Of two aliases on one mount the one in `keep` stays.
fn take_over(new: &mut Entity, source: &Entity, keep: &[String], dropped: &mut Vec<String>) -> Result<(), EngineError> {
    for alias in &source.aliases {
        if let Some(own) = new.alias_on(&alias.mount_accessor) {
            let own_id = own.id.clone();
            dropped.push(alias.mount_accessor.clone());
            if keep.contains(&own_id) {
                continue;
            }
            if !keep.contains(&alias.id) {
                return Err(EngineError::Invalid(format!(
                    "conflicting mount accessors in following alias IDs and neither were present in \
                     conflicting_alias_ids_to_keep: {}, {own_id}",
                    alias.id
                )));
            }
            new.aliases.retain(|a| a.id != own_id);
        }
        let mut moved = alias.clone();
        moved.merged_from.push(source.id.clone());
        new.aliases.push(moved);
    }
    new.merged.extend(source.merged.iter().cloned());
    new.merged.push(source.id.clone());
    Ok(())
}
