//! `path-help PATH`.

use api_types::Map;
use client::Request;
use serde_json::Value;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::render::Format;
use crate::session::Session;

/// Prints the server's help.
pub static COMMAND: Command = Command {
    path: "path-help",
    synopsis: "Retrieve API help for paths",
    operands: "[options] PATH",
    about: "\
Prints what the server knows about a path: its parameters and what they mean.

    $ {bin} path-help secret/",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.path(0);
    let help: Map = s.json(&Request::get(&path).param("help", "1")).doing("retrieving help")?;
    match help.get("help").and_then(Value::as_str) {
        _ if s.format != Format::Table => s.show(&help, "")?,
        Some(text) if !text.is_empty() => s.say(text)?,
        _ => return Err(Failure::Server("No help available at that path.".to_owned())),
    }
    Ok(0)
}
