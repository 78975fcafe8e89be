//! `token renew [TOKEN]`.

use api_types::Map;
use client::Request;
use serde_json::json;

use super::{Subject, subject};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, period, switch};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("accessor", "The argument is an accessor."),
        period("increment", "The lifetime to ask for, from now on. The server may give less.").alias("i"),
    ],
};

/// Renews a token.
pub static COMMAND: Command = Command {
    path: "token renew",
    synopsis: "Renew a token lease",
    operands: "[options] [TOKEN]",
    about: "\
Lengthens the life of a token, the one in use if none is given.

    $ {bin} token renew -increment=30m",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    let mut body = Map::new();
    body.insert("increment".to_owned(), json!(s.duration("increment").seconds()));
    let request = match subject(s)? {
        Subject::Own => Request::put("auth/token/renew-self").json(&body),
        Subject::Token(token) => {
            body.insert("token".to_owned(), json!(token));
            Request::put("auth/token/renew").json(&body)
        }
        Subject::Accessor(accessor) => {
            body.insert("accessor".to_owned(), json!(accessor));
            Request::post("auth/token/renew-accessor").json(&body)
        }
    };
    match s.secret(&request).doing("renewing token")? {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server("Error renewing token: the server gave no answer".to_owned())),
    }
}
