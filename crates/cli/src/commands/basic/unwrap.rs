//! `unwrap [TOKEN]`.

use client::Request;
use secret::SecretString;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, HTTP};
use crate::session::Session;

/// Opens a wrapped answer.
pub static COMMAND: Command = Command {
    path: "unwrap",
    synopsis: "Unwrap a wrapped secret",
    operands: "[options] [TOKEN]",
    about: "\
Reads what is wrapped in a token, which is used up by that. Without an argument
the token of the environment is taken to be the wrapping token.

    $ {bin} unwrap hvs.EXAMPLE",
    sets: &[&HTTP, &FIELD_FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_most(1)?;
    let request = Request::put("sys/wrapping/unwrap").without_wrapping();
    let wrapping = s.arg(0);
    let own = s.token()?;
    let request = match (wrapping.is_empty(), own) {
        (true, _) => request,
        // The wrapping token is a credential for this one path, so nobody needs a token of their own.
        (false, None) => request.with_token(SecretString::new(wrapping)),
        (false, Some(own)) if own.ct_eq(&wrapping) => request,
        (false, Some(_)) => request.json(&serde_json::json!({ "token": wrapping })),
    };
    match s.secret(&request).doing("unwrapping")? {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server("Could not find wrapped response".to_owned())),
    }
}
