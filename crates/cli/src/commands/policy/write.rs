//! `policy write NAME PATH`.

use client::Request;
use serde_json::json;

use super::name;
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::HTTP;
use crate::kv_pairs::go_words;
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
    let (given, path) = (s.arg(0), s.arg(1));
    let name = name(&given);
    if name != given.trim() {
        s.warn(&format!("Policy name was converted to {name}"))?;
    }
    let path = path.trim();
    let text = if path == "-" {
        s.stdin()?
    } else {
        std::fs::read_to_string(path)
            .map_err(|e| Failure::Server(format!("Error opening policy file: open {path}: {}", go_words(&e))))?
    };
    s.call(&Request::put(&format!("sys/policies/acl/{name}")).json(&json!({ "policy": text }))).doing("uploading policy")?;
    s.say(&format!("Success! Uploaded policy: {name}"))?;
    Ok(0)
}
