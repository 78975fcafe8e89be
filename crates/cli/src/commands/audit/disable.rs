//! `audit disable PATH`.

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Disables an audit device.
pub static COMMAND: Command = Command {
    path: "audit disable",
    synopsis: "Disables an audit device",
    operands: "[options] PATH",
    about: "\
Disables an audit device. The key of its hashes is gone after that.

    $ {bin} audit disable file/",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = with_slash(&s.arg(0));
    s.call(&Request::delete(&format!("sys/audit/{path}"))).doing("disabling audit device")?;
    s.say(&format!("Success! Disabled audit device (if it was enabled) at: {path}"))?;
    Ok(0)
}
