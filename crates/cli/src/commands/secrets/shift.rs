//! `secrets move SOURCE DESTINATION`.

use super::super::mounts;
use crate::command::Command;
use crate::exit::Outcome;
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Moves a secrets engine.
pub static COMMAND: Command = Command {
    path: "secrets move",
    synopsis: "Move a secrets engine to a new path",
    operands: "[options] SOURCE DESTINATION",
    about: "\
Moves a secrets engine to another path. Its data and settings go with it, its
leases are revoked.

    $ {bin} secrets move secret/ kv/",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(2)?;
    let (from, to) = (with_slash(&s.arg(0)), with_slash(&s.arg(1)));
    mounts::shift(s, "secrets engine", &from, &to)
}
