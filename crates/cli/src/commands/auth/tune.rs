//! `auth tune PATH`.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use super::super::mounts;
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FlagSet, HTTP, int, period, switch};
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
        mounts::TOKEN_TYPE,
        mounts::VERSION,
        mounts::PLUGIN_VERSION,
        mounts::TRIM,
        int("user-lockout-threshold", "How many wrong passwords lock a user out."),
        period("user-lockout-duration", "How long a user is locked out."),
        period("user-lockout-counter-reset-duration", "How long a wrong password counts."),
        switch("user-lockout-disable", "Whether users are never locked out."),
    ],
};

/// Tunes an auth method.
pub static COMMAND: Command = Command {
    path: "auth tune",
    synopsis: "Tunes an auth method configuration",
    operands: "[options] PATH",
    about: "\
Changes the given settings of an auth method and leaves the others as they are.

    $ {bin} auth tune -default-lease-ttl=72h github/",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = with_slash(&s.arg(0));
    let mut body = mounts::tune_body(s);
    let lockout = lockout(s);
    if !lockout.is_empty() {
        body.insert("user_lockout_config".to_owned(), Value::Object(lockout));
    }
    s.call(&Request::post(&format!("sys/mounts/auth/{path}tune")).json(&body)).doing(&format!("tuning auth method {path}"))?;
    s.say(&format!("Success! Tuned the auth method at: {path}"))?;
    Ok(0)
}

/// All as text but the last; that is how the server wants it.
fn lockout(s: &Session<'_, '_>) -> Map {
    let mut out = Map::new();
    if let Some(threshold) = s.given("user-lockout-threshold") {
        out.insert("lockout_threshold".to_owned(), json!(threshold));
    }
    for (key, flag) in
        [("lockout_duration", "user-lockout-duration"), ("lockout_counter_reset_duration", "user-lockout-counter-reset-duration")]
    {
        if s.given(flag).is_some() {
            out.insert(key.to_owned(), json!(s.go_duration(flag)));
        }
    }
    if s.given("user-lockout-disable").is_some() {
        out.insert("lockout_disable".to_owned(), json!(s.on("user-lockout-disable")));
    }
    out
}
