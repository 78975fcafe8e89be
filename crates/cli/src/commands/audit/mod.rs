//! Commands for audit devices.

pub mod disable;
pub mod enable;
pub mod list;

use crate::command::Command;

/// The group.
pub static GROUP: Command = Command {
    path: "audit",
    synopsis: "Interact with audit devices",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for audit devices, which record every request and its answer.

    $ {bin} audit enable file file_path=/var/log/audit.log",
    sets: &[],
    run: None,
};
