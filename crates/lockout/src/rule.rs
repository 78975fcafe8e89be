//! The rule of one mount, put together from what was set where.

use std::collections::BTreeMap;
use std::time::Duration;

/// How many failures lock a name, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Failures in a row that lock; zero counts as one.
    pub threshold: u32,
    /// How long a name stays locked.
    pub duration: Duration,
    /// How long after the last failure the count starts anew.
    pub counter_reset: Duration,
    /// Nothing is counted and nothing locks.
    pub disabled: bool,
}

impl Default for Rule {
    /// Vault's defaults: five failures, fifteen minutes.
    fn default() -> Self {
        let quarter = Duration::from_secs(15 * 60);
        Self { threshold: 5, duration: quarter, counter_reset: quarter, disabled: false }
    }
}

impl Rule {
    /// The rule with what `settings` say in place of its own.
    #[must_use]
    pub fn with(self, settings: &Settings) -> Self {
        Self {
            threshold: settings.threshold.filter(|n| *n > 0).unwrap_or(self.threshold),
            duration: settings.duration.filter(|d| !d.is_zero()).unwrap_or(self.duration),
            counter_reset: settings.counter_reset.filter(|d| !d.is_zero()).unwrap_or(self.counter_reset),
            disabled: settings.disabled.unwrap_or(self.disabled),
        }
    }

    /// Failures that lock.
    pub(crate) fn limit(&self) -> u32 {
        self.threshold.max(1)
    }
}

/// What one place sets; `None` and zero leave it to the place below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that lock.
    pub threshold: Option<u32>,
    /// How long a name stays locked.
    pub duration: Option<Duration>,
    /// How long after the last failure the count starts anew.
    pub counter_reset: Option<Duration>,
    /// Whether locking is off.
    pub disabled: Option<bool>,
}

/// What the configuration of the server says: the `user_lockout` stanzas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// `user_lockout "all"`.
    pub all: Settings,
    /// The stanzas of single auth methods, by type; they go before `all`.
    pub by_type: BTreeMap<String, Settings>,
    /// No mount locks, whatever it is set to (`VAULT_DISABLE_USER_LOCKOUT`).
    pub off: bool,
}

impl Defaults {
    /// The rule of a mount of this type with these settings of its own. A mount can switch locking off, but not on again where
    /// the configuration switched it off: that is how Vault reads `lockout_disable`.
    #[must_use]
    pub fn rule(&self, mount_type: &str, own: &Settings) -> Rule {
        let mut rule = Rule::default().with(&self.all);
        if let Some(settings) = self.by_type.get(mount_type) {
            rule = rule.with(settings);
        }
        rule = rule.with(&Settings { disabled: own.disabled.filter(|d| *d), ..*own });
        rule.disabled |= self.off;
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(threshold: u32, seconds: u64, disabled: Option<bool>) -> Settings {
        let duration = Some(Duration::from_secs(seconds));
        Settings { threshold: Some(threshold), duration, counter_reset: duration, disabled }
    }

    #[test]
    fn the_mount_goes_before_its_type_and_that_before_all() {
        let defaults = Defaults {
            all: set(10, 60, None),
            by_type: [("userpass".to_owned(), Settings { threshold: Some(3), ..Settings::default() })].into_iter().collect(),
            off: false,
        };
        let minute = Duration::from_secs(60);
        for (mount_type, own, threshold, duration) in [
            ("approle", Settings::default(), 10, minute),
            ("userpass", Settings::default(), 3, minute),
            ("userpass", set(7, 0, None), 7, minute),
            ("userpass", set(0, 5, None), 3, Duration::from_secs(5)),
        ] {
            let rule = defaults.rule(mount_type, &own);
            assert_eq!((rule.threshold, rule.duration, rule.disabled), (threshold, duration, false), "{mount_type} {own:?}");
        }
        assert_eq!(Defaults::default().rule("userpass", &Settings::default()), Rule::default());
    }

    #[test]
    fn off_is_off_wherever_it_was_said() {
        let type_off = |disabled| Defaults {
            all: Settings { disabled: Some(true), ..Settings::default() },
            by_type: [("userpass".to_owned(), Settings { disabled, ..Settings::default() })].into_iter().collect(),
            off: false,
        };
        for (defaults, own, disabled) in [
            (Defaults::default(), None, false),
            (Defaults::default(), Some(false), false),
            (Defaults::default(), Some(true), true),
            (type_off(None), None, true),
            (type_off(None), Some(false), true),
            (type_off(Some(false)), None, false),
            (type_off(Some(false)), Some(true), true),
            (Defaults { off: true, ..type_off(Some(false)) }, Some(false), true),
        ] {
            let own = Settings { disabled: own, ..Settings::default() };
            assert_eq!(defaults.rule("userpass", &own).disabled, disabled, "{defaults:?} {own:?}");
        }
    }
}
