//! `kv enable-versioning PATH`.

use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Turns versions on.
pub static COMMAND: Command = Command {
    path: "kv enable-versioning",
    synopsis: "Turns on versioning for a KV store",
    operands: "[options] PATH",
    about: "\
Makes a key-value mount without versions one with versions.

    $ {bin} kv enable-versioning secret",
    sets: &[&HTTP],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let mount = with_slash(&s.arg(0));
    let request = Request::post(&format!("sys/mounts/{mount}tune")).json(&json!({ "options": { "version": "2" } }));
    s.call(&request).doing(&format!("tuning secrets engine {mount}"))?;
    s.say(&format!("Success! Tuned the secrets engine at: {mount}"))?;
    Ok(0)
}
