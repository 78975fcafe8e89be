//! Checks that close and reopen a store, and those of its directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Dice, Model, Outcome, all, ensure, put, said};
use crate::{Durability, Space, Store, StoreError};

/// Runs every check below `scratch`, an empty directory. `open` opens or creates the store under a path.
///
/// # Errors
/// The name of the first failing check and what it saw.
pub fn durability<S: Store>(scratch: &Path, open: impl Fn(&Path) -> Result<S, StoreError>) -> Outcome {
    let checks: [Check<S>; 9] = [
        ("all committed batches survive a reopening", survives_reopening),
        ("two cannot open one directory", one_at_a_time),
        ("a newer format is refused", newer_format),
        ("a format file without sense is refused", senseless_format),
        ("files of others are refused", foreign_files),
        ("another engine's directory is refused", other_engine),
        ("nobody else may read", private_files),
        ("an open directory with data is refused", open_directory),
        ("a missing acknowledged commit is noticed", missing_commit),
    ];
    for (i, (name, check)) in checks.into_iter().enumerate() {
        check(&scratch.join(format!("check-{i}")), &open).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

type Check<S> = (&'static str, fn(&Path, &Open<'_, S>) -> Outcome);

type Open<'a, S> = dyn Fn(&Path) -> Result<S, StoreError> + 'a;

fn survives_reopening<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    let mut model = Model::default();
    let mut dice = Dice::new(3);
    for round in 0..6 {
        let store = open(path).map_err(said)?;
        model.compare(|space| all(&store, space)).map_err(|why| format!("round {round}: {why}"))?;
        for _ in 0..60 {
            let batch = dice.batch();
            model.apply(&batch);
            store.commit(batch, if dice.below(8) == 0 { Durability::Synced } else { Durability::Buffered }).map_err(said)?;
        }
        let big = dice.bytes(1 << 20);
        put(&store, Space::State, b"big", &big)?;
        let mut batch = crate::Batch::default();
        batch.put(Space::State, *b"big", big);
        model.apply(&batch);
        if round % 2 == 0 {
            store.sync().map_err(said)?;
        }
        ensure!(store.disk_bytes().map_err(said)? > 0, "a store with data claims to use no disk");
    }
    let store = open(path).map_err(said)?;
    model.compare(|space| all(&store, space))
}

fn one_at_a_time<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    let first = open(path).map_err(said)?;
    match open(path) {
        Err(StoreError::InUse(at)) => ensure!(at == path, "the error names {}", at.display()),
        Err(other) => return Err(format!("the second open said: {other}")),
        Ok(_) => return Err("the second open succeeded".to_owned()),
    }
    put(&first, Space::State, b"k", b"v")?;
    drop(first);
    open(path).map(drop).map_err(said)
}

fn newer_format<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    let engine = prepared(path, open)?;
    write(&path.join("FORMAT"), &format!("strongroom-data 4000000000 {engine}\n"))?;
    match open(path) {
        Err(StoreError::NewerFormat { found: 4_000_000_000, known: 1.., .. }) => Ok(()),
        Err(other) => Err(format!("it said: {other}")),
        Ok(_) => Err("it opened".to_owned()),
    }
}

fn senseless_format<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    let engine = prepared(path, open)?;
    for text in
        ["", "1", "strongroom-data", "strongroom-data x fjall", "strongroom-data 0 fjall", "\u{0}\u{0}\u{0}", "other 1 sled"]
    {
        write(&path.join("FORMAT"), text)?;
        match open(path) {
            Err(StoreError::Corrupt { what, .. }) => ensure!(what.contains("FORMAT"), "the error names {what}"),
            Err(other) => return Err(format!("{text:?}: it said: {other}")),
            Ok(_) => return Err(format!("{text:?}: it opened")),
        }
    }
    fs::write(path.join("FORMAT"), [0xff, 0xfe, 0x00]).map_err(|e| e.to_string())?;
    ensure!(open(path).is_err(), "it opened with a format file that is no text");
    write(&path.join("FORMAT"), &format!("strongroom-data 1 {engine}\n"))?;
    open(path).map(drop).map_err(said)
}

fn foreign_files<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    fs::create_dir(path).map_err(|e| e.to_string())?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    write(&path.join("vault.db"), "someone's data")?;
    match open(path) {
        Err(StoreError::Io { context, .. }) => {
            ensure!(context.contains("vault.db"), "the error does not name the file: {context}")
        }
        Err(other) => return Err(format!("it said: {other}")),
        Ok(_) => return Err("it opened".to_owned()),
    }
    let file = path.join("vault.db");
    ensure!(matches!(open(&file), Err(StoreError::Io { .. })), "it opened a file as a directory");
    fs::remove_file(&file).map_err(|e| e.to_string())?;
    fs::create_dir(path.join("lost+found")).map_err(|e| e.to_string())?;
    open(path).map(drop).map_err(|e| format!("the root of a fresh volume: {e}"))
}

fn other_engine<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    prepared(path, open)?;
    write(&path.join("FORMAT"), "strongroom-data 1 papyrus\n")?;
    match open(path) {
        Err(StoreError::Io { context, .. }) => {
            ensure!(context.contains("papyrus"), "the error does not name the engine: {context}")
        }
        Err(other) => return Err(format!("it said: {other}")),
        Ok(_) => return Err("it opened".to_owned()),
    }
    Ok(())
}

fn private_files<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    rustix::process::umask(rustix::fs::Mode::empty());
    let store = open(path).map_err(said)?;
    let mut dice = Dice::new(5);
    for _ in 0..100 {
        store.commit(dice.batch(), Durability::Synced).map_err(said)?;
    }
    put(&store, Space::State, b"big", &dice.bytes(3 << 20))?;
    drop(store);
    let store = open(path).map_err(said)?;
    let outcome = all_private(path);
    drop(store);
    outcome
}

fn all_private(path: &Path) -> Outcome {
    let metadata = fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    let mode = metadata.permissions().mode() & 0o777;
    let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
    ensure!(mode == wanted, "{} has mode {mode:04o}", path.display());
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(|e| e.to_string())? {
            all_private(&entry.map_err(|e| e.to_string())?.path())?;
        }
    }
    Ok(())
}

fn open_directory<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    let chmod = |mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| e.to_string());
    fs::create_dir(path).map_err(|e| e.to_string())?;
    chmod(0o755)?;
    open(path).map(drop).map_err(|e| format!("an empty directory of our own is made private, not refused: {e}"))?;
    let mode = fs::metadata(path).map_err(|e| e.to_string())?.permissions().mode() & 0o777;
    ensure!(mode == 0o700, "an empty directory was left at {mode:04o}");
    for mode in [0o755, 0o701, 0o777, 0o704] {
        chmod(mode)?;
        match open(path) {
            Err(StoreError::Io { context, source }) => {
                ensure!(source.kind() == std::io::ErrorKind::PermissionDenied, "the kind is {}", source.kind());
                ensure!(context.contains(&format!("{mode:04o}")), "the error does not name the mode: {context}");
            }
            Err(other) => return Err(format!("it said: {other}")),
            Ok(_) => return Err(format!("it opened with mode {mode:04o}")),
        }
    }
    chmod(0o2770)?;
    open(path).map(drop).map_err(|e| format!("the mode that Kubernetes gives with fsGroup: {e}"))
}

fn missing_commit<S: Store>(path: &Path, open: &Open<'_, S>) -> Outcome {
    let store = open(path).map_err(said)?;
    let mut dice = Dice::new(9);
    for _ in 0..5 {
        store.commit(dice.batch(), Durability::Synced).map_err(said)?;
    }
    drop(store);
    let mark = path.join("SYNCED");
    let truth = fs::read(&mark).map_err(|e| e.to_string())?;
    ensure!(truth.get(..8) == Some(&5_u64.to_be_bytes()), "the mark after five synced commits is {truth:?}");
    let promise =
        |n: u64| fs::write(&mark, [n.to_be_bytes(), n.to_be_bytes(), (!n).to_be_bytes()].concat()).map_err(|e| e.to_string());
    promise(6)?;
    match open(path) {
        Err(StoreError::Corrupt { detail, .. }) => {
            ensure!(detail.contains("rejoin") && detail.contains("acknowledged"), "the error does not say what to do: {detail}");
        }
        Err(other) => return Err(format!("it said: {other}")),
        Ok(_) => return Err("it opened".to_owned()),
    }
    promise(4)?;
    open(path).map(drop).map_err(|e| format!("an older mark is what a power loss leaves: {e}"))?;
    for garbage in [&b""[..], b"short", &[0xff; 24]] {
        fs::write(&mark, garbage).map_err(|e| e.to_string())?;
        open(path).map(drop).map_err(|e| format!("a mark without sense is no evidence: {e}"))?;
    }
    Ok(())
}

/// Creates a store with something in it, closes it, and answers its engine's name.
fn prepared<S: Store>(path: &Path, open: &Open<'_, S>) -> Result<&'static str, String> {
    let store = open(path).map_err(said)?;
    put(&store, Space::State, b"k", b"v")?;
    Ok(store.engine())
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| e.to_string())
}
