//! Commands for those who run a server.

pub mod break_glass;
pub mod diagnose;
pub mod generate_root;
pub mod init;
pub mod keys;
pub mod members;
mod pgp;
pub mod rekey;
pub mod seal;
pub mod unseal;

use crate::command::Command;
use crate::exit::Failure;
use crate::flags::{Flag, list};
use crate::session::Session;

/// The group.
pub static GROUP: Command = Command {
    path: "operator",
    synopsis: "Perform operator-specific tasks",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for those who run a server: keys, seals, and the cluster.

    $ {bin} operator init
    $ {bin} operator unseal",
    sets: &[],
    run: None,
};

pub(super) const PGP_KEYS: Flag = list(
    "pgp-keys",
    "Files with OpenPGP public keys, one for each share, in the order of the shares; with commas or given more than once. Each share is encrypted for its key.",
);

/// A key share from the argument, from standard input (`-`), or asked for.
pub(super) fn share(s: &mut Session<'_, '_>, index: usize, question: &str) -> Result<secret::SecretString, Failure> {
    match s.arg(index) {
        word if word == "-" => Ok(secret::SecretString::from(s.stdin()?.trim())),
        word if !word.is_empty() => Ok(secret::SecretString::from(word.trim())),
        _ => s.ask_hidden(question).map_err(|failure| match failure {
            Failure::Local(cause) => Failure::Local(format!(
                "An error occurred attempting to ask for an unseal key. The raw error message\nis shown below, but usually this is \
                 because you attempted to pipe a value\ninto the unseal command or you are executing outside of a terminal (tty). \
                 You\nshould run the command from a terminal for maximum security. If this is not\nan option, the unseal key can be \
                 provided as the first argument to the\ncommand. The raw error was:\n\n{cause}"
            )),
            other => other,
        }),
    }
}
