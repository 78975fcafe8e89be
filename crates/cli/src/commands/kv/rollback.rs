//! `kv rollback -version=N KEY`: writes an old version again.

use client::Request;
use serde_json::{Value, json};

use super::{MOUNT_FLAG, Target, show_version};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, int};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[int("version", "The version that should be made the newest again."), MOUNT_FLAG],
};

/// Rolls back.
pub static COMMAND: Command = Command {
    path: "kv rollback",
    synopsis: "Rolls back to a previous version of data",
    operands: "[options] KEY",
    about: "\
Makes a copy of an old version the newest one.

    $ {bin} kv rollback -mount=secret -version=2 foo",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let version = s.int("version");
    if version <= 0 {
        return Err(Failure::Local("Missing flag: -version must be a positive number".to_owned()));
    }
    let path = Target::versioned(s, "Rollback")?.at("data");
    let current = s.look_up_secret(Request::get(&path)).doing(&format!("doing pre-read at {path}"))?;
    let cas = current.as_ref().and_then(|c| c.get("metadata")).and_then(|m| m.get("version")).cloned();
    let Some(cas) = cas else { return Err(Failure::Server(format!("No value found at {path}"))) };
    let old = s
        .look_up_secret(Request::get(&path).param("version", &version.to_string()))
        .doing(&format!("doing pre-read at {path}"))?;
    let Some(old) = old else { return Err(Failure::Server(format!("No value found at {path}"))) };
    let metadata = old.get("metadata");
    if metadata.and_then(|m| m.get("destroyed")).and_then(Value::as_bool) == Some(true) {
        return Err(Failure::Server("Cannot roll back to a version that has been destroyed".to_owned()));
    }
    let Some(data) = old.get("data").filter(|d| d.is_object()) else {
        return Err(Failure::Server("Cannot roll back to a version that has been deleted".to_owned()));
    };
    let body = json!({ "data": data, "options": { "cas": cas } });
    let answer = s.secret(&Request::put(&path).json(&body)).doing(&format!("writing data to {path}"))?;
    show_version(s, &path, answer)
}
