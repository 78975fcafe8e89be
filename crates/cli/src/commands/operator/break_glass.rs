//! `operator break-glass`: what there is of break-glass shares, and taking them back.
//!
//! Deliberately absent: issuing (`operator init`, `operator rekey -target=break-glass`) and using them (`operator unseal`).

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, switch};
use crate::session::Session;

static OPTIONS: FlagSet =
    FlagSet { title: "Command Options", flags: &[switch("revoke", "Take the shares back: they open nothing any more.")] };

/// Shows or takes back.
pub static COMMAND: Command = Command {
    path: "operator break-glass",
    synopsis: "Shows or revokes break-glass shares",
    operands: "[options]",
    about: "\
Tells whether there are shares that open the server without its seal, since when,
and when they were used last. With -revoke they are taken back. They are made by
\"operator init -break-glass-shares\" or \"operator rekey -target=break-glass\".

    $ {bin} operator break-glass
    $ {bin} operator break-glass -revoke",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    if s.on("revoke") {
        s.call(&Request::delete("sys/break-glass")).doing("revoking break-glass shares")?;
        s.say("Success! Break-glass shares revoked (if there were any)")?;
        return Ok(0);
    }
    let answer = s.secret(&Request::get("sys/break-glass")).doing("reading the state of break-glass shares")?;
    let Some(secret) = answer else { return Err(Failure::Server("The server tells nothing of break-glass shares".to_owned())) };
    s.show_secret(&secret)
}
