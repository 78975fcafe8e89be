//! `secrets enable TYPE`.

use client::Request;

use super::super::mounts;
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FlagSet, HTTP, list, text};
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
        list("allowed-managed-keys", "Managed key that it may use. May be given more than once."),
        list("delegated-auth-accessors", "Accessor of an auth method that it may log in with. May be given more than once."),
        text("identity-token-key", "Key that signs its identity tokens."),
        mounts::FORCE_NO_CACHE,
        mounts::PLUGIN_NAME,
        mounts::PLUGIN_VERSION,
        mounts::OPTIONS,
        mounts::LOCAL,
        mounts::SEAL_WRAP,
        mounts::ENTROPY,
        mounts::TRIM,
        mounts::VERSION,
    ],
};

/// Enables a secrets engine.
pub static COMMAND: Command = Command {
    path: "secrets enable",
    synopsis: "Enable a secrets engine",
    operands: "[options] TYPE",
    about: "\
Enables a secrets engine of a type, at a path.

    $ {bin} secrets enable -path=secret kv-v2",
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
        for flag in ["allowed-managed-keys", "delegated-auth-accessors"] {
            if s.given(flag).is_some() {
                config.insert(flag.replace('-', "_"), serde_json::json!(s.all(flag)));
            }
        }
        if let Some(key) = s.given("identity-token-key") {
            config.insert("identity_token_key".to_owned(), serde_json::json!(key));
        }
    }
    s.call(&Request::post(&format!("sys/mounts/{path}")).json(&body)).doing("enabling")?;
    s.say(&format!("Success! Enabled the {kind} secrets engine at: {path}"))?;
    Ok(0)
}
