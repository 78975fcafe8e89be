//! `policy fmt PATH`: formats a local file.

use std::fs;

use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::kv_pairs::go_words;
use crate::session::Session;

/// Formats a policy file.
pub static COMMAND: Command = Command {
    path: "policy fmt",
    synopsis: "Formats a policy on disk",
    operands: "[options] PATH",
    about: "\
Puts blanks and lines of a policy file in order. The file is overwritten; no
server is asked.

    $ {bin} policy fmt my-policy.hcl",
    sets: &[],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.arg(0).trim().to_owned();
    let text =
        fs::read_to_string(&path).map_err(|e| Failure::Local(format!("Error reading file: open {path}: {}", go_words(&e))))?;
    let formatted = hcl1::fmt(&text).map_err(|e| Failure::Local(format!("Error formatting file: {e}")))?;
    fs::write(&path, formatted).map_err(|e| Failure::Local(format!("Error writing file: open {path}: {}", go_words(&e))))?;
    s.say(&format!("Success! Formatted policy: {path}"))?;
    Ok(0)
}
