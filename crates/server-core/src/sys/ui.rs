//! `sys/internal/ui/…`: what web interfaces and the CLI ask before they do anything. Mostly open paths: they answer with what
//! the caller, if there is one, may know.

use std::sync::Arc;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route, TokenType};
use policy::Acl;
use serde_json::{Value, json};

use super::SystemEngine;
use super::capabilities::acl_of;
use super::mount_config;
use crate::mounts::{MountEntry, Table, row_above, rows};

const PATH: &[Field] = &[Field::new("path", FieldKind::String, "A path on the mount, or the mount's own.")];
const AUTHENTICATED: &str = "internal/ui/authenticated-messages";
const UNAUTHENTICATED: &str = "internal/ui/unauthenticated-messages";

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    let read = Operation::Read;
    vec![
        Route::new("internal/ui/mounts", &[], "Mounts that the caller has access to.").on(read, "List visible mounts.", mounts),
        Route::new("internal/ui/mounts/{path...}", PATH, "The mount that serves a path.").on(read, "Find a path's mount.", mount),
        Route::new("internal/ui/resultant-acl", &[], "What the caller's policies come to.").on(
            read,
            "Read the access list.",
            resultant,
        ),
        Route::new("internal/ui/feature-flags", &[], "Switches for the web interface.").on(read, "List feature flags.", flags),
        Route::new("internal/ui/namespaces", &[], "Namespaces that the caller can see.").on(read, "List namespaces.", namespaces),
        Route::new(UNAUTHENTICATED, &[], "Messages for everybody.").on(read, "List messages.", messages),
        Route::new(AUTHENTICATED, &[], "Messages for callers with a token.").on(read, "List messages.", messages),
        Route::new("internal/ui/version", &[], "The server's version.").on(read, "Read the version.", version),
    ]
}

/// The access list of the caller; `None` without a good token. On an open path the pipeline has made none.
fn caller_acl(engine: &SystemEngine, call: &mut Call<'_>) -> Result<Option<Arc<Acl>>, EngineError> {
    if call.caller.token_type == TokenType::Default {
        return Ok(None);
    }
    let (_, open) = engine.opened()?;
    acl_of(&open, &mut call.view, &call.caller.policies, &call.caller.entity_id)
}

fn mounts(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    let acl = caller_acl(engine, call)?;
    let mut data = Map::new();
    for (name, table) in [("secret", Table::Mounts), ("auth", Table::Auth)] {
        let mut shown = Map::new();
        for entry in rows(&mut call.view, table)? {
            let is_public = entry.config.listing_visibility.as_deref() == Some("unauth");
            let info = match &acl {
                Some(acl) if is_public || acl.touches(&entry.full_path()) => mount_config::entry(&entry, Some(core.config())),
                None if is_public => public(&entry),
                _ => continue,
            };
            shown.insert(entry.path.clone(), Value::Object(info));
        }
        data.insert(name.to_owned(), Value::Object(shown));
    }
    Ok(Some(Response::data(data)))
}

/// What a login page needs.
fn public(entry: &MountEntry) -> Map {
    let mut out = Map::new();
    out.insert("type".into(), entry.mount_type.clone().into());
    out.insert("description".into(), entry.description.clone().into());
    out.insert("options".into(), json!(entry.options));
    out
}

/// Whether there is no such mount or no access must not be told apart.
fn mount(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let path = super::mounts::normal(call.fields.str("path"));
    let Some(acl) = caller_acl(engine, call)? else { return Err(EngineError::denied("permission denied")) };
    let found = row_above(&mut call.view, &path)?.filter(|e| acl.touches(&e.full_path()));
    let Some(entry) = found else {
        return Err(EngineError::Denied(format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path {path:?}"
        )));
    };
    let mut data = mount_config::entry(&entry, Some(engine.core()?.config()));
    data.insert("path".into(), entry.full_path().into());
    Ok(Some(Response::data(data)))
}

fn resultant(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let Some(acl) = caller_acl(engine, call)? else { return Err(EngineError::denied("permission denied")) };
    let mut data = acl.resultant();
    data.insert("chroot_namespace".into(), "".into());
    Ok(Some(Response::data(data)))
}

fn flags(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::bare("application/json", b"{\"feature_flags\":null}\n".to_vec())))
}

/// There is one namespace, the root, and its name is empty.
fn namespaces(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let known = call.caller.token_type != TokenType::Default;
    Ok(Some(Response::json(json!({ "keys": if known { vec![""] } else { Vec::new() } }))))
}

fn messages(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({ "keys": [], "key_info": {} }))))
}

fn version(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({ "version": engine.core()?.config().version }))))
}
