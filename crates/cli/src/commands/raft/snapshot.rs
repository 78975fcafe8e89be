//! `operator raft snapshot save FILE` and `restore FILE`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use client::Request;

use super::snapshot_file;
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FlagSet, HTTP, switch};
use crate::session::Session;

static RESTORE_OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[switch("force", "Restore a snapshot of another cluster too; it is unsealed with that one's keys then.").alias("f")],
};

/// Saves a snapshot.
pub static SAVE: Command = Command {
    path: "operator raft snapshot save",
    synopsis: "Saves a snapshot of the current state of the Raft cluster into a file",
    operands: "<snapshot_file>",
    about: "\
Saves all data, encrypted as it is stored, into a file.

    $ {bin} operator raft snapshot save raft.snap",
    sets: &[&HTTP],
    run: Some(save),
};

/// Restores a snapshot.
pub static RESTORE: Command = Command {
    path: "operator raft snapshot restore",
    synopsis: "Installs the provided snapshot, returning the cluster to the state defined in it",
    operands: "[options] <snapshot_file>",
    about: "\
Replaces all data by those of a snapshot.

    $ {bin} operator raft snapshot restore raft.snap",
    sets: &[&HTTP, &RESTORE_OPTIONS],
    run: Some(restore),
};

/// The file appears under its name only when it is whole.
fn save(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = s.arg(0).trim().to_owned();
    if path.is_empty() {
        return Err(Failure::Local("Output file name is required".to_owned()));
    }
    let partial = PathBuf::from(format!("{path}.unverified"));
    let local = |what: &str, e: &dyn std::fmt::Display| Failure::Server(format!("Error {what}: {e}"));
    // What an earlier failure left; a link that somebody put there is removed, not followed.
    let _ = fs::remove_file(&partial);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(|e| local("opening output file", &e))?;
    let request = Request::get("sys/storage/raft/snapshot").untimed();
    let outcome = s.stream_out(&request, Some(&mut file)).doing("taking the snapshot").and_then(|()| {
        file.flush().and_then(|()| file.sync_all()).map_err(|e| local("closing output file", &e))?;
        snapshot_file::check(&partial).map_err(|e| local("taking the snapshot", &e))
    });
    match outcome {
        Ok(()) => fs::rename(&partial, &path).map_err(|e| local("renaming the snapshot", &e))?,
        Err(failure) => {
            // What is left is of no use to anybody; that it stays behind would be no worse than the failure itself.
            let _ = fs::remove_file(&partial);
            return Err(failure);
        }
    }
    Ok(0)
}

fn restore(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let path = PathBuf::from(s.arg(0).trim());
    if !path.is_file() {
        return Err(Failure::Server(format!("Error opening snapshot file: open {}: no such file or directory", path.display())));
    }
    let target = if s.on("force") { "sys/storage/raft/snapshot-force" } else { "sys/storage/raft/snapshot" };
    s.call(&Request::post(target).untimed().file(path)).doing("installing the snapshot")?;
    Ok(0)
}
