//! Commands for leases.

pub mod lookup;
pub mod renew;
pub mod revoke;

use crate::command::Command;

/// The group.
pub static GROUP: Command = Command {
    path: "lease",
    synopsis: "Interact with leases",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for leases, the life of secrets that were made for somebody.

    $ {bin} lease renew database/creds/readonly/2f6a614c",
    sets: &[],
    run: None,
};
