//! `role/<name>`: which service accounts may log in, and what token they get.

use std::sync::Arc;

use api_types::Map;
use engine::token_params::{TOKEN_FIELDS, TWINS, TokenParams, note_twins, show_twins, shown_duration};
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response};
use serde::{Deserialize, Serialize};
use storage::{Page, View};

use crate::Kubernetes;
use crate::names::any_matches;
use crate::selector::Selector;

const FOLDER: &str = "role/";
const NAMES: &str = "bound_service_account_names";
const NAMESPACES: &str = "bound_service_account_namespaces";
const SELECTOR: &str = "bound_service_account_namespace_selector";

pub(crate) static FIELDS: [Field; 21] = {
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = TOKEN_FIELDS;
    [
        Field::new("name", FieldKind::String, "Name of the role."),
        Field::new(NAMES, FieldKind::CommaStringSlice, "Service accounts that may use the role; `*` in a name is any text."),
        Field::new(
            NAMESPACES,
            FieldKind::CommaStringSlice,
            "Namespaces whose accounts may use the role; `*` in a name is any text.",
        ),
        Field::new(SELECTOR, FieldKind::String, "Label selector (JSON or YAML, matchLabels) of further namespaces."),
        Field::new("audience", FieldKind::String, "Audience that the token must have."),
        Field::new("alias_name_source", FieldKind::String, "serviceaccount_uid (the default) or serviceaccount_name."),
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

/// What names the identity alias of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum AliasNameSource {
    /// The account's uid: an account that is deleted and made again is somebody else.
    #[default]
    #[serde(rename = "serviceaccount_uid")]
    Uid,
    /// `<namespace>/<name>`.
    #[serde(rename = "serviceaccount_name")]
    Name,
}

/// A role as stored.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    names: Vec<String>,
    /// `None` until they are written for the first time, which clients see as null.
    namespaces: Option<Vec<String>>,
    /// Empty if there is none.
    pub(crate) namespace_selector: String,
    /// Empty if there is none.
    pub(crate) audience: String,
    pub(crate) alias_name_source: AliasNameSource,
    pub(crate) token: TokenParams,
    /// Deprecated names under which a value was last written; those are shown as well.
    twins: Vec<String>,
}

impl Role {
    /// The role, whatever the case of its name. A name that cannot be a role's is just not there.
    pub(crate) fn load(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Self>>, EngineError> {
        match key(name) {
            Some(key) => Ok(view.get_json(&key)?),
            None => Ok(None),
        }
    }

    /// Whether the account's name is bound.
    pub(crate) fn binds_name(&self, name: &str) -> bool {
        matches!(self.names.as_slice(), [only] if only == "*") || any_matches(&self.names, name)
    }

    /// Whether the namespace is bound by its name.
    pub(crate) fn binds_namespace(&self, namespace: &str) -> bool {
        let bound = self.namespaces.as_deref().unwrap_or_default();
        bound.first().is_some_and(|first| first == "*") || any_matches(bound, namespace)
    }

    /// The audience a token must have, if the role names one.
    pub(crate) fn expected_audience(&self) -> Option<&str> {
        (!self.audience.trim().is_empty()).then_some(self.audience.as_str())
    }

    fn set_bindings(&mut self, fields: &Fields) -> Result<(), EngineError> {
        // An empty name binds nothing; a list of only those would look like a binding and is refused as empty.
        let sent = |field| fields.texts(field).map(|list| list.iter().filter(|n| !n.is_empty()).cloned().collect::<Vec<_>>());
        if let Some(names) = sent(NAMES) {
            self.names = names;
        }
        if self.names.is_empty() {
            return Err(EngineError::Invalid(format!("{NAMES:?} can not be empty")));
        }
        not_mixed(&self.names)?;
        if let Some(namespaces) = sent(NAMESPACES) {
            self.namespaces = Some(namespaces);
        }
        fields.str(SELECTOR).clone_into(&mut self.namespace_selector);
        let namespaces = self.namespaces.as_deref().unwrap_or_default();
        if namespaces.is_empty() && self.namespace_selector.is_empty() {
            return Err(EngineError::Invalid(format!("{NAMESPACES:?} can not be empty if {SELECTOR:?} is not set")));
        }
        if !self.namespace_selector.is_empty() && Selector::parse(&self.namespace_selector).is_none() {
            return Err(EngineError::Invalid(format!("invalid {SELECTOR:?} configured")));
        }
        not_mixed(namespaces)
    }

    /// Modern fields win over their twins; a twin that was not sent along with them is forgotten.
    fn set_token(&mut self, fields: &Fields) -> Result<(), EngineError> {
        self.token.update(fields)?;
        for (twin, modern) in TWINS {
            self.token.from_deprecated(fields, twin, modern)?;
        }
        note_twins(&mut self.twins, fields);
        Ok(())
    }

    fn check_times(&self, mount_max_seconds: u64) -> Result<(), EngineError> {
        let token = &self.token;
        if token.token_period > mount_max_seconds {
            return Err(EngineError::Invalid(format!(
                "token period of '{:?}' is greater than the backend's maximum lease TTL of '{:?}'",
                shown_duration(token.token_period),
                shown_duration(mount_max_seconds)
            )));
        }
        if token.token_max_ttl > 0 && token.token_ttl > token.token_max_ttl {
            return Err(EngineError::invalid("token ttl should not be greater than token max ttl"));
        }
        Ok(())
    }
}

/// Tells `create` from `update`.
pub(crate) fn exists(_: &Kubernetes, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(Role::load(&mut call.view, call.fields.str("name"))?.is_some())
}

/// `role/<name>`: creates or changes a role (204, or 200 with warnings).
pub(crate) fn write(_: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let key = key(&name).ok_or_else(|| EngineError::invalid("missing role name"))?;
    let mut role = Role::load(&mut call.view, &name)?.map(|r| Role::clone(&r)).unwrap_or_default();
    let mount_max_seconds = call.mount.max_lease_ttl.as_secs();
    role.set_token(&call.fields)?;
    role.check_times(mount_max_seconds)?;
    role.set_bindings(&call.fields)?;
    if let Some(audience) = call.fields.text("audience") {
        audience.clone_into(&mut role.audience);
    }
    let created = call.operation == api_types::Operation::Create;
    if let Some(source) = call.fields.text("alias_name_source") {
        role.alias_name_source = alias_name_source(source, created)?;
    }
    call.view.put_json(&key, &role)?;
    Ok(warnings(&name, &role, mount_max_seconds))
}

/// `role/<name>`.
pub(crate) fn read(_: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    let Some(role) = Role::load(&mut call.view, call.fields.str("name"))? else { return Ok(None) };
    let mut data = Map::new();
    data.insert(NAMES.into(), role.names.clone().into());
    data.insert(NAMESPACES.into(), role.namespaces.clone().into());
    data.insert(SELECTOR.into(), role.namespace_selector.as_str().into());
    data.insert("alias_name_source".into(), serde_json::to_value(role.alias_name_source).unwrap_or_default());
    if !role.audience.is_empty() {
        data.insert("audience".into(), role.audience.as_str().into());
    }
    role.token.show(&mut data);
    show_twins(&role.twins, &mut data);
    Ok(Some(Response::data(data)))
}

/// `role/<name>`; nothing there is fine.
pub(crate) fn delete(_: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    if let Some(key) = key(call.fields.str("name")) {
        call.view.delete(&key)?;
    }
    Ok(None)
}

/// `role`.
pub(crate) fn list(_: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(call.view.list(FOLDER, &Page::default())?)))
}

/// Where a role is kept. A login may name anything, so the name is held against the pattern of the route here as well.
fn key(name: &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fine = name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || c == '-' || c == '.');
    fine.then(|| format!("{FOLDER}{}", name.to_ascii_lowercase()))
}

fn not_mixed(bound: &[String]) -> Result<(), EngineError> {
    if bound.len() > 1 && bound.iter().any(|b| b == "*") {
        return Err(EngineError::invalid("can not mix \"*\" with values"));
    }
    Ok(())
}

/// An empty text stands for the default, but only while nothing else was chosen.
fn alias_name_source(text: &str, created: bool) -> Result<AliasNameSource, EngineError> {
    match text {
        "" if created => Ok(AliasNameSource::default()),
        "serviceaccount_uid" => Ok(AliasNameSource::Uid),
        "serviceaccount_name" => Ok(AliasNameSource::Name),
        _ => Err(EngineError::invalid("invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name")),
    }
}

fn warnings(name: &str, role: &Role, mount_max_seconds: u64) -> Option<Response> {
    let mut warnings = Vec::new();
    if role.token.token_max_ttl > mount_max_seconds {
        warnings.push(
            "max_ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL value will be truncated"
                .to_owned(),
        );
    }
    if role.expected_audience().is_none() {
        warnings.push(format!(
            "Role {name} does not have an audience configured. While audiences are not required, consider specifying one if your \
             use case would benefit from additional JWT claim verification."
        ));
    }
    (!warnings.is_empty()).then(|| Response { warnings, ..Response::default() })
}
