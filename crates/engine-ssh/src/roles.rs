//! Roles. Fields, defaults and texts are Vault's; a write replaces the whole role.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::Map;
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Ssh, page};

/// Folder of the roles.
pub const FOLDER: &str = "roles/";
/// Certificates are valid from a little before they are made, for clocks that are behind.
const NOT_BEFORE_SECS_DEFAULT: u64 = 30;
const PORT_DEFAULT: i64 = 22;

/// Declared fields.
pub const FIELDS: &[Field] = &[
    Field::new("role", FieldKind::String, "Name of the role."),
    Field::new("key_type", FieldKind::String, "`ca` for certificates, `otp` for one-time passwords."),
    Field::new("default_user", FieldKind::String, "The user unless one is asked for."),
    Field::new("default_user_template", FieldKind::Bool, "default_user is a template."),
    Field::new("cidr_list", FieldKind::String, "otp: networks of the hosts, comma-separated."),
    Field::new("exclude_cidr_list", FieldKind::String, "otp: networks within them that are left out."),
    Field::new("port", FieldKind::Int, "otp: port of the hosts, told to clients. Default 22."),
    Field::new("allowed_users", FieldKind::String, "Users that may be asked for, comma-separated; `*` is any."),
    Field::new("allowed_users_template", FieldKind::Bool, "allowed_users are templates."),
    Field::new("allowed_domains", FieldKind::String, "ca: domains of hosts, comma-separated; `*` is any."),
    Field::new("allowed_domains_template", FieldKind::Bool, "allowed_domains are templates."),
    Field::new("ttl", FieldKind::DurationSecond, "ca: validity unless one is asked for."),
    Field::new("max_ttl", FieldKind::DurationSecond, "ca: longest validity."),
    Field::new("allowed_critical_options", FieldKind::String, "ca: options that may be asked for; empty is any."),
    Field::new("allowed_extensions", FieldKind::String, "ca: extensions that may be asked for; `*` is any."),
    Field::new("default_critical_options", FieldKind::Map, "ca: options unless some are asked for."),
    Field::new("default_extensions", FieldKind::Map, "ca: extensions unless some are asked for."),
    Field::new("default_extensions_template", FieldKind::Bool, "Values of default_extensions are templates."),
    Field::new("allow_user_certificates", FieldKind::Bool, "ca: certificates for users."),
    Field::new("allow_host_certificates", FieldKind::Bool, "ca: certificates for hosts."),
    Field::new("allow_bare_domains", FieldKind::Bool, "ca: the domains themselves are good names of hosts."),
    Field::new("allow_subdomains", FieldKind::Bool, "ca: names below the domains are good names of hosts."),
    Field::new("allow_user_key_ids", FieldKind::Bool, "ca: clients may choose the key id."),
    Field::new(
        "key_id_format",
        FieldKind::String,
        "ca: the key id, with {{token_display_name}}, {{role_name}}, {{public_key_hash}}.",
    ),
    Field::new("allowed_user_key_lengths", FieldKind::Map, "ca: kinds of keys that are signed, with their lengths; 0 is any."),
    Field::new("algorithm_signer", FieldKind::String, "ca: how an RSA authority signs."),
    Field::new("not_before_duration", FieldKind::DurationSecond, "ca: how long before now validity begins. Default 30 s."),
    Field::new("allow_empty_principals", FieldKind::Bool, "ca: sign certificates that are good for every user. Unsafe."),
];

/// A role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "key_type", rename_all = "lowercase")]
pub enum Role {
    /// Certificates.
    Ca(Box<CaRole>),
    /// One-time passwords.
    Otp(OtpRole),
}

/// One-time passwords for hosts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OtpRole {
    /// Networks, comma-separated.
    pub cidr_list: String,
    /// Networks that are left out, comma-separated.
    pub exclude_cidr_list: String,
    /// Port of the hosts.
    pub port: i64,
    /// The user unless one is asked for.
    pub default_user: String,
    /// Users that may be asked for, comma-separated.
    pub allowed_users: String,
}

/// Certificates.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of Vault's role")]
pub struct CaRole {
    /// See [`FIELDS`]; so for all.
    pub default_user: String,
    #[allow(missing_docs)]
    pub default_user_template: bool,
    #[allow(missing_docs)]
    pub allowed_users: String,
    #[allow(missing_docs)]
    pub allowed_users_template: bool,
    #[allow(missing_docs)]
    pub allowed_domains: String,
    #[allow(missing_docs)]
    pub allowed_domains_template: bool,
    /// Seconds; 0 is the mount's.
    pub ttl: u64,
    /// Seconds; 0 is the mount's.
    pub max_ttl: u64,
    #[allow(missing_docs)]
    pub allowed_critical_options: String,
    #[allow(missing_docs)]
    pub allowed_extensions: String,
    #[allow(missing_docs)]
    pub default_critical_options: BTreeMap<String, String>,
    #[allow(missing_docs)]
    pub default_extensions: BTreeMap<String, String>,
    #[allow(missing_docs)]
    pub default_extensions_template: bool,
    #[allow(missing_docs)]
    pub allow_user_certificates: bool,
    #[allow(missing_docs)]
    pub allow_host_certificates: bool,
    #[allow(missing_docs)]
    pub allow_bare_domains: bool,
    #[allow(missing_docs)]
    pub allow_subdomains: bool,
    #[allow(missing_docs)]
    pub allow_user_key_ids: bool,
    #[allow(missing_docs)]
    pub key_id_format: String,
    /// Bits by kind of key; empty is any key.
    pub allowed_user_key_lengths: BTreeMap<String, Vec<i64>>,
    /// `default` or a name of RFC 8332.
    pub algorithm_signer: String,
    /// Seconds.
    pub not_before_duration: u64,
    #[allow(missing_docs)]
    pub allow_empty_principals: bool,
}

impl CaRole {
    fn from_fields(fields: &Fields) -> Result<Self, EngineError> {
        let flag = |name| fields.bool(name).unwrap_or(false);
        let text = |name| fields.str(name).to_owned();
        let secs = |name| fields.duration(name).unwrap_or_default().as_secs();
        let signer = fields.str("algorithm_signer");
        let role = Self {
            default_user: text("default_user"),
            default_user_template: flag("default_user_template"),
            allowed_users: text("allowed_users"),
            allowed_users_template: flag("allowed_users_template"),
            allowed_domains: text("allowed_domains"),
            allowed_domains_template: flag("allowed_domains_template"),
            ttl: secs("ttl"),
            max_ttl: secs("max_ttl"),
            allowed_critical_options: text("allowed_critical_options"),
            allowed_extensions: text("allowed_extensions"),
            default_critical_options: texts(fields.map("default_critical_options")),
            default_extensions: texts(fields.map("default_extensions")),
            default_extensions_template: flag("default_extensions_template"),
            allow_user_certificates: flag("allow_user_certificates"),
            allow_host_certificates: flag("allow_host_certificates"),
            allow_bare_domains: flag("allow_bare_domains"),
            allow_subdomains: flag("allow_subdomains"),
            allow_user_key_ids: flag("allow_user_key_ids"),
            key_id_format: text("key_id_format"),
            allowed_user_key_lengths: lengths(fields.map("allowed_user_key_lengths"))?,
            algorithm_signer: if signer.is_empty() { "default".to_owned() } else { signer.to_owned() },
            not_before_duration: fields.duration("not_before_duration").map_or(NOT_BEFORE_SECS_DEFAULT, |d| d.as_secs()),
            allow_empty_principals: flag("allow_empty_principals"),
        };
        if !role.allow_user_certificates && !role.allow_host_certificates {
            return Err(EngineError::invalid(
                "Either 'allow_user_certificates' or 'allow_host_certificates' must be set to 'true'",
            ));
        }
        if role.max_ttl != 0 && role.ttl > role.max_ttl {
            return Err(EngineError::invalid("\"ttl\" value must be less than \"max_ttl\" when both are specified"));
        }
        if !matches!(role.algorithm_signer.as_str(), "default" | "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512") {
            return Err(EngineError::Internal(format!("unknown algorithm signer {signer:?}")));
        }
        Ok(role)
    }
}

impl OtpRole {
    fn from_fields(fields: &Fields) -> Result<Self, EngineError> {
        let text = |name| fields.str(name).to_owned();
        if fields.str("default_user").is_empty() {
            return Err(EngineError::invalid("missing default user"));
        }
        for name in ["cidr_list", "exclude_cidr_list"] {
            if let Some(bad) = split(fields.str(name)).find(|n| n.parse::<ipnet::IpNet>().is_err()) {
                return Err(EngineError::Internal(format!("failed to validate {name}: invalid CIDR address: {bad}")));
            }
        }
        let port = fields.int("port").filter(|p| *p != 0).unwrap_or(PORT_DEFAULT);
        if !(1..=65_535).contains(&port) {
            return Err(EngineError::invalid("port must be between 1 and 65535"));
        }
        Ok(Self {
            cidr_list: text("cidr_list"),
            exclude_cidr_list: text("exclude_cidr_list"),
            port,
            default_user: text("default_user"),
            allowed_users: text("allowed_users"),
        })
    }
}

/// The parts of a comma-separated text, trimmed, without empty ones.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|p| !p.is_empty())
}

/// The values of an object as texts.
#[must_use]
pub fn texts(map: Option<&Map>) -> BTreeMap<String, String> {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    map.into_iter().flatten().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), text(v))).collect()
}

fn lengths(map: Option<&Map>) -> Result<BTreeMap<String, Vec<i64>>, EngineError> {
    let bits = |v: &Value| match v {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    };
    let mut out = BTreeMap::new();
    for (kind, value) in map.into_iter().flatten() {
        let list: Option<Vec<i64>> = match value {
            Value::Array(items) => items.iter().map(bits).collect(),
            one => bits(one).map(|n| vec![n]),
        };
        let list = list.ok_or_else(|| {
            EngineError::Invalid(format!(
                "error processing allowed_user_key_lengths: {kind:?} needs a number or a list of numbers"
            ))
        })?;
        out.insert(kind.clone(), list);
    }
    Ok(out)
}

/// The role of a name.
pub fn load(call: &mut Call<'_>, name: &str) -> Result<Option<Arc<Role>>, EngineError> {
    Ok(call.view.get_json::<Role>(&format!("{FOLDER}{name}"))?)
}

/// The name in the path: word characters, and inside also `.`, `-` and `@`. Anything else is no path of this engine.
pub fn name(call: &Call<'_>) -> Result<String, EngineError> {
    let name = call.fields.str("role");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || matches!(c, '-' | '.' | '@'));
    if good { Ok(name.to_owned()) } else { Err(EngineError::UnsupportedPath) }
}

pub fn write(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    let role = match call.fields.str("key_type").to_lowercase().as_str() {
        "" => return Err(EngineError::invalid("missing key type")),
        "ca" => Role::Ca(Box::new(CaRole::from_fields(&call.fields)?)),
        "otp" => Role::Otp(OtpRole::from_fields(&call.fields)?),
        "dynamic" => return Err(EngineError::invalid("dynamic key type roles are no longer supported")),
        _ => return Err(EngineError::invalid("invalid key type")),
    };
    call.view.put_json(&format!("{FOLDER}{name}"), &role)?;
    Ok(None)
}

pub fn read(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    let Some(role) = load(call, &name)? else { return Ok(None) };
    // The record's fields are the answer's.
    let shown = serde_json::to_value(role.as_ref()).map_err(|_| EngineError::internal("the role cannot be shown"))?;
    Ok(Some(Response::json(shown)))
}

pub fn delete(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    call.view.delete(&format!("{FOLDER}{name}"))?;
    Ok(None)
}

pub fn list(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let page = page(call);
    let names = call.view.list(FOLDER, &page)?;
    let mut info = Map::new();
    for name in &names {
        let kind = match load(call, name)?.as_deref() {
            Some(Role::Ca(_)) => "ca",
            Some(Role::Otp(_)) => "otp",
            None => continue,
        };
        info.insert(name.clone(), json!({ "key_type": kind }));
    }
    let mut answer = Map::new();
    if !names.is_empty() {
        answer.insert("key_info".into(), info.into());
        answer.insert("keys".into(), names.into());
    }
    Ok(Some(Response::data(answer)))
}
