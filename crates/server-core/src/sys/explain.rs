//! `sys/policies/explain`: why a token may or may not do something, stanza by stanza, and what would have to be granted.
//!
//! A caller may ask about itself if it may read its own access list (`sys/internal/ui/resultant-acl`, which the default policy
//! allows): no more is told here than stands there. Every other token, accessor or set of policies needs `sudo` on the path, and
//! without it the refusal is the same whether the thing asked about exists or not. What is mounted where shows only where the
//! policies asked about reach. Deliberately absent: trying the request, and whether the engine has something at the path.

use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation, multi_error};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use policy::{Acl, Ask, Explanation, Identity, Policy, Stanza, explain};
use secret::ct_eq;
use serde_json::{Value, json};
use storage::View;

use super::{SystemEngine, presented};
use crate::core::OpenCore;
use crate::mounts::Router;
use crate::policies::{POLICY_ROWS, PolicyRow};

/// The path that a caller must be allowed to read to be told about itself.
pub(crate) const OWN_RIGHTS_PATH: &str = "sys/internal/ui/resultant-acl";
/// The endpoint's full path.
pub(crate) const EXPLAIN_PATH: &str = "sys/policies/explain";

const FIELDS: &[Field] = &[
    Field::new("operation", FieldKind::LowerString, "create, read, update, patch, delete or list."),
    Field::new("path", FieldKind::String, "The path of the request, as in a policy."),
    Field::new("parameters", FieldKind::Map, "Parameters of the request, for stanzas with conditions."),
    Field::new("wrap_ttl", FieldKind::DurationSecond, "The request's wish for response wrapping."),
    Field::new("token", FieldKind::String, "Token to ask about; the caller's own if nothing is given."),
    Field::new("accessor", FieldKind::String, "Accessor of the token to ask about."),
    Field::new("policies", FieldKind::CommaStringSlice, "Policies to ask about, without a token."),
];

/// Mounts that everybody knows of.
const BUILT_IN: [&str; 4] = ["system", "identity", "cubbyhole", "token"];

/// Whose rights are asked about.
struct Subject {
    policies: Vec<String>,
    identity: Option<Identity>,
    /// The token is not good any more, whatever its policies say.
    disabled: bool,
}

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![Route::new("policies/explain", FIELDS, "Why a token may or may not do something.").on(
        Operation::Update,
        "Explain a decision.",
        tell,
    )]
}

fn tell(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (core, open) = engine.opened()?;
    let router = open.router(core.config())?;
    let all = call.caller.sudo;
    let subject = subject(&open, call, all)?;
    let operation = operation(call.fields.str("operation"))?;
    let path = path(call.fields.str("path"), operation)?;
    let none = Map::new();
    let data = call.fields.map("parameters").unwrap_or(&none).clone();
    let wrap_ttl: Option<Duration> = call.fields.duration("wrap_ttl");
    let mut policies = Vec::new();
    let mut absent = Vec::new();
    for name in subject.policies.iter().filter(|n| *n != "root") {
        match load(&mut call.view, name)? {
            Some(policy) => policies.push(Arc::new(policy)),
            None => absent.push(name.clone()),
        }
    }
    let root = subject.policies.iter().any(|n| n == "root");
    let acl = if root { Acl::root() } else { Acl::compile(&policies, subject.identity.as_ref()) };
    let place = place(&router, &path, operation, |mount, kind| all || BUILT_IN.contains(&kind) || acl.touches(mount));
    let ask = Ask { operation, path: &place.path, data: &data, wrap_ttl, needs_sudo: place.needs_sudo };
    let mut story = if root { Explanation::of_root(&ask) } else { explain(&policies, subject.identity.as_ref(), &ask) };
    if subject.disabled {
        story.grant = None;
        story.advice = "the token's entity is disabled or gone, so the token may do nothing".to_owned();
    }
    Ok(Some(Response::data(answer(&story, &ask, &subject, &absent))))
}

/// Whose rights are asked about, if the caller may know them.
fn subject(open: &OpenCore, call: &mut Call<'_>, all: bool) -> Result<Subject, EngineError> {
    let token = call.fields.str("token").to_owned();
    let accessor = call.fields.str("accessor").to_owned();
    let named = call.fields.texts("policies").map(<[String]>::to_vec);
    if [!token.is_empty(), !accessor.is_empty(), named.is_some()].into_iter().filter(|given| *given).count() > 1 {
        return Err(EngineError::invalid("only one of token, accessor and policies may be given"));
    }
    let own_token = token.is_empty() || ct_eq(token.as_bytes(), presented(call).as_bytes());
    let own_accessor = accessor.is_empty() || ct_eq(accessor.as_bytes(), call.caller.accessor.as_bytes());
    if let Some(mut names) = named {
        names.iter_mut().for_each(|n| *n = n.to_lowercase());
        let own = names.iter().all(|n| call.caller.policies.contains(n));
        if !own && !all {
            return Err(EngineError::Denied(multi_error(&["permission denied"])));
        }
        let identity = if own { facts(&mut call.view, &call.caller.entity_id)?.map(|(facts, _)| facts) } else { None };
        return Ok(Subject { policies: names, identity, disabled: false });
    }
    if own_token && own_accessor {
        let identity = facts(&mut call.view, &call.caller.entity_id)?.map(|(facts, _)| facts);
        return Ok(Subject { policies: call.caller.policies.clone(), identity, disabled: false });
    }
    if !all {
        return Err(EngineError::Denied(multi_error(&["permission denied"])));
    }
    let (found, unknown) = if token.is_empty() {
        (open.tokens.lookup_accessor(&mut call.view, &accessor, call.now)?, "invalid accessor")
    } else {
        (open.tokens.lookup(&mut call.view, &token, call.now)?, "invalid token")
    };
    let found = found.ok_or_else(|| EngineError::Rejected(unknown.to_owned()))?;
    let profile = facts(&mut call.view, &found.entry.entity_id)?;
    let disabled = profile.is_none() && !found.entry.entity_id.is_empty();
    let mut policies = if disabled { Vec::new() } else { found.entry.policies.clone() };
    let (identity, more) = profile.unzip();
    policies.extend(more.unwrap_or_default());
    policies.sort_unstable();
    policies.dedup();
    Ok(Subject { policies, identity, disabled })
}

/// What templates may read of an entity, and its policies; `None` if there is none, or it is disabled.
fn facts(view: &mut View<'_>, entity_id: &str) -> Result<Option<(Identity, Vec<String>)>, EngineError> {
    if entity_id.is_empty() {
        return Ok(None);
    }
    Ok(identity::profile(view, entity_id)?.filter(|p| !p.disabled).map(|p| (p.facts, p.policies)))
}

fn load(view: &mut View<'_>, name: &str) -> Result<Option<Policy>, EngineError> {
    if !super::policies::is_name(name) {
        return Ok(None);
    }
    let row = view.get_json::<PolicyRow>(&format!("{POLICY_ROWS}{name}"))?;
    // One that does not parse gives nothing, as in a real decision.
    Ok(row.and_then(|row| Policy::parse(&row.name, &row.text).ok()))
}

fn operation(word: &str) -> Result<Operation, EngineError> {
    Ok(match word {
        "create" => Operation::Create,
        "read" => Operation::Read,
        "update" => Operation::Update,
        "patch" => Operation::Patch,
        "delete" => Operation::Delete,
        "list" => Operation::List,
        _ => return Err(EngineError::invalid("operation must be one of create, read, update, patch, delete and list")),
    })
}

/// The path as the router would see it.
fn path(sent: &str, operation: Operation) -> Result<String, EngineError> {
    let path = sent.trim_start_matches('/');
    if path.is_empty() {
        return Err(EngineError::invalid("path must be supplied"));
    }
    let slash = operation == Operation::List && !path.ends_with('/');
    Ok(if slash { format!("{path}/") } else { path.to_owned() })
}

/// What the mount table says about a path.
struct Place {
    path: String,
    needs_sudo: bool,
}

/// Looks a path up as a request would, but only at mounts that may be seen.
fn place(router: &Router, path: &str, operation: Operation, visible: impl Fn(&str, &str) -> bool) -> Place {
    let found = router.resolve(path).and_then(|(mounted, rest)| {
        let mount = path.strip_suffix(rest)?;
        let mount = if mount.ends_with('/') { mount.to_owned() } else { format!("{mount}/") };
        visible(&mount, &mounted.entry.mount_type).then_some((mounted, rest, mount))
    });
    match found {
        None => Place { path: path.to_owned(), needs_sudo: false },
        Some((mounted, rest, mount)) => Place {
            path: if rest.is_empty() { mount } else { path.to_owned() },
            needs_sudo: policy::paths::needs_sudo(&mounted.entry.mount_type, rest, operation),
        },
    }
}

fn answer(story: &Explanation, ask: &Ask<'_>, subject: &Subject, absent: &[String]) -> Map {
    let reason = match &story.decision {
        Ok(grant) => grant.words().to_owned(),
        Err(denial) => denial.words(),
    };
    let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::String);
    let list = |stanzas: &[Stanza]| Value::Array(stanzas.iter().map(|s| stanza(s, story.pattern.is_some())).collect());
    let mut data = Map::new();
    for (key, value) in [
        ("allowed", Value::Bool(story.allowed())),
        ("operation", json!(ask.operation.as_str())),
        ("path", json!(ask.path)),
        ("policies", json!(subject.policies)),
        ("needs_sudo", Value::Bool(ask.needs_sudo)),
        ("reason", json!(reason)),
        ("pattern", text(&story.pattern)),
        ("capabilities", json!(story.capabilities)),
        ("why", json!(story.why)),
        ("stanzas", list(&story.stanzas)),
        ("unfilled_stanzas", list(&story.unfilled)),
        ("silent_policies", json!(story.silent)),
        ("absent_policies", json!(absent)),
        ("missing_grant", text(&story.grant)),
        ("advice", json!(story.advice)),
    ] {
        data.insert(key.to_owned(), value);
    }
    data
}

fn stanza(stanza: &Stanza, matched: bool) -> Value {
    json!({
        "policy": stanza.policy,
        "path": stanza.path,
        "line": stanza.line,
        "capabilities": stanza.capabilities,
        "decides": matched && stanza.beaten_by.is_none(),
        "beaten_by": stanza.beaten_by.map(|why| why.to_string()),
    })
}
