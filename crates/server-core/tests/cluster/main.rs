//! Three nodes: whatever is asked of one of them is right, and what was done on one counts on all, at once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used, reason = "tests may fail loudly")]

#[path = "../common/mod.rs"]
mod common;

mod nodes;

mod failover;
mod memory;
mod seal;
