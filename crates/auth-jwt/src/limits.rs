//! Every number of this method, with its reason beside it.

use std::time::Duration;

/// How long somebody may take to sign in at the provider (Vault's figure).
pub(crate) const PENDING_LIFE: Duration = Duration::from_secs(600);

/// Sign-ins under way, all mounts together. One is half a KiB, so all are 16 MiB; beyond it the oldest goes, since refusing new
/// ones would let anybody lock everybody out for ten minutes.
pub(crate) const PENDING_MAX: usize = 32_768;

/// Bytes that form posts may leave with sign-ins under way, all together.
pub(crate) const POSTED_MAX_BYTES: usize = 16 * 1024 * 1024;

/// One posted code or ID token; tokens with hundreds of groups fit.
pub(crate) const POSTED_FIELD_MAX_BYTES: usize = 32 * 1024;

/// A nonce of the client's own is a UUID in practice.
pub(crate) const CLIENT_NONCE_MAX_BYTES: usize = 1024;

/// Finished exchanges that a request can come back to when its transaction runs anew; that happens at once or not at all.
pub(crate) const FINISHED_MAX: usize = 256;

/// How long they are kept.
pub(crate) const FINISHED_LIFE: Duration = Duration::from_secs(60);

/// Characters of `state`, `nonce`: 20 of base62 are 119 bits.
pub(crate) const STATE_CHARS: usize = 20;

/// Characters of the PKCE verifier (RFC 7636 §4.1: 43 to 128).
pub(crate) const VERIFIER_CHARS: usize = 43;

/// A discovery document is 2 KiB; the bound leaves room for lists of claims.
pub(crate) const DISCOVERY_MAX_BYTES: usize = 256 * 1024;

/// A token answer holds two tokens, user information holds groups.
pub(crate) const PROVIDER_ANSWER_MAX_BYTES: usize = 512 * 1024;

/// Fetched documents and keys are fetched again after this time, so that a key that was taken back stops to work.
pub(crate) const REUSE: Duration = Duration::from_secs(600);

/// While the provider is out, what it last said counts this long.
pub(crate) const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Fetches of one document in a row that tokens with unknown keys, or a provider that is out, can bring about…
pub(crate) const FETCH_BURST: u32 = 4;

/// …and one more after each such time.
pub(crate) const FETCH_EVERY: Duration = Duration::from_secs(10);

/// Distinct documents that are kept; each is a few KiB.
pub(crate) const SOURCES_MAX: usize = 512;

/// Pairs in `jwks_pairs`: a token of an unknown key asks all of them.
pub(crate) const JWKS_PAIRS_MAX: usize = 32;
