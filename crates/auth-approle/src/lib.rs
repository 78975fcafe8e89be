//! The `approle` auth method: a machine logs in with the role id of its role and, usually, a secret id that was made for it.
//!
//! Role ids and secret ids are found by HMAC under a salt of the mount's own; a secret id is kept in no other form. A secret id
//! belongs to one role and works, is shown and is destroyed through that role only. A wrong role id and a wrong secret id get
//! the same answer for the same work, and both count towards the lockout (see [`Lockout`]).
//!
//! Deliberately absent: the token, the entity, response wrapping, MFA (floors above); a difference between local and other
//! secret ids (every record is on every node); a clock of its own for tidying (see `tidy`).

mod cidrs;
mod login;
mod metadata;
mod parts;
mod role;
mod routes;
mod salt;
mod secret_id;
mod tidy;

use std::sync::Arc;

use engine::{Auth, Call, Engine, EngineError, PathTable};
use lockout::Lockout;

/// The auth method. One value serves every mount; what differs is in the mounts' views.
pub struct Approle {
    table: PathTable<Self>,
    lockout: Arc<Lockout>,
}

impl Engine for Approle {
    const TYPE: &'static str = "approle";

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

impl Default for Approle {
    fn default() -> Self {
        Self::new()
    }
}

impl Approle {
    /// The method with counters of failed logins of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lockout(Arc::default())
    }

    /// The method with counters that others hold too, to list and to unlock role ids. The rule comes with each call's mount.
    #[must_use]
    pub fn with_lockout(lockout: Arc<Lockout>) -> Self {
        Self { table: PathTable::new(routes::HELP, routes::routes()), lockout }
    }
}
