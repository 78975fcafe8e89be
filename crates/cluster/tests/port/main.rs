//! Ports that talk over loopback: between members, and with those that are none.
//!
//! Nothing here waits for a time to pass: every wait ends with an event, and the time limits that are meant to be met are far
//! above what any machine needs, or are the thing tested.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

mod drop_outs;
mod hostile;
mod refusals;
mod rotation;
mod scene;
mod snapshots;
mod strangers;
mod talk;
