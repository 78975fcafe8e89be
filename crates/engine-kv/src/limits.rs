//! Every limit of the engine, with its reason.

/// Versions kept per key where neither key nor mount says otherwise: Vault's default.
pub(crate) const DEFAULT_MAX_VERSIONS: u64 = 10;

/// Entries in `custom_metadata`: Vault's limit; it is stored with every read answer.
pub(crate) const CUSTOM_METADATA_ENTRIES: usize = 64;

/// Length of a `custom_metadata` key: Vault's limit.
pub(crate) const CUSTOM_METADATA_KEY_BYTES: usize = 128;

/// Length of a `custom_metadata` value: Vault's limit.
pub(crate) const CUSTOM_METADATA_VALUE_BYTES: usize = 512;
