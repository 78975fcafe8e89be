//! `operator raft recover`, as help and completion show it. It opens the data itself, so the server's program answers it before it comes
//! here.

use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::flags::{FlagSet, switch, text};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        text("config", "The server's configuration file or directory."),
        switch("dry-run", "Only show what would be changed."),
        text("peers", "File with the members from now on, in the form of peers.json."),
    ],
};

/// Gives a cluster without a majority a new membership.
pub static COMMAND: Command = Command {
    path: "operator raft recover",
    synopsis: "Recovers a cluster that has lost its majority, from one stopped node",
    operands: "[options]",
    about: "\
Makes this node, whose server must be stopped, the only member of its cluster.

    $ {bin} operator raft recover -config=/etc/strongroom/config.hcl -dry-run",
    sets: &[&OPTIONS],
    run: Some(run),
};

fn run(_: &mut Session<'_, '_>) -> Outcome {
    Err(Failure::Local("This command needs the server's program, which opens the data itself".to_owned()))
}
