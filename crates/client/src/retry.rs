//! When a request is sent again and how long to wait before that. Pure: the jitter is an argument.

use std::time::Duration;

use crate::limits::RETRY_AFTER_MAX;

/// Whether an answer with this status is worth another try: 412 (a replica lags), 429 (rate limit), and every 5xx but 501
/// (which says "not initialised" and does not pass by itself).
#[must_use]
pub fn is_worth_it(status: u16) -> bool {
    matches!(status, 412 | 429) || (status >= 500 && status != 501)
}

/// The pause before try `attempt` (1 is the first retry). `retry_after` is the header's text, believed for 429 and 503 up to five
/// minutes; otherwise the pause is drawn between `min` and `max` by `jitter` (0..=255) and grows linearly.
#[must_use]
pub fn pause(attempt: u32, status: Option<u16>, retry_after: Option<&str>, min: Duration, max: Duration, jitter: u8) -> Duration {
    if matches!(status, Some(429 | 503))
        && let Some(seconds) = retry_after.and_then(|text| text.trim().parse::<u64>().ok())
    {
        return Duration::from_secs(seconds).min(RETRY_AFTER_MAX);
    }
    let span = max.saturating_sub(min);
    (min + span * u32::from(jitter) / u32::from(u8::MAX)).saturating_mul(attempt.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passing_troubles_are_retried() {
        for status in [412, 429, 500, 502, 503, 530] {
            assert!(is_worth_it(status), "{status}");
        }
        for status in [200, 204, 307, 400, 403, 404, 405, 413, 415, 472, 473, 501] {
            assert!(!is_worth_it(status), "{status}");
        }
    }

    #[test]
    fn pauses() {
        let (min, max) = (Duration::from_millis(1000), Duration::from_millis(1510));
        let p = |attempt, status, after, jitter| pause(attempt, status, after, min, max, jitter).as_millis();
        assert_eq!(p(1, Some(500), None, 0), 1000);
        assert_eq!(p(1, None, None, 255), 1510);
        assert_eq!(p(2, Some(500), Some("9"), 0), 2000, "Retry-After counts for 429 and 503 only");
        assert_eq!(p(1, Some(429), Some(" 7 "), 0), 7000);
        assert_eq!(p(1, Some(503), Some("0"), 0), 0);
        assert_eq!(p(1, Some(503), Some("999999"), 0), 300_000);
        assert_eq!(p(1, Some(429), Some("Wed, 21 Oct 2015 07:28:00 GMT"), 0), 1000);
    }
}
