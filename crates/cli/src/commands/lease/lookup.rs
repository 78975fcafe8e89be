//! `lease lookup ID`.

use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::session::Session;

/// Tells about a lease.
pub static COMMAND: Command = Command {
    path: "lease lookup",
    synopsis: "Lookup the lease of a secret",
    operands: "[options] ID",
    about: "\
Prints when a lease was given and when it ends.

    $ {bin} lease lookup database/creds/readonly/2f6a614c",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let id = s.path(0);
    let answer = s
        .secret(&Request::put("sys/leases/lookup").json(&json!({ "lease_id": id })))
        .doing(&format!("looking up lease id {id}"))?;
    match answer {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server(format!("No lease found: {id}"))),
    }
}
