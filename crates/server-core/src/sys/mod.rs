//! `sys/`: the server's own engine. Each file is one group of paths; this one joins them.
//!
//! Its view is the whole storage. What must happen outside a transaction (sealing, opening an audit file) is done by its
//! asynchronous handlers through the core.

use std::sync::{Arc, Weak};

use engine::{Call, Engine, EngineError, PathTable};
use storage::TxnError;

use crate::core::{Core, OpenCore};
use crate::mounts::Router;

pub(crate) mod audit;

// Seal, leases, wrapping, audit and the server's own affairs.
mod break_glass;
mod config;
mod generate_root;
mod host;
mod leases;
mod locked_users;
mod misc;
#[cfg(test)]
mod open_routes;
mod openapi;
mod plugins;
mod raft;
mod seal;
mod snapshot;
mod support;
mod telemetry;
mod tools;
pub(crate) mod versions;
pub(crate) mod wrapping;
pub(crate) mod wrapping_jwt;

// Mount tables, policies, and what is told of both.
mod capabilities;
pub(crate) mod explain;
mod mount_config;
mod mounts;
mod passwords;
mod policies;
mod quotas;
mod remount;
mod tune;
mod ui;

/// The engine at `sys/`.
pub struct SystemEngine {
    core: Weak<Core>,
    /// What the handlers remember while the server is unsealed.
    pub(crate) memory: support::Memory,
    table: PathTable<Self>,
}

impl SystemEngine {
    /// An engine for this core.
    #[must_use]
    pub fn new(core: Weak<Core>) -> Self {
        let mut routes = Vec::new();
        for group in [
            tune::routes,
            mounts::routes,
            remount::routes,
            ui::routes,
            policies::routes,
            passwords::routes,
            capabilities::routes,
            explain::routes,
        ] {
            routes.extend(group());
        }
        for group in [
            audit::routes,
            seal::routes,
            generate_root::routes,
            break_glass::routes,
            wrapping::routes,
            leases::routes,
            locked_users::routes,
            tools::routes,
            raft::routes,
            plugins::routes,
            config::routes,
            misc::routes,
            host::routes,
            openapi::routes,
            quotas::routes,
            telemetry::routes,
            versions::routes,
        ] {
            routes.extend(group());
        }
        let table = PathTable::new("The system backend is built-in and cannot be remounted or unmounted.", routes);
        Self { core, memory: support::Memory::default(), table }
    }

    /// The core around it.
    pub(crate) fn core(&self) -> Result<Arc<Core>, EngineError> {
        self.core.upgrade().ok_or(EngineError::Storage(TxnError::Sealed))
    }

    /// The core and its unsealed part.
    pub(crate) fn opened(&self) -> Result<(Arc<Core>, Arc<OpenCore>), EngineError> {
        let core = self.core()?;
        let open = core.open().ok_or(EngineError::Storage(TxnError::Sealed))?;
        Ok((core, open))
    }

    /// The core and the router for the mount table as applied.
    pub(crate) fn routed(&self) -> Result<(Arc<Core>, Arc<Router>), EngineError> {
        let (core, open) = self.opened()?;
        let router = open.router(core.config())?;
        Ok((core, router))
    }
}

impl Engine for SystemEngine {
    const TYPE: &'static str = "system";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

/// The version Vault shows for a built-in engine: those that live in repositories of their own carry their own number.
#[must_use]
pub(crate) fn running_version(mount_type: &str) -> String {
    match mount_type {
        "kv" => "v0.25.0+builtin".to_owned(),
        "kubernetes" => "v0.23.0+builtin".to_owned(),
        _ => format!("v{}+builtin.vault", api_types::API_VERSION),
    }
}

/// Old `sys/` paths show the keys of `data` at the top level as well (contract §1.5).
#[must_use]
pub fn injects(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("sys/") else { return false };
    let rest = rest.trim_end_matches('/');
    matches!(
        rest,
        "audit"
            | "auth"
            | "config/cors"
            | "config/auditing/request-headers"
            | "capabilities"
            | "capabilities-accessor"
            | "capabilities-self"
            | "ha-status"
            | "key-status"
            | "mounts"
            | "policy"
            | "rekey/backup"
            | "rekey/recovery-key-backup"
            | "remount"
            | "rotate"
            | "wrapping/wrap"
    ) || ["audit/", "audit-hash/", "auth/", "config/auditing/request-headers/", "mounts/", "policy/"]
        .iter()
        .any(|p| rest.starts_with(p))
}

/// The caller's client token as text; empty if there is none.
pub(crate) fn presented<'c>(call: &'c Call<'_>) -> &'c str {
    call.request.token.expose()
}
