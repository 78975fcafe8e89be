//! `write PATH [K=V...]`, and the part it shares with `patch`.

use client::{Method, Request};

use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, switch};
use crate::kv_pairs;
use crate::render::Format;
use crate::session::Session;

pub(super) static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[switch("force", "Write without any data, where the path needs none.").alias("f")],
};

/// Writes to a path.
pub static COMMAND: Command = Command {
    path: "write",
    synopsis: "Write data, configuration, and secrets",
    operands: "[options] PATH [DATA K=V...]",
    about: "\
Writes data to a path. Data is \"key=value\"; a value that starts with \"@\" is read
from that file, a value \"-\" from standard input. \"@file.json\" or \"-\" alone stand
for a whole JSON document.

    $ {bin} write transit/keys/my-key type=ed25519",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    send(s, Method::Put)
}

pub(super) fn send(s: &mut Session<'_, '_>, method: Method) -> Outcome {
    s.expect_at_least(1)?;
    if s.args.len() == 1 && !s.on("force") {
        return Err(Failure::Local("Must supply data or use -force".to_owned()));
    }
    let path = s.path(0);
    let words: Vec<String> = s.args.iter().skip(1).cloned().collect();
    let data = kv_pairs::parse(&words, s.host.input).map_err(|e| Failure::Local(format!("Failed to parse K=V data: {e}")))?;
    let answer = s.change(&Request::new(method, &path).json(&data), &format!("writing data to {path}"))?;
    match answer {
        Some(secret) => s.show_secret(&secret),
        None if s.format == Format::Table && s.text("field").is_empty() => {
            s.say(&format!("Success! Data written to: {path}"))?;
            Ok(0)
        }
        None => Ok(0),
    }
}
