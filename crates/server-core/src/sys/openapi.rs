//! `sys/internal/specs/openapi`: all that is mounted as one OpenAPI document, without envelope.
//!
//! With a token it shows the mounts in which the token may do something; without one, the mounts whose paths are the same in
//! every installation, so that a client can be generated before anybody logs in.

use api_types::{Map, Operation};
use engine::{Call, Field, FieldKind, Outcome, Route};
use serde_json::{Value, json};

use super::SystemEngine;
use super::support::bare_json;

const FIELDS: &[Field] = &[
    Field::new("generic_mount_paths", FieldKind::Bool, "Show mount paths as parameters."),
    Field::new("context", FieldKind::String, "Accepted for old clients."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![Route::new("internal/specs/openapi", FIELDS, "Describes all paths.").on(Operation::Read, "Get the document.", document)]
}

fn document(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (core, router) = engine.routed()?;
    let (_, open) = engine.opened()?;
    let generic = call.fields.bool("generic_mount_paths").unwrap_or(false);
    let acl = if call.caller.policies.is_empty() {
        None
    } else {
        let facts = match call.caller.entity_id.as_str() {
            "" => None,
            id => identity::profile(&mut call.view, id)?.map(|p| p.facts),
        };
        Some(open.policies.acl(&open.barrier, &call.caller.policies, facts.as_ref())?)
    };
    let mut paths = Map::new();
    for mounted in router.table(crate::Table::Mounts).chain(router.table(crate::Table::Auth)) {
        let (entry, path) = (&mounted.entry, mounted.entry.full_path());
        let shown = match &acl {
            Some(acl) => acl.touches(&path),
            None => entry.is_builtin(),
        };
        if !shown {
            continue;
        }
        if generic && !entry.is_builtin() {
            let parameter = format!("{}_mount_path", entry.path.trim_end_matches('/').replace(['-', '/'], "_"));
            let auth = if path.starts_with("auth/") { "auth/" } else { "" };
            let found = mounted.backend.openapi_paths(&format!("{auth}{{{parameter}}}/"));
            paths.extend(found.into_iter().map(|(k, item)| (k, with_parameter(item, &parameter, &entry.path))));
        } else {
            paths.extend(mounted.backend.openapi_paths(&path));
        }
    }
    let body = json!({
        "openapi": "3.0.2",
        "info": {
            "title": "Strongroom API",
            "description": "HTTP API that gives you full access to Strongroom. All API routes are prefixed with `/v1/`.",
            "version": core.config().version,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "paths": paths,
        "components": { "schemas": {} },
    });
    bare_json(&body, 200).map(Some)
}

fn with_parameter(mut item: Value, name: &str, default: &str) -> Value {
    let parameter = json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": "Path that the backend was mounted at",
        "schema": { "type": "string", "default": default.trim_end_matches('/') },
    });
    if let Some(list) = item.as_object_mut().and_then(|m| m.entry("parameters").or_insert_with(|| json!([])).as_array_mut()) {
        list.push(parameter);
    }
    item
}
