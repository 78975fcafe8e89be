//! The [`storage::Store`] on fjall: an LSM tree with one journal for all spaces, so a batch is atomic across them and
//! a synced commit costs one fdatasync.
//!
//! Deliberately absent: compression (values are ciphertext), any cache of values (`server-core` has its own), any policy of
//! when to sync.

mod journal;
mod keeper;
mod manifest;
mod store;

pub use store::{FORMAT, FjallOptions, FjallStore};
