//! Numbers of the client, with the reason beside each.

use std::time::Duration;

/// Where a client looks when nobody said otherwise.
pub const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
/// How often a failed request is sent again. Vault's library does two; its command line does none.
pub const DEFAULT_MAX_RETRIES: u32 = 2;
/// A whole request, body included; the server gives up at 90 s.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Shortest pause before a retry: an election takes about this long.
pub(crate) const RETRY_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest first pause; later ones grow linearly.
pub(crate) const RETRY_WAIT_MAX: Duration = Duration::from_millis(1500);
/// A `Retry-After` above this is not believed, so that a client cannot be parked for days.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// `sys/wrapping/wrap` must be wrapped; this is what Vault's clients ask for by default.
pub(crate) const DEFAULT_WRAP_TTL: &str = "5m";
/// An answer held in memory; the server takes 32 MiB in, so lists and specifications stay well below.
pub(crate) const REPLY_MAX_BYTES: usize = 256 * 1024 * 1024;
