//! How long a certificate lives. Pure.

use std::time::Duration;

use api_types::duration::go_string;
use secret::Time;

use crate::reading::Certificate;
use crate::store::LeafNotAfter;

/// What is asked for and what may be had.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Wished life; zero for none.
    pub ttl: Duration,
    /// Wished end, RFC 3339; empty for none.
    pub not_after: &'a str,
    /// Life when nothing is wished.
    pub default_ttl: Duration,
    /// Longest life.
    pub max_ttl: Duration,
}

/// The end in seconds since the epoch, with warnings.
pub fn end(ask: Ask<'_>, now: Time) -> Result<(i64, Vec<String>), String> {
    if !ask.ttl.is_zero() && !ask.not_after.is_empty() {
        return Err("Either ttl or not_after should be provided. Both should not be provided in the same request.".to_owned());
    }
    if !ask.not_after.is_empty() {
        let end =
            parse_time(ask.not_after).ok_or_else(|| format!("invalid not_after time: {:?} is not RFC 3339", ask.not_after))?;
        return Ok((end, Vec::new()));
    }
    let wished = if ask.ttl.is_zero() { ask.default_ttl } else { ask.ttl };
    let mut warnings = Vec::new();
    let ttl = if wished > ask.max_ttl {
        let (wish, max) = (go_string(wished), go_string(ask.max_ttl));
        // Twice, as Vault says it: clients compare whole answers.
        warnings = vec![format!("TTL {wish:?} is longer than permitted maxTTL {max:?}, so maxTTL is being used"); 2];
        ask.max_ttl
    } else {
        wished
    };
    Ok((now.plus(ttl).unix(), warnings))
}

/// What becomes of an end that lies beyond the issuer's.
pub fn within(end: i64, issuer: &Certificate, behavior: LeafNotAfter) -> Result<i64, String> {
    if end <= issuer.not_after {
        return Ok(end);
    }
    match behavior {
        LeafNotAfter::Permit => Ok(end),
        LeafNotAfter::Truncate => Ok(issuer.not_after),
        LeafNotAfter::Err => Err(format!(
            "cannot satisfy request, as TTL would result in notAfter of {} that is beyond the expiration of the CA certificate at {}",
            rfc3339(end),
            rfc3339(issuer.not_after)
        )),
    }
}

/// Seconds since the epoch of an RFC 3339 text, up to the year 9999.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    if let Some(time) = Time::parse_rfc3339(text) {
        return Some(time.unix());
    }
    // Beyond what nanoseconds reach; IEEE 802.1AR wants 9999-12-31T23:59:59Z.
    let far: der::DateTime = text.parse().ok()?;
    i64::try_from(far.unix_duration().as_secs()).ok()
}

/// Seconds since the epoch as RFC 3339.
#[must_use]
pub fn rfc3339(unix: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    der::DateTime::from_unix_duration(since).unwrap_or(der::DateTime::INFINITY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_life_is_never_longer_than_the_maximum() {
        let now = Time::from_unix(1_000_000);
        let ask = Ask { default_ttl: 2 * HOUR, max_ttl: 3 * HOUR, ..Ask::default() };
        for (ttl, hours, warned) in [(0, 2, false), (1, 1, false), (3, 3, false), (4, 3, true), (u32::MAX, 3, true)] {
            let (end, warnings) = end(Ask { ttl: ttl * HOUR, ..ask }, now).unwrap();
            assert_eq!((end, !warnings.is_empty()), (1_000_000 + hours * 3600, warned), "{ttl}");
        }
        let (end_of_default, _) = end(Ask { max_ttl: HOUR, ..ask }, now).unwrap();
        assert_eq!(end_of_default, 1_003_600);
    }

    #[test]
    fn an_absolute_end_is_read_up_to_the_year_9999() {
        let now = Time::from_unix(0);
        assert_eq!(end(Ask { not_after: "2027-01-01T00:00:00Z", ..Ask::default() }, now).unwrap().0, 1_798_761_600);
        assert_eq!(end(Ask { not_after: "9999-12-31T23:59:59Z", ..Ask::default() }, now).unwrap().0, 253_402_300_799);
        for bad in ["tomorrow", "2027-01-01", "2027-13-01T00:00:00Z"] {
            assert!(end(Ask { not_after: bad, ..Ask::default() }, now).is_err(), "{bad}");
        }
        assert!(end(Ask { ttl: HOUR, not_after: "2027-01-01T00:00:00Z", ..Ask::default() }, now).is_err(), "both");
    }
}
