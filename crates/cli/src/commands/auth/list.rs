//! `auth list`.

use serde_json::Value;

use super::super::mounts;
use crate::command::Command;
use crate::exit::Outcome;
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::render::{go_value, headed};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet { title: "Command Options", flags: &[switch("detailed", "Also print the settings of each.")] };

/// Lists auth methods.
pub static COMMAND: Command = Command {
    path: "auth list",
    synopsis: "Lists enabled auth methods",
    operands: "[options]",
    about: "\
Lists the auth methods that are enabled, and their types.

    $ {bin} auth list -detailed",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let all = mounts::mounts(s, "sys/auth", "listing enabled authentications")?;
    let text = |mount: &Value, key: &str| mount.get(key).map(go_value).unwrap_or_default();
    let table = if s.on("detailed") {
        let token_type = |m: &Value| m.get("config").map(|c| text(c, "token_type")).unwrap_or_default();
        let mut titles = vec!["Path", "Plugin", "Accessor", "Default TTL", "Max TTL", "Token Type"];
        // The same columns as for engines, but for the cache, which auth methods have none of.
        let rest = |list: &[String]| list.iter().skip(4).cloned().collect::<Vec<_>>();
        titles.extend(mounts::DETAILS.iter().skip(4));
        let rows = all
            .iter()
            .map(|(path, m)| {
                let cells = mounts::details(m);
                let first = cells.iter().take(3).cloned().collect();
                [vec![path.clone(), text(m, "type")], first, vec![token_type(m)], rest(&cells)].concat()
            })
            .collect();
        headed(&titles, rows)
    } else {
        let rows = all
            .iter()
            .map(|(path, m)| {
                vec![path.clone(), text(m, "type"), text(m, "accessor"), text(m, "description"), text(m, "plugin_version")]
            })
            .collect();
        headed(&["Path", "Type", "Accessor", "Description", "Version"], rows)
    };
    s.show(&all, &table)?;
    Ok(0)
}
