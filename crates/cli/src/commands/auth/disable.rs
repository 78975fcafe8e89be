//! `auth disable PATH`.

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Disables an auth method.
pub static COMMAND: Command = Command {
    path: "auth disable",
    synopsis: "Disables an auth method",
    operands: "[options] PATH",
    about: "\
Disables the auth method at a path and revokes all tokens that came from it.

    $ {bin} auth disable userpass/",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = with_slash(&s.arg(0));
    s.call(&Request::delete(&format!("sys/auth/{path}"))).doing(&format!("disabling auth method at {path}"))?;
    s.say(&format!("Success! Disabled the auth method (if it existed) at: {path}"))?;
    Ok(0)
}
