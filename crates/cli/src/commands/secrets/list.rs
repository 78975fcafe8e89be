//! `secrets list`.

use serde_json::Value;

use super::super::mounts;
use crate::command::Command;
use crate::exit::Outcome;
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::render::{go_value, headed};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet { title: "Command Options", flags: &[switch("detailed", "Also print the settings of each.")] };

/// Lists secrets engines.
pub static COMMAND: Command = Command {
    path: "secrets list",
    synopsis: "List enabled secrets engines",
    operands: "[options]",
    about: "\
Lists the secrets engines that are enabled, and their types.

    $ {bin} secrets list -detailed",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let all = mounts::mounts(s, "sys/mounts", "listing secrets engines")?;
    let text = |mount: &Value, key: &str| mount.get(key).map(go_value).unwrap_or_default();
    let table = if s.on("detailed") {
        let mut titles = vec!["Path", "Plugin"];
        titles.extend(mounts::DETAILS);
        let rows = all.iter().map(|(path, m)| [vec![path.clone(), text(m, "type")], mounts::details(m)].concat()).collect();
        headed(&titles, rows)
    } else {
        let rows = all
            .iter()
            .map(|(path, m)| vec![path.clone(), text(m, "type"), text(m, "accessor"), text(m, "description")])
            .collect();
        headed(&["Path", "Type", "Accessor", "Description"], rows)
    };
    s.show(&all, &table)?;
    Ok(0)
}
