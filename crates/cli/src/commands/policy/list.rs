//! `policy list`.

use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::render::go_value;
use crate::session::Session;

/// Lists policies.
pub static COMMAND: Command = Command {
    path: "policy list",
    synopsis: "Lists the installed policies",
    operands: "[options]",
    about: "Lists the names of the policies.\n\n    $ {bin} policy list",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let answer = s.secret(&Request::list("sys/policies/acl")).doing("listing policies")?;
    let names = answer.and_then(|a| a.get("keys").cloned()).unwrap_or_else(|| json!([]));
    let lines: Vec<String> = names.as_array().into_iter().flatten().map(go_value).collect();
    s.show::<Value>(&names, &lines.join("\n"))?;
    Ok(0)
}
