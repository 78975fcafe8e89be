//! The [`storage::Store`] on sled 0.34: asked for by the project's user, not the default (`docs/decisions/0001`).
//!
//! What sled lacks is added here: durability (its `flush` ends in `sync_file_range`), atomicity across spaces (one tree,
//! a byte in front of each key), snapshots (before images). Deliberately absent: repair. Corrupt files are named, not mended.

mod snapshot;
mod store;
mod sync;

pub use store::{FORMAT, SledOptions, SledStore};
