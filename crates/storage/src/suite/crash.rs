//! Kill -9 at any moment: a child process writes numbered batches and says which were acknowledged; the parent kills it,
//! opens the directory and demands a state that one prefix of the history explains.
//!
//! The child is the test binary itself, started with [`CHILD`] set. Deliberately absent: power loss. A killed process
//! loses nothing the kernel has; lost pages are simulated by [`super::damage`].

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Dice, Model, Outcome, all, ensure, said};
use crate::{Batch, Durability, Space, Store, StoreError};

/// Environment variable that makes a test binary the child; its value is the directory.
pub const CHILD: &str = "STRONGROOM_CRASH_CHILD";

/// Environment variable with the number of kills; [`KILLS`] without it.
pub const KILLS_VARIABLE: &str = "STRONGROOM_KILLS";

/// Kills per engine in the normal test.
pub const KILLS: u64 = 20;

/// Log entries kept; older ones are deleted as a purge does.
const WINDOW: u64 = 50;

/// State keys that the history overwrites in turn.
const SLOTS: u64 = 64;

/// Batch `i` of the history: touches all spaces, overwrites, deletes, and differs in size from a few bytes to 600 KiB.
#[must_use]
pub fn batch(i: u64) -> Batch {
    let mut dice = Dice::new(i);
    let mut body = |limit: u64| {
        let bytes = dice.below(limit);
        dice.bytes(usize::try_from(bytes).unwrap_or(0))
    };
    let mut batch = Batch::default();
    batch.put(Space::Meta, *b"n", i.to_be_bytes());
    batch.put(Space::Log, i.to_be_bytes(), body(2000));
    batch.delete(Space::Log, i.saturating_sub(WINDOW).to_be_bytes());
    batch.put(Space::State, (i % SLOTS).to_be_bytes(), body(if i.is_multiple_of(127) { 600_000 } else { 3000 }));
    if i.is_multiple_of(16) {
        batch.delete(Space::State, (i * 3 % SLOTS).to_be_bytes());
        batch.put(Space::State, (i * 5 % SLOTS).to_be_bytes(), body(9000));
    }
    batch
}

/// What a store holds after batch `n` and nothing after it.
#[must_use]
pub fn state_after(n: u64) -> Model {
    let mut model = Model::default();
    // Every slot is written once in SLOTS batches, every log entry dies after WINDOW: older batches left no trace.
    for i in n.saturating_sub(SLOTS + WINDOW).max(1)..=n {
        model.apply(&batch(i));
    }
    model
}

/// The number of the last batch the store shows, after checking that its whole content is what that batch left.
///
/// # Errors
/// What contradicts.
pub fn verify<S: Store>(store: &S) -> Result<u64, String> {
    let number = store.get(Space::Meta, b"n").map_err(said)?;
    let number = match number.as_deref() {
        None => 0,
        Some(bytes) => u64::from_be_bytes(bytes.try_into().map_err(|_| "the number is no number".to_owned())?),
    };
    state_after(number).compare(|space| all(store, space)).map_err(|why| format!("after batch {number}: {why}"))?;
    Ok(number)
}

/// The child's work: goes on with the history until it is killed. Answers at once when this process is not the child.
///
/// # Errors
/// Whatever the store said.
pub fn child<S: Store>(open: impl Fn(&Path) -> Result<S, StoreError>) -> Outcome {
    let Some(path) = std::env::var_os(CHILD) else { return Ok(()) };
    let mut out = std::io::stdout();
    // The first line break ends the line that the test harness began.
    let mut say = |line: String| write!(out, "\n{line}\n").and_then(|()| out.flush()).map_err(|e| e.to_string());
    say("opening".to_owned())?;
    let store = open(Path::new(&path)).map_err(said)?;
    let mut i = verify(&store)?;
    loop {
        i += 1;
        let durability = if i.is_multiple_of(3) { Durability::Buffered } else { Durability::Synced };
        store.commit(batch(i), durability).map_err(said)?;
        say(format!("acknowledged {i}"))?;
    }
}

/// Kills children that `command` starts (the test binary with the child's test, [`CHILD`] not yet set) and verifies
/// after each kill.
///
/// # Errors
/// The first round whose directory does not open or whose content no prefix explains.
pub fn kills<S: Store>(path: &Path, open: impl Fn(&Path) -> Result<S, StoreError>, command: impl Fn() -> Command) -> Outcome {
    let rounds = std::env::var(KILLS_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut dice = Dice::new(4711);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut command = command();
        let child = command.env(CHILD, path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        // Every fourth child dies while it opens or soon after.
        let lines = if round % 4 == 3 { dice.below(3) + 1 } else { dice.below(150) + 2 };
        acknowledged = acknowledged.max(kill_after(child, lines)?);
        let store = open(path).map_err(|e| format!("kill {round}: the directory does not open: {e}"))?;
        let n = verify(&store).map_err(|why| format!("kill {round}: {why}"))?;
        ensure!(n >= acknowledged, "kill {round}: batch {acknowledged} was acknowledged, the store ends at {n}");
        ensure!(n <= acknowledged + 1, "kill {round}: batch {n} is there, but only {acknowledged} could be");
        acknowledged = n;
    }
    ensure!(acknowledged > 0, "no child ever committed");
    Ok(())
}

/// Lets the child say `lines` lines, kills it, and answers the last batch it acknowledged before it died.
fn kill_after(mut child: Child, lines: u64) -> Result<u64, String> {
    let out = child.stdout.take().ok_or("the child has no output")?;
    let (mut said, mut last, mut ended) = (0, 0, true);
    for line in BufReader::new(out).lines() {
        let line = line.map_err(|e| e.to_string())?;
        if let Some(number) = line.strip_prefix("acknowledged ") {
            last = number.parse().map_err(|_| format!("the child said {line}"))?;
        } else if line != "opening" {
            continue;
        }
        said += 1;
        if said == lines {
            // What it still says between here and its death counts as well: the loop drains the pipe.
            child.kill().map_err(|e| e.to_string())?;
            ended = false;
        }
    }
    child.wait().map_err(|e| e.to_string())?;
    ensure!(!ended, "the child ended by itself after {said} lines");
    Ok(last)
}
