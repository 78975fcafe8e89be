//! Durations and times as Vault's tables show them.

use std::time::Duration;

use api_types::duration::go_string;
use secret::Time;
use serde_json::Value;

use super::value::go_value;

/// Go's duration without trailing zero parts: `768h`, `1h30m`, `20s`, `0s`.
#[must_use]
pub fn human(seconds: u64) -> String {
    let mut text = go_string(Duration::from_secs(seconds));
    if let Some(short) = text.strip_suffix("m0s").map(str::to_owned) {
        text = short + "m";
    }
    match text.split_once("h0m") {
        Some((hours, rest)) => format!("{hours}h{rest}"),
        None => text,
    }
}

/// A whole number of seconds as [`human`], anything else as it is.
#[must_use]
pub fn human_value(value: &Value) -> String {
    match value.as_u64() {
        Some(seconds) => human(seconds),
        None => match value {
            Value::Number(n) if n.as_i64().is_some() => format!("{n}s"),
            other => go_value(other),
        },
    }
}

/// Whether a value under this key is a number of seconds.
pub(super) fn names_a_duration(key: &str) -> bool {
    matches!(key, "period" | "ttl" | "duration" | "lease_max" | "ttl_max")
        || ["_period", "_ttl", "_duration", "_lease_max", "_ttl_max"].iter().any(|end| key.ends_with(end))
}

/// RFC 3339 as Go's `Time.String()` in UTC: `2006-01-02 15:04:05.5 +0000 UTC`; other text as it is.
#[must_use]
pub fn go_time(rfc3339: &str) -> String {
    match Time::parse_rfc3339(rfc3339) {
        Some(t) => format!("{} +0000 UTC", t.rfc3339().trim_end_matches('Z').replace('T', " ")),
        None => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_short_durations() {
        for (seconds, text) in [
            (0, "0s"),
            (20, "20s"),
            (60, "1m"),
            (90, "1m30s"),
            (3600, "1h"),
            (3605, "1h5s"),
            (5400, "1h30m"),
            (2_764_800, "768h"),
            (36_000, "10h"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn keys_and_values() {
        for key in ["ttl", "creation_ttl", "period", "lease_duration", "default_lease_ttl"] {
            assert!(names_a_duration(key), "{key}");
        }
        for key in ["ttls", "battle", "creation_time", "num_uses"] {
            assert!(!names_a_duration(key), "{key}");
        }
        assert_eq!(human_value(&serde_json::json!("1h0m0s")), "1h0m0s");
        assert_eq!(human_value(&serde_json::json!(-1)), "-1s");
        assert_eq!(go_time("2026-11-24T13:00:00.5+01:00"), "2026-11-24 12:00:00.5 +0000 UTC");
        assert_eq!(go_time("never"), "never");
    }
}
