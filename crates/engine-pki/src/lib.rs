//! Certificate authorities: roots and intermediates, roles, leaf certificates with or without their keys, revocation lists.
//!
//! The engine is mounted as `pki`. Decisions are pure (`rules`, `validity`, `constraints`, `draft`); handlers read records,
//! decide, and hand key generation and signatures to a thread of their own (`signing`). Records are in `store`.
//!
//! Revocation lists are not records: they are built from the revocations when they are asked for and kept in memory until a
//! revocation changes the stamp in storage (`crl`). So a revocation costs two small writes however long the list is, and the
//! first list after a start or on another node is complete.
//!
//! Deliberately absent: ACME, EST, CMPv2, OCSP answers, keys in a KMS, unified lists across clusters, identity templates in
//! roles, tidying on a timer.

mod answer;
mod asn1;
mod config;
mod constraints;
mod crl;
mod draft;
mod fetch;
mod fields;
mod import;
mod intermediate;
mod issue;
mod issuers;
mod keys;
mod keys_api;
mod limits;
mod names;
mod oids;
mod pem;
mod policies;
mod public;
mod reading;
mod revoke;
mod roles;
mod root;
mod rules;
mod signing;
mod store;
mod tidy;
mod validity;

use api_types::Map;
use engine::{BoxFuture, Call, Engine, EngineError, PathTable};
use serde_json::Value;
use storage::Page;

/// The engine. Holds nothing but its routes and the revocation lists last built.
pub struct Pki {
    table: PathTable<Self>,
    lists: crl::Lists,
}

impl Pki {
    /// The engine; its settings are in storage.
    #[must_use]
    pub fn new() -> Self {
        let mut routes = root::routes();
        routes.extend(intermediate::routes());
        routes.extend(issue::routes());
        routes.extend(roles::routes());
        routes.extend(fetch::routes());
        routes.extend(issuers::routes());
        routes.extend(keys_api::routes());
        routes.extend(import::routes());
        routes.extend(revoke::routes());
        routes.extend(config::routes());
        routes.extend(tidy::routes());
        Self {
            table: PathTable::new("X.509 certificates: authorities, roles, leaves, revocation.", routes),
            lists: crl::Lists::default(),
        }
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Pki {
    const TYPE: &'static str = "pki";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn revoke_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { revoke::revoke_leased(call, internal) })
    }
}

/// The part of a listing that `after` and `limit` ask for (our extension; Vault always lists everything).
fn wanted_page(call: &Call<'_>) -> Page {
    let sent = |name| match call.request.data.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    Page { after: Some(sent("after")).filter(|a| !a.is_empty()), limit: sent("limit").parse().ok().filter(|n| *n > 0) }
}
