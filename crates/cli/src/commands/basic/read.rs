//! `read PATH [K=V...]`.

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, HTTP};
use crate::kv_pairs;
use crate::render::Format;
use crate::session::Session;

/// Reads a path.
pub static COMMAND: Command = Command {
    path: "read",
    synopsis: "Read data and retrieves secrets",
    operands: "[options] PATH [DATA K=V...]",
    about: "\
Reads the data at a path: a secret, generated credentials, or a setting.
For secrets with versions, \"kv get\" is more comfortable.

    $ {bin} read cubbyhole/my-secret",
    sets: &[&HTTP, &FIELD_FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_least(1)?;
    let path = s.path(0);
    let words: Vec<String> = s.args.iter().skip(1).cloned().collect();
    let data =
        kv_pairs::parse_texts(&words, s.host.input).map_err(|e| Failure::Local(format!("Failed to parse K=V data: {e}")))?;
    let request = data.iter().fold(Request::get(&path), |r, (k, v)| r.param(k, v));
    let doing = format!("reading {path}");
    if s.format == Format::Raw {
        let reply = s.call(&request).doing(&doing)?;
        s.host.output.out.write_all(&reply.body)?;
        return Ok(0);
    }
    match s.secret(&request).doing(&doing)? {
        Some(secret) => s.show_secret(&secret),
        None => Err(Failure::Server(format!("No value found at {path}"))),
    }
}
