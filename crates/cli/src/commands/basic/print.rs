//! `print token`.

use crate::command::Command;
use crate::exit::Outcome;
use crate::session::Session;

/// The group.
pub static GROUP: Command = Command {
    path: "print",
    synopsis: "Prints runtime configurations",
    operands: "<subcommand>",
    about: "Prints values that other commands would use.",
    sets: &[],
    run: None,
};

/// Prints the token in use.
pub static TOKEN: Command = Command {
    path: "print token",
    synopsis: "Prints the token currently in use",
    operands: "",
    about: "\
Prints the token that commands would send, after VAULT_TOKEN and the token
helper were looked at.

    $ {bin} print token",
    sets: &[],
    run: Some(token),
};

fn token(s: &mut Session<'_, '_>) -> Outcome {
    let token = s.token()?.unwrap_or_default();
    s.say(token.expose())?;
    Ok(0)
}
