//! The tunable part of a mount: what clients may send for it, and how it is shown (contract §5).

use std::time::Duration;

use api_types::{Map, duration};
use engine::{EngineError, Field, FieldKind, Fields, TokenType};
use serde_json::{Value, json};

use crate::config::CoreConfig;
use crate::mounts::{MountConfig, MountEntry, Table, UserLockout};

pub(super) const DEFAULT_TTL: Field = Field::new(
    "default_lease_ttl",
    FieldKind::String,
    "Life of tokens and leases that ask for none; \"system\" goes back to the server's.",
);
pub(super) const MAX_TTL: Field =
    Field::new("max_lease_ttl", FieldKind::String, "Longest life of tokens and leases; \"system\" goes back to the server's.");
pub(super) const LISTING: Field =
    Field::new("listing_visibility", FieldKind::String, "Whether callers without a token see the mount: unauth or hidden.");
pub(super) const PLAIN_REQUEST_KEYS: Field =
    Field::new("audit_non_hmac_request_keys", FieldKind::CommaStringSlice, "Request keys that audit lines show in plain.");
pub(super) const PLAIN_RESPONSE_KEYS: Field =
    Field::new("audit_non_hmac_response_keys", FieldKind::CommaStringSlice, "Response keys that audit lines show in plain.");
pub(super) const PASSTHROUGH: Field =
    Field::new("passthrough_request_headers", FieldKind::CommaStringSlice, "Request headers that reach the engine.");
pub(super) const RESPONSE_HEADERS: Field =
    Field::new("allowed_response_headers", FieldKind::CommaStringSlice, "Response headers that the engine may set.");
pub(super) const MANAGED_KEYS: Field =
    Field::new("allowed_managed_keys", FieldKind::CommaStringSlice, "Managed keys that the engine may use.");
pub(super) const DELEGATED: Field =
    Field::new("delegated_auth_accessors", FieldKind::CommaStringSlice, "Auth mounts that the engine may log in at.");
pub(super) const IDENTITY_KEY: Field =
    Field::new("identity_token_key", FieldKind::String, "Key that signs the engine's identity tokens.");
pub(super) const TRIM_SLASHES: Field = Field::new(
    "trim_request_trailing_slashes",
    FieldKind::Bool,
    "Whether a write to a path that ends in a slash is taken without it.",
);
pub(super) const TOKEN_TYPE: Field = Field::new(
    "token_type",
    FieldKind::String,
    "What logins yield: default-service, default-batch, service or batch (auth only).",
);
pub(super) const PLUGIN_VERSION: Field =
    Field::new("plugin_version", FieldKind::String, "Version of the plugin; only the built-in one exists.");
pub(super) const LOCKOUT: Field =
    Field::new("user_lockout_config", FieldKind::Map, "When a user name is locked after failed logins (auth only).");

/// What `config` of a mount request may hold.
const CONFIG: &[Field] = &[
    DEFAULT_TTL,
    MAX_TTL,
    Field::new("force_no_cache", FieldKind::Bool, "Accepted and shown."),
    LISTING,
    PLAIN_REQUEST_KEYS,
    PLAIN_RESPONSE_KEYS,
    PASSTHROUGH,
    RESPONSE_HEADERS,
    MANAGED_KEYS,
    DELEGATED,
    IDENTITY_KEY,
    TRIM_SLASHES,
    TOKEN_TYPE,
    PLUGIN_VERSION,
    LOCKOUT,
    Field::new("plugin_name", FieldKind::String, "Type to mount, where the type is \"plugin\"."),
];

const LOCKOUT_FIELDS: &[Field] = &[
    Field::new("lockout_threshold", FieldKind::String, "Failures before the lock."),
    Field::new("lockout_duration", FieldKind::String, "How long the lock lasts."),
    Field::new("lockout_counter_reset_duration", FieldKind::String, "Quiet time after which the count starts anew."),
    Field::new("lockout_disable", FieldKind::Bool, "Off."),
];

/// Auth methods whose user names can be locked.
const LOCKABLE: [&str; 3] = ["userpass", "ldap", "approle"];

/// `config` of a request that mounts something.
pub(super) struct Given {
    /// The settings; `token_type` is checked and filled for auth methods.
    pub(super) config: MountConfig,
    /// `plugin_name` and `plugin_version`, empty if not sent.
    pub(super) plugin_name: String,
    pub(super) plugin_version: String,
}

impl Given {
    /// Reads and checks it for a mount of this table.
    pub(super) fn read(config: &Map, table: Table, mount_type: &str, system: &CoreConfig) -> Result<Self, EngineError> {
        let what = if table == Table::Auth { "auth" } else { "mount" };
        let fields = Fields::decode(CONFIG, &[], config)
            .map_err(|_| EngineError::Invalid(format!("unable to convert given {what} config information")))?;
        let mut config = MountConfig {
            default_lease_ttl: ttl(&fields, "default_lease_ttl", "default")?,
            max_lease_ttl: ttl(&fields, "max_lease_ttl", "max")?,
            force_no_cache: fields.bool("force_no_cache").unwrap_or(false),
            ..MountConfig::default()
        };
        let (default, max) = (config.default_lease_ttl, config.max_lease_ttl);
        if max != 0 && default > max {
            return Err(EngineError::invalid("given default lease TTL greater than given max lease TTL"));
        }
        let system_max = system.max_lease_ttl.as_secs();
        if max == 0 && default > system_max {
            return Err(EngineError::Invalid(format!(
                "given default lease TTL greater than system max lease TTL of {system_max}"
            )));
        }
        common(&fields, &mut config)?;
        if table == Table::Auth {
            config.token_type = token_type(fields.str("token_type"))?;
            lockout(&fields, &mut config, mount_type)?;
        }
        Ok(Self {
            config,
            plugin_name: fields.str("plugin_name").to_owned(),
            plugin_version: fields.str("plugin_version").to_owned(),
        })
    }
}

/// The settings that mounting and tuning read alike: each field that was sent replaces the old value, an empty one clears it.
pub(super) fn common(fields: &Fields, config: &mut MountConfig) -> Result<(), EngineError> {
    if let Some(text) = fields.text("listing_visibility") {
        if !matches!(text, "" | "hidden" | "unauth") {
            return Err(EngineError::Invalid(format!("invalid listing_visibility {text}")));
        }
        config.listing_visibility = not_empty(text);
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &mut config.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &mut config.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &mut config.passthrough_request_headers),
        ("allowed_response_headers", &mut config.allowed_response_headers),
        ("allowed_managed_keys", &mut config.allowed_managed_keys),
        ("delegated_auth_accessors", &mut config.delegated_auth_accessors),
    ] {
        if let Some(texts) = fields.texts(name) {
            let texts: Vec<String> = texts.iter().filter(|t| !t.is_empty()).cloned().collect();
            *list = (!texts.is_empty()).then_some(texts);
        }
    }
    if let Some(key) = fields.text("identity_token_key") {
        config.identity_token_key = not_empty(key);
    }
    if let Some(trim) = fields.bool("trim_request_trailing_slashes") {
        config.trim_request_trailing_slashes = trim.then_some(true);
    }
    Ok(())
}

/// `user_lockout_config`: what is sent changes, the rest stays.
pub(super) fn lockout(fields: &Fields, config: &mut MountConfig, mount_type: &str) -> Result<(), EngineError> {
    let Some(sent) = fields.map("user_lockout_config").filter(|m| !m.is_empty()) else { return Ok(()) };
    if !LOCKABLE.contains(&mount_type) {
        return Err(EngineError::Invalid(format!(
            "tuning of user lockout configuration for auth type {mount_type:?} not allowed"
        )));
    }
    let sent = Fields::decode(LOCKOUT_FIELDS, &[], sent)
        .map_err(|_| EngineError::invalid("unable to convert given user lockout config information"))?;
    let mut rule: UserLockout = config.user_lockout.clone().unwrap_or_default();
    if let Some(text) = sent.text("lockout_threshold").filter(|t| !t.is_empty()) {
        rule.threshold =
            text.parse().map_err(|e| EngineError::Invalid(format!("unable to parse user lockout threshold: {e}")))?;
    }
    for (name, what, seconds) in [
        ("lockout_duration", "duration", &mut rule.duration_seconds),
        ("lockout_counter_reset_duration", "counter reset duration", &mut rule.counter_reset_seconds),
    ] {
        if let Some(text) = sent.text(name).filter(|t| !t.is_empty()) {
            *seconds =
                whole_seconds(text).map_err(|e| EngineError::Invalid(format!("unable to parse user lockout {what}: {e}")))?;
        }
    }
    if let Some(disable) = sent.bool("lockout_disable") {
        rule.disable = disable;
    }
    config.user_lockout = Some(rule);
    Ok(())
}

/// What an auth mount's logins yield.
pub(super) fn token_type(text: &str) -> Result<TokenType, EngineError> {
    match text {
        "" => Ok(TokenType::DefaultService),
        "default-service" | "default-batch" | "service" | "batch" => {
            TokenType::parse(text).ok_or_else(|| EngineError::invalid("invalid value for 'token_type'"))
        }
        _ => Err(EngineError::invalid("invalid value for 'token_type'")),
    }
}

/// Only the built-in version of an engine exists; `Ok` is what is stored, nothing.
pub(super) fn plugin_version(wished: &str, mount_type: &str, table: Table) -> Result<(), EngineError> {
    if wished.is_empty() {
        return Ok(());
    }
    if matches!(mount_type, "system" | "cubbyhole" | "identity" | "token") {
        let what = if table == Table::Auth { "auth method" } else { "secrets engine" };
        return Err(EngineError::Invalid(format!("{what} {mount_type:?} does not allow setting a version")));
    }
    if wished != super::running_version(mount_type) {
        return Err(EngineError::Invalid(format!("plugin not found in the catalog: {mount_type}")));
    }
    Ok(())
}

/// Whole seconds of a duration as clients write it; negative ones are refused.
pub(super) fn whole_seconds(text: &str) -> Result<u64, String> {
    let parsed = duration::parse(text).map_err(|e| e.to_string())?;
    parsed.unsigned().map(|d| d.as_secs()).ok_or_else(|| "cannot be negative".to_owned())
}

fn ttl(fields: &Fields, name: &str, what: &str) -> Result<u64, EngineError> {
    match fields.str(name) {
        "" | "system" => Ok(0),
        text => whole_seconds(text).map_err(|e| EngineError::Invalid(format!("unable to parse {what} TTL of {text}: {e}"))),
    }
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A mount as the tables show it. With `effective`, TTLs that are not set show as the server's.
pub(super) fn entry(entry: &MountEntry, effective: Option<&CoreConfig>) -> Map {
    let mut out = Map::new();
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    set("type", entry.mount_type.clone().into());
    set("description", entry.description.clone().into());
    set("accessor", entry.accessor.clone().into());
    set("local", entry.local.into());
    set("seal_wrap", entry.seal_wrap.into());
    set("external_entropy_access", entry.external_entropy_access.into());
    set("options", json!(entry.options));
    set("uuid", entry.uuid.clone().into());
    set("plugin_version", entry.plugin_version.clone().into());
    set("running_plugin_version", super::running_version(&entry.mount_type).into());
    set("running_sha256", "".into());
    set("config", Value::Object(config(entry, effective)));
    // Vault looks it up in the plugin catalogue, where its own core engines are not.
    if !entry.is_builtin() {
        set("deprecation_status", "supported".into());
    }
    out
}

fn config(entry: &MountEntry, effective: Option<&CoreConfig>) -> Map {
    let config = &entry.config;
    let shown = |own: u64, system: fn(&CoreConfig) -> Duration| match effective {
        Some(core) if own == 0 => system(core).as_secs(),
        _ => own,
    };
    let mut out = Map::new();
    out.insert("default_lease_ttl".into(), shown(config.default_lease_ttl, |c| c.default_lease_ttl).into());
    out.insert("max_lease_ttl".into(), shown(config.max_lease_ttl, |c| c.max_lease_ttl).into());
    out.insert("force_no_cache".into(), config.force_no_cache.into());
    if entry.table == Table::Auth {
        out.insert("token_type".into(), config.token_type.as_str().into());
    }
    optional(config, &mut out);
    if let Some(rule) = &config.user_lockout {
        let mut shown = Map::new();
        lockout_shown(rule, &mut shown);
        out.insert("user_lockout_config".into(), Value::Object(shown));
    }
    out
}

/// A mount as `…/tune` shows it: effective TTLs, and everything that is set.
pub(super) fn tunables(entry: &MountEntry, core: &CoreConfig) -> Map {
    let mut out = config(entry, Some(core));
    out.remove("user_lockout_config");
    if let Some(rule) = &entry.config.user_lockout {
        lockout_shown(rule, &mut out);
    }
    out.insert("description".into(), entry.description.clone().into());
    if let Some(options) = entry.options.as_ref().filter(|o| !o.is_empty()) {
        out.insert("options".into(), json!(options));
    }
    if entry.external_entropy_access {
        out.insert("external_entropy_access".into(), true.into());
    }
    if !entry.plugin_version.is_empty() {
        out.insert("plugin_version".into(), entry.plugin_version.clone().into());
    }
    out
}

fn optional(config: &MountConfig, out: &mut Map) {
    for (name, list) in [
        ("audit_non_hmac_request_keys", &config.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &config.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &config.passthrough_request_headers),
        ("allowed_response_headers", &config.allowed_response_headers),
        ("allowed_managed_keys", &config.allowed_managed_keys),
        ("delegated_auth_accessors", &config.delegated_auth_accessors),
    ] {
        if let Some(list) = list {
            out.insert(name.to_owned(), json!(list));
        }
    }
    for (name, text) in [("listing_visibility", &config.listing_visibility), ("identity_token_key", &config.identity_token_key)] {
        if let Some(text) = text {
            out.insert(name.to_owned(), text.clone().into());
        }
    }
    if config.trim_request_trailing_slashes == Some(true) {
        out.insert("trim_request_trailing_slashes".into(), true.into());
    }
}

fn lockout_shown(rule: &UserLockout, out: &mut Map) {
    out.insert("user_lockout_threshold".into(), rule.threshold.into());
    out.insert("user_lockout_duration".into(), rule.duration_seconds.into());
    out.insert("user_lockout_counter_reset_duration".into(), rule.counter_reset_seconds.into());
    out.insert("user_lockout_disable".into(), rule.disable.into());
}
