//! Audit: the only way from a [`policy::Grant`] to a [`Permit`], and from an answer to a [`Logged`] answer.
//!
//! A request is recorded before it is carried out and its answer before it leaves. With devices enabled, at least one of them
//! must take each entry; without devices nothing is recorded, which is a named state of Vault's and not a failure.
//! [`Broker`] is the room's door, [`RequestRecord`] and [`ResponseRecord`] are what goes through it.
//!
//! Deliberately absent: who decides, what is asked, how it is answered, where device tables and salts are stored; and Vault
//! Enterprise's `exclude`, which would edit lines.

mod broker;
mod config;
mod device;
mod filter;
mod guard;
mod hash;
mod line;
mod permit;
mod record;
mod sealed_reply;
mod sink;
mod writer;

pub use broker::{AuditError, Broker, Failure, Recording, Settings};
pub use config::{DeviceConfig, EnableError};
pub use device::{DeviceStatus, Health};
pub use filter::FilterError;
pub use guard::Guarded;
pub use hash::Kept;
pub use permit::{Logged, Permit};
pub use record::{
    AuditedHeader, AuthRecord, Payload, PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord, Shy,
    WrapRecord,
};
pub use sealed_reply::SealedReply;
