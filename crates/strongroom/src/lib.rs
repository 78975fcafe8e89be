//! What the binary shares with the proofs about all of it (tests that walk every path table, fuzz targets): the registry.
//!
//! Deliberately absent: the wiring of a process, which is the binary's.

pub mod engines;
