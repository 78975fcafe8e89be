//! Every limit of the engine, with its reason.

/// Shortest HMAC key: Vault's limit, the output length of SHA-256.
pub(crate) const HMAC_KEY_MIN_BYTES: i64 = 32;

/// Longest HMAC key: Vault's limit.
pub(crate) const HMAC_KEY_MAX_BYTES: i64 = 512;

/// Shortest period of automatic rotation: Vault's limit, so that a typing mistake does not fill a keyring.
pub(crate) const AUTO_ROTATE_MIN_SECONDS: u64 = 3600;

/// Most random bytes in one answer, 128 KiB: Vault's limit.
pub(crate) const RANDOM_MAX_BYTES: i64 = 128 * 1024;

/// Random bytes when nobody says how many: Vault's default.
pub(crate) const RANDOM_DEFAULT_BYTES: i64 = 32;

/// Smallest bounded cache that can be configured: Vault's limit.
pub(crate) const CACHE_MIN_ENTRIES: i64 = 10;

/// Nonce of AES-GCM and ChaCha20-Poly1305 (96 bits).
pub(crate) const NONCE_BYTES: usize = 12;

/// The part of an import that carries the ephemeral AES key: one RSA-4096 block.
pub(crate) const WRAPPED_KEY_BYTES: usize = 512;

/// Highest version number of a key. Nobody rotates that often; a restored backup may claim it all the same.
pub(crate) const VERSIONS_MAX: i64 = 1 << 31;

/// Items of a batch that are worked on without giving up the thread's place in the event loop: 16 RSA signatures take about
/// 10 ms, 16 encryptions some microseconds.
pub(crate) const BATCH_INLINE_ITEMS: usize = 16;
