//! `auth move SOURCE DESTINATION`.

use super::super::mounts;
use crate::command::Command;
use crate::exit::Outcome;
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Moves an auth method.
pub static COMMAND: Command = Command {
    path: "auth move",
    synopsis: "Move an auth method to a new path",
    operands: "[options] SOURCE DESTINATION",
    about: "\
Moves an auth method to another path, both with \"auth/\". Its settings go with it,
its tokens are revoked.

    $ {bin} auth move auth/approle/ auth/generic/",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(2)?;
    let (from, to) = (with_slash(&s.arg(0)), with_slash(&s.arg(1)));
    mounts::shift(s, "auth method", &from, &to)
}
