//! What `secrets` and `auth` share: the settings of a mount as flags and as JSON, and moving a mount.

use std::time::Duration;

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{Flag, int, list, map, period, switch, text};
use crate::session::Session;

/// Pause between two questions about a move.
const POLL_EVERY: Duration = Duration::from_secs(1);

pub(super) const DESCRIPTION: Flag = text("description", "What it is for, in words for people.");
pub(super) const PATH: Flag =
    text("path", "Where it can be reached; its type if not given. Must be unique, and cannot be changed.");
pub(super) const DEFAULT_TTL: Flag = period(
    "default-lease-ttl",
    "Lifetime of leases and tokens that ask for none; the server's if not given, again the server's with \"system\".",
);
pub(super) const MAX_TTL: Flag = period(
    "max-lease-ttl",
    "Longest lifetime of leases and tokens; the server's if not given, again the server's with \"system\".",
);
pub(super) const REQUEST_KEYS: Flag =
    list("audit-non-hmac-request-keys", "Key that is not hashed in the audit log of requests. May be given more than once.");
pub(super) const RESPONSE_KEYS: Flag =
    list("audit-non-hmac-response-keys", "Key that is not hashed in the audit log of answers. May be given more than once.");
pub(super) const VISIBILITY: Flag =
    text("listing-visibility", "\"unauth\" shows it to those without a token, \"hidden\" does not.");
pub(super) const REQUEST_HEADERS: Flag =
    list("passthrough-request-headers", "Header of requests that it sees. May be given more than once.");
pub(super) const RESPONSE_HEADERS: Flag =
    list("allowed-response-headers", "Header that it may set. May be given more than once.");
pub(super) const FORCE_NO_CACHE: Flag = switch("force-no-cache", "Keep nothing of it in the cache.");
pub(super) const PLUGIN_NAME: Flag = text("plugin-name", "Name of the plugin, if it is not the type.");
pub(super) const PLUGIN_VERSION: Flag = text("plugin-version", "Semantic version of the plugin.");
pub(super) const OPTIONS: Flag = map("options", "A key=value for it. May be given more than once.");
pub(super) const LOCAL: Flag = switch("local", "Keep it out of replication.");
pub(super) const SEAL_WRAP: Flag = switch("seal-wrap", "Wrap its values with the seal where it asks for it.");
pub(super) const ENTROPY: Flag = switch("external-entropy-access", "Let it use the seal's randomness.");
pub(super) const VERSION: Flag = int("version", "Version of the engine to enable.").or("0");
pub(super) const TRIM: Flag = switch("trim-request-trailing-slashes", "Whether paths of requests lose slashes at the end.");
pub(super) const TOKEN_TYPE: Flag = text("token-type", "Type of its tokens: default-service, default-batch, service or batch.");

/// A lifetime as the server reads it: `""` leaves it as it is, `"system"` gives it back to the server.
fn ttl(s: &Session<'_, '_>, flag: &str) -> String {
    match s.given(flag) {
        None | Some("") => String::new(),
        Some("system" | "-1" | "-1s" | "-1ns") => "system".to_owned(),
        Some(_) => s.go_duration(flag),
    }
}

/// The settings that were given, under the server's names.
pub(super) fn config(s: &Session<'_, '_>) -> Map {
    let mut out = Map::new();
    out.insert("default_lease_ttl".to_owned(), json!(ttl(s, "default-lease-ttl")));
    out.insert("max_lease_ttl".to_owned(), json!(ttl(s, "max-lease-ttl")));
    for flag in
        ["audit-non-hmac-request-keys", "audit-non-hmac-response-keys", "passthrough-request-headers", "allowed-response-headers"]
    {
        if s.given(flag).is_some() {
            // One empty value means: none from now on.
            let values: Vec<String> = s.all(flag).iter().flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect();
            let values: Vec<String> = values.into_iter().filter(|v| !v.is_empty()).collect();
            out.insert(flag.replace('-', "_"), json!(values));
        }
    }
    for flag in ["listing-visibility", "plugin-version", "token-type"] {
        if let Some(value) = s.given(flag) {
            out.insert(flag.replace('-', "_"), json!(value));
        }
    }
    if s.given("trim-request-trailing-slashes").is_some() {
        out.insert("trim_request_trailing_slashes".to_owned(), json!(s.on("trim-request-trailing-slashes")));
    }
    out
}

/// Options of the engine: `-options`, and `-version` as `version`.
pub(super) fn options(s: &Session<'_, '_>) -> Map {
    let mut out: Map = s.pairs("options").into_iter().map(|(k, v)| (k, Value::String(v))).collect();
    if s.int("version") > 0 {
        out.insert("version".to_owned(), json!(s.text("version")));
    }
    out
}

/// The body that enables a mount of this type.
pub(super) fn enable_body(s: &Session<'_, '_>, kind: &str) -> Map {
    let mut config = config(s);
    config.insert("force_no_cache".to_owned(), json!(s.on("force-no-cache")));
    let mut out = Map::new();
    out.insert("type".to_owned(), json!(kind));
    out.insert("description".to_owned(), json!(s.text("description")));
    out.insert("config".to_owned(), Value::Object(config));
    out.insert("local".to_owned(), json!(s.on("local")));
    out.insert("seal_wrap".to_owned(), json!(s.on("seal-wrap")));
    out.insert("external_entropy_access".to_owned(), json!(s.on("external-entropy-access")));
    out.insert("options".to_owned(), Value::Object(options(s)));
    if let Some(version) = s.given("plugin-version") {
        out.insert("plugin_version".to_owned(), json!(version));
    }
    out
}

/// The body that tunes a mount.
pub(super) fn tune_body(s: &Session<'_, '_>) -> Map {
    let mut out = config(s);
    if let Some(description) = s.given("description") {
        out.insert("description".to_owned(), json!(description));
    }
    let options = options(s);
    if !options.is_empty() {
        out.insert("options".to_owned(), Value::Object(options));
    }
    out
}

/// Moves a mount and waits until it is there.
pub(super) fn shift(s: &mut Session<'_, '_>, what: &str, from: &str, to: &str) -> Outcome {
    let moving = format!("moving {what} {from} to {to}");
    let answer = s.secret(&Request::post("sys/remount").json(&json!({ "from": from, "to": to }))).doing(&moving)?;
    let id = answer.as_ref().and_then(|a| a.get("migration_id")).and_then(Value::as_str).unwrap_or_default().to_owned();
    s.say(&format!("Started {moving}, with migration ID {id}"))?;
    loop {
        let status =
            s.secret(&Request::get(&format!("sys/remount/status/{id}"))).doing(&format!("checking migration status of {id}"))?;
        let info = status.as_ref().and_then(|x| x.get("migration_info")).and_then(|i| i.get("status")).and_then(Value::as_str);
        match info {
            Some("success") => {
                s.say(&format!("Success! Finished {moving}, with migration ID {id}"))?;
                return Ok(0);
            }
            Some("in-progress") => {
                s.say(&format!("Waiting for terminal status in migration of {what} {from} to {to}, with migration ID {id}"))?;
                s.pause(POLL_EVERY)?;
            }
            _ => return Err(Failure::Server(format!("Failure! Error encountered {moving}, with migration ID {id}"))),
        }
    }
}

/// The mounts of `sys/mounts` or `sys/auth`, by path.
pub(super) fn mounts(s: &mut Session<'_, '_>, path: &str, doing: &str) -> Result<Map, Failure> {
    let answer = s.secret(&Request::get(path)).doing(doing)?;
    Ok(answer.and_then(|a| a.data).unwrap_or_default())
}

/// Titles of the detailed list, behind `Path` and the plugin's name.
pub(super) const DETAILS: [&str; 14] = [
    "Accessor",
    "Default TTL",
    "Max TTL",
    "Force No Cache",
    "Replication",
    "Seal Wrap",
    "External Entropy Access",
    "Options",
    "Description",
    "UUID",
    "Version",
    "Running Version",
    "Running SHA256",
    "Deprecation Status",
];

/// The cells under [`DETAILS`].
pub(super) fn details(mount: &Value) -> Vec<String> {
    let text = |key: &str| mount.get(key).map(crate::render::go_value).unwrap_or_default();
    let config = |key: &str| mount.get("config").and_then(|c| c.get(key));
    let ttl = |key: &str| match config(key).and_then(Value::as_u64) {
        None | Some(0) => "system".to_owned(),
        Some(seconds) => seconds.to_string(),
    };
    let local = mount.get("local").and_then(Value::as_bool) == Some(true);
    let options = match mount.get("options") {
        None | Some(Value::Null) => "map[]".to_owned(),
        Some(options) => crate::render::go_value(options),
    };
    vec![
        text("accessor"),
        ttl("default_lease_ttl"),
        ttl("max_lease_ttl"),
        config("force_no_cache").map(crate::render::go_value).unwrap_or_default(),
        if local { "local" } else { "replicated" }.to_owned(),
        text("seal_wrap"),
        text("external_entropy_access"),
        options,
        text("description"),
        text("uuid"),
        text("plugin_version"),
        text("running_plugin_version"),
        text("running_sha256"),
        text("deprecation_status"),
    ]
}
