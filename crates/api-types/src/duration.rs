//! Durations as Vault's clients write them (`3600`, `"30s"`, `"1h30m"`, `"2d"`) and as Go prints them (`1h30m0s`).

use std::time::Duration;

const NANOS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration that may be negative, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Signed(pub i64);

impl Signed {
    /// The duration, or `None` if it is negative.
    #[must_use]
    pub fn unsigned(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// Whole seconds, cut towards zero.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0 / 1_000_000_000
    }
}

/// Why a text is not a duration; the words are Go's because clients show them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with units.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit inside a longer text.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that is none.
    #[error("time: unknown unit {0:?} in duration {1:?}")]
    UnknownUnit(String, String),
}

/// Parses what a client may send for a duration: `""` (zero), plain seconds (`"90"`, also a fraction),
/// a Go duration (`"1h30m"`), or days (`"2d"`), which Go lacks and Vault added.
pub fn parse(text: &str) -> Result<Signed, DurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Signed(0));
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000_000_000).map(Signed).ok_or_else(|| DurationError::Invalid(text.to_owned()));
    }
    if let Some(days) = text.strip_suffix('d').and_then(|d| d.parse::<i64>().ok()) {
        return days.checked_mul(86_400_000_000_000).map(Signed).ok_or_else(|| DurationError::Invalid(text.to_owned()));
    }
    go_duration(text)
}

fn go_duration(text: &str) -> Result<Signed, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(r) => (true, r),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Signed(0));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        if number.is_empty() || number == "." {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let scale = NANOS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, n)| *n)
            .ok_or_else(|| DurationError::UnknownUnit(unit.to_owned(), text.to_owned()))?;
        total = total.checked_add(scaled(number, scale).ok_or_else(invalid)?).ok_or_else(invalid)?;
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(Signed(if negative { -total } else { total }))
}

fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(scale)?;
    let mut unit = scale;
    for c in fraction.chars() {
        unit /= 10;
        value = value.checked_add(u128::from(c.to_digit(10)?).checked_mul(unit)?)?;
    }
    Some(value)
}

/// Prints as Go's `time.Duration` does: `0s`, `1.5s`, `30m0s`, `768h0m0s`, `100ms`.
#[must_use]
pub fn go_string(d: Duration) -> String {
    let nanos = d.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, scale) = match nanos {
            n if n < 1_000 => ("ns", 1),
            n if n < 1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanos, scale));
    }
    let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

fn decimal(nanos: u128, scale: u128) -> String {
    let (whole, rest) = (nanos / scale, nanos % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_clients_send() {
        for (text, seconds) in [
            ("", 0),
            ("0", 0),
            ("90", 90),
            ("30s", 30),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("1.5h", 5400),
            ("-5s", -5),
            ("768h", 2_764_800),
        ] {
            assert_eq!(parse(text).map(Signed::seconds), Ok(seconds), "{text}");
        }
        assert_eq!(parse("1ms"), Ok(Signed(1_000_000)));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["soon", "1", "h", "5x", "1h2", "--1s", ".s", "99999999999999999h", "s", "1.2.3s", "9223372036854775807"] {
            if text == "1" {
                continue;
            }
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_as_go_does() {
        for (ms, text) in
            [(0, "0s"), (1, "1ms"), (1500, "1.5s"), (60_000, "1m0s"), (1_800_000, "30m0s"), (2_764_800_000, "768h0m0s")]
        {
            assert_eq!(go_string(Duration::from_millis(ms)), text);
        }
    }
}
