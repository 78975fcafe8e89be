//! Every number of this room, with its reason beside it.

/// Longest token that is read. Tokens with hundreds of groups are some 20 KiB; HTTP headers end far below this.
pub const JWS_MAX_BYTES: usize = 64 * 1024;

/// Longest key set that is read. The largest public ones (with certificates) are below 100 KiB.
pub const JWKS_MAX_BYTES: usize = 1024 * 1024;

/// Most keys of one set. A token without `kid` is tried with each of them, so this bounds work.
pub const SET_MAX_KEYS: usize = 128;

/// Last second of the year 9999. A date beyond it is a mistake or an attack on somebody's integer type.
pub const NUMERIC_DATE_MAX_SECONDS: i64 = 253_402_300_799;

/// RSA moduli below are within reach of an attacker (NIST SP 800-131A); above, one check costs as much as many logins.
pub(crate) const RSA_MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// RSA exponents: AWS-LC takes up to 33 bits; 65537 is what everybody uses.
pub(crate) const RSA_EXPONENT_MAX_BYTES: usize = 5;

/// Longest PEM text of one key or certificate.
pub(crate) const PEM_MAX_BYTES: usize = 64 * 1024;
