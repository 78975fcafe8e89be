//! Who stands behind a token: entities, their aliases on auth mounts, and groups. The core asks [`profile`] on each request
//! that has an entity and [`login`] on each login; people use [`IdentityEngine`] at `identity/`.
//!
//! One row per entity (its aliases inside), one per group, one per entity that lists its groups, one per group member, and
//! small index rows (name, alias, merged id). Nothing is loaded ahead and nothing scans, so a million entities slow neither a
//! login nor a failover. The layout is in `keys`.
//!
//! Deliberately absent: tokens, policies' text, OIDC, MFA, the audit trail. All state is in the view.

mod alias;
mod checks;
mod entity;
mod group;
mod group_alias;
mod keys;
mod login;
mod lookup;
mod merge;
mod paths;
mod profile;
mod records;
mod rows;
mod shown;

pub use login::{Login, login, refresh_external_groups, remove_mount_aliases};
pub use paths::IdentityEngine;
pub use profile::{Profile, profile};
