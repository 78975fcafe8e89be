//! The barrier: keys from shares, records from keys, and transactions of plaintext over sealed state.
//!
//! `Barrier<Sealed>` knows only what is public; [`Barrier::<Sealed>::unseal`] with the right key gives `Barrier<Unsealed>`, which
//! alone has transactions. There is no `sealed: bool`.
//!
//! Deliberately absent: consensus (a finished transaction is a [`storage::Changeset`] for somebody else to propose), HTTP, and
//! who may unseal.

mod bare;
mod break_glass;
mod cache;
mod keyring;
mod pages;
mod progress;
mod root;
mod seal;
mod transaction;

pub use bare::BareRoot;
pub use break_glass::BreakGlassConfig;
pub use keyring::{Keyring, KeyringError, RotationConfig, TermInfo};
pub use progress::{Progress, ShareOutcome};
pub use root::{FreshShares, NewBarrier, NextRoot, RecoveryConfig, SHAMIR, SealConfig, WrappedRoot};
pub use seal::{Barrier, BarrierError, Counts, Sealed, Unsealed, Watch};
pub use transaction::Txn;
