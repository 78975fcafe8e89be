//! The cluster in one process under virtual time: nodes whose disks lose what was not synced, wires that delay, lose, cut and
//! repeat, machines that stand still or lose power, members that join and leave. All of it comes from a seed; an invariant that
//! breaks names the seed (`cargo run -p sim -- --seed N` repeats it). See `docs/reliability.md`.
//!
//! What runs is `replication` itself, with openraft, on tokio's paused clock. Deliberately absent: sockets and TLS
//! (`cluster`), the files of the log and of the store (their own crash suites), and everything above replication.

#![expect(missing_docs, reason = "a program of ours, not a library for others")]

pub mod checker;
pub mod clients;
pub mod disk;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod machine;
pub mod members;
pub mod network;
pub mod options;
pub mod random;
pub mod records;
pub mod run;
pub mod world;
