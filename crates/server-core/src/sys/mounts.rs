//! `sys/mounts`, `sys/auth`: the two mount tables, and what enters and leaves them.
//!
//! Rows are read and written in the request's transaction, so of two requests for one path one runs anew and finds it taken.

use std::collections::BTreeMap;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response, Route};
use serde_json::Value;

use super::SystemEngine;
use super::mount_config::{self, Given};
use crate::core::OpenCore;
use crate::mounts::{MountEntry, Table, row_at, row_in_the_way, rows};
use crate::retire::{self, Way};

/// Paths that only the core mounts at.
pub(super) const PROTECTED: [&str; 5] = ["audit/", "auth/", "cubbyhole/", "identity/", "sys/"];
/// Types of which there is exactly one mount.
const SINGLETONS: [&str; 4] = ["cubbyhole", "system", "token", "identity"];

pub(super) const PATH: Field = Field::new("path", FieldKind::String, "Where it is mounted, for example \"secret/east\".");
const MOUNT: &[Field] = &[
    PATH,
    Field::new("type", FieldKind::String, "Kind of engine, for example \"kv\"."),
    Field::new("description", FieldKind::String, "For people."),
    Field::new("config", FieldKind::Map, "Settings, as for tuning."),
    Field::new("local", FieldKind::Bool, "Not replicated to other clusters."),
    Field::new("seal_wrap", FieldKind::Bool, "Accepted and shown; every record is sealed already."),
    Field::new("external_entropy_access", FieldKind::Bool, "Accepted and shown."),
    Field::new("plugin_name", FieldKind::String, "Type to mount, where the type is \"plugin\"."),
    Field::new("plugin_version", FieldKind::String, "Accepted; only the built-in version exists."),
    Field::new("options", FieldKind::KeyValuePairs, "Options of the engine, for example the version of kv."),
];

/// The group's paths. Those of `tune` stand before them.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("mounts", &[], "List the currently mounted secrets engines.").on(
            Operation::Read,
            "List the mounted secrets engines.",
            |e, c| table(e, c, Table::Mounts),
        ),
        Route::new("mounts/{path...}", MOUNT, "Mount a secrets engine at a path, read or unmount it.")
            .on(Operation::Read, "Read the mount at this path.", |e, c| read(e, c, Table::Mounts))
            .on(Operation::Update, "Enable a secrets engine at this path.", |e, c| enable(e, c, Table::Mounts))
            .on(Operation::Delete, "Disable the secrets engine at this path.", |e, c| disable(e, c, Table::Mounts)),
        Route::new("auth", &[], "List the currently enabled auth methods.").on(
            Operation::Read,
            "List the enabled auth methods.",
            |e, c| table(e, c, Table::Auth),
        ),
        Route::new("auth/{path...}", MOUNT, "Enable an auth method at a path, read or disable it.")
            .on(Operation::Read, "Read the auth method at this path.", |e, c| read(e, c, Table::Auth))
            .on(Operation::Update, "Enable an auth method at this path.", |e, c| enable(e, c, Table::Auth))
            .on(Operation::Delete, "Disable the auth method at this path.", |e, c| disable(e, c, Table::Auth)),
    ]
}

/// A mount path in its normal form: no leading slash, one trailing slash.
pub(super) fn normal(path: &str) -> String {
    format!("{}/", path.trim_matches('/'))
}

/// Whether a router can ever find what is mounted there: no empty and no dot segments, nothing that cannot be printed.
pub(super) fn is_mountable(path: &str) -> bool {
    let clean = |s: &str| !s.is_empty() && s != "." && !s.contains("..") && !s.chars().any(char::is_control);
    path.strip_suffix('/').is_some_and(|p| p.split('/').all(clean)) && path.trim() == path
}

fn table(_: &SystemEngine, call: &mut Call<'_>, table: Table) -> Outcome {
    let mut data = Map::new();
    for entry in rows(&mut call.view, table)? {
        data.insert(entry.path.clone(), Value::Object(mount_config::entry(&entry, None)));
    }
    Ok(Some(Response::data(data)))
}

fn read(_: &SystemEngine, call: &mut Call<'_>, table: Table) -> Outcome {
    let path = normal(call.fields.str("path"));
    match rows(&mut call.view, table)?.iter().find(|e| e.path == path) {
        Some(entry) => Ok(Some(Response::data(mount_config::entry(entry, None)))),
        None if table == Table::Auth => Err(EngineError::Invalid(format!("No auth engine at {path}"))),
        None => Err(EngineError::Invalid(format!("No secret engine mount at {path}"))),
    }
}

/// Type and options as the request names them, aliases resolved.
struct Kind {
    mount_type: String,
    options: BTreeMap<String, String>,
    plugin_version: String,
}

impl Kind {
    fn read(fields: &Fields, given: &Given, table: Table) -> Result<Self, EngineError> {
        let mut options = fields.pairs("options").cloned().unwrap_or_default();
        let mut version = |v: &str| options.insert("version".to_owned(), v.to_owned());
        let mount_type = match (fields.str("type"), table) {
            ("", _) => return Err(EngineError::invalid("backend type must be specified as a string")),
            ("plugin", _) => match fields.text("plugin_name").filter(|n| !n.is_empty()).unwrap_or(&given.plugin_name) {
                "" => return Err(EngineError::invalid("plugin_name must be provided for plugin backend")),
                name => name.to_owned(),
            },
            ("kv-v1", Table::Mounts) => {
                version("1");
                "kv".to_owned()
            }
            ("kv-v2", Table::Mounts) => {
                version("2");
                "kv".to_owned()
            }
            ("generic", Table::Mounts) => "kv".to_owned(),
            (other, _) => other.to_owned(),
        };
        if let (Table::Mounts, "kv", Some(v)) = (table, mount_type.as_str(), options.get("version"))
            && !matches!(v.as_str(), "" | "1" | "2")
        {
            return Err(EngineError::Invalid(format!("invalid version provided: {v}")));
        }
        Ok(Self { mount_type, options, plugin_version: given.plugin_version.clone() })
    }
}

fn enable(engine: &SystemEngine, call: &mut Call<'_>, table: Table) -> Outcome {
    let (core, open) = engine.opened()?;
    let path = normal(call.fields.str("path"));
    let nothing = Map::new();
    let sent = call.fields.map("config").unwrap_or(&nothing);
    let given = Given::read(sent, table, call.fields.str("type"), core.config())?;
    let kind = Kind::read(&call.fields, &given, table)?;
    may_mount(call, &open, table, &path, &kind)?;
    let prefix = if table == Table::Auth { "auth_" } else { "" };
    let entry = MountEntry {
        table,
        path,
        description: call.fields.str("description").to_owned(),
        uuid: call.entropy.uuid()?,
        accessor: format!("{prefix}{}_{}", kind.mount_type, call.entropy.hex(8)?),
        mount_type: kind.mount_type,
        config: given.config,
        options: Some(kind.options),
        local: call.fields.bool("local").unwrap_or(false),
        seal_wrap: call.fields.bool("seal_wrap").unwrap_or(false),
        external_entropy_access: call.fields.bool("external_entropy_access").unwrap_or(false),
        plugin_version: String::new(),
    };
    call.view.put_json(&entry.row(), &entry)?;
    Ok(None)
}

fn may_mount(call: &mut Call<'_>, open: &OpenCore, table: Table, path: &str, kind: &Kind) -> Result<(), EngineError> {
    let mount_type = kind.mount_type.as_str();
    let refused = |text: String| Err(EngineError::Invalid(text));
    if !is_mountable(path) || (table == Table::Mounts && PROTECTED.iter().any(|p| path.starts_with(p))) {
        return refused(format!("cannot mount {path:?}"));
    }
    if table == Table::Auth && mount_type == "token" {
        return refused("token credential backend cannot be instantiated".to_owned());
    }
    if table == Table::Mounts && SINGLETONS.contains(&mount_type) {
        return refused(format!("mount type of {mount_type:?} is not mountable"));
    }
    if let Some(taken) = row_in_the_way(&mut call.view, table, path)? {
        return refused(format!("path is already in use at {}", taken.path));
    }
    let kinds = if table == Table::Auth { &open.registry().auth } else { &open.registry().secrets };
    if !kinds.contains_key(mount_type) {
        return refused(format!("plugin not found in the catalog: {mount_type}"));
    }
    mount_config::plugin_version(&kind.plugin_version, mount_type, table)
}

fn disable(engine: &SystemEngine, call: &mut Call<'_>, table: Table) -> Outcome {
    let path = normal(call.fields.str("path"));
    let full = if table == Table::Auth { format!("auth/{path}") } else { path };
    let Some(entry) = row_at(&mut call.view, &full)? else { return Ok(None) };
    if full == "auth/token/" && table == Table::Auth {
        return Err(EngineError::invalid("token credential backend cannot be disabled"));
    }
    if entry.is_builtin() || (table == Table::Mounts && PROTECTED.iter().any(|p| full.starts_with(p))) {
        return Err(EngineError::Invalid(format!("cannot unmount {full:?}")));
    }
    let (_, open) = engine.opened()?;
    call.view.delete(&entry.row())?;
    retire::leave(&mut call.view, &open, &entry, Way::Disabled, call.now)?;
    Ok(None)
}
