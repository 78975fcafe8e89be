//! Codes of RFC 6238 and the rule that each is accepted once. Pure: the time is an argument.

use aws_lc_rs::hmac;
use secret::{Time, ct_eq};
use serde::{Deserialize, Serialize};

/// The hash under the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// The default of every app.
    #[serde(rename = "SHA1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
    /// SHA-512.
    #[serde(rename = "SHA512")]
    Sha512,
}

impl Algorithm {
    /// By its name in fields and URLs; the case matters.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha512].into_iter().find(|a| a.as_str() == name)
    }

    /// The name in fields and URLs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// How codes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The hash.
    pub algorithm: Algorithm,
    /// 6 or 8.
    pub digits: u32,
    /// Seconds in a step, at least one.
    pub period_secs: u64,
    /// Steps before and after the current one that are accepted.
    pub skew: u64,
}

impl Scheme {
    /// The step that `now` lies in.
    #[must_use]
    pub fn step(&self, now: Time) -> u64 {
        u64::try_from(now.unix()).unwrap_or_default() / self.period_secs.max(1)
    }

    /// The code of a step (RFC 4226 §5.3 with the step as the counter).
    #[must_use]
    pub fn code(&self, secret: &[u8], step: u64) -> String {
        let tag = hmac::sign(&hmac::Key::new(self.algorithm.hmac(), secret), &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or_default() & 15);
        let four = tag.get(offset..offset + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).unwrap_or_default();
        let number = (u32::from_be_bytes(four) & 0x7fff_ffff) % 10u32.pow(self.digits.min(9));
        format!("{number:0width$}", width = self.digits as usize)
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not a code of any accepted step.
    Wrong,
    /// Right, but accepted before.
    Used,
    /// Right; these steps are to be kept from now on.
    Right(UsedSteps),
}

/// Steps whose codes were accepted and could be accepted again by now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedSteps {
    /// In the order they were used.
    pub steps: Vec<u64>,
}

impl UsedSteps {
    /// Checks a code at `now`. Blanks around it do not make another code of it.
    #[must_use]
    pub fn check(&self, scheme: &Scheme, secret: &[u8], code: &str, now: Time) -> Verdict {
        let code = code.trim();
        let current = scheme.step(now);
        let accepted = current.saturating_sub(scheme.skew)..=current.saturating_add(scheme.skew);
        // Every step is compared, so that the time does not tell which one it was.
        let matching: Vec<u64> =
            accepted.clone().filter(|step| ct_eq(scheme.code(secret, *step).as_bytes(), code.as_bytes())).collect();
        let Some(step) = matching.first() else { return Verdict::Wrong };
        if matching.iter().any(|m| self.steps.contains(m)) {
            return Verdict::Used;
        }
        let still = self.steps.iter().filter(|s| *s >= accepted.start());
        Verdict::Right(Self { steps: still.chain([step]).copied().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEME: Scheme = Scheme { algorithm: Algorithm::Sha1, digits: 6, period_secs: 30, skew: 1 };
    const SECRET: &[u8] = b"12345678901234567890";

    fn at(seconds: i64) -> Time {
        Time::from_unix(seconds)
    }

    #[test]
    fn vectors_of_rfc_6238_appendix_b() {
        let seed = b"1234567890".repeat(7);
        for (time, sha1, sha256, sha512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            for (algorithm, length, want) in
                [(Algorithm::Sha1, 20, sha1), (Algorithm::Sha256, 32, sha256), (Algorithm::Sha512, 64, sha512)]
            {
                let scheme = Scheme { algorithm, digits: 8, ..SCHEME };
                // Seconds beyond 2262 do not fit into `Time`; the step does.
                assert_eq!(scheme.code(&seed[..length], time / 30), want, "{time} {algorithm:?}");
            }
        }
        assert_eq!(SCHEME.step(at(59)), 1);
    }

    #[test]
    fn cve_class_i_a_code_is_accepted_once_however_it_is_written() {
        let now = at(1_000_000);
        let code = SCHEME.code(SECRET, SCHEME.step(now));
        let Verdict::Right(used) = UsedSteps::default().check(&SCHEME, SECRET, &code, now) else { panic!("right") };
        for again in [code.clone(), format!(" {code}"), format!("{code}\t"), format!("\u{a0}{code}\n")] {
            assert_eq!(used.check(&SCHEME, SECRET, &again, now), Verdict::Used, "{again:?}");
            assert_eq!(used.check(&SCHEME, SECRET, &again, at(1_000_030)), Verdict::Used, "{again:?}, a step later");
        }
        assert_eq!(used.check(&SCHEME, SECRET, &code, at(1_000_100)), Verdict::Wrong, "out of the window");
    }

    #[test]
    fn only_codes_of_the_window_are_right() {
        let now = at(1_000_000);
        let step = SCHEME.step(now);
        for (skew, offset, right) in
            [(0, 0, true), (0, -1, false), (0, 1, false), (1, -1, true), (1, 1, true), (1, -2, false), (1, 2, false)]
        {
            let scheme = Scheme { skew, ..SCHEME };
            let code = scheme.code(SECRET, step.saturating_add_signed(offset));
            let verdict = UsedSteps::default().check(&scheme, SECRET, &code, now);
            assert_eq!(matches!(verdict, Verdict::Right(_)), right, "skew {skew}, offset {offset}: {verdict:?}");
        }
        let code = SCHEME.code(SECRET, step);
        let (front, back) = code.split_at(3);
        let spaced = format!("{front} {back}");
        for wrong in ["", "12", "abcdef", "0000000", &format!("{code}0"), &format!("0{code}"), &spaced, "１２３４５６"] {
            assert_eq!(UsedSteps::default().check(&SCHEME, SECRET, wrong, now), Verdict::Wrong, "{wrong}");
        }
    }

    #[test]
    fn used_steps_are_forgotten_when_they_cannot_come_back() {
        let mut used = UsedSteps::default();
        for seconds in (0..900).step_by(30) {
            let now = at(1_000_000 + seconds);
            let code = SCHEME.code(SECRET, SCHEME.step(now));
            if let Verdict::Right(next) = used.check(&SCHEME, SECRET, &code, now) {
                used = next;
            }
        }
        assert!(used.steps.len() <= 3, "{used:?}");
    }
}
