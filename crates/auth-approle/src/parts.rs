//! `role/<name>/<field>`: one field of a role, with a policy of its own if operators want that.

use std::collections::BTreeSet;

use engine::token_params::{check_cidrs, parse_cidr};
use engine::{Call, EngineError, Fields, Outcome, Response};
use serde_json::{Value, json};

use crate::cidrs;
use crate::role::{self, Role, follow, not_negative};

const OLD_NAME: &str =
    "The \"bound_cidr_list\" field is deprecated and will be removed. Please use \"secret_id_bound_cidrs\" instead.";

/// The fields with a path of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Policies,
    RoleId,
    BindSecretId,
    LocalSecretIds,
    SecretIdBoundCidrs,
    /// The deprecated name of `SecretIdBoundCidrs`.
    BoundCidrList,
    TokenBoundCidrs,
    SecretIdNumUses,
    SecretIdTtl,
    TokenNumUses,
    TokenTtl,
    TokenMaxTtl,
    Period,
}

impl Part {
    /// Its name in bodies and answers.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Policies => "token_policies",
            Self::RoleId => "role_id",
            Self::BindSecretId => "bind_secret_id",
            Self::LocalSecretIds => "local_secret_ids",
            Self::SecretIdBoundCidrs => "secret_id_bound_cidrs",
            Self::BoundCidrList => "bound_cidr_list",
            Self::TokenBoundCidrs => "token_bound_cidrs",
            Self::SecretIdNumUses => "secret_id_num_uses",
            Self::SecretIdTtl => "secret_id_ttl",
            Self::TokenNumUses => "token_num_uses",
            Self::TokenTtl => "token_ttl",
            Self::TokenMaxTtl => "token_max_ttl",
            Self::Period => "token_period",
        }
    }

    /// The deprecated name that is accepted as well.
    fn twin(self) -> Option<&'static str> {
        match self {
            Self::Policies => Some("policies"),
            Self::Period => Some("period"),
            _ => None,
        }
    }
}

/// GET.
pub(crate) fn read(call: &mut Call<'_>, part: Part) -> Outcome {
    let Some(role) = role::named(call)? else { return Ok(None) };
    let token = &role.token;
    let value = match part {
        Part::Policies => json!(token.token_policies),
        Part::RoleId => json!(role.role_id),
        Part::BindSecretId => json!(role.bind_secret_id),
        Part::LocalSecretIds => json!(role.local_secret_ids),
        Part::SecretIdBoundCidrs | Part::BoundCidrList => json!(role.secret_id_bound_cidrs),
        Part::TokenBoundCidrs => shown_token_cidrs(&role),
        Part::SecretIdNumUses => json!(role.secret_id_num_uses),
        Part::SecretIdTtl => json!(role.secret_id_ttl),
        Part::TokenNumUses => json!(token.token_num_uses),
        Part::TokenTtl => json!(token.token_ttl),
        Part::TokenMaxTtl => json!(token.token_max_ttl),
        Part::Period => json!(token.token_period),
    };
    let mut data = api_types::Map::new();
    data.insert(part.field().into(), value);
    let twin = match part {
        Part::Policies => role.policies.as_ref().filter(|p| !p.is_empty()).map(|p| json!(p)),
        Part::Period => role.period.filter(|p| *p > 0).map(|p| json!(p)),
        _ => None,
    };
    if let (Some(name), Some(value)) = (part.twin(), twin) {
        data.insert(name.into(), value);
    }
    let mut response = Response::data(data);
    if part == Part::BoundCidrList {
        response.warnings.push(OLD_NAME.to_owned());
    }
    Ok(Some(response))
}

/// As in the whole role, except that nothing is shown as `null`.
fn shown_token_cidrs(role: &Role) -> Value {
    let mut shown = api_types::Map::new();
    role.token.show(&mut shown);
    shown.remove("token_bound_cidrs").filter(|v| v.as_array().is_some_and(|a| !a.is_empty())).unwrap_or_default()
}

/// POST (204). A role that is not there makes the path unknown.
pub(crate) fn write(call: &mut Call<'_>, part: Part) -> Outcome {
    let name = role::name(call);
    let old = role::load(&mut call.view, &name)?.ok_or(EngineError::UnsupportedPath)?;
    let mut role = Role::clone(&old);
    if !call.fields.has(part.field()) && !part.twin().is_some_and(|twin| call.fields.has(twin)) {
        return Err(missing(part));
    }
    set(&mut role, call, part)?;
    let warning = (part == Part::TokenMaxTtl).then(|| role::max_ttl_warning(&role, call)).flatten();
    role::store(call, &name, &role, Some(&old.role_id))?;
    Ok(warning.map(Response::warning))
}

fn missing(part: Part) -> EngineError {
    EngineError::Invalid(format!("missing {}", part.field()))
}

fn set(role: &mut Role, call: &Call<'_>, part: Part) -> Result<(), EngineError> {
    let fields = &call.fields;
    let field = part.field();
    match part {
        Part::Policies => {
            role.token.from_deprecated(fields, "policies", field)?;
            if let Some(policies) = fields.texts(field) {
                role.token.token_policies = policies.to_vec();
            }
            role.token.token_policies = sorted(&role.token.token_policies);
            let policies = role.token.token_policies.clone();
            follow(&mut role.policies, call, "policies", field, policies);
        }
        Part::Period => {
            role.token.from_deprecated(fields, "period", field)?;
            role.token.update(fields)?;
            let period = role.token.token_period;
            follow(&mut role.period, call, "period", field, period);
        }
        Part::RoleId => {
            let role_id = fields.str(field);
            if role_id.is_empty() {
                return Err(missing(part));
            }
            role::check_role_id(role_id)?;
            role.role_id = role_id.to_owned();
        }
        Part::BindSecretId => role.bind_secret_id = fields.bool(field).unwrap_or(true),
        Part::SecretIdBoundCidrs | Part::BoundCidrList => {
            let blocks = fields.texts(field).unwrap_or_default();
            if blocks.is_empty() {
                return Err(missing(part));
            }
            cidrs::check(blocks)?;
            role.secret_id_bound_cidrs = Some(blocks.to_vec());
        }
        Part::TokenBoundCidrs => {
            let blocks = fields.texts(field).unwrap_or_default();
            check_cidrs(blocks)?;
            role.token.token_bound_cidrs = blocks.iter().filter(|b| parse_cidr(b).is_some()).cloned().collect();
        }
        Part::SecretIdNumUses => role.secret_id_num_uses = not_negative(fields.int(field).unwrap_or_default(), field)?,
        Part::SecretIdTtl => role.secret_id_ttl = seconds(fields, field),
        Part::TokenNumUses => {
            let n = not_negative(fields.int(field).unwrap_or_default(), field)?;
            // The shared check knows which types of token go with it.
            role.token.token_num_uses = n;
            role.token.update(&Fields::default())?;
        }
        Part::TokenTtl | Part::TokenMaxTtl => set_ttl(role, fields, part)?,
        // Fixed at creation; there is no such route.
        Part::LocalSecretIds => return Err(EngineError::UnsupportedOperation),
    }
    Ok(())
}

fn set_ttl(role: &mut Role, fields: &Fields, part: Part) -> Result<(), EngineError> {
    let token = &mut role.token;
    let (into, text) = match part {
        Part::TokenTtl => (&mut token.token_ttl, "token_ttl should not be greater than token_max_ttl"),
        _ => (&mut token.token_max_ttl, "token_max_ttl should be greater than or equal to token_ttl"),
    };
    *into = seconds(fields, part.field());
    if token.token_max_ttl > 0 && token.token_ttl > token.token_max_ttl {
        return Err(EngineError::invalid(text));
    }
    Ok(())
}

fn seconds(fields: &Fields, field: &str) -> u64 {
    fields.duration(field).unwrap_or_default().as_secs()
}

/// This path (unlike the whole role) puts policies in order: trimmed, lower case, each once.
fn sorted(policies: &[String]) -> Vec<String> {
    let set: BTreeSet<String> = policies.iter().map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty()).collect();
    set.into_iter().collect()
}

/// DELETE: back to the default (204); a role that is not there is fine.
pub(crate) fn delete(call: &mut Call<'_>, part: Part) -> Outcome {
    let name = role::name(call);
    let Some(old) = role::load(&mut call.view, &name)? else { return Ok(None) };
    let mut role = Role::clone(&old);
    let token = &mut role.token;
    match part {
        Part::Policies => {
            token.token_policies.clear();
            role.policies = None;
        }
        Part::Period => {
            token.token_period = 0;
            role.period = None;
        }
        Part::BindSecretId => role.bind_secret_id = true,
        Part::SecretIdBoundCidrs | Part::BoundCidrList => role.secret_id_bound_cidrs = None,
        Part::TokenBoundCidrs => token.token_bound_cidrs.clear(),
        Part::SecretIdNumUses => role.secret_id_num_uses = 0,
        Part::SecretIdTtl => role.secret_id_ttl = 0,
        Part::TokenNumUses => token.token_num_uses = 0,
        Part::TokenTtl => token.token_ttl = 0,
        Part::TokenMaxTtl => token.token_max_ttl = 0,
        // A role always has a role id, and where its secret ids live is fixed; there are no such routes.
        Part::RoleId | Part::LocalSecretIds => return Err(EngineError::UnsupportedOperation),
    }
    role::store(call, &name, &role, Some(&old.role_id))?;
    Ok(None)
}
