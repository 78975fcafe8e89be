//! `delete PATH [K=V...]`.

use client::Request;

use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::flags::{FIELD_FORMAT, HTTP};
use crate::kv_pairs;
use crate::render::Format;
use crate::session::Session;

/// Deletes a path.
pub static COMMAND: Command = Command {
    path: "delete",
    synopsis: "Delete secrets and configuration",
    operands: "[options] PATH",
    about: "\
Deletes what is at a path. It is no error if nothing is there.

    $ {bin} delete pki/roles/web",
    sets: &[&HTTP, &FIELD_FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_least(1)?;
    let path = s.path(0);
    let words: Vec<String> = s.args.iter().skip(1).cloned().collect();
    let data =
        kv_pairs::parse_texts(&words, s.host.input).map_err(|e| Failure::Local(format!("Failed to parse K=V data: {e}")))?;
    let request = data.iter().fold(Request::delete(&path), |r, (k, v)| r.param(k, v));
    match s.change(&request, &format!("deleting {path}"))? {
        Some(secret) if s.format != Format::Table || !s.text("field").is_empty() => s.show_secret(&secret),
        answer => {
            s.say(&format!("Success! Data deleted (if it existed) at: {path}"))?;
            match answer.filter(|a| !a.is_empty() || !a.warnings().is_empty()) {
                Some(secret) => s.show_secret(&secret),
                None => Ok(0),
            }
        }
    }
}
