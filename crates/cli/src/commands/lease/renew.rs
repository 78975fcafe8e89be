//! `lease renew ID`.

use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, period};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[period("increment", "The lifetime to ask for, from now on. The server may give less.").alias("i")],
};

/// Renews a lease.
pub static COMMAND: Command = Command {
    path: "lease renew",
    synopsis: "Renews the lease of a secret",
    operands: "[options] ID",
    about: "\
Lengthens the life of a secret.

    $ {bin} lease renew -increment=1h database/creds/readonly/2f6a614c",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let id = s.path(0);
    let body = json!({ "lease_id": id, "increment": s.duration("increment").seconds() });
    match s.secret(&Request::put("sys/leases/renew").json(&body)).doing(&format!("renewing lease: {id}"))? {
        Some(secret) => s.show_secret(&secret),
        None => Ok(0),
    }
}
