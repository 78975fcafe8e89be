//! Commands for tokens.

pub mod capabilities;
pub mod create;
pub mod lookup;
pub mod renew;
pub mod revoke;

use crate::command::Command;
use crate::exit::Failure;
use crate::session::Session;

/// The group.
pub static GROUP: Command = Command {
    path: "token",
    synopsis: "Interact with tokens",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for tokens.

    $ {bin} token create -policy=my-policy
    $ {bin} token lookup",
    sets: &[],
    run: None,
};

/// The accessor or token that the argument names, or nothing for one's own token.
enum Subject {
    Own,
    Token(String),
    Accessor(String),
}

fn subject(s: &mut Session<'_, '_>) -> Result<Subject, Failure> {
    if s.on("accessor") {
        s.expect(1)?;
        return Ok(Subject::Accessor(s.arg(0).trim().to_owned()));
    }
    s.expect_at_most(1)?;
    match s.arg(0) {
        word if word == "-" => Ok(Subject::Token(s.stdin()?.trim().to_owned())),
        word if word.is_empty() => Ok(Subject::Own),
        word => Ok(Subject::Token(word.trim().to_owned())),
    }
}
