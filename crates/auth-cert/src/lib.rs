//! The `cert` auth method: a client logs in with the certificate of its TLS connection.
//!
//! The handshake proves that the client holds the certificate's key and nothing else; whom to believe is decided here, role by
//! role: a CA of the role must have signed the chain (`chain`), or the role names this very certificate. Then the role's
//! constraints (`rules`), the revocation lists (`crl`) and, if the role wants it, OCSP responders (`ocsp`) are asked. Lists are
//! records, read in the transaction of the login, so the first login after a start knows them. A renewal needs the certificate
//! of the login again, byte for byte, and asks all of them again.
//!
//! Deliberately absent: certificates from a proxy's header (the listener's business), a cache of roles (the store's records are
//! cached below), the token itself.

mod chain;
mod config;
mod crl;
mod fetch;
mod login;
mod ocsp;
mod presented;
mod role;
mod rules;

use std::sync::Arc;

use api_types::Operation::{Delete, List, Read, Update};
use engine::{Auth, Call, Engine, EngineError, Field, FieldKind, PathTable, Route};

pub use fetch::{Fetch, FetchError, HttpFetch};

/// The auth method. One value serves every mount; what differs is in the mounts' views.
pub struct Cert {
    table: PathTable<Self>,
    fetch: Arc<dyn Fetch>,
    kept: ocsp::Kept,
}

impl Cert {
    /// The method; `fetch` gets revocation lists from where they are published, and asks OCSP responders.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self { table: PathTable::new(HELP, routes()), fetch, kept: ocsp::Kept::default() }
    }
}

impl Engine for Cert {
    const TYPE: &'static str = "cert";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn renew_login(&self, call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
        login::renew(self, call, auth)
    }
}

const HELP: &str = "Clients log in with the certificate of their TLS connection. Whom to trust is said at `certs/<name>`.";

const LISTING: &[Field] = &[
    Field::new("after", FieldKind::String, "Only names after this one."),
    Field::new("limit", FieldKind::Int, "At most this many."),
];

const NAME: Field = Field::new("name", FieldKind::LowerString, "The name; case does not matter.");

const CRL: &[Field] = &[
    NAME,
    Field::new("crl", FieldKind::String, "The revocation list, PEM."),
    Field::new("url", FieldKind::String, "Where the revocation list is published, if it is not sent."),
];

const CONFIG: &[Field] = &[
    Field::new("disable_binding", FieldKind::Bool, "Renewals do not need the certificate of the login."),
    Field::new("enable_identity_alias_metadata", FieldKind::Bool, "Keep the certificate's metadata on the identity alias."),
    Field::new("enable_metadata_on_failures", FieldKind::Bool, "Say which certificate it was when a login fails."),
    Field::new("ocsp_cache_size", FieldKind::Int, "How many answers of OCSP responders are kept."),
    Field::new("role_cache_size", FieldKind::Int, "Kept and shown; records are cached by the store."),
];

fn routes() -> Vec<Route<Cert>> {
    vec![
        Route::new("login", &[NAME], "Log in with a TLS client certificate")
            .on_async(Update, "Log in", |e, c| Box::pin(login::login(e, c))),
        Route::new("certs/?", LISTING, "List roles").on(List, "List roles", role::list),
        Route::new("certs/{name}", &role::FIELDS, "Manage a role: whom to trust, and with which constraints")
            .on(Update, "Create or change a role", role::write)
            .on(Read, "Show a role", role::read)
            .on(Delete, "Delete a role", role::delete),
        Route::new("config", CONFIG, "Settings of the method").on(Update, "Change the settings", config::write).on(
            Read,
            "Show the settings",
            config::read,
        ),
        Route::new("crls/?", LISTING, "List revocation lists").on(List, "List revocation lists", crl::list),
        Route::new("crls/{name}", CRL, "Manage a revocation list")
            .on_async(Update, "Set a revocation list", |e, c| Box::pin(crl::write(e, c)))
            .on(Read, "Show the revoked serial numbers", crl::read)
            .on(Delete, "Delete a revocation list", crl::delete),
    ]
}

/// The part of a listing that was asked for.
fn page(call: &Call<'_>) -> storage::Page {
    storage::Page {
        after: call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned),
        limit: call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    }
}
