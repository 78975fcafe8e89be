//! Commands for secrets engines.

pub mod disable;
pub mod enable;
pub mod list;
pub mod shift;
pub mod tune;

use crate::command::Command;

/// The group.
pub static GROUP: Command = Command {
    path: "secrets",
    synopsis: "Interact with secrets engines",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for secrets engines: where they are mounted, and their settings.

    $ {bin} secrets list
    $ {bin} secrets enable -path=secret kv-v2",
    sets: &[],
    run: None,
};
