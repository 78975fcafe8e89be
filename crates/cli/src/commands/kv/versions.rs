//! `kv undelete` and `kv destroy`: the two differ in one word.

use client::Request;
use serde_json::json;

use super::{MOUNT_FLAG, Target, version_numbers};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, list};
use crate::render::Format;
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[list("versions", "The versions. May have commas and be given more than once."), MOUNT_FLAG],
};

/// Brings versions back.
pub static UNDELETE: Command = Command {
    path: "kv undelete",
    synopsis: "Undeletes versions in the KV store",
    operands: "[options] KEY",
    about: "\
Brings deleted versions back.

    $ {bin} kv undelete -mount=secret -versions=3 foo",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(|s| run(s, "undelete", "Undelete")),
};

/// Removes versions for good.
pub static DESTROY: Command = Command {
    path: "kv destroy",
    synopsis: "Permanently removes one or more versions in the KV store",
    operands: "[options] KEY",
    about: "\
Removes the values of versions for good.

    $ {bin} kv destroy -mount=secret -versions=3 foo",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(|s| run(s, "destroy", "Destroy")),
};

fn run(s: &mut Session<'_, '_>, kind: &str, word: &str) -> Outcome {
    s.expect(1)?;
    let versions = version_numbers(s)?;
    if versions.is_empty() {
        return Err(Failure::Local(
            "No versions provided, use the \"-versions\" flag to specify the version to ".to_owned() + kind + ".",
        ));
    }
    let path = Target::versioned(s, word)?.at(kind);
    let answer =
        s.secret(&Request::put(&path).json(&json!({ "versions": versions }))).doing(&format!("writing data to {path}"))?;
    match answer {
        Some(secret) if !secret.is_empty() => s.show_secret(&secret),
        _ => {
            if s.format == Format::Table {
                s.say(&format!("Success! Data written to: {path}"))?;
            }
            Ok(0)
        }
    }
}
