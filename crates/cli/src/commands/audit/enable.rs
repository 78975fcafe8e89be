//! `audit enable TYPE [K=V...]`.

use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FlagSet, HTTP, switch, text};
use crate::kv_pairs;
use crate::session::{Session, with_slash};

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        text("description", "What it is for, in words for people."),
        text("path", "Its path; its type if not given."),
        switch("local", "Keep it out of replication."),
    ],
};

/// Enables an audit device.
pub static COMMAND: Command = Command {
    path: "audit enable",
    synopsis: "Enables an audit device",
    operands: "[options] TYPE [CONFIG K=V...]",
    about: "\
Enables an audit device of a type. If it cannot write, requests are refused.

    $ {bin} audit enable file file_path=/var/log/audit.log",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    if s.args.is_empty() {
        return Err(Failure::Local("Not enough arguments (expected 1+, got 0)".to_owned()));
    }
    let kind = s.arg(0).trim().to_owned();
    let path = with_slash(s.given("path").filter(|p| !p.is_empty()).unwrap_or(&kind));
    let words: Vec<String> = s.args.iter().skip(1).cloned().collect();
    let options =
        kv_pairs::parse_texts(&words, s.host.input).map_err(|e| Failure::Local(format!("Failed to parse K=V data: {e}")))?;
    let options: serde_json::Map<String, serde_json::Value> = options.into_iter().map(|(k, v)| (k, json!(v))).collect();
    let body = json!({ "type": kind, "description": s.text("description"), "options": options, "local": s.on("local") });
    s.call(&Request::put(&format!("sys/audit/{path}")).json(&body)).doing("enabling audit device")?;
    s.say(&format!("Success! Enabled the {kind} audit device at: {path}"))?;
    Ok(0)
}
