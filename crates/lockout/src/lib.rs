//! Slows down guessing at logins: after some failures in a row a name is locked for a while, right secret or not.
//!
//! [`Rule`] says when, and comes from a mount's own settings, the configuration file and Vault's defaults ([`Defaults`]).
//! [`Lockout`] counts, for all mounts of a server. A login whose check is slow (bcrypt) is admitted before it
//! ([`Lockout::admit`]), one whose check is quick is judged after it ([`Lockout::judge`]); either way a hundred parallel guesses
//! learn as much as five in a row.
//!
//! The counters are in memory, on the node that serves logins, and are gone when that node stops: a guesser wins at most one
//! threshold of tries per failover.
//!
//! Deliberately absent: a clock (callers bring the time), storage, the answer to a locked client, which is the method's.

mod counters;
mod rule;

pub use counters::{Attempt, Locked, Lockout, Ruling, Verdict};
pub use rule::{Defaults, Rule, Settings};
