//! A seed is the whole run: the same one gives the same history, to the last message.

#![expect(clippy::panic, reason = "a test")]

use sim::options::Options;
use sim::run::{Report, run};

fn report(seed: u64) -> Report {
    run(seed, &Options::of(seed)).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..20 {
        let first = report(seed);
        assert_eq!(first, report(seed), "seed {seed}");
        assert_ne!(first.digest, report(seed + 1).digest);
    }
}
