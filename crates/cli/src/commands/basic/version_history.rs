//! `version-history`: which versions a cluster has run.

use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::render::{Format, go_value, headed};
use crate::session::Session;

/// Prints them.
pub static COMMAND: Command = Command {
    path: "version-history",
    synopsis: "Prints the version history of the target Vault server",
    operands: "[options]",
    about: "\
Prints the versions that the cluster has run, oldest first, and since when.

    $ {bin} version-history",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let answer = s.secret(&Request::list("sys/version-history")).doing("reading version history")?;
    let Some(answer) = answer else { return Err(Failure::Server("No version history found".to_owned())) };
    if s.format != Format::Table {
        s.show(&answer, "")?;
        return Ok(0);
    }
    let info = answer.get("key_info").cloned().unwrap_or_else(|| json!({}));
    let keys = answer.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |key: &str, field: &str| info.get(key).and_then(|v| v.get(field)).map(go_value).unwrap_or_default();
    let rows = keys
        .iter()
        .map(go_value)
        .map(|key| vec![key.clone(), text(&key, "timestamp_installed"), text(&key, "build_date")])
        .collect();
    s.say("This tracks unique Vault versions with the time of their first unseal, oldest first.\n")?;
    s.say(&headed(&["Version", "Installation Time", "Build Date"], rows))?;
    Ok(0)
}
