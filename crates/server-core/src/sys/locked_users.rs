//! `sys/locked-users`: the names that failed logins have locked, and their release by an operator (contract §3.6).
//!
//! Deliberately absent: names that do not exist, which are locked alike but shown to nobody; child namespaces.

use std::collections::BTreeMap;

use api_types::Operation;
use engine::{Call, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};

use super::SystemEngine;

const ACCESSOR: Field = Field::new("mount_accessor", FieldKind::String, "Accessor of the auth mount that the name belongs to.");
const ALIAS: Field = Field::new("alias_identifier", FieldKind::String, "Name of the user, or role id; case does not matter.");

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("locked-users", &[ACCESSOR], "Shows the names that are locked after failed logins.").on(
            Operation::Read,
            "Show them, of all auth mounts or of one.",
            locked,
        ),
        Route::new(
            "locked-users/{mount_accessor}/unlock/{alias_identifier...}",
            &[ACCESSOR, ALIAS],
            "Releases a name that is locked after failed logins.",
        )
        .on(Operation::Update, "Release it; a name that is not locked is fine.", unlock),
    ]
}

fn locked(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    let (_, router) = engine.routed()?;
    let only = call.fields.text("mount_accessor").filter(|a| !a.is_empty());
    let rule_of = |accessor: &str| router.by_accessor(accessor).map(|mounted| mounted.facts.lockout);
    let mut by_mount: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in open.registry().lockout.locked(call.now, rule_of) {
        by_mount.entry(name.accessor).or_default().push(name.alias);
    }
    let mut rows: Vec<(String, Option<Vec<String>>)> = match only {
        // A mount that was asked for is shown, locked names or not.
        Some(accessor) => vec![(accessor.to_owned(), by_mount.remove(accessor))],
        None => by_mount.into_iter().map(|(accessor, names)| (accessor, Some(names))).collect(),
    };
    let count = |names: &Option<Vec<String>>| names.as_ref().map_or(0, Vec::len);
    // Stable: mounts with as many names stay in order of their accessors.
    rows.sort_by_key(|(_, names)| std::cmp::Reverse(count(names)));
    let total: usize = rows.iter().map(|(_, names)| count(names)).sum();
    let mounts: Vec<Value> = rows
        .iter()
        .map(|(accessor, names)| json!({ "mount_accessor": accessor, "counts": count(names), "alias_identifiers": names }))
        .collect();
    let root = json!({ "namespace_id": "root", "namespace_path": "", "counts": total, "mount_accessors": mounts });
    Ok(Some(Response::json(json!({ "by_namespace": [root], "total": total }))))
}

fn unlock(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    open.registry().lockout.unlock(call.fields.str("mount_accessor"), call.fields.str("alias_identifier"));
    Ok(None)
}
