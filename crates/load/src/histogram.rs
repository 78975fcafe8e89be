//! Times of answers in buckets that are at most 1.6% wide: constant memory, no sorting.
//! Absent on purpose: means. A mean hides what p99 tells.

use std::time::Duration;

/// Sub-buckets of each power of two, as a power of two.
const FINENESS: u32 = 6;

/// One bucket for each value below 2^7, then 64 for each further power of two up to 2^63.
const BUCKETS: usize = 128 + 57 * 64;

/// Counts of answers by time.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, longest_ns: 0 }
    }
}

impl Histogram {
    /// Counts one answer.
    pub fn record(&mut self, taken: Duration) {
        let ns = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count += 1;
        }
        self.total += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// Answers counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest time, in microseconds.
    pub fn longest_us(&self) -> f64 {
        micros(self.longest_ns)
    }

    /// The time, in microseconds, within which `per_mille` of 1,000 answers came; 0 when there are none.
    pub fn quantile_us(&self, per_mille: u64) -> f64 {
        let rank = self.total.saturating_mul(per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return micros(floor_of(index).min(self.longest_ns));
            }
        }
        0.0
    }
}

fn bucket(ns: u64) -> usize {
    let power = 63 - ns.max(1).leading_zeros();
    if power <= FINENESS {
        return usize::try_from(ns).unwrap_or(usize::MAX);
    }
    let shift = power - FINENESS;
    // The top bit is always set, so `ns >> shift` is 64 to 127.
    let within = (ns >> shift) & 63;
    let index = 128 + u64::from(shift - 1) * 64 + within;
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Smallest value of a bucket.
fn floor_of(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    if index < 128 {
        return index;
    }
    let (shift, within) = ((index - 128) / 64 + 1, (index - 128) % 64);
    (64 + within) << shift
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits of nanoseconds are 100 days")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        for us in 1..=1_000_u64 {
            histogram.record(Duration::from_micros(us));
        }
        assert_eq!(histogram.total(), 1_000);
        for (per_mille, expected) in [(500, 500.0), (990, 990.0), (1_000, 1_000.0)] {
            let got = histogram.quantile_us(per_mille);
            assert!((got - expected).abs() <= expected * 0.016, "{per_mille}: {got}");
        }
        assert!((histogram.longest_us() - 1_000.0).abs() < f64::EPSILON);
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert!(Histogram::default().quantile_us(990).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_within_1_6_percent(ns in any::<u64>()) {
            let index = bucket(ns);
            prop_assert!(index < BUCKETS);
            let floor = floor_of(index);
            prop_assert!(floor <= ns && ns - floor <= floor / 64 + 1, "{} {} {}", ns, index, floor);
        }

        #[test]
        fn merged_is_as_if_recorded_together(left in proptest::collection::vec(any::<u32>(), 0..50), right in proptest::collection::vec(any::<u32>(), 0..50)) {
            let of = |times: &[u32]| times.iter().fold(Histogram::default(), |mut all, ns| {
                all.record(Duration::from_nanos(u64::from(*ns)));
                all
            });
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let together = of(&[left, right].concat());
            prop_assert_eq!(merged.counts, together.counts);
            prop_assert_eq!((merged.total, merged.longest_ns), (together.total, together.longest_ns));
        }
    }
}
