//! `namespace`: the requests are sent as Vault's client sends them; a server with one namespace refuses them in its own words.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FORMAT, FlagSet, HTTP, map};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[map("custom-metadata", "A key=value of your own. May be given more than once.")],
};

/// The group.
pub static GROUP: Command = Command {
    path: "namespace",
    synopsis: "Interact with namespaces",
    operands: "<subcommand> [options] [args]",
    about: "Commands for namespaces. A server that has only the root namespace refuses them.",
    sets: &[],
    run: None,
};

/// Makes a namespace.
pub static CREATE: Command = Command {
    path: "namespace create",
    synopsis: "Create a new namespace",
    operands: "[options] PATH",
    about: "Makes a namespace.\n\n    $ {bin} namespace create ns1",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(create),
};

/// Deletes a namespace.
pub static DELETE: Command = Command {
    path: "namespace delete",
    synopsis: "Delete an existing namespace",
    operands: "[options] PATH",
    about: "Deletes a namespace and all that is in it.\n\n    $ {bin} namespace delete ns1",
    sets: &[&HTTP],
    run: Some(delete),
};

/// Lists namespaces.
pub static LIST: Command = Command {
    path: "namespace list",
    synopsis: "List child namespaces",
    operands: "[options]",
    about: "Lists the namespaces below the one in use.\n\n    $ {bin} namespace list",
    sets: &[&HTTP, &FORMAT],
    run: Some(list),
};

/// Tells about a namespace.
pub static LOOKUP: Command = Command {
    path: "namespace lookup",
    synopsis: "Look up an existing namespace",
    operands: "[options] PATH",
    about: "Prints what is known about a namespace.\n\n    $ {bin} namespace lookup ns1",
    sets: &[&HTTP, &FORMAT],
    run: Some(lookup),
};

fn create(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.path(0);
    let custom: Map = s.pairs("custom-metadata").into_iter().map(|(k, v)| (k, Value::String(v))).collect();
    let body = json!({ "custom_metadata": custom });
    match s.secret(&Request::put(&format!("sys/namespaces/{path}")).json(&body)).doing("creating namespace")? {
        Some(secret) => s.show_secret(&secret),
        None => Ok(0),
    }
}

fn delete(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.path(0);
    s.secret(&Request::delete(&format!("sys/namespaces/{path}"))).doing(&format!("deleting namespace: {path}/"))?;
    s.say(&format!("Success! Namespace deleted at: {path}/"))?;
    Ok(0)
}

fn list(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let answer = s.secret(&Request::list("sys/namespaces")).doing("listing namespaces")?;
    s.show_list(answer.as_ref(), "sys/namespaces")
}

fn lookup(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.path(0);
    match s.secret(&Request::get(&format!("sys/namespaces/{path}"))).doing("looking up namespace")? {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server("Namespace not found".to_owned())),
    }
}
