//! `list PATH`.

use std::collections::BTreeSet;

use client::{Request, SecretReply};
use serde_json::Value;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::render::{Format, go_value, headed};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[switch("detailed", "Also print what the server says about each key, where it does.")],
};

/// Lists a path.
pub static COMMAND: Command = Command {
    path: "list",
    synopsis: "List data or secrets",
    operands: "[options] PATH",
    about: "\
Lists the names below a path. Names that end in a slash have more below them.

    $ {bin} list my-engine/roles",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.path(0);
    let answer = s.secret(&Request::list(&path)).doing(&format!("listing {path}"))?;
    match answer.as_ref().filter(|_| s.on("detailed")).and_then(detailed) {
        Some(table) if s.format == Format::Table => {
            s.say(&table)?;
            Ok(0)
        }
        Some(_) => {
            let data = answer.and_then(|a| a.data).unwrap_or_default();
            s.show(&data, "")?;
            Ok(0)
        }
        None => s.show_list(answer.as_ref(), &path),
    }
}

/// A column for each key of `key_info`.
fn detailed(secret: &SecretReply) -> Option<String> {
    let keys = secret.get("keys").and_then(Value::as_array).filter(|k| !k.is_empty())?;
    let info = secret.get("key_info").and_then(Value::as_object)?;
    let columns: BTreeSet<&str> = info.values().filter_map(Value::as_object).flat_map(|o| o.keys().map(String::as_str)).collect();
    let mut titles = vec!["Keys"];
    titles.extend(&columns);
    let rows = keys
        .iter()
        .map(go_value)
        .map(|key| {
            let about = info.get(&key);
            let cells = columns.iter().map(|c| about.and_then(|a| a.get(*c)).map(go_value).unwrap_or_default());
            std::iter::once(key.clone()).chain(cells).collect()
        })
        .collect();
    Some(headed(&titles, rows))
}
