//! The simulation can fail: each promise that is broken on purpose is noticed within a few seeds, by the invariant that is
//! there for it.

#![expect(clippy::panic, reason = "a test")]

use std::time::Duration;

use sim::disk::Lies;
use sim::options::{Broken, Options};
use sim::run::run;

/// Seeds within which a broken promise has to show.
const SEEDS: u64 = 150;

fn is_noticed(break_it: Broken, signs: &[&str]) {
    for seed in 0..SEEDS {
        let options = Options { break_it, chaos: Duration::from_secs(5), ..Options::of(seed) };
        if let Err(failure) = run(seed, &options) {
            let broken = &failure.broken;
            assert!(signs.iter().any(|sign| broken.contains(sign)), "noticed, but by chance: {failure}");
            return;
        }
    }
    panic!("{break_it:?} is not noticed in {SEEDS} seeds");
}

#[test]
fn an_acknowledgement_before_the_sync() {
    let disk = Lies { sync_is_buffered: true, ..Lies::default() };
    let signs = [
        "but the log has it at",
        "applied an entry of term",
        "does not start",
        "two leaders",
        "was shown entry",
        "has another state",
    ];
    is_noticed(Broken { disk, ..Broken::default() }, &signs);
}

#[test]
fn a_vote_that_is_forgotten() {
    let disk = Lies { forgets_votes: true, ..Lies::default() };
    is_noticed(
        Broken { disk, ..Broken::default() },
        &["two leaders", "is not the same in all logs", "applied an entry of term", "does not heal", "does not start"],
    );
}

#[test]
fn a_state_that_lacks_a_change() {
    let disk = Lies { drops_a_change_every: Some(40), ..Lies::default() };
    is_noticed(Broken { disk, ..Broken::default() }, &["has another state than others", "is not what the log makes of it"]);
}

#[test]
fn a_read_without_a_barrier() {
    is_noticed(Broken { reads_without_barrier: true, ..Broken::default() }, &["had ended at entry", "which was revoked before"]);
}

#[test]
fn a_proposal_that_is_repeated_although_its_fate_is_unknown() {
    is_noticed(Broken { unknown_is_repeated: true, ..Broken::default() }, &["took effect at entries"]);
}

#[test]
fn a_conflict_that_is_told_as_a_success() {
    is_noticed(Broken { conflicts_are_hidden: true, ..Broken::default() }, &["but the log has it at"]);
}

#[test]
fn a_change_that_is_carried_out_in_two_parts() {
    is_noticed(Broken { changes_are_split: true, ..Broken::default() }, &["the twins differ", "took effect at entries"]);
}
