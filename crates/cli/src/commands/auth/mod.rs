//! Commands for auth methods.

pub mod disable;
pub mod enable;
pub mod help;
pub mod list;
pub mod shift;
pub mod tune;

use crate::command::Command;

/// The group.
pub static GROUP: Command = Command {
    path: "auth",
    synopsis: "Interact with auth methods",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for auth methods: where they are mounted, and their settings. To log in
with one, see \"{bin} login\".

    $ {bin} auth list
    $ {bin} auth enable userpass",
    sets: &[],
    run: None,
};
