//! The arithmetic of one client under one rule: so many requests in an interval that begins with the first.

use std::time::Duration;

use secret::Time;

use crate::RateLimit;

/// What a client has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start: Time,
    used: u64,
    /// Refused until then, whatever the interval says.
    blocked: Option<Time>,
}

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether there was room.
    pub allowed: bool,
    /// Requests an interval.
    pub limit: u64,
    /// Requests left in this interval.
    pub remaining: u64,
    /// Until there is room again.
    pub reset: Duration,
}

impl Window {
    /// An unused window that begins now.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { start: now, used: 0, blocked: None }
    }

    /// Takes one request, if there is room.
    pub fn take(&mut self, rule: &RateLimit, now: Time) -> Verdict {
        self.roll(rule, now);
        let limit = rule.limit();
        let allowed = self.blocked.is_none() && self.used < limit;
        if allowed {
            self.used += 1;
        } else if self.blocked.is_none() && rule.block_seconds > 0 {
            self.blocked = Some(now.plus(Duration::from_secs(rule.block_seconds)));
        }
        self.verdict(rule, now, allowed)
    }

    /// What [`Self::take`] would answer, without taking.
    #[must_use]
    pub fn look(mut self, rule: &RateLimit, now: Time) -> Verdict {
        self.roll(rule, now);
        let allowed = self.blocked.is_none() && self.used < rule.limit();
        self.verdict(rule, now, allowed)
    }

    /// When it is as good as unused.
    #[must_use]
    pub fn ends(&self, rule: &RateLimit) -> Time {
        let end = self.start.plus(rule.interval());
        self.blocked.map_or(end, |b| b.max(end))
    }

    /// Begins anew when the interval or the block is over. A clock that goes back changes nothing.
    fn roll(&mut self, rule: &RateLimit, now: Time) {
        if self.blocked.is_some_and(|until| now < until) {
            return;
        }
        if self.blocked.take().is_some() {
            *self = Self::new(now);
        }
        if now >= self.start.plus(rule.interval()) {
            *self = Self::new(now);
        }
    }

    fn verdict(&self, rule: &RateLimit, now: Time, allowed: bool) -> Verdict {
        let remaining = if self.blocked.is_some() { 0 } else { rule.limit().saturating_sub(self.used) };
        let reset = self.blocked.unwrap_or_else(|| self.start.plus(rule.interval())).since(now);
        Verdict { allowed, limit: rule.limit(), remaining, reset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(rate: f64, interval_seconds: u64, block_seconds: u64) -> RateLimit {
        RateLimit { scope: crate::Scope::default(), rate, interval_seconds, block_seconds, inheritable: true }
    }

    fn at(ms: u64) -> Time {
        Time::from_unix(1_000).plus(Duration::from_millis(ms))
    }

    #[test]
    fn as_many_as_the_rate_says_in_each_interval() {
        let rule = rule(3.5, 10, 0);
        let mut w = Window::new(at(0));
        for (ms, allowed, remaining) in [
            (0, true, 3),
            (1, true, 2),
            (2, true, 1),
            (3, true, 0),
            (4, false, 0),
            (9_999, false, 0),
            (10_000, true, 3),
            (25_000, true, 3),
            (25_001, true, 2),
        ] {
            let v = w.take(&rule, at(ms));
            assert_eq!((v.allowed, v.remaining, v.limit), (allowed, remaining, 4), "{ms}");
        }
        assert_eq!(w.take(&rule, at(26_000)).reset, Duration::from_secs(9));
    }

    #[test]
    fn going_over_the_limit_blocks_for_longer_than_the_interval() {
        let rule = rule(1.0, 1, 60);
        let mut w = Window::new(at(0));
        assert!(w.take(&rule, at(0)).allowed);
        assert!(!w.take(&rule, at(500)).allowed);
        let v = w.take(&rule, at(2_000));
        assert!(!v.allowed);
        assert_eq!(v.reset, Duration::from_millis(58_500));
        // Asking while blocked does not lengthen it.
        assert!(!w.take(&rule, at(60_499)).allowed);
        assert!(w.take(&rule, at(60_500)).allowed);
    }

    #[test]
    fn a_fast_client_within_the_limit_is_not_blocked() {
        let rule = rule(1.0, 1, 60);
        let mut w = Window::new(at(0));
        for second in 0..5 {
            assert!(w.take(&rule, at(second * 1_000)).allowed);
        }
    }

    #[test]
    fn odd_rates_mean_at_least_one() {
        assert_eq!(rule(0.0001, 1, 0).limit(), 1);
        assert_eq!(rule(1e300, 1, 0).limit(), u64::MAX);
        assert_eq!(rule(1.0, 0, 0).interval(), Duration::from_secs(1));
    }

    proptest! {
        /// In no interval that begins with a taken request are there more than the limit, whatever the times.
        #[test]
        fn never_more_than_the_limit(limit in 1u32..6, steps in proptest::collection::vec(0u64..700, 1..80), block in 0u64..3) {
            let rule = rule(f64::from(limit), 1, block);
            let mut w = Window::new(at(0));
            let (mut now, mut taken) = (0, Vec::new());
            for step in steps {
                now += step;
                let looked = w.look(&rule, at(now)).allowed;
                let v = w.take(&rule, at(now));
                prop_assert_eq!(looked, v.allowed);
                if v.allowed {
                    taken.push(now);
                }
            }
            // Two windows can meet, so an arbitrary second may hold twice the limit, never more.
            for first in &taken {
                let count = taken.iter().filter(|t| (*first..first + 1_000).contains(t)).count();
                prop_assert!(count <= 2 * limit as usize);
            }
        }

        #[test]
        fn a_clock_that_goes_back_never_panics(times in proptest::collection::vec(0u64..5_000, 1..50)) {
            let rule = rule(2.0, 1, 1);
            let mut w = Window::new(at(2_500));
            for t in times {
                let v = w.take(&rule, at(t));
                prop_assert!(v.remaining <= v.limit);
            }
        }
    }
}
