//! The numbers of this engine, each with its reason.

use std::time::Duration;

/// A serial number: 20 bytes is RFC 5280's maximum; the first bit is cleared, and the first byte is never zero, so 158 random bits.
pub const SERIAL_BYTES: usize = 20;

/// How far a certificate is dated back when nothing else is said, for clocks that run behind. Vault's default.
pub const NOT_BEFORE_SECONDS: i64 = 30;

/// Longest chain that is followed upwards; real ones have three or four links, and a loop must end.
pub const CHAIN_LINKS: usize = 16;

/// Most issuers looked at when a parent is searched. More in one mount is a mistake, not a hierarchy.
pub const ISSUERS: usize = 1_000;

/// Certificates that one `tidy` looks at. It is one transaction, so it must stay a small one; the next goes on from there.
pub const TIDY_CERTIFICATES: usize = 5_000;

/// Names in one certificate. Beyond this a TLS handshake fails on the size of the certificate anyway.
pub const NAMES: usize = 1_000;

/// Bytes of PEM read in one request: a chain with keys is some 20 kB, the rest is somebody's mistake.
pub const PEM_BYTES: usize = 1 << 20;

/// What a CRL may list when nothing else is said; Vault's default `max_crl_entries`.
pub const CRL_ENTRIES: i64 = 100_000;

/// A CRL's life when nothing else is said; Vault's default.
pub const CRL_LIFE: Duration = Duration::from_secs(72 * 3600);
