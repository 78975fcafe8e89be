//! The `userpass` auth method: user names and passwords kept in this server.
//!
//! Passwords are kept as bcrypt hashes. An unknown user costs the same work and gets the same answer as a wrong password,
//! and both count towards the lockout (see [`Lockout`]).
//!
//! Deliberately absent: MFA (a floor above), the token, the entity, directories of users elsewhere.

mod login;
mod password;
mod user;

use std::sync::Arc;

use api_types::Operation::{Create, Delete, List, Read, Update};
use engine::{Auth, Call, Engine, EngineError, Field, FieldKind, PathTable, Route};

use lockout::Lockout;
use password::Workers;

/// The auth method. One value serves every mount; what differs is in the mounts' views.
pub struct Userpass {
    table: PathTable<Self>,
    workers: Workers,
    lockout: Arc<Lockout>,
}

impl Engine for Userpass {
    const TYPE: &'static str = "userpass";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn renew_login(&self, call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
        login::renew(call, auth)
    }
}

impl Default for Userpass {
    fn default() -> Self {
        Self::new()
    }
}

impl Userpass {
    /// The method with counters of failed logins of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lockout(Arc::default())
    }

    /// The method with counters that others hold too, to list and to unlock users. The rule comes with each call's mount.
    #[must_use]
    pub fn with_lockout(lockout: Arc<Lockout>) -> Self {
        Self { table: PathTable::new(HELP, routes()), workers: Workers::new(), lockout }
    }
}

const HELP: &str = "Users and passwords are managed at `users/`; a login at `login/<name>` with `password` gives a token.";

const USERNAME: Field = Field::new("username", FieldKind::LowerString, "Name of the user; case does not matter.");
const PASSWORD: Field = Field::new("password", FieldKind::String, "Password of the user.");
const PASSWORD_HASH: Field =
    Field::new("password_hash", FieldKind::String, "Bcrypt hash of the password, instead of the password itself.");

const LOGIN: &[Field] = &[USERNAME, PASSWORD];
const NEW_PASSWORD: &[Field] = &[USERNAME, PASSWORD, PASSWORD_HASH];
const POLICIES: &[Field] = &[
    USERNAME,
    Field::new("token_policies", FieldKind::CommaStringSlice, "Comma-separated list of policies."),
    Field::new("policies", FieldKind::CommaStringSlice, "Deprecated: use token_policies."),
];
const LISTING: &[Field] = &[
    Field::new("after", FieldKind::String, "Only names after this one."),
    Field::new("limit", FieldKind::Int, "At most this many."),
];

/// A user's fields: the nine shared ones in the middle.
static USER: [Field; 16] = {
    let t = engine::token_params::TOKEN_FIELDS;
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = t;
    [
        USERNAME,
        PASSWORD,
        PASSWORD_HASH,
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        t8,
        Field::new("policies", FieldKind::CommaStringSlice, "Deprecated: use token_policies."),
        Field::new("ttl", FieldKind::DurationSecond, "Deprecated: use token_ttl."),
        Field::new("max_ttl", FieldKind::DurationSecond, "Deprecated: use token_max_ttl."),
        Field::new("bound_cidrs", FieldKind::CommaStringSlice, "Deprecated: use token_bound_cidrs."),
    ]
};

fn routes() -> Vec<Route<Userpass>> {
    vec![
        Route::new("users/?", LISTING, "List users").on(List, "List users", user::list),
        Route::new("users/{username}/password", NEW_PASSWORD, "Set a user's password").on_async(
            Update,
            "Set a user's password",
            |e, c| Box::pin(user::set_password(e, c)),
        ),
        Route::new("users/{username}/policies", POLICIES, "Set a user's policies").on(
            Update,
            "Set a user's policies",
            user::set_policies,
        ),
        Route::new("users/{username}", &USER, "Manage a user")
            .exists(user::exists)
            .on_async(Create, "Create a user", |e, c| Box::pin(user::write(e, c)))
            .on_async(Update, "Update a user", |e, c| Box::pin(user::write(e, c)))
            .on(Read, "Read a user", user::read)
            .on(Delete, "Delete a user", user::delete),
        Route::new("login/{username}", LOGIN, "Log in with a user name and password")
            .on_async(Update, "Log in", |e, c| Box::pin(login::login(e, c))),
    ]
}
