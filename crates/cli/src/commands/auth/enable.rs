//! `auth enable TYPE`.

use client::Request;

use super::super::mounts;
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FlagSet, HTTP};
use crate::session::{Session, with_slash};

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        mounts::DESCRIPTION,
        mounts::PATH,
        mounts::DEFAULT_TTL,
        mounts::MAX_TTL,
        mounts::REQUEST_KEYS,
        mounts::RESPONSE_KEYS,
        mounts::VISIBILITY,
        mounts::REQUEST_HEADERS,
        mounts::RESPONSE_HEADERS,
        mounts::PLUGIN_NAME,
        mounts::PLUGIN_VERSION,
        mounts::OPTIONS,
        mounts::LOCAL,
        mounts::SEAL_WRAP,
        mounts::ENTROPY,
        mounts::TOKEN_TYPE,
        mounts::TRIM,
        mounts::VERSION,
    ],
};

/// Enables an auth method.
pub static COMMAND: Command = Command {
    path: "auth enable",
    synopsis: "Enables a new auth method",
    operands: "[options] TYPE",
    about: "\
Enables an auth method of a type, at a path below auth/.

    $ {bin} auth enable userpass",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let mut kind = s.arg(0).trim().to_owned();
    if kind == "plugin" && s.given("plugin-name").is_some() {
        kind = s.text("plugin-name").to_owned();
    }
    let path = with_slash(s.given("path").filter(|p| !p.is_empty()).unwrap_or(&kind));
    let mut body = mounts::enable_body(s, &kind);
    if let Some(config) = body.get_mut("config").and_then(serde_json::Value::as_object_mut) {
        config.remove("force_no_cache");
    }
    s.call(&Request::post(&format!("sys/auth/{path}")).json(&body)).doing(&format!("enabling {kind} auth"))?;
    s.say(&format!("Success! Enabled {kind} auth method at: {path}"))?;
    Ok(0)
}
