//! Commands for integrated storage.

pub mod autopilot;
pub mod inspect;
pub mod join;
pub mod peers;
pub mod recover;
pub mod snapshot;
mod snapshot_file;

use crate::command::Command;

/// The group.
pub static GROUP: Command = Command {
    path: "operator raft",
    synopsis: "Interact with Vault's raft storage backend",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for a cluster that keeps its data itself.

    $ {bin} operator raft list-peers
    $ {bin} operator raft snapshot save backup.snap",
    sets: &[],
    run: None,
};

/// The group of snapshots.
pub static SNAPSHOT: Command = Command {
    path: "operator raft snapshot",
    synopsis: "Restores and saves snapshots from the Raft cluster",
    operands: "<subcommand> [options] [args]",
    about: "Saves, restores and inspects snapshots of all data.",
    sets: &[],
    run: None,
};

/// The group of autopilot.
pub static AUTOPILOT: Command = Command {
    path: "operator raft autopilot",
    synopsis: "Interact with Vault's raft autopilot",
    operands: "<subcommand> [options] [args]",
    about: "Reads and sets what keeps the cluster healthy by itself.",
    sets: &[],
    run: None,
};
