//! The `jwt` and `oidc` auth methods: a signed token is exchanged for a token of this server, or a browser signs in at an OpenID
//! provider and the provider's answer is.
//!
//! Claims, roles and configuration are judged in pure code; [`Web`] is the seam to the network. Keys come from the mount's
//! configuration and from where it points, never from a token. Deliberately absent: the token and the entity (a floor above),
//! HMAC, encrypted tokens, dynamic registration, and the providers of `provider_config` that call further services (azure, gsuite).

mod bound;
mod check;
mod claims;
mod config;
mod exchange;
mod fetched;
mod identity;
mod limits;
mod login;
mod oidc;
mod page;
mod pending;
mod place;
mod provider;
mod role;
mod web;

use std::sync::Arc;

use api_types::Operation::{Create, Delete, List, Read, Update};
use engine::{Auth, Call, Engine, EngineError, Field, FieldKind, PathTable, Route};

pub use web::Web;

use fetched::Fetched;
use pending::PendingLogins;

/// The auth method. One value serves every mount; what differs is in the mounts' views, and sign-ins under way are kept by mount.
pub struct Jwt {
    table: PathTable<Self>,
    web: Arc<dyn Web>,
    fetched: Fetched,
    pending: PendingLogins,
}

impl Jwt {
    /// The method with a way to ask providers.
    #[must_use]
    pub fn new(web: Arc<dyn Web>) -> Self {
        Self { table: PathTable::new(HELP, routes()), web, fetched: Fetched::default(), pending: PendingLogins::default() }
    }
}

impl Engine for Jwt {
    const TYPE: &'static str = "jwt";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn renew_login(&self, call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
        login::renew(call, auth)
    }

    fn login_role(&self, call: &mut Call<'_>) -> Result<Option<String>, EngineError> {
        login::role_of(call)
    }
}

const HELP: &str = "Holders of a signed token log in at `login` with `role` and `jwt`; people sign in at an OpenID provider through \
                    `oidc/auth_url` and `oidc/callback`. Keys or provider are named at `config`; roles at `role/` bind claims to \
                    policies.";

const LOGIN: &[Field] = &[
    Field::new("role", FieldKind::LowerString, "Role to log in with; the mount's default_role unless sent."),
    Field::new("jwt", FieldKind::String, "The signed token."),
];

const AUTH_URL: &[Field] = &[
    Field::new("role", FieldKind::LowerString, "Role to log in with; the mount's default_role unless sent."),
    Field::new("redirect_uri", FieldKind::String, "Where the provider sends the browser back to; one of the role's."),
    Field::new("client_nonce", FieldKind::String, "Must be sent again with the callback if it is sent here."),
];

const CALLBACK: &[Field] = &[
    Field::new("state", FieldKind::String, "The state of the sign-in."),
    Field::new("code", FieldKind::String, "The provider's code."),
    Field::new("id_token", FieldKind::String, "The provider's ID token, in a form post."),
    Field::new("client_nonce", FieldKind::String, "The nonce that was sent for the address."),
];

fn routes() -> Vec<Route<Jwt>> {
    vec![
        Route::new("config", config::FIELDS, "Name the keys or the provider whose tokens are believed")
            .on_async(Update, "Set the configuration", |e, c| Box::pin(check::write(e, c)))
            .on(Read, "Read the configuration", config::read),
        Route::new("role/?", &[], "List roles").on(List, "List roles", role::list),
        Route::new("role/{name}", &role::FIELDS, "Manage a role")
            .exists(role::exists)
            .on(Create, "Create a role", role::write)
            .on(Update, "Change a role", role::write)
            .on(Read, "Read a role", role::read)
            .on(Delete, "Delete a role", role::delete),
        Route::new("login", LOGIN, "Log in with a signed token").on_async(Update, "Log in", |e, c| Box::pin(login::login(e, c))),
        Route::new("oidc/auth_url", AUTH_URL, "Begin to sign in at the provider").on_async(
            Update,
            "Ask for the provider's address",
            |e, c| Box::pin(oidc::auth_url(e, c)),
        ),
        Route::new("oidc/callback", CALLBACK, "Come back from the provider")
            .on_async(Read, "Log in with the provider's answer", |e, c| Box::pin(oidc::callback(e, c)))
            .on(Update, "Take the provider's form post", oidc::posted),
    ]
}
