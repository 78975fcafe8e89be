//! Commands for policies.

pub mod delete;
pub mod fmt;
pub mod list;
pub mod read;
pub mod write;

use crate::command::Command;

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
