//! `patch PATH K=V...`: a merge patch.

use client::Method;

use super::write;
use crate::command::Command;
use crate::exit::Outcome;
use crate::flags::{FIELD_FORMAT, HTTP};
use crate::session::Session;

/// Patches a path.
pub static COMMAND: Command = Command {
    path: "patch",
    synopsis: "Patch data, configuration, and secrets",
    operands: "[options] PATH [DATA K=V...]",
    about: "\
Changes the given keys at a path and leaves the others as they are. Data is
given as for \"write\".

    $ {bin} patch pki/roles/web ttl=24h",
    sets: &[&HTTP, &FIELD_FORMAT, &write::OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    write::send(s, Method::Patch)
}
