//! Every number of this room, with its reason beside it.

use std::time::Duration;

/// Life of tokens, rotation and verification when nobody says otherwise; Vault's number.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Shortest rotation; Vault's number.
pub(crate) const ROTATION_MIN: Duration = Duration::from_secs(60);

/// A verification time of more rotations than this would publish very many keys; Vault's number.
pub(crate) const VERIFICATION_ROTATIONS_MAX: u32 = 10;

/// Old keys kept of one named key. Forced rotations end the oldest early, so that the published set stays small.
pub(crate) const RING_MAX: usize = 24;

/// Life of an authorization code. RFC 6749 §4.1.2 recommends ten minutes at most; Vault has five.
pub(crate) const CODE_LIFE: Duration = Duration::from_secs(5 * 60);

/// Characters of an authorization code and of a client id; Vault's number (190 bits).
pub(crate) const CODE_CHARS: usize = 32;
/// Characters of a role's client id; Vault's number.
pub(crate) const ROLE_CLIENT_ID_CHARS: usize = 26;
/// Characters of a client secret behind its prefix; Vault's number.
pub(crate) const CLIENT_SECRET_CHARS: usize = 64;

/// Length of a PKCE verifier and of a plain challenge (RFC 7636 §4.1).
pub(crate) const PKCE_CHARS: std::ops::RangeInclusive<usize> = 43..=128;

/// Longest text a client may have us keep with a code (state is not kept), and longest template.
pub(crate) const NONCE_MAX_BYTES: usize = 4096;
/// Longest template; it is filled in on each token.
pub(crate) const TEMPLATE_MAX_BYTES: usize = 64 * 1024;
