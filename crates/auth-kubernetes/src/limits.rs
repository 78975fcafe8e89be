//! Every number of this method, with its reason beside it.

use std::time::Duration;

/// A service account token is 1 to 2 KiB; a token with hundreds of audiences still fits. Longer ones are refused unread.
pub(crate) const JWT_MAX_BYTES: usize = 64 * 1024;

/// A label selector names a handful of labels; the bound keeps a YAML parser away from large input.
pub(crate) const SELECTOR_MAX_BYTES: usize = 16 * 1024;

/// Clocks of the API server and of this server may differ by this much (contract §1.5).
pub(crate) const CLOCK_SKEW_SECONDS: i64 = 60;

/// Assumed life of a token that says when it begins but not when it ends (contract §1.5).
pub(crate) const ASSUMED_LIFE_SECONDS: i64 = 150;

/// The kubelet renews a projected token long before it ends, so a copy of one minute is never stale (contract §1.3).
pub(crate) const LOCAL_TOKEN_REUSE: Duration = Duration::from_secs(60);

/// A cluster's CA changes with months of overlap (contract §1.3).
pub(crate) const LOCAL_CA_REUSE: Duration = Duration::from_secs(3600);

/// Larger than any CA bundle or token; guards against a path that names something else.
pub(crate) const LOCAL_FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A TokenReview is 2 KiB; a service account or namespace with managed fields and annotations stays below etcd's 1.5 MiB.
pub(crate) const ANSWER_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Warnings about failed reviews in one window; more are counted, not written.
pub(crate) const WARNINGS_PER_WINDOW_MAX: u32 = 20;

/// The window of the line above.
pub(crate) const WARNING_WINDOW: Duration = Duration::from_secs(60);

/// What of a reason is written to the log.
pub(crate) const REASON_MAX_CHARS: usize = 500;
