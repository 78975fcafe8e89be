//! The rules as they are stored.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use secret::Time;
use serde::{Deserialize, Serialize};

/// What a quota covers. All empty is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// Uuid of the mount; empty covers all mounts.
    pub mount: String,
    /// Path below the mount, without slashes at its ends; a closing `*` matches any rest. Empty covers the whole mount.
    pub suffix: String,
    /// Login role; empty covers all.
    pub role: String,
}

/// A rule with a scope.
pub trait Scoped {
    /// What it covers.
    fn scope(&self) -> &Scope;
}

/// Requests a client may make in an interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// What it covers.
    pub scope: Scope,
    /// Requests an interval; a fraction counts as one more.
    pub rate: f64,
    /// Length of the interval, whole seconds, at least 1.
    pub interval_seconds: u64,
    /// How long a client is refused after it went over the limit; 0 is until the interval ends.
    pub block_seconds: u64,
    /// Kept and shown; there are no child namespaces that could inherit.
    pub inheritable: bool,
}

impl Scoped for RateLimit {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl RateLimit {
    /// Whole requests an interval.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float casts saturate; a rate is above zero")]
    pub fn limit(&self) -> u64 {
        (self.rate.ceil() as u64).max(1)
    }

    /// Length of the interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.max(1))
    }

    /// Names this rule as it is: a changed rule counts anew, an unchanged one goes on when others change.
    #[must_use]
    pub fn fingerprint(&self, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (name, &self.scope, self.rate.to_bits(), self.interval_seconds, self.block_seconds).hash(&mut hasher);
        hasher.finish()
    }
}

/// Leases that may exist at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseCount {
    /// What it covers.
    pub scope: Scope,
    /// Leases at most, at least 1.
    pub max_leases: u64,
    /// Kept and shown.
    pub inheritable: bool,
    /// When it was made.
    pub created: Time,
}

impl Scoped for LeaseCount {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}
