//! `kv metadata get KEY`.

use api_types::Map;
use client::Request;
use serde_json::Value;

use super::{MOUNT, Target, map_block, path_block};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, HTTP};
use crate::render::Format;
use crate::session::Session;

/// Reads metadata.
pub static COMMAND: Command = Command {
    path: "kv metadata get",
    synopsis: "Retrieves key metadata from the KV store",
    operands: "[options] KEY",
    about: "\
Prints what is kept about a key: its settings and its versions.

    $ {bin} kv metadata get -mount=secret foo",
    sets: &[&HTTP, &FIELD_FORMAT, &MOUNT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = Target::versioned(s, "Metadata")?.at("metadata");
    let Some(secret) = s.secret(&Request::get(&path)).doing(&format!("reading {path}"))? else {
        return Err(Failure::Server(format!("No value found at {path}")));
    };
    let plain = s.format == Format::Table && s.text("field").is_empty();
    let Some(data) = secret.data.as_ref().filter(|_| plain) else { return s.show_secret(&secret) };
    let text = table(&path, data);
    s.say(&text)?;
    Ok(0)
}

fn table(path: &str, data: &Map) -> String {
    let mut settings = data.clone();
    let versions = settings.remove("versions");
    let mut text = format!("{}\n{}", path_block("Metadata Path", path), map_block("Metadata", &settings));
    let mut versions: Vec<(u64, &Map)> = versions
        .iter()
        .filter_map(Value::as_object)
        .flatten()
        .filter_map(|(number, about)| Some((number.parse().ok()?, about.as_object()?)))
        .collect();
    versions.sort_by_key(|(number, _)| *number);
    for (number, about) in versions {
        text.push_str(&format!("\n\n{}", map_block(&format!("Version {number}"), about)));
    }
    text
}
