//! The endpoints of token roles.

use engine::token_params::check_cidrs;
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response, TokenType};
use storage::Page;

use super::TokenEngine;
use crate::TokenRole;
use crate::names::{normal_names, normalise_policies};
use crate::roles::FOLDER;
use crate::ttl::short_duration;

pub(super) const FIELDS: &[Field] = &[
    Field::new("role_name", FieldKind::String, "Name of the role."),
    Field::new("allowed_policies", FieldKind::CommaStringSlice, "Policies that may be asked for."),
    Field::new("disallowed_policies", FieldKind::CommaStringSlice, "Policies that are refused."),
    Field::new("allowed_policies_glob", FieldKind::CommaStringSlice, "Patterns of policies that may be asked for."),
    Field::new("disallowed_policies_glob", FieldKind::CommaStringSlice, "Patterns of policies that are refused."),
    Field::new("orphan", FieldKind::Bool, "Tokens are orphans."),
    Field::new("renewable", FieldKind::Bool, "Tokens may be renewed; true if absent."),
    Field::new("path_suffix", FieldKind::String, "Last segment of the tokens' path, for revocation by prefix."),
    Field::new("allowed_entity_aliases", FieldKind::CommaStringSlice, "Names or patterns that `entity_alias` may have."),
    Field::new("token_type", FieldKind::String, "service, batch, default-service or default-batch."),
    Field::new("token_period", FieldKind::DurationSecond, "Makes tokens renewable for ever by this much."),
    Field::new("period", FieldKind::DurationSecond, "Old name of `token_period`."),
    Field::new("token_explicit_max_ttl", FieldKind::DurationSecond, "Hard limit on the tokens' life."),
    Field::new("explicit_max_ttl", FieldKind::DurationSecond, "Old name of `token_explicit_max_ttl`."),
    Field::new("token_bound_cidrs", FieldKind::CommaStringSlice, "Networks that tokens may be used from."),
    Field::new("bound_cidrs", FieldKind::CommaStringSlice, "Old name of `token_bound_cidrs`."),
    Field::new("token_no_default_policy", FieldKind::Bool, "Leave the policy `default` out."),
    Field::new("token_num_uses", FieldKind::Int, "How often tokens may be used; 0 is any number."),
];

pub(super) fn list(_: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(call.view.list(FOLDER, &Page::default())?)))
}

pub(super) fn exists(_: &TokenEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    let name = call.fields.str("role_name").to_owned();
    Ok(TokenRole::load(&mut call.view, &name)?.is_some())
}

pub(super) fn read(_: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("role_name").to_owned();
    Ok(TokenRole::load(&mut call.view, &name)?.map(|role| Response::data(role.show())))
}

pub(super) fn delete(_: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let path = format!("{FOLDER}{}", call.fields.str("role_name"));
    call.view.delete(&path)?;
    Ok(None)
}

pub(super) fn write(_: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("role_name").to_owned();
    let mut role = TokenRole::load(&mut call.view, &name)?.map(|r| TokenRole::clone(&r)).unwrap_or_default();
    role.name.clone_from(&name);
    let mut warnings = Vec::new();
    take_lists(&mut role, &call.fields)?;
    take_limits(&mut role, &call.fields, &mut warnings)?;
    take_kind(&mut role, &call.fields)?;
    let max = call.mount.max_lease_ttl.as_secs();
    if role.token_explicit_max_ttl > max {
        warnings.push(format!(
            "Given explicit max TTL of {} is greater than system/mount allowed value of {max} seconds; until this is fixed \
             attempting to create tokens against this role will result in an error",
            role.token_explicit_max_ttl
        ));
    }
    if role.token_period > max {
        warnings.push(format!(
            "Given period of {:?} is greater than the maximum of {:?}; periods of tokens will be capped",
            short_duration(std::time::Duration::from_secs(role.token_period)),
            short_duration(call.mount.max_lease_ttl)
        ));
    }
    call.view.put_json(&format!("{FOLDER}{name}"), &role)?;
    Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
}

fn take_lists(role: &mut TokenRole, fields: &Fields) -> Result<(), EngineError> {
    if let Some(names) = fields.texts("allowed_policies") {
        role.allowed_policies = normalise_policies(names, false);
    }
    // Here `root` must not swallow the rest: a list that forbids root and more forbids more.
    let names = |name: &str, into: &mut Vec<String>| {
        if let Some(names) = fields.texts(name) {
            *into = normal_names(names).into_iter().collect();
        }
    };
    names("disallowed_policies", &mut role.disallowed_policies);
    names("allowed_policies_glob", &mut role.allowed_policies_glob);
    names("disallowed_policies_glob", &mut role.disallowed_policies_glob);
    names("allowed_entity_aliases", &mut role.allowed_entity_aliases);
    if let Some(suffix) = fields.text("path_suffix") {
        if !suffix.is_empty() && !is_suffix(suffix) {
            return Err(EngineError::invalid(r"given role path suffix contains invalid characters; must match \w[\w-.]+\w"));
        }
        suffix.clone_into(&mut role.path_suffix);
    }
    Ok(())
}

fn take_limits(role: &mut TokenRole, fields: &Fields, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let mut seconds = |modern: &str, old: &str, into: &mut u64, by_old_name: &mut bool| {
        if let Some(d) = fields.duration(modern) {
            *into = d.as_secs();
            *by_old_name = false;
            if fields.has(old) {
                warnings.push(both_names(modern, old));
            }
        } else if let Some(d) = fields.duration(old) {
            *into = d.as_secs();
            *by_old_name = true;
        }
    };
    seconds("token_period", "period", &mut role.token_period, &mut role.old_period);
    seconds("token_explicit_max_ttl", "explicit_max_ttl", &mut role.token_explicit_max_ttl, &mut role.old_explicit_max_ttl);
    let (cidrs, old) = match fields.texts("token_bound_cidrs") {
        Some(cidrs) => {
            if fields.has("bound_cidrs") {
                warnings.push(both_names("token_bound_cidrs", "bound_cidrs"));
            }
            (Some(cidrs), false)
        }
        None => (fields.texts("bound_cidrs"), true),
    };
    if let Some(cidrs) = cidrs {
        check_cidrs(cidrs)?;
        role.token_bound_cidrs = cidrs.to_vec();
        role.old_bound_cidrs = old;
    }
    if let Some(no_default) = fields.bool("token_no_default_policy") {
        role.token_no_default_policy = no_default;
    }
    if let Some(n) = fields.int("token_num_uses") {
        role.token_num_uses = u64::try_from(n).map_err(|_| EngineError::invalid("'token_num_uses' cannot be negative"))?;
    }
    Ok(())
}

/// Kind of token, and what only service tokens can be.
fn take_kind(role: &mut TokenRole, fields: &Fields) -> Result<(), EngineError> {
    if let Some(orphan) = fields.bool("orphan") {
        role.orphan = orphan;
    }
    if let Some(renewable) = fields.bool("renewable") {
        role.renewable = renewable;
    }
    if let Some(text) = fields.text("token_type") {
        let kind = TokenType::parse(text).ok_or_else(|| EngineError::Invalid(format!("invalid 'token_type' value {text:?}")))?;
        role.token_type = if kind == TokenType::Default { TokenType::DefaultService } else { kind };
    }
    if role.token_type != TokenType::Batch {
        return Ok(());
    }
    for (wrong, what) in [
        (!role.orphan, "non-orphan tokens"),
        (role.token_period > 0, "periodic tokens"),
        (role.renewable, "renewable tokens"),
        (role.token_explicit_max_ttl > 0, "tokens with an explicit max TTL"),
        (role.token_num_uses > 0, "tokens with limited use count"),
    ] {
        if wrong {
            return Err(EngineError::Invalid(format!("'token_type' cannot be 'batch' when role is set to generate {what}")));
        }
    }
    Ok(())
}

fn both_names(modern: &str, old: &str) -> String {
    format!("Both '{modern}' and deprecated '{old}' value supplied, ignoring the deprecated value")
}

/// `\w[\w-.]+\w`: three characters at least.
fn is_suffix(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() >= 3 && text.starts_with(word) && text.ends_with(word) && text.chars().all(|c| word(c) || c == '-' || c == '.')
}
