//! `sys/remount`: moves a mount to another path. Its data is found by uuid, so only the row changes, and the move is done when
//! the request is. What was handed out below the old path is taken back.

use api_types::Operation;
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::SystemEngine;
use super::mounts::{PROTECTED, is_mountable, normal};
use crate::mounts::{MountEntry, row_at, row_in_the_way};
use crate::retire::{self, Way};

const STATUS: &str = "core/remount/";

/// What is kept of a move.
#[derive(Serialize, Deserialize)]
struct Moved {
    from: String,
    to: String,
}

const FIELDS: &[Field] = &[
    Field::new("from", FieldKind::String, "Where it is mounted now; auth methods as auth/<path>."),
    Field::new("to", FieldKind::String, "Where it is to be mounted."),
];
const STATUS_FIELDS: &[Field] = &[Field::new("migration_id", FieldKind::String, "What the move answered.")];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("remount", FIELDS, "Move a mount to another path.").on(Operation::Update, "Start moving a mount.", remount),
        Route::new("remount/status/{migration_id}", STATUS_FIELDS, "How far a move has come.").on(
            Operation::Read,
            "Read the status of a move.",
            status,
        ),
    ]
}

fn remount(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (from, to) = (call.fields.str("from"), call.fields.str("to"));
    if from.is_empty() || to.is_empty() {
        return Err(EngineError::invalid("both 'from' and 'to' path must be specified as a string"));
    }
    for (name, path) in [("from", from), ("to", to)] {
        if path.trim() != path {
            return Err(EngineError::Invalid(format!("'{name}' path cannot contain trailing whitespace")));
        }
    }
    let (from, to) = (normal(from), normal(to));
    may_move(&from, &to)?;
    let Some(entry) = row_at(&mut call.view, &from)? else {
        return Err(EngineError::Invalid(format!("no matching mount at {from:?}")));
    };
    let path = to.strip_prefix("auth/").unwrap_or(&to).to_owned();
    if let Some(taken) = row_in_the_way(&mut call.view, entry.table, &path)? {
        return Err(EngineError::Invalid(format!("path already in use at {:?}", taken.full_path())));
    }
    let (_, open) = engine.opened()?;
    let id = call.entropy.uuid()?;
    retire::leave(&mut call.view, &open, &entry, Way::Moved(&to), call.now)?;
    let moved = MountEntry { path, ..MountEntry::clone(&entry) };
    call.view.put_json(&moved.row(), &moved)?;
    call.view.put_json(&format!("{STATUS}{id}"), &Moved { from, to })?;
    let text =
        "Mount move has been queued. Progress will be reported in Vault's server log, tagged with the returned migration_id";
    Ok(Some(Response::json(json!({ "migration_id": id })).with_warning(text)))
}

fn may_move(from: &str, to: &str) -> Result<(), EngineError> {
    let stands_in = |path: &str| PROTECTED.iter().any(|p| path.starts_with(p));
    let is_auth = from.starts_with("auth/");
    let refused = |text: String| Err(EngineError::Invalid(text));
    if from.starts_with("auth/token/") || (!is_auth && stands_in(from)) {
        return refused(format!("cannot remount {from:?}"));
    }
    if is_auth && !to.starts_with("auth/") {
        return refused(format!("cannot remount auth mount to non-auth mount {to:?}"));
    }
    let below = to.strip_prefix("auth/").filter(|_| is_auth);
    let fine = match below {
        Some(path) => is_mountable(path) && !path.starts_with("token/"),
        None => is_mountable(to) && !stands_in(to),
    };
    if fine { Ok(()) } else { refused(format!("cannot remount to destination {to}")) }
}

fn status(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("migration_id").to_owned();
    let Some(moved) = call.view.get_json::<Moved>(&format!("{STATUS}{id}"))? else { return Ok(None) };
    Ok(Some(Response::json(json!({
        "migration_id": id,
        "migration_info": { "source_mount": moved.from, "target_mount": moved.to, "status": "success" },
    }))))
}
