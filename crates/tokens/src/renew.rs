//! Renewing tokens.

use std::time::Duration;

use engine::{Auth, EngineError, Mount};
use secret::Time;
use storage::View;

use crate::due::{self, DueItem};
use crate::store::id_path;
use crate::ttl::lesser;
use crate::{Found, Life, RoleLimits, TokenEntry, TokenStore};

/// What limits a renewal now, whatever it was at issue.
pub struct RenewLimits<'a> {
    /// The mount that made the token.
    pub mount: &'a Mount,
    /// The token role as it is now; empty if there is none.
    pub role: RoleLimits,
    /// For logins: what the auth method said in `renew_login` (TTL, maximum, period); otherwise `entry.to_auth()`.
    pub auth: Auth,
}

/// A renewed token.
#[derive(Debug)]
pub struct Renewed {
    /// As the client is shown it; `client_token` is empty.
    pub auth: Auth,
    /// In Vault's words.
    pub warnings: Vec<String>,
}

impl TokenStore {
    /// Gives a token more time, counted from now, never beyond its limits. A token that never expires stays as it is.
    ///
    /// # Errors
    /// `Invalid` if the token cannot be renewed, `Internal` with `past the max TTL, cannot renew`.
    pub fn renew(
        &self,
        view: &mut View<'_>,
        found: &Found,
        increment: Duration,
        limits: RenewLimits<'_>,
        now: Time,
    ) -> Result<Renewed, EngineError> {
        let entry = &found.entry;
        if entry.is_batch() {
            return Err(EngineError::invalid("batch tokens cannot be renewed"));
        }
        let mut auth = limits.auth;
        let Some(end) = entry.expire_time else {
            auth.ttl = Duration::ZERO;
            auth.renewable = false;
            return Ok(Renewed { auth, warnings: Vec::new() });
        };
        // Near its end or behind it is decided before anything is written: an expired token never comes back.
        if !entry.is_live(now) || entry.is_spent() {
            return Err(EngineError::invalid("token not found"));
        }
        if !entry.renewable {
            return Err(EngineError::invalid("lease is not renewable"));
        }
        let life = Life {
            increment,
            ttl: auth.ttl,
            period: lesser(auth.period, limits.role.period),
            role_max: auth.max_ttl,
            explicit_max: lesser(auth.explicit_max_ttl, limits.role.explicit_max_ttl),
            ..Life::on(limits.mount)
        };
        let granted = life.grant(entry.creation_time, now).map_err(|e| EngineError::internal(e.to_string()))?;
        let new_end = now.plus(granted.ttl);
        let item = DueItem::Token(found.key.clone());
        due::forget(view, end, &item)?;
        due::note(view, new_end, &item)?;
        let renewed = TokenEntry {
            expire_time: Some(new_end),
            last_renewal: Some(now),
            internal: auth.internal.clone(),
            ..TokenEntry::clone(entry)
        };
        view.put_json(&id_path(&found.key), &renewed)?;
        auth.ttl = granted.ttl;
        Ok(Renewed { auth, warnings: granted.warnings })
    }
}
