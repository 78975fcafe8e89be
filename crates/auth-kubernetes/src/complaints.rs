//! Tells the operator why logins fail, which clients are not told, without flooding the log and without a word of a token.

use std::fmt::Display;

use parking_lot::Mutex;
use secret::Time;

use crate::limits::{REASON_MAX_CHARS, WARNING_WINDOW, WARNINGS_PER_WINDOW_MAX};

/// Rate limit of the warnings of all mounts.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Time>,
    written: u32,
    suppressed: u64,
}

impl Complaints {
    /// Writes one warning, or counts it. `secrets` are cut out of the reason, which may quote an API server's words.
    pub(crate) fn note(&self, mount: &str, role: &str, reason: &dyn Display, secrets: &[&str], now: Time) {
        if let Some(suppressed) = self.turn(now) {
            let reason = clean(&reason.to_string(), secrets);
            tracing::warn!(mount, role = %clean(role, secrets), reason, suppressed, "kubernetes login denied");
        }
    }

    /// Whether there is room for a line, and how many were left out since the last one.
    fn turn(&self, now: Time) -> Option<u64> {
        let mut window = self.0.lock();
        if window.began.is_none_or(|began| now < began || now.since(began) >= WARNING_WINDOW) {
            window.began = Some(now);
            window.written = 0;
        }
        if window.written >= WARNINGS_PER_WINDOW_MAX {
            window.suppressed += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

/// One line of bounded length without any of `secrets`.
fn clean(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|s| !s.is_empty()) {
        text = text.replace(secret, "<token>");
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_count_is_told() {
        let complaints = Complaints::default();
        let at = |s: i64| Time::from_unix(1_000 + s);
        for _ in 0..WARNINGS_PER_WINDOW_MAX {
            assert_eq!(complaints.turn(at(0)), Some(0));
        }
        for second in 0..59 {
            assert_eq!(complaints.turn(at(second)), None);
        }
        assert_eq!(complaints.turn(at(60)), Some(59));
        assert_eq!(complaints.turn(at(61)), Some(0));
        assert_eq!(complaints.turn(at(-500)), Some(0), "a clock that was set back opens a new window");
    }

    #[test]
    fn reasons_are_one_line_without_the_token() {
        assert_eq!(clean("bad eyJ.a.b\nx\u{1b}[31m", &["eyJ.a.b", ""]), "bad <token> x [31m");
        assert_eq!(clean(&"é".repeat(REASON_MAX_CHARS + 5), &[]).chars().count(), REASON_MAX_CHARS);
    }
}
