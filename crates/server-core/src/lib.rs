//! The one pipeline every request goes through, the mount table, the life of the seal, and `sys/`.
//!
//! ```text
//! Request → policy: Grant → audit: Permit → engine: Response → one Raft entry → audit: Logged<Answer> → server-http
//! ```
//!
//! Deliberately absent: bytes and status codes (`server-http`), which engines and which disk there are (`strongroom` registers
//! and opens them), consensus (`replication`).

mod answer;
mod cluster;
mod config;
mod core;
mod decide;
mod envelope;
mod expiry;
mod finish;
mod in_flight;
mod listing;
mod mounts;
mod pipeline;
mod policies;
mod quota;
mod records;
mod retire;
mod seal;
mod series;
mod settings;
mod standby;
mod sys;
mod upgrades;

pub use answer::{Answer, Failure, FailureKind};
pub use cluster::{ClusterConfig, Gate, HostError, JoinError, JoinRequest, Leaders, Target, Told};
pub use config::{CoreConfig, Factory, LogControl, LogStream, MetricsText, Registry, Upgrade};
pub use core::{Core, OpenCore};
pub use envelope::{render, render_wrapped};
pub use mounts::{MountConfig, MountEntry, Mounted, Router, Table};
pub use quota::Admission;
pub use quotas::Verdict;
pub use seal::{
    CeremonyError, GenerateRootRequest, GenerateRootStatus, Health, InitOutcome, InitRequest, Leader, LeaderHeard, NodeState,
    RekeyRequest, RekeyResult, RekeyStatus, RekeyTarget, RekeyUpdate, SealError, SealStatus, Seals, VerifyStatus, VerifyUpdate,
    share_from_text,
};
pub use settings::{Cors, UiHeaders};
pub use standby::{Place, refuse_to_seal};
pub use sys::injects;
