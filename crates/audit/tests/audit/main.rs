//! The broker with real files, pipes and devices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;
mod devices;
mod owed;
mod proofs;
mod selection;
mod sockets;
