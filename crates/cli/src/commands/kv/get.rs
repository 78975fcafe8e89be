//! `kv get KEY`.

use client::{Request, SecretReply};
use serde_json::Value;

use super::{MOUNT_FLAG, Target, map_block, path_block};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, int};
use crate::render::Format;
use crate::session::Session;

static OPTIONS: FlagSet =
    FlagSet { title: "Common Options", flags: &[MOUNT_FLAG, int("version", "The version to read, the newest if not given.")] };

/// Reads a key.
pub static COMMAND: Command = Command {
    path: "kv get",
    synopsis: "Retrieves data from the KV store",
    operands: "[options] KEY",
    about: "\
Reads the value at a key; with versions also what is known about the version.

    $ {bin} kv get -mount=secret foo
    $ {bin} kv get -mount=secret -version=1 foo",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let target = Target::of(s)?;
    let path = target.at("data");
    let mut request = Request::get(&path);
    if target.versioned && s.int("version") > 0 {
        request = request.param("version", &s.int("version").to_string());
    }
    let Some(secret) = s.secret(&request).doing(&format!("reading {path}"))? else {
        return Err(Failure::Server(format!("No value found at {path}")));
    };
    if !target.versioned && secret.wrap_info.is_none() && s.text("field").is_empty() && s.format == Format::Table {
        let data = secret.data.clone().unwrap_or_default();
        s.say(&map_block("Data", &data))?;
        return Ok(0);
    }
    if !target.versioned || secret.wrap_info.is_some() {
        return s.show_secret(&secret);
    }
    let name = s.text("field").to_owned();
    if !name.is_empty() {
        return show_field(s, &secret, &name, &path);
    }
    if s.format != Format::Table {
        return s.show_secret(&secret);
    }
    for warning in secret.warnings() {
        s.warn(&format!("WARNING! {warning}"))?;
    }
    let mut text = path_block("Secret Path", &path);
    if let Some(metadata) = secret.get("metadata").and_then(Value::as_object) {
        text.push_str(&format!("\n{}\n", map_block("Metadata", metadata)));
    }
    if let Some(data) = secret.get("data").and_then(Value::as_object) {
        text.push_str(&format!("\n{}\n", map_block("Data", data)));
    }
    s.say(text.trim_end_matches('\n'))?;
    Ok(0)
}

fn show_field(s: &mut Session<'_, '_>, secret: &SecretReply, name: &str, path: &str) -> Outcome {
    let Some(data) = secret.get("data").and_then(Value::as_object) else {
        return Err(Failure::Server(format!("No data found at {path}")));
    };
    // "data" means the whole value, unless the value has a key of that name.
    let value = match data.get(name) {
        None if name == "data" => Some(Value::Object(data.clone())),
        found => found.cloned(),
    };
    s.show_field(name, value)
}
