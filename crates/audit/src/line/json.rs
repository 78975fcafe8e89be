//! JSON straight into the buffer of a line: Vault's key names, empty members left out, text escaped as Go does.
//!
//! Written by hand because a line has some forty members whose names are constants, twice a request: no tree of values is built,
//! and nothing is allocated.

use std::ops::Range;

pub(super) use api_types::json::string;
use secret::Time;

/// One object being written. Every method but [`Object::open`] leaves an empty member out.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    /// Writes `{`.
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Members without braces, to be put into an object later.
    pub(super) fn inside(out: &'o mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    /// Writes `}`.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// Writes the member's name; the caller writes the value.
    pub(super) fn open(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes members into the same object; answers where in the buffer they are.
    pub(super) fn span(&mut self, write: impl FnOnce(&mut Object<'_>)) -> Range<usize> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        let start = self.out.len();
        write(&mut Object::inside(self.out));
        start..self.out.len()
    }

    /// Puts members that are in the same buffer already.
    pub(super) fn members_again(&mut self, at: Range<usize>) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.extend_from_within(at);
    }

    /// Puts members that were written before.
    pub(super) fn members(&mut self, written: &[u8]) {
        if written.is_empty() {
            return;
        }
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(written);
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            string(self.open(name), text);
        }
    }

    /// Text that needs no escapes, because the server made it.
    pub(super) fn plain(&mut self, name: &str, text: &[u8]) {
        let out = self.open(name);
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }

    pub(super) fn texts(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            strings(self.open(name), texts);
        }
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        if number != 0 {
            decimal(self.open(name), number);
        }
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        if flag {
            self.open(name).extend_from_slice(b"true");
        }
    }

    pub(super) fn time(&mut self, name: &str, time: Time) {
        let out = self.open(name);
        out.push(b'"');
        rfc3339(out, time);
        out.push(b'"');
    }
}

/// Items with commas between and brackets around.
pub(super) fn array<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

pub(super) fn strings(out: &mut Vec<u8>, texts: &[String]) {
    array(out, texts, |out, text| string(out, text));
}

pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - used));
}

/// Exactly `N` decimal digits, with leading zeros.
fn padded<const N: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// RFC 3339 in UTC with as many fraction digits as needed: what [`Time::rfc3339`] gives, without its allocation.
pub(super) fn rfc3339(out: &mut Vec<u8>, time: Time) {
    let nanos = time.nanos().rem_euclid(1_000_000_000);
    let second_of_day = time.unix().rem_euclid(86_400);
    let (year, month, day) = civil(time.unix().div_euclid(86_400));
    // The range of `Time` ends in the year 2262 and begins in 1677.
    padded::<4>(out, year.unsigned_abs());
    for (before, number) in
        [(b'-', month), (b'-', day), (b'T', second_of_day / 3_600), (b':', second_of_day / 60 % 60), (b':', second_of_day % 60)]
    {
        out.push(before);
        padded::<2>(out, number.unsigned_abs());
    }
    if nanos != 0 {
        out.push(b'.');
        padded::<9>(out, nanos.unsigned_abs());
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar. Years are taken to begin in March,
/// so that the leap day is the last one; 400 years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_of_0 = days + 719_468;
    let era = from_march_of_0.div_euclid(146_097);
    let day_of_era = from_march_of_0.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_those_of_the_clock_crate(nanos in any::<i64>(), coarse in 0..3) {
            let unit = [1, 1_000_000, 1_000_000_000][usize::try_from(coarse).unwrap()];
            let time = Time(nanos / unit * unit);
            let mut out = Vec::new();
            rfc3339(&mut out, time);
            prop_assert_eq!(String::from_utf8(out).unwrap(), time.rfc3339());
        }

        #[test]
        fn strings_are_gos(text in "[\\x00-\\x7f<>&\"\\\\é\u{2028}\u{2029}\u{2030}😀]*") {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), api_types::json::to_string(&text).unwrap());
        }
    }
}
