//! `kv metadata delete KEY`: the key, all its versions and all that is known about it.

use client::Request;

use super::{MOUNT, Target};
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::Session;

/// Removes a key for good.
pub static COMMAND: Command = Command {
    path: "kv metadata delete",
    synopsis: "Deletes all versions and metadata for a key in the KV store",
    operands: "[options] KEY",
    about: "\
Removes a key with all its versions, for good.

    $ {bin} kv metadata delete -mount=secret foo",
    sets: &[&HTTP, &MOUNT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = Target::versioned(s, "Metadata")?.at("metadata");
    s.secret(&Request::delete(&path)).doing(&format!("deleting {path}"))?;
    s.say(&format!("Success! Data deleted (if it existed) at: {path}"))?;
    Ok(0)
}
