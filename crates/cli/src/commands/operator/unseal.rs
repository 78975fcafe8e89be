//! `operator unseal [KEY]`.

use client::Request;
use serde_json::json;

use super::share;
use crate::command::Command;
use crate::commands::basic::status::{self, SealStatus};
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("reset", "Forget the shares that were given so far."),
        switch("break-glass", "The share is a break-glass share: the seal is not asked. Must be given with every share."),
        switch("migrate", "The share is for a migration to another seal. Must be given with every share."),
    ],
};

/// Unseals a server.
pub static COMMAND: Command = Command {
    path: "operator unseal",
    synopsis: "Unseals the Vault server",
    operands: "[options] [KEY]",
    about: "\
Gives one share of the key to a sealed server. When enough were given it opens.
The share is asked for, without echo, if it is not an argument; \"-\" reads it from
standard input.

    $ {bin} operator unseal",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_most(1)?;
    if s.on("reset") {
        let status: SealStatus = s
            .json(&Request::put("sys/unseal").without_token().json(&json!({ "reset": true })))
            .doing("resetting unseal process")?;
        status::show(s, status)?;
        return Ok(0);
    }
    let key = share(s, 0, "Unseal Key (will be hidden): ")?;
    if key.is_empty() {
        return Err(Failure::Local("Unseal key must not be empty".to_owned()));
    }
    let mut body = json!({ "key": key.expose(), "reset": false, "migrate": s.on("migrate") });
    if let (true, Some(members)) = (s.on("break-glass"), body.as_object_mut()) {
        members.insert("break_glass".into(), true.into());
    }
    let status: SealStatus = s.json(&Request::put("sys/unseal").without_token().json(&body)).doing("unsealing")?;
    status::show(s, status)?;
    Ok(0)
}
