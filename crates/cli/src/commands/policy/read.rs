//! `policy read NAME`.

use client::Request;
use serde_json::{Value, json};

use super::name;
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::session::Session;

/// Prints a policy.
pub static COMMAND: Command = Command {
    path: "policy read",
    synopsis: "Prints the contents of a policy",
    operands: "[options] [NAME]",
    about: "Prints the text of a policy.\n\n    $ {bin} policy read my-policy",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let name = name(&s.arg(0));
    let answer = s.secret(&Request::get(&format!("sys/policies/acl/{name}"))).doing(&format!("reading policy named {name}"))?;
    let text = answer.as_ref().and_then(|a| a.get("policy")).and_then(Value::as_str);
    let Some(text) = text else { return Err(Failure::Server(format!("No policy named: {name}"))) };
    s.show(&json!({ "policy": text }), text.trim())?;
    Ok(0)
}
