//! `policy write NAME PATH`.

use client::Request;
use policy::{Level, Mounts};
use serde_json::json;

use super::{lint, name, text_of};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::HTTP;
use crate::session::Session;

/// Uploads a policy.
pub static COMMAND: Command = Command {
    path: "policy write",
    synopsis: "Uploads a named policy from a file",
    operands: "[options] NAME PATH",
    about: "\
Uploads a policy from a file, or from standard input if the path is \"-\".

    $ {bin} policy write my-policy /tmp/policy.hcl
    $ cat my-policy.hcl | {bin} policy write my-policy -",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(2)?;
    let given = s.arg(0);
    let name = name(&given);
    if name != given.trim() {
        s.warn(&format!("Policy name was converted to {name}"))?;
    }
    let text = text_of(s, 1)?;
    s.call(&Request::put(&format!("sys/policies/acl/{name}")).json(&json!({ "policy": text }))).doing("uploading policy")?;
    s.say(&format!("Success! Uploaded policy: {name}"))?;
    remarks(s, &text)?;
    Ok(0)
}

/// What was probably not meant, on standard error: from the text alone, so that no further request is needed.
fn remarks(s: &mut Session<'_, '_>, text: &str) -> Result<(), Failure> {
    let found = policy::lint(text, &Mounts::unknown());
    let file = s.arg(1);
    for finding in found.iter().filter(|f| f.level >= Level::Warning) {
        s.warn(&format!("WARNING! {}", lint::line(&file, finding)))?;
    }
    Ok(())
}
