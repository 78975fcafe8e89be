//! Commands for policies.

pub mod delete;
pub mod explain;
pub mod fmt;
pub mod lint;
pub mod list;
pub mod read;
pub mod write;

use crate::command::Command;
use crate::exit::Failure;
use crate::kv_pairs::go_words;
use crate::session::Session;

/// The group.
pub static GROUP: Command = Command {
    path: "policy",
    synopsis: "Interact with policies",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for policies, which say who may do what.

    $ {bin} policy list
    $ {bin} policy write my-policy my-policy.hcl",
    sets: &[],
    run: None,
};

/// A policy's name as the server keeps it.
fn name(word: &str) -> String {
    word.trim().to_lowercase()
}

/// The policy text in the file that the argument at `index` names, or on standard input (`-`).
fn text_of(s: &mut Session<'_, '_>, index: usize) -> Result<String, Failure> {
    let path = s.arg(index).trim().to_owned();
    if path == "-" {
        return s.stdin();
    }
    std::fs::read_to_string(&path)
        .map_err(|e| Failure::Server(format!("Error opening policy file: open {path}: {}", go_words(&e))))
}
