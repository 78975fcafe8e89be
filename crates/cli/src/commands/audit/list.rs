//! `audit list`.

use serde_json::Value;

use super::super::mounts;
use crate::command::Command;
use crate::exit::Outcome;
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::render::{Format, go_value, headed};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet { title: "Command Options", flags: &[switch("detailed", "Also print the settings of each.")] };

/// Lists audit devices.
pub static COMMAND: Command = Command {
    path: "audit list",
    synopsis: "Lists enabled audit devices",
    operands: "[options]",
    about: "Lists the audit devices that are enabled.\n\n    $ {bin} audit list -detailed",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let all = mounts::mounts(s, "sys/audit", "listing audits")?;
    if all.is_empty() {
        if s.format == Format::Table {
            s.say("No audit devices are enabled.")?;
        } else {
            s.show(&all, "")?;
        }
        return Ok(2);
    }
    let text = |device: &Value, key: &str| device.get(key).map(go_value).unwrap_or_default();
    let table = if s.on("detailed") {
        let rows = all.iter().map(|(path, d)| {
            let local = d.get("local").and_then(Value::as_bool) == Some(true);
            let options: Vec<String> = d
                .get("options")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(k, v)| format!("{k}={}", go_value(v)))
                .collect();
            let replication = if local { "local" } else { "replicated" };
            vec![path.clone(), text(d, "type"), text(d, "description"), replication.to_owned(), options.join(" ")]
        });
        headed(&["Path", "Type", "Description", "Replication", "Options"], rows.collect())
    } else {
        let rows = all.iter().map(|(path, d)| vec![path.clone(), text(d, "type"), text(d, "description")]).collect();
        headed(&["Path", "Type", "Description"], rows)
    };
    s.show(&all, &table)?;
    Ok(0)
}
