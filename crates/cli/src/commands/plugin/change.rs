//! `plugin register`, `deregister`, `reload` and `reload-status`: sent as Vault's client sends them, so that scripts get the server's
//! own word. This server runs no plugins; another that the command is pointed at may.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, list, text};
use crate::session::Session;

static REGISTER_OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        list("args", "Argument of the plugin's command. May be given more than once."),
        text("command", "Command that starts the plugin, below the plugin directory. NAME unless said."),
        list("env", "\"KEY=value\" for the plugin's environment. May be given more than once."),
        text("oci-image", "Container image of the plugin."),
        text("runtime", "Runtime that the container runs in."),
        text("sha256", "SHA-256 of the plugin's file."),
        text("version", "Semantic version of the plugin."),
    ],
};
static VERSION_OPTIONS: FlagSet =
    FlagSet { title: "Command Options", flags: &[text("version", "Semantic version of the plugin.")] };
static RELOAD_OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        list("mounts", "Mount whose plugin is reloaded. May be given more than once."),
        text("plugin", "Plugin that is reloaded on all its mounts."),
        text("scope", "\"global\" reloads on all nodes."),
        text("type", "\"auth\", \"database\" or \"secret\"; with -plugin."),
    ],
};

/// Enters a plugin into the catalog.
pub static REGISTER: Command = Command {
    path: "plugin register",
    synopsis: "Registers a new plugin in the catalog",
    operands: "[options] TYPE NAME",
    about: "\
Enters a plugin into the catalog of a server that runs plugins.

    $ {bin} plugin register -sha256=d3f0a8be02f6c074cf38c9c99d4d04c9c6466249 auth my-auth",
    sets: &[&HTTP, &REGISTER_OPTIONS],
    run: Some(register),
};

/// Takes a plugin out of the catalog.
pub static DEREGISTER: Command = Command {
    path: "plugin deregister",
    synopsis: "Deregister an existing plugin in the catalog",
    operands: "[options] TYPE NAME",
    about: "\
Takes a plugin out of the catalog of a server that runs plugins.

    $ {bin} plugin deregister auth my-auth",
    sets: &[&HTTP, &VERSION_OPTIONS],
    run: Some(deregister),
};

/// Reloads plugins.
pub static RELOAD: Command = Command {
    path: "plugin reload",
    synopsis: "Reload mounted plugin backend",
    operands: "[options]",
    about: "\
Reloads mounted plugins, by name or by mount.

    $ {bin} plugin reload -plugin=my-plugin",
    sets: &[&HTTP, &RELOAD_OPTIONS],
    run: Some(reload),
};

/// How far a reload on all nodes is.
pub static RELOAD_STATUS: Command = Command {
    path: "plugin reload-status",
    synopsis: "Get the status of an active or recently completed global plugin reload",
    operands: "RELOAD_ID",
    about: "\
Prints how far a reload on all nodes is.

    $ {bin} plugin reload-status d60a3e83-a598-4f3a-879d-0ddd95f11d4e",
    sets: &[&HTTP, &FORMAT],
    run: Some(reload_status),
};

/// `(type, name)`, as the catalog's path has them.
fn named(s: &Session<'_, '_>) -> Result<(String, String), Failure> {
    s.expect(2)?;
    let kind = s.arg(0).trim().to_lowercase();
    if !matches!(kind.as_str(), "auth" | "database" | "secret") {
        return Err(Failure::Local(format!("{kind:?} is not a supported plugin type")));
    }
    Ok((kind, s.arg(1).trim().to_owned()))
}

fn register(s: &mut Session<'_, '_>) -> Outcome {
    let (kind, name) = named(s)?;
    let mut body = Map::new();
    for (flag, field) in
        [("command", "command"), ("oci-image", "oci_image"), ("runtime", "runtime"), ("sha256", "sha256"), ("version", "version")]
    {
        if let Some(value) = s.given(flag) {
            body.insert(field.to_owned(), value.into());
        }
    }
    // A container names its own command.
    if !body.contains_key("command") && !body.contains_key("oci_image") {
        body.insert("command".to_owned(), name.clone().into());
    }
    for name in ["args", "env"] {
        let values = s.all(name);
        if !values.is_empty() {
            body.insert(name.to_owned(), json!(values));
        }
    }
    let request = Request::put(&format!("sys/plugins/catalog/{kind}/{name}")).json(&Value::Object(body));
    s.call(&request).doing(&format!("registering plugin {name}"))?;
    s.say(&format!("Success! Registered plugin: {name}"))?;
    Ok(0)
}

fn deregister(s: &mut Session<'_, '_>) -> Outcome {
    let (kind, name) = named(s)?;
    let mut request = Request::delete(&format!("sys/plugins/catalog/{kind}/{name}"));
    if let Some(version) = s.given("version") {
        request = request.param("version", version);
    }
    s.call(&request).doing(&format!("deregistering plugin named {name:?}"))?;
    s.say(&format!("Success! Deregistered {kind} plugin: {name}"))?;
    Ok(0)
}

fn reload(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let (plugin, mounts, scope) = (s.text("plugin").to_owned(), s.all("mounts"), s.text("scope").to_owned());
    if plugin.is_empty() == mounts.is_empty() {
        let text = if plugin.is_empty() {
            "No plugins specified, must specify exactly one of -plugin or -mounts"
        } else {
            "Must specify exactly one of -plugin or -mounts"
        };
        return Err(Failure::Local(text.to_owned()));
    }
    if !matches!(scope.as_str(), "" | "global") {
        return Err(Failure::Local(format!("invalid reload scope: {scope}")));
    }
    let mut body = Map::new();
    body.insert("scope".to_owned(), scope.clone().into());
    let (path, what) = match s.given("type") {
        Some(kind) if !plugin.is_empty() => (format!("sys/plugins/reload/{kind}/{plugin}"), format!("plugin: {plugin}")),
        _ if !plugin.is_empty() => {
            body.insert("plugin".to_owned(), plugin.clone().into());
            ("sys/plugins/reload/backend".to_owned(), format!("plugin: {plugin}"))
        }
        _ => {
            body.insert("mounts".to_owned(), json!(mounts));
            ("sys/plugins/reload/backend".to_owned(), format!("mounts: [{}]", mounts.join(" ")))
        }
    };
    let answer = s.secret(&Request::put(&path).json(&Value::Object(body))).doing("reloading plugin/mounts")?;
    let id = answer.as_ref().and_then(|a| a.get("reload_id")).and_then(Value::as_str).map(str::to_owned);
    s.say(&match id {
        Some(id) if scope == "global" => format!("Success! Reloading {what}, reload_id: {id}"),
        _ => format!("Success! Reloaded {what}"),
    })?;
    Ok(0)
}

fn reload_status(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let request = Request::get("sys/plugins/reload/backend/status").param("reload_id", &s.arg(0));
    let answer = s.secret(&request).doing("getting plugin reload status")?;
    match answer {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server("No reload of this id is known".to_owned())),
    }
}
