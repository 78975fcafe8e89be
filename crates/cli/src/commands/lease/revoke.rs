//! `lease revoke ID`.

use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FlagSet, HTTP, switch};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("force", "Forget the lease even if the secret cannot be revoked. Only with -prefix.").alias("f"),
        switch("prefix", "The argument is the beginning of the ids."),
        switch("sync", "Wait until it is done."),
    ],
};

/// Revokes leases.
pub static COMMAND: Command = Command {
    path: "lease revoke",
    synopsis: "Revokes leases and secrets",
    operands: "[options] ID",
    about: "\
Ends a secret before its time.

    $ {bin} lease revoke database/creds/readonly/2f6a614c
    $ {bin} lease revoke -prefix aws/creds/deploy",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let id = s.path(0);
    let (force, prefix, sync) = (s.on("force"), s.on("prefix"), s.on("sync"));
    if force && !prefix {
        return Err(Failure::Local("Specifying -force requires also specifying -prefix".to_owned()));
    }
    let body = json!({ "sync": sync });
    if force {
        s.warn("Warning! Force-removing leases can cause Vault to become out of sync\nwith secret engines!")?;
        s.call(&Request::put(&format!("sys/leases/revoke-force/{id}")))
            .doing(&format!("force revoking leases with prefix {id}"))?;
        s.say(&format!("Success! Force revoked any leases with prefix: {id}"))?;
        return Ok(0);
    }
    let (kind, doing, done) = if prefix {
        ("revoke-prefix", "revoking leases with prefix", format!("Success! Revoked any leases with prefix: {id}"))
    } else {
        ("revoke", "revoking lease", format!("Success! Revoked lease: {id}"))
    };
    s.call(&Request::put(&format!("sys/leases/{kind}/{id}")).json(&body)).doing(&format!("{doing} {id}"))?;
    s.say(if sync { &done } else { "All revocation operations queued successfully!" })?;
    Ok(0)
}
