//! `plugin list` and `plugin info`; `change` has the commands that change the catalog.

pub mod change;

use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FORMAT, FlagSet, HTTP, switch, text};
use crate::render::{go_value, headed};
use crate::session::Session;

static LIST_OPTIONS: FlagSet =
    FlagSet { title: "Command Options", flags: &[switch("detailed", "Also print whether each is deprecated.")] };
static INFO_OPTIONS: FlagSet = FlagSet { title: "Command Options", flags: &[text("version", "Semantic version of the plugin.")] };

/// The group.
pub static GROUP: Command = Command {
    path: "plugin",
    synopsis: "Interact with Vault plugins and catalog",
    operands: "<subcommand> [options] [args]",
    about: "Commands for the catalog of engines and auth methods.\n\n    $ {bin} plugin list",
    sets: &[],
    run: None,
};

/// Lists the catalog.
pub static LIST: Command = Command {
    path: "plugin list",
    synopsis: "Lists available plugins",
    operands: "[options] [TYPE]",
    about: "\
Lists engines and auth methods; TYPE is auth, database or secret.

    $ {bin} plugin list secret",
    sets: &[&HTTP, &FORMAT, &LIST_OPTIONS],
    run: Some(list),
};

/// Tells about one of the catalog.
pub static INFO: Command = Command {
    path: "plugin info",
    synopsis: "Read information about a plugin in the catalog",
    operands: "[options] TYPE NAME",
    about: "\
Prints what is known about an engine or auth method.

    $ {bin} plugin info auth userpass",
    sets: &[&HTTP, &FIELD_FORMAT, &INFO_OPTIONS],
    run: Some(info),
};

fn list(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_most(1)?;
    let kind = s.arg(0).trim().to_lowercase();
    if !matches!(kind.as_str(), "" | "auth" | "database" | "secret" | "unknown") {
        return Err(Failure::Local(format!("Error parsing type: {kind:?} is not a supported plugin type")));
    }
    let answer = s.secret(&Request::get("sys/plugins/catalog")).doing("listing available plugins")?;
    let all = answer.as_ref().and_then(|a| a.get("detailed")).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |plugin: &Value, key: &str| plugin.get(key).map(go_value).unwrap_or_default();
    let plugins: Vec<Value> = all.into_iter().filter(|p| kind.is_empty() || text(p, "type") == kind).collect();
    let detailed = s.on("detailed");
    let rows = plugins
        .iter()
        .map(|p| {
            let mut row = vec![text(p, "name")];
            if kind.is_empty() || detailed {
                row.push(text(p, "type"));
            }
            row.push(text(p, "version"));
            if detailed {
                row.push(text(p, "deprecation_status"));
            }
            row
        })
        .collect();
    let titles: &[&str] = match (detailed, kind.is_empty()) {
        (true, _) => &["Name", "Type", "Version", "Deprecation Status"],
        (false, true) => &["Name", "Type", "Version"],
        // The type was asked for.
        (false, false) => &["Name", "Version"],
    };
    s.show(&plugins, &headed(titles, rows))?;
    Ok(0)
}

fn info(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(2)?;
    let (kind, name) = (s.arg(0).trim().to_lowercase(), s.arg(1).trim().to_owned());
    let mut request = Request::get(&format!("sys/plugins/catalog/{kind}/{name}"));
    if let Some(version) = s.given("version") {
        request = request.param("version", version);
    }
    let answer = s.secret(&request).doing(&format!("reading plugin named {name}"))?;
    match answer {
        Some(secret) if s.text("field").is_empty() && s.format != crate::render::Format::Table => {
            let data = secret.data.unwrap_or_default();
            s.show(&json!(data), "")?;
            Ok(0)
        }
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server(format!("No value found for plugin {name:?}"))),
    }
}
