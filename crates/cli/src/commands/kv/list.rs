//! `kv list PATH`.

use client::Request;

use super::{MOUNT, Target};
use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::session::Session;

/// Lists keys.
pub static COMMAND: Command = Command {
    path: "kv list",
    synopsis: "List data or secrets",
    operands: "[options] PATH",
    about: "\
Lists the keys below a path. Names that end in a slash have more below them.

    $ {bin} kv list -mount=secret my-app/",
    sets: &[&HTTP, &FORMAT, &MOUNT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    // With -mount, no argument means the mount itself.
    if s.text("mount").is_empty() {
        s.expect(1)?;
    } else {
        s.expect_at_most(1)?;
    }
    let path = Target::of(s)?.at("metadata");
    let answer = s.secret(&Request::list(&path)).doing(&format!("listing {path}"))?;
    s.show_list(answer.as_ref(), &path)
}
