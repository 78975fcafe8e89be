//! The data key's use and age: how often it encrypted, and when it is replaced by itself (contract §2.2).
//!
//! Encryptions are counted in memory and noted in storage now and then, not with each request: a crash loses at most
//! [`UNNOTED_MAX`] of them and what half a second adds, against a bound that is a tenth below the real one of 2^32.

use std::sync::Arc;
use std::time::Duration;

use barrier::{Barrier, RotationConfig, Unsealed};
use parking_lot::Mutex;
use secret::Time;
use serde::{Deserialize, Serialize};
use storage::{TxnError, View};

use crate::core::{CommitError, Core, OpenCore};

/// Where the count is noted.
const ROW: &str = "core/encryptions";
/// Encryptions that may stay without a note. A thousandth of a per mille of what one key may do.
const UNNOTED_MAX: u64 = 1 << 16;
/// A smaller number is noted after this time, so that a restart of a quiet server shows it nearly right.
const NOTE_INTERVAL: Duration = Duration::from_secs(600);
/// How long sealing waits for the last note.
const LAST_NOTE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    term: u32,
    encryptions: u64,
}

/// The note as this node last saw it.
pub(crate) struct Noted(Mutex<(Note, Time)>);

impl Noted {
    /// Takes up the stored note.
    pub(crate) fn load(barrier: &Arc<Barrier<Unsealed>>, now: Time) -> Result<Self, TxnError> {
        Ok(Self(Mutex::new((stored(barrier)?, now))))
    }
}

fn stored(barrier: &Arc<Barrier<Unsealed>>) -> Result<Note, TxnError> {
    let note = View::new(&mut barrier.begin(), "").get_json::<Note>(ROW)?;
    let note = note.map_or(Note { term: 0, encryptions: 0 }, |n| *n);
    barrier.recall_encryptions(note.term, note.encryptions);
    Ok(note)
}

/// Whether a key of this age and use is to be replaced.
fn is_due(rules: RotationConfig, installed: Time, encryptions: u64, now: Time) -> bool {
    let too_old = rules.interval_seconds > 0 && now.since(installed) >= Duration::from_secs(rules.interval_seconds);
    rules.enabled && (encryptions >= rules.max_operations || too_old)
}

/// Replaces the key if it is due, and notes the count if it moved enough. Part of the worker's round on the active node.
pub(crate) async fn carry_on(core: &Core, open: &OpenCore) -> Result<(), CommitError> {
    let now = core.clock.now();
    // Another node may have led and noted more.
    stored(&open.barrier).map_err(|e| CommitError::Work(e.into()))?;
    let ring = open.barrier.keyring();
    let (active, encryptions) = (ring.active(), open.barrier.counts().encryptions);
    if is_due(ring.rotation, active.install_time, encryptions, now) {
        let change = open.barrier.rotate(now, &*core.entropy)?;
        if core.replica.propose(change).await?.committed {
            let term = open.barrier.keyring().active().term;
            tracing::info!(term, encryptions, "the data key was replaced by itself");
        }
        return Ok(());
    }
    let (last, when) = *open.noted.0.lock();
    let unnoted = if last.term == active.term { encryptions.saturating_sub(last.encryptions) } else { encryptions };
    // The note itself is one encryption; alone it is not worth another.
    if unnoted >= UNNOTED_MAX || (unnoted > 1 && now.since(when) >= NOTE_INTERVAL) {
        note(core, open, now).await?;
    }
    Ok(())
}

async fn note(core: &Core, open: &OpenCore, now: Time) -> Result<(), CommitError> {
    let note = Note { term: open.barrier.keyring().active().term, encryptions: open.barrier.counts().encryptions + 1 };
    core.transact(open, |view| Ok(view.put_json(ROW, &note)?)).await?;
    *open.noted.0.lock() = (note, now);
    Ok(())
}

/// The last note before the keys are dropped. Best effort: a leader without a majority cannot write it.
pub(crate) async fn note_finally(core: &Core, open: &OpenCore) {
    let last = open.noted.0.lock().0;
    let (term, encryptions) = (open.barrier.keyring().active().term, open.barrier.counts().encryptions);
    let is_news = last.term != term || encryptions > last.encryptions + 1;
    if !is_news || !*core.replica.leadership().borrow() {
        return;
    }
    match tokio::time::timeout(LAST_NOTE, note(core, open, core.clock.now())).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "the count of encryptions could not be noted"),
        Err(_) => tracing::warn!("the count of encryptions could not be noted in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_by_use_or_age_and_only_if_rotation_is_on() {
        let day = 24 * 3600;
        let rules = |enabled, max_operations, interval_seconds| RotationConfig { enabled, max_operations, interval_seconds };
        for (rules, encryptions, age, due) in [
            (rules(true, 1_000_000, 0), 999_999, 10 * day, false),
            (rules(true, 1_000_000, 0), 1_000_000, 0, true),
            (rules(true, 1_000_000, 1), 0, day - 1, true),
            (rules(true, 1_000_000, 86_400), 0, day - 1, false),
            (rules(true, 1_000_000, 86_400), 0, day, true),
            (rules(false, 1_000_000, 86_400), 2_000_000, 2 * day, false),
        ] {
            let now = Time::from_unix(1_000 + age);
            assert_eq!(is_due(rules, Time::from_unix(1_000), encryptions, now), due, "{rules:?} {encryptions} {age}");
        }
    }
}
