//! `secrets tune PATH`.

use client::Request;

use super::super::mounts;
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FlagSet, HTTP};
use crate::session::{Session, with_slash};

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        mounts::DEFAULT_TTL,
        mounts::MAX_TTL,
        mounts::DESCRIPTION,
        mounts::REQUEST_KEYS,
        mounts::RESPONSE_KEYS,
        mounts::VISIBILITY,
        mounts::REQUEST_HEADERS,
        mounts::RESPONSE_HEADERS,
        mounts::OPTIONS,
        mounts::VERSION,
        mounts::PLUGIN_VERSION,
        mounts::TRIM,
    ],
};

/// Tunes a secrets engine.
pub static COMMAND: Command = Command {
    path: "secrets tune",
    synopsis: "Tune a secrets engine configuration",
    operands: "[options] PATH",
    about: "\
Changes the given settings of a secrets engine and leaves the others as they are.

    $ {bin} secrets tune -default-lease-ttl=72h database/",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = with_slash(&s.arg(0));
    let body = mounts::tune_body(s);
    s.call(&Request::post(&format!("sys/mounts/{path}tune")).json(&body)).doing(&format!("tuning secrets engine {path}"))?;
    s.say(&format!("Success! Tuned the secrets engine at: {path}"))?;
    Ok(0)
}
