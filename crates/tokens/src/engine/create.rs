//! Making tokens out of tokens (contract §3.2).

use std::time::Duration;

use api_types::duration;
use engine::{Auth, Call, EngineError, Outcome, Response, TokenType};
use storage::View;

use super::TokenEngine;
use crate::names::{DEFAULT, NOT_ASSIGNABLE, ROOT, glob_matches, normalise_policies, quoted_list};
use crate::{Found, Issue, Origin, TokenRole, is_root};

pub(super) fn child(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    create(engine, call, false, None)
}

pub(super) fn orphan(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    create(engine, call, true, None)
}

pub(super) fn by_role(engine: &TokenEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("role_name").to_owned();
    match TokenRole::load(&mut call.view, &name)? {
        Some(role) => create(engine, call, false, Some(&role)),
        None => Err(EngineError::Invalid(format!("unknown role {name}"))),
    }
}

fn create(engine: &TokenEngine, call: &mut Call<'_>, by_orphan_path: bool, role: Option<&TokenRole>) -> Outcome {
    let parent = engine.caller(call)?.ok_or_else(|| EngineError::invalid("parent token lookup failed: no parent found"))?;
    if parent.entry.is_batch() {
        return Err(EngineError::invalid("batch tokens cannot create more tokens"));
    }
    // A limit of uses would be worth nothing if each use could make a token without it.
    if parent.entry.num_uses != 0 {
        return Err(EngineError::invalid("restricted use token cannot generate child tokens"));
    }
    let mut auth = basics(call, role)?;
    let custom_id = custom_id(call)?;
    auth.policies = policies(call, role, &parent)?;
    let orphan = wants_orphan(call, role, by_orphan_path)?;
    limits(call, &mut auth)?;
    inherit(engine, call, role, &parent, orphan, &mut auth)?;
    check_root(&parent, &auth)?;
    auth.identity_policies = engine.identity_policies(&mut call.view, &auth.entity_id)?;
    let path = path(call, role);
    let spec = Issue {
        origin: Origin::Token,
        path: &path,
        mount: call.mount,
        parent: (!orphan).then_some(&parent),
        role: role.map(TokenRole::limits).unwrap_or_default(),
        custom_id: custom_id.as_deref(),
        now: call.now,
        entropy: call.entropy,
    };
    let mut warnings = Vec::new();
    if custom_id.is_some() {
        // Vault's words, which clients show; here a chosen id is hashed like any other.
        warnings.push(
            "Supplying a custom ID for the token uses the weaker SHA1 hashing instead of the more secure SHA2-256 HMAC for token \
             obfuscation. SHA1 hashed tokens on the wire leads to less secure lookups."
                .to_owned(),
        );
    }
    warnings.extend(engine.store.issue(&mut call.view, &mut auth, &spec)?);
    warnings.extend(unknown_policies(&mut call.view, &auth.token_policies)?);
    Ok(Some(Response { auth: Some(Box::new(auth)), warnings, ..Response::default() }))
}

/// Name, metadata, type, uses.
fn basics(call: &Call<'_>, role: Option<&TokenRole>) -> Result<Auth, EngineError> {
    let fields = &call.fields;
    let token_type = token_type(fields.str("type"), role)?;
    let uses = u64::try_from(fields.int("num_uses").unwrap_or_default())
        .map_err(|_| EngineError::invalid("number of uses cannot be negative"))?;
    let role_uses = role.map_or(0, |r| r.token_num_uses);
    Ok(Auth {
        display_name: display_name(fields.str("display_name")),
        metadata: fields.pairs("meta").cloned().unwrap_or_default(),
        token_type,
        num_uses: match (uses, role_uses) {
            (0, n) | (n, 0) => n,
            (asked, allowed) => asked.min(allowed),
        },
        renewable: role.is_none_or(|r| r.renewable) && fields.bool("renewable").unwrap_or(true),
        bound_cidrs: role.map(|r| r.token_bound_cidrs.clone()).unwrap_or_default(),
        no_default_policy: fields.bool("no_default_policy").unwrap_or_default(),
        ..Auth::default()
    })
}

/// A role that says `service` or `batch` decides; otherwise the request does, then the role's default.
fn token_type(asked: &str, role: Option<&TokenRole>) -> Result<TokenType, EngineError> {
    let by_role = role.map_or(TokenType::DefaultService, |r| r.token_type);
    let asked = match asked {
        "" => None,
        "service" => Some(TokenType::Service),
        "batch" => Some(TokenType::Batch),
        _ => return Err(EngineError::invalid("invalid 'token_type' value")),
    };
    Ok(match (by_role, asked) {
        (TokenType::Service | TokenType::Batch, _) => by_role,
        (_, Some(asked)) => asked,
        (TokenType::DefaultBatch, None) => TokenType::Batch,
        _ => TokenType::Service,
    })
}

fn display_name(given: &str) -> String {
    if given.is_empty() {
        return "token".to_owned();
    }
    let safe: String = given.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let full = format!("token-{safe}");
    full.strip_suffix('-').unwrap_or(&full).to_owned()
}

fn custom_id(call: &Call<'_>) -> Result<Option<String>, EngineError> {
    let id = call.fields.str("id");
    if id.is_empty() {
        return Ok(None);
    }
    if !call.caller.sudo {
        return Err(EngineError::invalid("root or sudo privileges required to specify token id"));
    }
    for prefix in ["hvs.", "s."] {
        if id.starts_with(prefix) {
            return Err(EngineError::Invalid(format!("custom token ID cannot have the '{prefix}' prefix")));
        }
    }
    if id.contains('.') {
        return Err(EngineError::invalid("custom token ID cannot have a '.' in the value"));
    }
    // White space and control characters do not survive a header; the length bound is that of every lookup.
    if id.len() > crate::MAX_TOKEN_BYTES || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(EngineError::invalid("custom token ID cannot be presented in a header"));
    }
    Ok(Some(id.to_owned()))
}

/// The policies of the new token.
fn policies(call: &Call<'_>, role: Option<&TokenRole>, parent: &Found) -> Result<Vec<String>, EngineError> {
    let asked = call.fields.texts("policies").unwrap_or_default();
    let no_default = call.fields.bool("no_default_policy").unwrap_or_default();
    let parents = &parent.entry.policies;
    let out = match role.filter(|r| r.rules_policies()) {
        Some(role) => by_role_policies(role, asked, parents, no_default)?,
        // What the parent has, `default` only if it has that.
        None if asked.is_empty() => normalise_policies(parents, false),
        None if call.caller.sudo => normalise_policies(asked, !(no_default || role.is_some_and(|r| r.token_no_default_policy))),
        None => {
            let wanted = normalise_policies(asked, false);
            if !wanted.iter().all(|p| parents.contains(p)) {
                return Err(EngineError::invalid("child policies must be subset of parent"));
            }
            normalise_policies(&wanted, !no_default && parents.iter().any(|p| p == DEFAULT))
        }
    };
    match out.iter().find(|p| NOT_ASSIGNABLE.contains(&p.as_str())) {
        Some(policy) => Err(EngineError::Invalid(format!("cannot assign policy {policy:?}"))),
        None => Ok(out),
    }
}

/// The policies of a token whose role has an opinion on them.
fn by_role_policies(
    role: &TokenRole,
    asked: &[String],
    parents: &[String],
    no_default: bool,
) -> Result<Vec<String>, EngineError> {
    let refused = |policy: &str| {
        role.disallowed_policies.iter().any(|p| p == policy)
            || role.disallowed_policies_glob.iter().any(|glob| glob_matches(glob, policy))
    };
    let add_default = !no_default && !role.token_no_default_policy && !refused(DEFAULT);
    let out = if role.allows_listed_only() {
        let allowed = normalise_policies(&role.allowed_policies, add_default);
        if asked.is_empty() {
            allowed
        } else {
            let wanted = normalise_policies(asked, add_default);
            let may = |p: &String| allowed.contains(p) || role.allowed_policies_glob.iter().any(|glob| glob_matches(glob, p));
            if !wanted.iter().all(may) {
                return Err(EngineError::Invalid(format!(
                    "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
                    quoted_list(&wanted),
                    quoted_list(&allowed),
                    quoted_list(&role.allowed_policies_glob)
                )));
            }
            wanted
        }
    } else if asked.is_empty() {
        normalise_policies(parents, add_default)
    } else {
        normalise_policies(asked, add_default)
    };
    match out.iter().find(|p| refused(p)) {
        Some(policy) => Err(EngineError::Invalid(format!("token policy {policy:?} is disallowed by this role"))),
        None => Ok(out),
    }
}

fn wants_orphan(call: &Call<'_>, role: Option<&TokenRole>, by_orphan_path: bool) -> Result<bool, EngineError> {
    if let Some(role) = role {
        return Ok(role.orphan);
    }
    if call.fields.bool("no_parent").unwrap_or_default() && !call.caller.sudo {
        return Err(EngineError::invalid("root or sudo privileges required to create orphan token"));
    }
    Ok(by_orphan_path || call.fields.bool("no_parent").unwrap_or_default())
}

/// TTL, explicit maximum, period.
fn limits(call: &Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
    auth.explicit_max_ttl = wished(call, "explicit_max_ttl")?;
    auth.period = wished(call, "period")?;
    if !auth.period.is_zero() && !call.caller.sudo {
        return Err(EngineError::invalid("root or sudo privileges required to create periodic token"));
    }
    auth.ttl = match wished(call, "ttl")? {
        ttl if ttl.is_zero() => wished(call, "lease")?,
        ttl => ttl,
    };
    Ok(())
}

fn wished(call: &Call<'_>, field: &str) -> Result<Duration, EngineError> {
    let signed = duration::parse(call.fields.str(field))?;
    signed.unsigned().ok_or_else(|| EngineError::Invalid(format!("{field} must be positive")))
}

/// The entity and the networks of the parent go on to children, not to orphans; a role may name an entity itself.
fn inherit(
    engine: &TokenEngine,
    call: &mut Call<'_>,
    role: Option<&TokenRole>,
    parent: &Found,
    orphan: bool,
    auth: &mut Auth,
) -> Result<(), EngineError> {
    if !orphan {
        auth.entity_id.clone_from(&parent.entry.entity_id);
        if auth.bound_cidrs.is_empty() {
            auth.bound_cidrs.clone_from(&parent.entry.bound_cidrs);
        }
    }
    let alias = call.fields.str("entity_alias").to_owned();
    if alias.is_empty() {
        return Ok(());
    }
    let role = role.ok_or_else(|| EngineError::invalid("'entity_alias' is only allowed in combination with token role"))?;
    let name = alias.to_lowercase();
    if !role.allowed_entity_aliases.iter().any(|pattern| glob_matches(pattern, &name)) {
        return Err(EngineError::invalid("invalid 'entity_alias' value"));
    }
    auth.entity_id = engine.neighbours.entity_of_alias(call, &alias)?;
    Ok(())
}

/// Root comes only from root, and no longer-lived than it.
fn check_root(parent: &Found, auth: &Auth) -> Result<(), EngineError> {
    if !is_root(&auth.policies) {
        return Ok(());
    }
    if !parent.entry.is_root() {
        return Err(EngineError::invalid("root tokens may not be created without parent token being root"));
    }
    let endless = auth.ttl.is_zero() && auth.period.is_zero() && auth.explicit_max_ttl.is_zero();
    if endless && parent.entry.expire_time.is_some() {
        return Err(EngineError::invalid("expiring root tokens cannot create non-expiring root tokens"));
    }
    Ok(())
}

/// The request path, with the role's suffix behind it.
fn path(call: &Call<'_>, role: Option<&TokenRole>) -> String {
    let path = &call.request.path;
    match role.map(|r| r.path_suffix.as_str()).filter(|s| !s.is_empty()) {
        Some(suffix) => format!("{path}/{suffix}"),
        None => path.clone(),
    }
}

fn unknown_policies(view: &mut View<'_>, policies: &[String]) -> Result<Vec<String>, EngineError> {
    let mut out = Vec::new();
    for policy in policies.iter().filter(|p| *p != ROOT && *p != DEFAULT) {
        if view.get(&format!("sys/policy/{policy}"))?.is_none() {
            out.push(format!("Policy {policy:?} does not exist"));
        }
    }
    Ok(out)
}
