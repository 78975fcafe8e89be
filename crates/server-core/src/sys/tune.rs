//! `sys/mounts/<path>/tune`, `sys/auth/<path>/tune`: the settings of a mount. Auth mounts can be tuned under both.

use std::collections::BTreeMap;

use api_types::Operation;
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};

use super::SystemEngine;
use super::mount_config::{self as config, whole_seconds};
use super::mounts::{PATH, normal};
use crate::mounts::{MountEntry, Table, row_above};
use crate::upgrades;

/// Mounts that serve the server itself.
const UNTUNABLE: [&str; 3] = ["audit/", "cubbyhole/", "sys/"];

const FIELDS: &[Field] = &[
    PATH,
    config::DEFAULT_TTL,
    config::MAX_TTL,
    Field::new("description", FieldKind::String, "For people."),
    config::PLAIN_REQUEST_KEYS,
    config::PLAIN_RESPONSE_KEYS,
    Field::new("options", FieldKind::KeyValuePairs, "Options of the engine; they replace those of the same name."),
    config::LISTING,
    config::PASSTHROUGH,
    config::RESPONSE_HEADERS,
    config::TOKEN_TYPE,
    config::MANAGED_KEYS,
    config::PLUGIN_VERSION,
    config::LOCKOUT,
    config::IDENTITY_KEY,
    config::DELEGATED,
    config::TRIM_SLASHES,
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("auth/{path...}/tune", FIELDS, "Tune the settings of an auth method.")
            .on(Operation::Read, "Read the settings of the auth method.", |e, c| read(e, c, "auth/"))
            .on(Operation::Update, "Change the settings of the auth method.", |e, c| write(e, c, "auth/")),
        Route::new("mounts/{path...}/tune", FIELDS, "Tune the settings of a mount.")
            .on(Operation::Read, "Read the settings of the mount.", |e, c| read(e, c, ""))
            .on(Operation::Update, "Change the settings of the mount.", |e, c| write(e, c, "")),
    ]
}

fn full_path(call: &Call<'_>, table: &str) -> String {
    format!("{table}{}", normal(call.fields.str("path")))
}

fn read(engine: &SystemEngine, call: &mut Call<'_>, table: &str) -> Outcome {
    let path = full_path(call, table);
    let Some(entry) = row_above(&mut call.view, &path)? else {
        return Err(EngineError::Invalid(format!("cannot fetch sysview for path {path:?}")));
    };
    Ok(Some(Response::data(config::tunables(&entry, engine.core()?.config()))))
}

fn write(_: &SystemEngine, call: &mut Call<'_>, table: &str) -> Outcome {
    let path = full_path(call, table);
    if UNTUNABLE.iter().any(|p| path.starts_with(p)) {
        return Err(EngineError::Invalid(format!("cannot tune {path:?}")));
    }
    let Some(old) = row_above(&mut call.view, &path)? else {
        return Err(EngineError::Invalid(format!("tune of path {path:?} failed: no mount entry found")));
    };
    let mut entry = MountEntry::clone(&old);
    ttls(call, &mut entry)?;
    if let Some(text) = call.fields.text("description") {
        text.clone_into(&mut entry.description);
    }
    config::common(&call.fields, &mut entry.config)?;
    if let Some(text) = call.fields.text("token_type") {
        entry.config.token_type = match (entry.table, entry.mount_type.as_str()) {
            (Table::Mounts, _) => return Err(EngineError::invalid("'token_type' can only be modified on auth mounts")),
            (Table::Auth, "token") => {
                return Err(EngineError::invalid("'token_type' cannot be set for 'token' or 'ns_token' auth mounts"));
            }
            (Table::Auth, _) => config::token_type(text)?,
        };
    }
    config::lockout(&call.fields, &mut entry.config, &old.mount_type)?;
    config::plugin_version(call.fields.str("plugin_version"), &entry.mount_type, entry.table)?;
    let warning = options(call, &mut entry)?;
    call.view.put_json(&entry.row(), &entry)?;
    Ok(warning.map(Response::warning))
}

/// An empty TTL stays, `system` goes back to the server's.
fn ttls(call: &Call<'_>, entry: &mut MountEntry) -> Result<(), EngineError> {
    let settings = &mut entry.config;
    for (name, seconds) in
        [("default_lease_ttl", &mut settings.default_lease_ttl), ("max_lease_ttl", &mut settings.max_lease_ttl)]
    {
        match call.fields.str(name) {
            "" => {}
            "system" => *seconds = 0,
            text => *seconds = whole_seconds(text).map_err(EngineError::Invalid)?,
        }
    }
    let (default, max) = (settings.default_lease_ttl, settings.max_lease_ttl);
    if max != 0 && default > max {
        return Err(EngineError::Invalid(format!(
            "backend max lease TTL of {max} would be less than backend default lease TTL of {default}"
        )));
    }
    Ok(())
}

/// Merges the options. A KV mount may go up to version 2, which moves its data; the answer is the warning about that.
fn options(call: &mut Call<'_>, entry: &mut MountEntry) -> Result<Option<String>, EngineError> {
    let Some(sent) = call.fields.pairs("options").filter(|o| !o.is_empty()) else { return Ok(None) };
    let mut all: BTreeMap<String, String> = entry.options.clone().unwrap_or_default();
    let mut warning = None;
    if let Some(wished) = sent.get("version") {
        let old: u64 = all.get("version").and_then(|v| v.parse().ok()).unwrap_or(0);
        let new = match wished.as_str() {
            "1" => 1,
            "2" => 2,
            other => return Err(EngineError::Invalid(format!("invalid version provided: {other}"))),
        };
        if new < old {
            return Err(EngineError::Invalid(format!("cannot downgrade mount from version {old}")));
        }
        if new > old {
            warning = Some(format!(
                "Upgrading mount from version {old} to version {new}. This mount will be unavailable for a brief period and will resume service shortly."
            ));
        }
    }
    all.extend(sent.iter().map(|(k, v)| (k.clone(), v.clone())));
    let to_two = warning.is_some() && all.get("version").is_some_and(|v| v == "2");
    entry.options = Some(all);
    if to_two {
        upgrades::note(&mut call.view, entry)?;
    }
    Ok(warning)
}
