//! `policy delete NAME`.

use client::Request;

use super::name;
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::Session;

/// Deletes a policy.
pub static COMMAND: Command = Command {
    path: "policy delete",
    synopsis: "Deletes a policy by name",
    operands: "[options] NAME",
    about: "\
Deletes a policy. Tokens that have it keep the name and lose the permissions.

    $ {bin} policy delete my-policy",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let name = name(&s.arg(0));
    s.call(&Request::delete(&format!("sys/policies/acl/{name}"))).doing(&format!("deleting {name}"))?;
    s.say(&format!("Success! Deleted policy: {name}"))?;
    Ok(0)
}
