//! `token revoke [TOKEN | ACCESSOR]`.

use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FlagSet, HTTP, switch, text};
use crate::session::{Session, sanitize};

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("accessor", "The argument is an accessor."),
        switch("self", "Revoke the token in use."),
        text("mode", "\"orphan\" leaves the children alive, \"path\" revokes all tokens that were made at a path."),
    ],
};

/// Revokes tokens.
pub static COMMAND: Command = Command {
    path: "token revoke",
    synopsis: "Revoke a token and its children",
    operands: "[options] [TOKEN | ACCESSOR]",
    about: "\
Ends a token and all tokens that were made with it.

    $ {bin} token revoke -self
    $ {bin} token revoke -accessor ACCESSOR
    $ {bin} token revoke -mode=path auth/kubernetes/login",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    let (own, accessor, mode) = (s.on("self"), s.on("accessor"), s.text("mode").to_owned());
    if own && (accessor || !mode.is_empty()) || accessor && !mode.is_empty() {
        return Err(Failure::Local("The flags -self, -accessor and -mode do not go together".to_owned()));
    }
    s.expect(usize::from(!own))?;
    let word = match s.arg(0) {
        word if word == "-" => s.stdin()?.trim().to_owned(),
        word => word.trim().to_owned(),
    };
    let request = match (own, accessor, mode.as_str()) {
        (true, ..) => Request::put("auth/token/revoke-self"),
        (_, true, _) => Request::post("auth/token/revoke-accessor").json(&json!({ "accessor": word })),
        (_, _, "") => Request::put("auth/token/revoke").json(&json!({ "token": word })),
        (_, _, "orphan") => Request::put("auth/token/revoke-orphan").json(&json!({ "token": word })),
        (_, _, "path") => Request::put(&format!("sys/leases/revoke-prefix/{}", sanitize(&word))),
        (_, _, other) => return Err(Failure::Local(format!("Invalid mode: {other}"))),
    };
    s.call(&request).doing("revoking token")?;
    s.say("Success! Revoked token (if it existed)")?;
    Ok(0)
}
