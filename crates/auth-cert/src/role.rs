//! Roles at `certs/<name>`: what is trusted, with which constraints, for which token. Fields and texts are Vault's.

use std::sync::Arc;

use api_types::Map;
use engine::token_params::{TOKEN_FIELDS, TokenParams};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::presented::Presented;
use crate::{Cert, NAME, page};

/// Folder of the roles.
pub const FOLDER: &str = "certs/";
/// Vault's `ocsp_max_retries` unless it is set.
const OCSP_RETRIES_DEFAULT: i64 = 4;

macro_rules! fields {
    ($($own:expr),* $(,)?) => {{
        let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = TOKEN_FIELDS;
        [$($own,)* t0, t1, t2, t3, t4, t5, t6, t7, t8]
    }};
}

/// The role's fields, the shared ones last.
pub static FIELDS: [Field; 33] = fields![
    NAME,
    Field::new("certificate", FieldKind::String, "PEM: CAs whose certificates are trusted, or certificates trusted themselves."),
    Field::new(
        "allowed_names",
        FieldKind::CommaStringSlice,
        "Patterns; the common name, a DNS name or a mail address must match."
    ),
    Field::new("allowed_common_names", FieldKind::CommaStringSlice, "Patterns for the common name."),
    Field::new("allowed_dns_sans", FieldKind::CommaStringSlice, "Patterns; one DNS name must match."),
    Field::new("allowed_email_sans", FieldKind::CommaStringSlice, "Patterns; one mail address must match."),
    Field::new("allowed_uri_sans", FieldKind::CommaStringSlice, "Patterns; one URI must match."),
    Field::new("allowed_organizations", FieldKind::CommaStringSlice, "Patterns; one organization must match."),
    Field::new("allowed_organizational_units", FieldKind::CommaStringSlice, "Patterns; one organizational unit must match."),
    Field::new("required_extensions", FieldKind::CommaStringSlice, "`oid:pattern` or `hex:oid:pattern`; all must match."),
    Field::new(
        "allowed_metadata_extensions",
        FieldKind::CommaStringSlice,
        "Extensions whose text goes into the token's metadata."
    ),
    Field::new("display_name", FieldKind::String, "Display name of tokens; the role's name if empty."),
    Field::new("ocsp_enabled", FieldKind::Bool, "Ask OCSP responders whether the certificate is revoked."),
    Field::new("ocsp_ca_certificates", FieldKind::String, "PEM: who may sign answers besides the issuer."),
    Field::new("ocsp_servers_override", FieldKind::CommaStringSlice, "Responders, instead of those the certificate names."),
    Field::new("ocsp_fail_open", FieldKind::Bool, "Let pass what no responder answers for or knows."),
    Field::new("ocsp_query_all_servers", FieldKind::Bool, "Ask every responder; all must vouch for the certificate."),
    Field::new("ocsp_max_retries", FieldKind::Int, "How often a responder that does not answer is asked again."),
    Field::new("ocsp_this_update_max_age", FieldKind::DurationSecond, "Oldest answer that is believed; 0 for no bound."),
    Field::new("policies", FieldKind::CommaStringSlice, "Deprecated: use token_policies."),
    Field::new("ttl", FieldKind::DurationSecond, "Deprecated: use token_ttl."),
    Field::new("max_ttl", FieldKind::DurationSecond, "Deprecated: use token_max_ttl."),
    Field::new("period", FieldKind::DurationSecond, "Deprecated: use token_period."),
    Field::new("bound_cidrs", FieldKind::CommaStringSlice, "Deprecated: use token_bound_cidrs."),
];

/// The deprecated fields with what replaced them.
const TWINS: [(&str, &str); 5] = [
    ("policies", "token_policies"),
    ("ttl", "token_ttl"),
    ("max_ttl", "token_max_ttl"),
    ("period", "token_period"),
    ("bound_cidrs", "token_bound_cidrs"),
];

/// A role. A list is `None` until it is set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// PEM, as sent.
    pub certificate: String,
    /// Display name of tokens.
    pub display_name: String,
    /// Patterns over common name, DNS names and mail addresses.
    pub allowed_names: Option<Vec<String>>,
    /// Patterns.
    pub allowed_common_names: Option<Vec<String>>,
    /// Patterns.
    pub allowed_dns_sans: Option<Vec<String>>,
    /// Patterns.
    pub allowed_email_sans: Option<Vec<String>>,
    /// Patterns.
    pub allowed_uri_sans: Option<Vec<String>>,
    /// Patterns.
    pub allowed_organizations: Option<Vec<String>>,
    /// Patterns.
    pub allowed_organizational_units: Option<Vec<String>>,
    /// `oid:pattern`, `hex:oid:pattern`.
    pub required_extensions: Option<Vec<String>>,
    /// Object identifiers.
    pub allowed_metadata_extensions: Option<Vec<String>>,
    /// Whether and how responders are asked.
    pub ocsp: Ocsp,
    /// The shared parameters.
    pub token: TokenParams,
    /// Deprecated fields in force, shown beside their modern twins.
    pub twins: Vec<String>,
}

/// OCSP settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Ocsp {
    /// Responders are asked.
    pub enabled: bool,
    /// PEM, as sent.
    pub ca_certificates: String,
    /// URLs.
    pub servers_override: Option<Vec<String>>,
    /// What cannot be known passes.
    pub fail_open: bool,
    /// All responders must vouch.
    pub query_all_servers: bool,
    /// Not negative.
    pub max_retries: i64,
    /// Zero for no bound.
    pub this_update_max_age_secs: u64,
}

impl Ocsp {
    /// Who may sign answers besides the issuer; nobody if the PEM is broken.
    #[must_use]
    pub fn authorities(&self) -> Vec<Presented> {
        parse_pem(&self.ca_certificates).unwrap_or_default()
    }
}

impl Default for Ocsp {
    fn default() -> Self {
        Self {
            enabled: false,
            ca_certificates: String::new(),
            servers_override: None,
            fail_open: false,
            query_all_servers: false,
            max_retries: OCSP_RETRIES_DEFAULT,
            this_update_max_age_secs: 0,
        }
    }
}

impl Role {
    /// The certificates it names; none if the PEM is broken.
    #[must_use]
    pub fn trusted(&self) -> Vec<Presented> {
        parse_pem(&self.certificate).unwrap_or_default()
    }

    fn lists(&mut self) -> [(&'static str, &mut Option<Vec<String>>); 9] {
        [
            ("allowed_names", &mut self.allowed_names),
            ("allowed_common_names", &mut self.allowed_common_names),
            ("allowed_dns_sans", &mut self.allowed_dns_sans),
            ("allowed_email_sans", &mut self.allowed_email_sans),
            ("allowed_uri_sans", &mut self.allowed_uri_sans),
            ("allowed_organizations", &mut self.allowed_organizations),
            ("allowed_organizational_units", &mut self.allowed_organizational_units),
            ("required_extensions", &mut self.required_extensions),
            ("allowed_metadata_extensions", &mut self.allowed_metadata_extensions),
        ]
    }
}

fn parse_pem(text: &str) -> Option<Vec<Presented>> {
    let certs: Option<Vec<_>> =
        CertificateDer::pem_slice_iter(text.as_bytes()).map(|der| Presented::from_der(&der.ok()?)).collect();
    certs.filter(|c| !c.is_empty())
}

/// The role of a name.
pub fn load(call: &mut Call<'_>, name: &str) -> Result<Option<Arc<Role>>, EngineError> {
    Ok(call.view.get_json::<Role>(&format!("{FOLDER}{name}"))?)
}

pub fn write(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let old = load(call, &name)?;
    let mut role = old.map(|r| r.as_ref().clone()).unwrap_or_default();
    let fields = &call.fields;
    if let Some(text) = fields.text("certificate") {
        role.certificate = text.to_owned();
    }
    if let Some(text) = fields.text("display_name") {
        role.display_name = text.to_owned();
    }
    for (field, list) in role.lists() {
        if let Some(sent) = fields.texts(field) {
            *list = Some(sent.to_vec());
        }
    }
    set_ocsp(&mut role.ocsp, fields)?;
    for (twin, modern) in TWINS {
        role.token.from_deprecated(fields, twin, modern)?;
        if fields.has(twin) || fields.has(modern) {
            role.twins.retain(|t| t != twin);
        }
        if fields.has(twin) {
            role.twins.push(twin.to_owned());
        }
    }
    role.token.update(fields)?;
    if role.display_name.is_empty() {
        role.display_name.clone_from(&name);
    }
    let trusted = parse_pem(&role.certificate).ok_or_else(|| EngineError::invalid("failed to parse certificate"))?;
    if trusted.first().is_some_and(|c| !c.is_ca && !c.for_clients) {
        return Err(EngineError::invalid(
            "nonCA certificates should have TLS client authentication set as an extended key usage",
        ));
    }
    let warnings = warnings(&role.token, call);
    call.view.put_json(&format!("{FOLDER}{name}"), &role)?;
    Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
}

fn set_ocsp(ocsp: &mut Ocsp, fields: &engine::Fields) -> Result<(), EngineError> {
    ocsp.enabled = fields.bool("ocsp_enabled").unwrap_or(ocsp.enabled);
    if let Some(text) = fields.text("ocsp_ca_certificates") {
        ocsp.ca_certificates = text.to_owned();
    }
    if let Some(servers) = fields.texts("ocsp_servers_override") {
        ocsp.servers_override = Some(servers.to_vec());
    }
    ocsp.fail_open = fields.bool("ocsp_fail_open").unwrap_or(ocsp.fail_open);
    ocsp.query_all_servers = fields.bool("ocsp_query_all_servers").unwrap_or(ocsp.query_all_servers);
    if let Some(n) = fields.int("ocsp_max_retries") {
        if n < 0 {
            return Err(EngineError::invalid("ocsp_max_retries can not be a negative number"));
        }
        ocsp.max_retries = n;
    }
    if let Some(age) = fields.duration("ocsp_this_update_max_age") {
        ocsp.this_update_max_age_secs = age.as_secs();
    }
    Ok(())
}

/// What the mount will not give although the role asks for it.
fn warnings(token: &TokenParams, call: &Call<'_>) -> Vec<String> {
    let (default, most) = (call.mount.default_lease_ttl.as_secs(), call.mount.max_lease_ttl.as_secs());
    let mut out = Vec::new();
    if token.token_ttl > default {
        out.push(format!(
            "Given ttl of {} seconds is greater than current mount/system default of {default} seconds",
            token.token_ttl
        ));
    }
    if token.token_max_ttl > most {
        out.push(format!(
            "Given max_ttl of {} seconds is greater than current mount/system default of {most} seconds",
            token.token_max_ttl
        ));
    }
    if token.token_period > most {
        out.push(format!(
            "Given period of {} seconds is greater than the backend's maximum TTL of {most} seconds",
            token.token_period
        ));
    }
    out
}

pub fn read(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let Some(role) = load(call, &name)? else { return Ok(None) };
    let mut role = role.as_ref().clone();
    let mut data = Map::new();
    role.token.show(&mut data);
    for (twin, modern) in TWINS {
        let shown = data.get(modern).filter(|v| v.as_u64() != Some(0)).cloned();
        if let (true, Some(value)) = (role.twins.iter().any(|t| t == twin), shown) {
            data.insert(twin.into(), value);
        }
    }
    for (field, list) in role.lists() {
        data.insert(field.into(), list.clone().into());
    }
    let ocsp = role.ocsp;
    data.insert("certificate".into(), role.certificate.into());
    data.insert("display_name".into(), role.display_name.into());
    data.insert("ocsp_enabled".into(), ocsp.enabled.into());
    data.insert("ocsp_ca_certificates".into(), ocsp.ca_certificates.into());
    data.insert("ocsp_servers_override".into(), ocsp.servers_override.into());
    data.insert("ocsp_fail_open".into(), ocsp.fail_open.into());
    data.insert("ocsp_query_all_servers".into(), ocsp.query_all_servers.into());
    data.insert("ocsp_max_retries".into(), ocsp.max_retries.into());
    data.insert("ocsp_this_update_max_age".into(), ocsp.this_update_max_age_secs.into());
    Ok(Some(Response::data(data)))
}

pub fn delete(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let key = format!("{FOLDER}{}", call.fields.str("name"));
    call.view.delete(&key)?;
    Ok(None)
}

pub fn list(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let page = page(call);
    Ok(Some(Response::list(call.view.list(FOLDER, &page)?)))
}
