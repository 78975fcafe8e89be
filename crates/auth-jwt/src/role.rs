//! `role/<name>`: which claims may log in, and what they get. Names of roles are lower-cased.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::Map;
use engine::token_params::{TOKEN_FIELDS, TWINS, TokenParams, note_twins, show_twins, shown_duration};
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response};
use jose::TimeRules;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use storage::{Page, View};

use crate::Jwt;
use crate::bound::BoundClaimsType;
use crate::claims::{as_list, shown};

const FOLDER: &str = "role/";

/// Metadata that the server sets and no claim may.
const RESERVED_METADATA: [&str; 1] = ["role"];

pub(crate) static FIELDS: [Field; 32] = {
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = TOKEN_FIELDS;
    [
        Field::new("name", FieldKind::LowerString, "Name of the role."),
        Field::new("role_type", FieldKind::String, "jwt or oidc (the default)."),
        Field::new("user_claim", FieldKind::String, "Claim that names the user."),
        Field::new("user_claim_json_pointer", FieldKind::Bool, "user_claim is a JSON pointer."),
        Field::new("bound_audiences", FieldKind::CommaStringSlice, "The token must be for one of these."),
        Field::new("bound_subject", FieldKind::String, "The `sub` a token must have."),
        Field::new("bound_claims", FieldKind::Map, "Claims with the values they may have, one or a list."),
        Field::new("bound_claims_type", FieldKind::String, "string (the default) or glob."),
        Field::new("claim_mappings", FieldKind::KeyValuePairs, "Claims, each with the metadata key its text becomes."),
        Field::new("groups_claim", FieldKind::String, "Claim that lists the user's groups."),
        Field::new("expiration_leeway", FieldKind::SignedDuration, "Life of a token without exp; 150 s if 0, none if negative."),
        Field::new(
            "not_before_leeway",
            FieldKind::SignedDuration,
            "Start of a token with exp only; 150 s if 0, none if negative.",
        ),
        Field::new("clock_skew_leeway", FieldKind::SignedDuration, "How far clocks may differ; 60 s if 0, not if negative."),
        Field::new("allowed_redirect_uris", FieldKind::CommaStringSlice, "Where sign-ins may come back to."),
        Field::new("oidc_scopes", FieldKind::CommaStringSlice, "Scopes to ask for besides openid."),
        Field::new("max_age", FieldKind::DurationSecond, "How long ago the user may have signed in at the provider."),
        Field::new("verbose_oidc_logging", FieldKind::Bool, "Kept and shown; claims are never logged."),
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        t8,
        Field::new("policies", FieldKind::CommaStringSlice, "Deprecated: use token_policies."),
        Field::new("bound_cidrs", FieldKind::CommaStringSlice, "Deprecated: use token_bound_cidrs."),
        Field::new("num_uses", FieldKind::Int, "Deprecated: use token_num_uses."),
        Field::new("ttl", FieldKind::DurationSecond, "Deprecated: use token_ttl."),
        Field::new("max_ttl", FieldKind::DurationSecond, "Deprecated: use token_max_ttl."),
        Field::new("period", FieldKind::DurationSecond, "Deprecated: use token_period."),
    ]
};

/// Which of the two ways in a role is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleType {
    /// `login` with a token.
    Jwt,
    /// A browser at the provider.
    #[default]
    Oidc,
}

/// A role as stored. A list is `None` until it is written for the first time, which clients see as null.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    pub(crate) role_type: RoleType,
    pub(crate) user_claim: String,
    pub(crate) user_claim_json_pointer: bool,
    bound_audiences: Option<Vec<String>>,
    /// Empty is any.
    pub(crate) bound_subject: String,
    pub(crate) bound_claims: Option<Map>,
    pub(crate) bound_claims_type: BoundClaimsType,
    /// Claim to metadata key.
    pub(crate) claim_mappings: Option<BTreeMap<String, String>>,
    /// Empty is none.
    pub(crate) groups_claim: String,
    /// Seconds; 0 is the default, negative is none.
    expiration_leeway: i64,
    not_before_leeway: i64,
    clock_skew_leeway: i64,
    allowed_redirect_uris: Option<Vec<String>>,
    oidc_scopes: Option<Vec<String>>,
    /// Seconds; 0 is any age.
    pub(crate) max_age: u64,
    verbose_oidc_logging: bool,
    pub(crate) token: TokenParams,
    /// Deprecated names under which a value was last written; those are shown as well.
    twins: Vec<String>,
}

impl Role {
    /// The role of that name, if it can be one's.
    pub(crate) fn load(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Self>>, EngineError> {
        match key(name) {
            Some(key) => Ok(view.get_json(&key)?),
            None => Ok(None),
        }
    }

    pub(crate) fn audiences(&self) -> &[String] {
        self.bound_audiences.as_deref().unwrap_or_default()
    }

    pub(crate) fn redirect_uris(&self) -> &[String] {
        self.allowed_redirect_uris.as_deref().unwrap_or_default()
    }

    pub(crate) fn scopes(&self) -> &[String] {
        self.oidc_scopes.as_deref().unwrap_or_default()
    }

    /// How the times of a token are judged.
    pub(crate) fn times(&self) -> TimeRules {
        let default = TimeRules::default();
        let or = |seconds: i64, default: Duration| match seconds {
            0 => default,
            s => Duration::from_secs(u64::try_from(s).unwrap_or(0)),
        };
        TimeRules {
            expiration_leeway: or(self.expiration_leeway, default.expiration_leeway),
            not_before_leeway: or(self.not_before_leeway, default.not_before_leeway),
            clock_skew_leeway: or(self.clock_skew_leeway, default.clock_skew_leeway),
            require_expiration: false,
        }
    }

    /// Takes over what was sent, in the order in which Vault complains.
    fn update(&mut self, fields: &Fields, mount_max_seconds: u64) -> Result<(), EngineError> {
        self.set_token(fields)?;
        if self.token.token_period > mount_max_seconds {
            return Err(EngineError::Invalid(format!(
                "'period' of '{:?}' is greater than the backend's maximum lease TTL of '{:?}'",
                shown_duration(self.token.token_period),
                shown_duration(mount_max_seconds)
            )));
        }
        self.role_type = match fields.str("role_type") {
            "" | "oidc" => RoleType::Oidc,
            "jwt" => RoleType::Jwt,
            other => return Err(EngineError::Invalid(format!("invalid 'role_type': {other}"))),
        };
        self.set_plain(fields);
        self.set_claims(fields)?;
        if self.user_claim.is_empty() {
            return Err(EngineError::invalid("a user claim must be defined on the role"));
        }
        if self.role_type == RoleType::Oidc && self.redirect_uris().is_empty() {
            return Err(EngineError::invalid("'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified."));
        }
        if self.role_type == RoleType::Jwt && !self.is_bound() {
            return Err(EngineError::invalid("must have at least one bound constraint when creating/updating a role"));
        }
        Ok(())
    }

    /// Whether anything at all is demanded of a token (class H).
    fn is_bound(&self) -> bool {
        !self.audiences().is_empty()
            || !self.token.token_bound_cidrs.is_empty()
            || !self.bound_subject.is_empty()
            || self.bound_claims.as_ref().is_some_and(|b| !b.is_empty())
    }

    fn set_plain(&mut self, fields: &Fields) {
        for (name, slot) in [
            ("user_claim", &mut self.user_claim),
            ("bound_subject", &mut self.bound_subject),
            ("groups_claim", &mut self.groups_claim),
        ] {
            if let Some(text) = fields.text(name) {
                text.clone_into(slot);
            }
        }
        for (name, slot) in [
            ("bound_audiences", &mut self.bound_audiences),
            ("allowed_redirect_uris", &mut self.allowed_redirect_uris),
            ("oidc_scopes", &mut self.oidc_scopes),
        ] {
            if let Some(list) = fields.texts(name) {
                // An empty text binds nothing; a list of only those would look like a binding.
                *slot = Some(list.iter().filter(|t| !t.is_empty()).cloned().collect());
            }
        }
        for (name, slot) in [
            ("expiration_leeway", &mut self.expiration_leeway),
            ("not_before_leeway", &mut self.not_before_leeway),
            ("clock_skew_leeway", &mut self.clock_skew_leeway),
        ] {
            if let Some(api_types::duration::Signed(nanos)) = fields.signed_duration(name) {
                *slot = nanos / 1_000_000_000;
            }
        }
        for (name, slot) in [
            ("user_claim_json_pointer", &mut self.user_claim_json_pointer),
            ("verbose_oidc_logging", &mut self.verbose_oidc_logging),
        ] {
            if let Some(on) = fields.bool(name) {
                *slot = on;
            }
        }
        if let Some(age) = fields.duration("max_age") {
            self.max_age = age.as_secs();
        }
    }

    fn set_claims(&mut self, fields: &Fields) -> Result<(), EngineError> {
        self.bound_claims_type = match fields.text("bound_claims_type").unwrap_or("string") {
            "string" => BoundClaimsType::String,
            "glob" => BoundClaimsType::Glob,
            other => return Err(EngineError::Invalid(format!("invalid 'bound_claims_type': {other}"))),
        };
        if let Some(bound) = fields.map("bound_claims") {
            self.bound_claims = Some(bound.clone());
        }
        if self.bound_claims_type == BoundClaimsType::Glob {
            // Also of claims that were written as plain ones before: a pattern compares texts only.
            self.bound_claims.as_ref().map_or(Ok(()), all_texts)?;
        }
        if let Some(mappings) = fields.pairs("claim_mappings") {
            check_mappings(mappings)?;
            self.claim_mappings = Some(mappings.clone());
        }
        Ok(())
    }

    /// Modern fields win over their twins; a twin that was not sent along with them is forgotten.
    fn set_token(&mut self, fields: &Fields) -> Result<(), EngineError> {
        for (twin, modern) in TWINS {
            self.token.from_deprecated(fields, twin, modern)?;
        }
        note_twins(&mut self.twins, fields);
        self.token.update(fields)
    }

    fn show(&self) -> Map {
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("role_type", serde_json::to_value(self.role_type).unwrap_or_default());
        put("user_claim", self.user_claim.as_str().into());
        put("user_claim_json_pointer", self.user_claim_json_pointer.into());
        put("bound_audiences", self.bound_audiences.clone().into());
        put("bound_subject", self.bound_subject.as_str().into());
        put("bound_claims", self.bound_claims.clone().map_or(Value::Null, Value::Object));
        put("bound_claims_type", serde_json::to_value(self.bound_claims_type).unwrap_or_default());
        put("claim_mappings", serde_json::to_value(&self.claim_mappings).unwrap_or_default());
        put("groups_claim", self.groups_claim.as_str().into());
        put("expiration_leeway", self.expiration_leeway.into());
        put("not_before_leeway", self.not_before_leeway.into());
        put("clock_skew_leeway", self.clock_skew_leeway.into());
        put("allowed_redirect_uris", self.allowed_redirect_uris.clone().into());
        put("oidc_scopes", self.oidc_scopes.clone().into());
        put("max_age", self.max_age.into());
        put("verbose_oidc_logging", self.verbose_oidc_logging.into());
        self.token.show(&mut data);
        show_twins(&self.twins, &mut data);
        data
    }

    fn warnings(&self, mount_max_seconds: u64) -> Option<Response> {
        let mut warnings = Vec::new();
        if self.token.token_max_ttl > mount_max_seconds {
            warnings.push(
                "token max ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL value will be \
                 truncated"
                    .to_owned(),
            );
        }
        if self.verbose_oidc_logging {
            warnings.push(
                "verbose_oidc_logging has been enabled for this role. This is not recommended in production since sensitive \
                 information may be present in OIDC responses."
                    .to_owned(),
            );
        }
        (!warnings.is_empty()).then(|| Response { warnings, ..Response::default() })
    }
}

/// Tells `create` from `update`.
pub(crate) fn exists(_: &Jwt, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(Role::load(&mut call.view, call.fields.str("name"))?.is_some())
}

/// `role/<name>`: creates or changes a role (204, or 200 with warnings).
pub(crate) fn write(_: &Jwt, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let key = key(&name).ok_or_else(|| EngineError::invalid("missing role name"))?;
    let mut role = Role::load(&mut call.view, &name)?.map(|r| Role::clone(&r)).unwrap_or_default();
    let mount_max_seconds = call.mount.max_lease_ttl.as_secs();
    role.update(&call.fields, mount_max_seconds)?;
    call.view.put_json(&key, &role)?;
    Ok(role.warnings(mount_max_seconds))
}

/// `role/<name>`.
pub(crate) fn read(_: &Jwt, call: &mut Call<'_>) -> Outcome {
    Ok(Role::load(&mut call.view, call.fields.str("name"))?.map(|role| Response::data(role.show())))
}

/// `role/<name>`; nothing there is fine.
pub(crate) fn delete(_: &Jwt, call: &mut Call<'_>) -> Outcome {
    if let Some(key) = key(call.fields.str("name")) {
        call.view.delete(&key)?;
    }
    Ok(None)
}

/// `role`.
pub(crate) fn list(_: &Jwt, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(call.view.list(FOLDER, &Page::default())?)))
}

/// Where a role is kept. A login may name anything, so the name is held against the pattern of the route here as well.
fn key(name: &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fine = name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || c == '-' || c == '.');
    fine.then(|| format!("{FOLDER}{}", name.to_ascii_lowercase()))
}

fn all_texts(bound: &Map) -> Result<(), EngineError> {
    for wanted in bound.values() {
        let list =
            as_list(wanted).ok_or_else(|| EngineError::Invalid(format!("claim is not a string or list: {}", shown(wanted))))?;
        if let Some(other) = list.iter().find(|v| !v.is_string()) {
            return Err(EngineError::Invalid(format!("claim is not a string: {}", shown(other))));
        }
    }
    Ok(())
}

fn check_mappings(mappings: &BTreeMap<String, String>) -> Result<(), EngineError> {
    let mut seen = std::collections::BTreeSet::new();
    for key in mappings.values() {
        if RESERVED_METADATA.contains(&key.as_str()) {
            return Err(EngineError::Invalid(format!("metadata key {key:?} is reserved and may not be a mapping destination")));
        }
        if !seen.insert(key) {
            return Err(EngineError::Invalid(format!("multiple keys are mapped to metadata key {key:?}")));
        }
    }
    Ok(())
}
