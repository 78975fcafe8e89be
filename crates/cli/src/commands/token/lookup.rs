//! `token lookup [TOKEN | ACCESSOR]`.

use client::Request;
use serde_json::json;

use super::{Subject, subject};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, switch};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[switch("accessor", "The argument is an accessor. The answer then holds no token.")],
};

/// Tells about a token.
pub static COMMAND: Command = Command {
    path: "token lookup",
    synopsis: "Display information about a token",
    operands: "[options] [TOKEN | ACCESSOR]",
    about: "\
Prints what is known about a token, the one in use if none is given.

    $ {bin} token lookup",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    let request = match subject(s)? {
        Subject::Own => Request::get("auth/token/lookup-self"),
        Subject::Token(token) => Request::post("auth/token/lookup").json(&json!({ "token": token })),
        Subject::Accessor(accessor) => Request::post("auth/token/lookup-accessor").json(&json!({ "accessor": accessor })),
    };
    match s.secret(&request).doing("looking up token")? {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server("Error looking up token: no such token".to_owned())),
    }
}
