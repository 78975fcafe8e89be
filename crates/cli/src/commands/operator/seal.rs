//! `operator seal` and `operator step-down`.

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::HTTP;
use crate::session::Session;

/// Seals a server.
pub static SEAL: Command = Command {
    path: "operator seal",
    synopsis: "Seals the Vault server",
    operands: "[options]",
    about: "\
Makes the server forget its keys. Nothing can be read until it is unsealed.

    $ {bin} operator seal",
    sets: &[&HTTP],
    run: Some(seal),
};

/// Hands the active role over.
pub static STEP_DOWN: Command = Command {
    path: "operator step-down",
    synopsis: "Forces Vault to resign active duty",
    operands: "[options]",
    about: "\
Makes the active node of a cluster step down. It may well be elected again.

    $ {bin} operator step-down",
    sets: &[&HTTP],
    run: Some(step_down),
};

fn seal(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    s.call(&Request::put("sys/seal")).doing("sealing")?;
    s.say("Success! Vault is sealed.")?;
    Ok(0)
}

fn step_down(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    s.call(&Request::put("sys/step-down")).doing("stepping down")?;
    let address = s.address()?;
    s.say(&format!("Success! Stepped down: {address}"))?;
    Ok(0)
}
