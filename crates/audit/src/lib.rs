//! Audit: the only way from a [`policy::Grant`] to a [`Permit`], and from an answer to a [`Logged`] answer.
//!
//! A request is recorded before it is carried out and its answer before it leaves. With devices enabled, at least one of them
//! must take each entry; without devices nothing is recorded, which is a named state of Vault's and not a failure.
//! [`Broker`] is the room's door, [`RequestRecord`] and [`ResponseRecord`] are what goes through it.
//!
//! Deliberately absent: who decides, what is asked, how it is answered, where device tables and salts are stored; the devices
//! `socket` and `syslog`, the format `jsonx`, and the filters of Vault Enterprise.

mod broker;
mod config;
mod device;
mod hash;
mod line;
mod permit;
mod record;
mod sealed_reply;
mod sink;

pub use broker::{AuditError, Broker, Failure, Settings};
pub use config::{DeviceConfig, EnableError};
pub use device::{DeviceStatus, Health};
pub use permit::{Logged, Permit};
pub use record::{
    AuditedHeader, AuthRecord, PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord, WrapRecord,
};
pub use sealed_reply::SealedReply;
