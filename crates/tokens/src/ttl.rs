//! How long something may live: pure arithmetic over wishes and limits (contract §3.3).

use std::time::Duration;

use api_types::duration::go_string;
use engine::Mount;
use secret::Time;

/// What is wished for and what limits it. Zero means "not set" everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    /// Asked for in this very request; goes before `ttl`.
    pub increment: Duration,
    /// What the role or the first issue says.
    pub ttl: Duration,
    /// Renewed for ever by this much.
    pub period: Duration,
    /// The mount's default.
    pub default_ttl: Duration,
    /// The mount's maximum.
    pub mount_max: Duration,
    /// The role's maximum.
    pub role_max: Duration,
    /// A limit that even a period cannot pass.
    pub explicit_max: Duration,
}

/// What was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// From now on.
    pub ttl: Duration,
    /// In Vault's words.
    pub warnings: Vec<String>,
}

/// No time is left below the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("past the max TTL, cannot renew")]
pub struct PastMaximum;

impl Life {
    /// Takes default and maximum from a mount.
    #[must_use]
    pub fn on(mount: &Mount) -> Self {
        Self { default_ttl: mount.default_lease_ttl, mount_max: mount.max_lease_ttl, ..Self::default() }
    }

    /// The life from `now` of something issued at `issued`: the wish, or the period, cut so that it ends before every limit.
    pub fn grant(&self, issued: Time, now: Time) -> Result<Granted, PastMaximum> {
        let maximum = [self.mount_max, self.role_max, self.explicit_max].into_iter().filter(|d| !d.is_zero()).min();
        let mut granted = Granted::default();
        let limit = if self.period.is_zero() {
            granted.ttl = [self.increment, self.ttl, self.default_ttl].into_iter().find(|d| !d.is_zero()).unwrap_or_default();
            maximum
        } else {
            granted.ttl = self.period;
            if let Some(max) = maximum.filter(|max| self.period > *max) {
                granted.warnings.push(capped("period", self.period, max));
                granted.ttl = max;
            }
            Some(self.explicit_max).filter(|d| !d.is_zero())
        };
        if let Some(limit) = limit {
            let left = issued.plus(limit).since(now);
            if left.is_zero() {
                return Err(PastMaximum);
            }
            if granted.ttl > left {
                granted.warnings.push(capped("TTL", granted.ttl, left));
                granted.ttl = left;
            }
        }
        // Neither wish nor limit at all: nothing may live for ever by accident.
        if granted.ttl.is_zero() { Err(PastMaximum) } else { Ok(granted) }
    }
}

/// The lesser of two limits where zero means "none".
pub(crate) fn lesser(a: Duration, b: Duration) -> Duration {
    match (a.is_zero(), b.is_zero()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.min(b),
    }
}

/// Go's form without trailing zero units: `768h`, `5m`, `1h30m`, `90s` is `1m30s`.
#[must_use]
pub fn short_duration(d: Duration) -> String {
    let whole = if d >= Duration::from_secs(1) { Duration::from_secs(d.as_secs()) } else { d };
    let mut text = go_string(whole);
    for (unit, zero) in [('m', "m0s"), ('h', "h0m")] {
        if let Some(stem) = text.strip_suffix(zero) {
            text = format!("{stem}{unit}");
        }
    }
    text
}

fn capped(what: &str, wished: Duration, max: Duration) -> String {
    format!(
        "{what} of {:?} exceeded the effective max_ttl of {:?}; {what} value is capped accordingly",
        short_duration(wished),
        short_duration(max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn life() -> Life {
        Life { default_ttl: s(100), mount_max: s(1000), ..Life::default() }
    }

    #[test]
    fn wishes_and_limits() {
        let t0 = Time::from_unix(1_000_000);
        for (name, life, after, want) in [
            ("default", life(), 0, Some(100)),
            ("role's ttl", Life { ttl: s(50), ..life() }, 0, Some(50)),
            ("increment first", Life { ttl: s(50), increment: s(70), ..life() }, 0, Some(70)),
            ("mount max", Life { increment: s(5000), ..life() }, 0, Some(1000)),
            ("role max", Life { increment: s(5000), role_max: s(300), ..life() }, 0, Some(300)),
            ("role max above the mount's", Life { increment: s(5000), role_max: s(3000), ..life() }, 0, Some(1000)),
            ("explicit max", Life { increment: s(5000), explicit_max: s(20), ..life() }, 0, Some(20)),
            ("what is left", Life { increment: s(500), ..life() }, 900, Some(100)),
            ("one second left", Life { increment: s(500), ..life() }, 999, Some(1)),
            ("nothing left", life(), 1000, None),
            ("long past", life(), 5000, None),
            ("period for ever", Life { period: s(60), ..life() }, 1_000_000, Some(60)),
            ("period capped", Life { period: s(6000), ..life() }, 5000, Some(1000)),
            ("period wins over increment", Life { period: s(60), increment: s(90), ..life() }, 0, Some(60)),
            ("period under explicit max", Life { period: s(60), explicit_max: s(100), ..life() }, 70, Some(30)),
            ("period past explicit max", Life { period: s(60), explicit_max: s(100), ..life() }, 100, None),
            ("nothing set", Life::default(), 0, None),
        ] {
            let got = life.grant(t0, t0.plus(s(after))).ok().map(|g| g.ttl);
            assert_eq!(got, want.map(s), "{name}");
        }
    }

    #[test]
    fn warnings_in_short_form() {
        let t0 = Time::from_unix(0);
        let month = s(768 * 3600);
        let on = Life { mount_max: month, default_ttl: month, ..Life::default() };
        assert_eq!(
            Life { increment: s(9000 * 3600), ..on }.grant(t0, t0).unwrap().warnings,
            ["TTL of \"9000h\" exceeded the effective max_ttl of \"768h\"; TTL value is capped accordingly"]
        );
        assert_eq!(
            Life { period: s(9000 * 3600), ..on }.grant(t0, t0).unwrap().warnings,
            ["period of \"9000h\" exceeded the effective max_ttl of \"768h\"; period value is capped accordingly"]
        );
        for (seconds, text) in
            [(300, "5m"), (90, "1m30s"), (3600, "1h"), (5400, "1h30m"), (3601, "1h0m1s"), (10, "10s"), (36_000, "10h")]
        {
            assert_eq!(short_duration(s(seconds)), text);
        }
    }
}
