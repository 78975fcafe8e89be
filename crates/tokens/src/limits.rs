//! Bounds on what is taken from outside and on the work of one transaction.

/// Longest token that is looked at: HTTP headers longer than this are refused by common proxies, and a batch token that holds
/// the usual metadata is below 2 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Characters of a token after its prefix: 24 × log2(62) = 142 bits. `operator generate-root` derives its OTP length from the
/// 28 characters of a root token.
pub(crate) const TOKEN_RANDOM_CHARS: usize = 24;

/// Characters of an accessor, a lease suffix and a cubbyhole id.
pub(crate) const ID_CHARS: usize = 24;

/// Characters of the salt: 43 × log2(62) = 256 bits.
pub(crate) const SALT_CHARS: usize = 43;

/// Tokens, leases and cubbyhole entries that one transaction takes away: about 400 KiB of Raft entry.
pub(crate) const REVOKE_STEPS: usize = 2000;

/// Attempts to revoke a lease before it is marked irrevocable (contract §7.1).
pub(crate) const REVOKE_ATTEMPTS: u32 = 6;

/// Pause after the first failed attempt; doubles each time (contract §7.1).
pub(crate) const REVOKE_BACKOFF_SECONDS: u64 = 10;
