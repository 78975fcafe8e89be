//! Policies: text to rules, rules to a compiled access list, and the decision. Mints [`Grant`], the proof that a request was
//! allowed; nothing else can.
//!
//! Deliberately absent: storage, tokens, the clock. Everything a decision needs is an argument.

mod acl;
mod builtin;
mod capability;
mod document;
mod explain;
mod grant;
mod grant_text;
mod lint;
mod lint_stanza;
mod params;
pub mod paths;
mod pattern;
mod prefix_table;
mod segments;
mod template;

pub use acl::{Acl, Ask};
pub use builtin::{CONTROL_GROUP_POLICY, DEFAULT_POLICY, RESPONSE_WRAPPING_POLICY};
pub use document::{Policy, PolicyError};
pub use explain::{Explanation, Stanza, explain};
pub use grant::{Denial, DenialReason, Grant, GrantKind};
pub use lint::{Finding, Level, Mounts, lint};
pub use pattern::Precedence;
pub use template::{AliasFacts, GroupFacts, Identity, fill};
