//! `kv delete KEY`.

use client::Request;
use serde_json::json;

use super::{MOUNT_FLAG, Target, version_numbers};
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, list};
use crate::render::Format;
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[
        list("versions", "The versions to delete, the newest if not given. May have commas and be given more than once."),
        MOUNT_FLAG,
    ],
};

/// Deletes versions.
pub static COMMAND: Command = Command {
    path: "kv delete",
    synopsis: "Deletes versions in the KV store",
    operands: "[options] KEY",
    about: "\
Deletes a value. With versions it can be brought back by \"kv undelete\".

    $ {bin} kv delete -mount=secret foo
    $ {bin} kv delete -mount=secret -versions=3 foo",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let versions = version_numbers(s)?;
    let target = Target::of(s)?;
    let (path, request) = if target.versioned && !versions.is_empty() {
        let path = target.at("delete");
        (path.clone(), Request::put(&path).json(&json!({ "versions": versions })))
    } else {
        let path = target.at("data");
        (path.clone(), Request::delete(&path))
    };
    let answer = s.secret(&request).doing(&format!("deleting {path}"))?;
    match answer {
        Some(secret) if !secret.is_empty() => s.show_secret(&secret),
        _ => {
            if s.format == Format::Table {
                s.say(&format!("Success! Data deleted (if it existed) at: {}", target.at("data")))?;
            }
            Ok(0)
        }
    }
}
