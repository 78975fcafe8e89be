//! Token tree, accessors, leases, expiry: the rules for what a token is, how long it lives, and what goes with it.
//!
//! Everything here works on a [`storage::View`] of the *whole* storage (empty prefix) inside one transaction, takes `now` and
//! entropy as arguments, and decides nothing about policies. The layout:
//!
//! ```text
//! sys/token/salt                        secret text; keys the hash below
//! sys/token/id/<key>                    TokenEntry; key = 24 base62 of HMAC-SHA256(salt, token id), and also the accessor
//! sys/token/parent/<key>/<child key>    the tree
//! sys/token/roles/<name>                token roles
//! sys/expire/id/<path>/<suffix>         a lease: of a secret, or the pointer to a token (for prefix revocation)
//! sys/expire/token/<key>/<lease>        leases that die with a token
//! sys/expire/due/<h>/<m>/<s>/<xx>/<..>  what ends when (see `due`)
//! sys/expire/irrevocable/<lease>        leases given up on
//! ```
//!
//! Deliberately absent: the worker that expires things (the core), calls of engines to renew or revoke a secret (the core),
//! the merging of identity policies (`identity`), any clock.

mod batch;
mod due;
mod engine;
mod entry;
mod hash;
mod issue;
mod leases;
mod limits;
mod names;
mod renew;
mod revoke;
mod roles;
mod store;
mod ttl;
mod wrapping;

pub use batch::BatchCipher;
pub use due::{Due, DueItem, discard, due};
pub use engine::{Neighbours, TokenEngine};
pub use entry::{Found, TokenEntry};
pub use issue::{Issue, Origin};
pub use leases::{Attempt, Extension, Held, Lease, LeaseRecord, Leases, NewLease};
pub use limits::MAX_TOKEN_BYTES;
pub use names::{is_root, normalise_policies, normalise_policy};
pub use renew::{RenewLimits, Renewed};
pub use revoke::Revoked;
pub use roles::{RoleLimits, TokenRole};
pub use store::{TokenStore, UseLeft};
pub use ttl::{Granted, Life, PastMaximum, short_duration};
pub use wrapping::{Wrap, WrapInfo, WrapLookup};
