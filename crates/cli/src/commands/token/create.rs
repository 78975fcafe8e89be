//! `token create`.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, int, list, map, period, switch, text};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        text("id", "The token itself; only with sudo. Made by the server if not given."),
        text("display-name", "Name in logs."),
        period("ttl", "Lifetime. The server's if not given."),
        period("explicit-max-ttl", "Longest lifetime with all renewals, which nothing can lengthen."),
        period("period", "Lifetime that every renewal gives again, without an end."),
        switch("renewable", "Whether it can be renewed.").or("true"),
        switch("orphan", "Whether it outlives its parent."),
        switch("no-default-policy", "Leave the policy \"default\" away."),
        int("use-limit", "How often it can be used; without limit if 0."),
        text("type", "\"service\" or \"batch\".").or("service"),
        map("metadata", "A key=value for audit logs. May be given more than once."),
        list("policy", "Name of a policy. May be given more than once; the parent's if not given."),
        text("role", "Name of the token role that makes it."),
        text("entity-alias", "Name of the entity alias, with a role that allows it."),
    ],
};

/// Makes a token.
pub static COMMAND: Command = Command {
    path: "token create",
    synopsis: "Create a new token",
    operands: "[options]",
    about: "\
Makes a token, a child of the one in use.

    $ {bin} token create -policy=my-policy -ttl=1h",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let role = s.text("role").to_owned();
    let path = match role.as_str() {
        "" => "auth/token/create".to_owned(),
        role => format!("auth/token/create/{role}"),
    };
    let request = Request::post(&path).json(&body(s));
    match s.secret(&request).doing("creating token")? {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server("Error creating token: the server gave no token".to_owned())),
    }
}

fn body(s: &Session<'_, '_>) -> Map {
    let mut out = Map::new();
    for (key, flag) in [("id", "id"), ("display_name", "display-name"), ("entity_alias", "entity-alias"), ("type", "type")] {
        if !s.text(flag).is_empty() {
            out.insert(key.to_owned(), json!(s.text(flag)));
        }
    }
    for key in ["ttl", "explicit_max_ttl", "period"] {
        out.insert(key.to_owned(), json!(s.go_duration(&key.replace('_', "-"))));
    }
    let policies = s.all("policy");
    if !policies.is_empty() {
        out.insert("policies".to_owned(), json!(policies));
    }
    let metadata: Map = s.pairs("metadata").into_iter().map(|(k, v)| (k, Value::String(v))).collect();
    if !metadata.is_empty() {
        out.insert("meta".to_owned(), Value::Object(metadata));
    }
    out.insert("renewable".to_owned(), json!(s.on("renewable")));
    out.insert("num_uses".to_owned(), json!(s.int("use-limit")));
    for (key, flag) in [("no_parent", "orphan"), ("no_default_policy", "no-default-policy")] {
        if s.on(flag) {
            out.insert(key.to_owned(), json!(true));
        }
    }
    out
}
