//! The data key's use and age: how often it encrypted, and when it is replaced by itself (contract §2.2).
//!
//! Encryptions are counted in memory by each node and added to one note in storage now and then, not with each request: a crash
//! loses at most [`UNNOTED_MAX`] of them and what half a second adds, against a bound that is a tenth below the real one of 2^32.

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

/// When this node last noted.
pub(crate) struct Noted(Mutex<Time>);

impl Noted {
    /// Takes up the stored note.
    pub(crate) fn load(barrier: &Arc<Barrier<Unsealed>>, now: Time) -> Result<Self, TxnError> {
        stored(barrier)?;
        Ok(Self(Mutex::new(now)))
    }
}

fn stored(barrier: &Arc<Barrier<Unsealed>>) -> Result<(), TxnError> {
    if let Some(note) = View::new(&mut barrier.begin(), "").get_json::<Note>(ROW)? {
        barrier.recall_encryptions(note.term, note.encryptions);
    }
    Ok(())
}

/// Whether a key of this age and use is to be replaced.
fn is_due(rules: RotationConfig, installed: Time, encryptions: u64, now: Time) -> bool {
    let too_old = rules.interval_seconds > 0 && now.since(installed) >= Duration::from_secs(rules.interval_seconds);
    rules.enabled && (encryptions >= rules.max_operations || too_old)
}

/// One round of the worker: the leader replaces the key if it is due, and every node adds to the count what it has encrypted.
pub(crate) async fn carry_on(core: &Core, open: &OpenCore) -> Result<(), CommitError> {
    let now = core.clock.now();
    // Another node may have noted more.
    stored(&open.barrier).map_err(|e| CommitError::Work(e.into()))?;
    let ring = open.barrier.keyring();
    let (active, encryptions) = (ring.active(), open.barrier.counts().encryptions);
    if core.leads() && is_due(ring.rotation, active.install_time, encryptions, now) {
        let change = open.barrier.rotate(now, &*core.entropy)?;
        if core.replica.propose(change).await?.committed {
            let term = open.barrier.keyring().active().term;
            tracing::info!(term, encryptions, "the data key was replaced by itself");
        }
        return Ok(());
    }
    let (_, unnoted) = open.barrier.unnoted_encryptions();
    // The note itself is one encryption; alone it is not worth another.
    if unnoted >= UNNOTED_MAX || (unnoted > 1 && now.since(*open.noted.0.lock()) >= NOTE_INTERVAL) {
        note(core, open, now).await?;
    }
    Ok(())
}

/// Adds this node's share to the count that all nodes have in common.
async fn note(core: &Core, open: &OpenCore, now: Time) -> Result<(), CommitError> {
    let (term, unnoted) = open.barrier.unnoted_encryptions();
    let own = unnoted + 1;
    let work = |view: &mut View<'_>| {
        let last = view.get_json::<Note>(ROW)?.map(|n| *n).filter(|n| n.term >= term);
        let Note { term: of, encryptions: earlier } = last.unwrap_or(Note { term, encryptions: 0 });
        if of > term {
            // The key was replaced meanwhile; what the old one did is of no interest any more.
            return Ok(None);
        }
        let total = earlier.saturating_add(own);
        view.put_json(ROW, &Note { term, encryptions: total })?;
        Ok(Some(total))
    };
    if let Some(total) = core.transact(open, work).await? {
        open.barrier.noted_encryptions(term, own, total);
    }
    *open.noted.0.lock() = now;
    Ok(())
}

/// The last note before the keys are dropped. Best effort: without a majority nothing can be written.
pub(crate) async fn note_finally(core: &Core, open: &OpenCore) {
    if open.barrier.unnoted_encryptions().1 <= 1 {
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
