//! How one run differs from another, beside its seed.

use std::time::Duration;

use crate::disk::Lies;
use crate::random::Random;

/// Lengths and sizes of one run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long things go wrong.
    pub chaos: Duration,
    /// Faults in that time.
    pub faults: usize,
    /// Clients at a time.
    pub clients: usize,
    /// Entries that a node keeps behind a snapshot.
    pub trailing_logs: u64,
    /// Entries between two snapshots.
    pub snapshot_threshold: u64,
    /// Promises that are broken on purpose, to see that the invariants notice.
    pub break_it: Broken,
}

/// Promises that the world breaks on purpose. All are kept by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    /// Those of the disk.
    pub disk: Lies,
    /// Clients read without a read barrier.
    pub reads_without_barrier: bool,
    /// A client repeats a proposal whose fate is unknown.
    pub unknown_is_repeated: bool,
    /// A conflict is told as a success.
    pub conflicts_are_hidden: bool,
    /// A change of two rows is proposed as two changes.
    pub changes_are_split: bool,
}

impl Options {
    /// What a seed implies.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0971_00a5);
        // Small, so that followers that were away get a snapshot.
        let snapshot_threshold = random.between(15, 120);
        Self {
            chaos: Duration::from_millis(random.between(4_000, 9_000)),
            faults: random.index(14) + 4,
            clients: random.index(6) + 4,
            trailing_logs: random.between(2, snapshot_threshold.max(3)),
            snapshot_threshold,
            break_it: Broken::default(),
        }
    }
}
