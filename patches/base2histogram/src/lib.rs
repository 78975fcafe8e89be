//! The part of the `base2histogram` interface that openraft's statistics use, over 65 counters.
//!
//! The crate of this name precomputes tables for sixteen resolutions at the first use of any: 25 MiB that stay for the life of the
//! process, more than everything else an idle server holds. openraft only counts batch sizes with it, and this server shows none of
//! these counts. See docs/decisions/0003. Deliberately absent: finer buckets, slots, interpolation.

use std::fmt;
use std::marker::PhantomData;

/// One bucket for zero and one for each power of two.
const BUCKETS: usize = 65;

/// Counts of values by their power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    mark: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: [0; BUCKETS], mark: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `n` times.
    pub fn record_n(&mut self, value: u64, n: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(n);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The lower bound of the bucket in which `per_mille` thousandths of the values lie below; 0 without values.
    fn quantile(&self, per_mille: u64) -> u64 {
        let wanted = self.total().saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0u64;
        for (bucket, count) in (0u32..).zip(self.counts) {
            seen += count;
            if seen >= wanted {
                return if bucket == 0 { 0 } else { 1u64 << (bucket - 1) };
            }
        }
        0
    }

    /// The usual percentiles, to the precision of a power of two.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.quantile(1),
            p1: self.quantile(10),
            p5: self.quantile(50),
            p10: self.quantile(100),
            p50: self.quantile(500),
            p90: self.quantile(900),
            p99: self.quantile(990),
            p99_9: self.quantile(999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say what they are")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={} p50={} p90={} p99={}", self.samples, self.p50, self.p90, self.p99)
    }
}

/// Named histograms, printed one a line.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// Without histograms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_lower_bounds_of_their_buckets() {
        let mut h = Histogram::<()>::new();
        assert_eq!(h.percentile_stats().p50, 0);
        for value in [0, 1, 2, 3, 4, 5, 6, 7, 8, u64::MAX] {
            h.record(value);
        }
        let stats = h.percentile_stats();
        assert_eq!((stats.samples, stats.p10, stats.p50, stats.p90, stats.p99), (10, 0, 4, 8, 1 << 63));
    }
}
