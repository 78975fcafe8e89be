//! `secrets disable PATH`.

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Disables a secrets engine.
pub static COMMAND: Command = Command {
    path: "secrets disable",
    synopsis: "Disable a secrets engine",
    operands: "[options] PATH",
    about: "\
Disables the secrets engine at a path, revokes its leases, and removes its data.

    $ {bin} secrets disable database/",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = with_slash(&s.arg(0));
    s.call(&Request::delete(&format!("sys/mounts/{path}"))).doing(&format!("disabling secrets engine at {path}"))?;
    s.say(&format!("Success! Disabled the secrets engine (if it existed) at: {path}"))?;
    Ok(0)
}
