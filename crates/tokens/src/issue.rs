//! Making tokens: out of logins, and out of other tokens.

use std::time::Duration;

use engine::{Auth, EngineError, Mount, TokenType};
use secret::{Entropy, SecretString, Time};
use storage::View;

use crate::due::{self, DueItem};
use crate::leases::LeaseRecord;
use crate::limits::ID_CHARS;
use crate::names::{ROOT, normalise_policies};
use crate::store::{id_path, new_token};
use crate::ttl::lesser;
use crate::{Found, Life, RoleLimits, TokenEntry, TokenStore, batch};

/// Where a token comes from; decides the rules that only logins or only tokens have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An auth method's login: an orphan, never root, named after the mount, of the type the mount wants.
    Login,
    /// The token engine, which has checked policies and privileges already.
    Token,
}

/// What is known about a token to be made, beside its [`Auth`].
pub struct Issue<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// The request path that makes it; becomes the token's `path`.
    pub path: &'a str,
    /// The auth mount.
    pub mount: &'a Mount,
    /// The parent; none makes an orphan.
    pub parent: Option<&'a Found>,
    /// The token role's limits, if one is used.
    pub role: RoleLimits,
    /// An id chosen by the caller, checked by the engine.
    pub custom_id: Option<&'a str>,
    /// The time of the request.
    pub now: Time,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
}

impl TokenStore {
    /// Makes a token of `auth` and fills in what the client is shown. The answer is warnings.
    ///
    /// `auth.policies` are wishes; afterwards they are the token's policies and those in `auth.identity_policies`. `auth.ttl` is
    /// a wish; afterwards it is what was granted, zero for a root token that never expires.
    ///
    /// # Errors
    /// `Invalid`: a login with policy `root`, a batch token with what only service tokens have, a duplicate custom id.
    pub fn issue(&self, view: &mut View<'_>, auth: &mut Auth, spec: &Issue<'_>) -> Result<Vec<String>, EngineError> {
        let policies = normalise_policies(&auth.policies, spec.origin == Origin::Login && !auth.no_default_policy);
        let root = policies.iter().any(|p| p == ROOT);
        if root && spec.origin == Origin::Login {
            return Err(EngineError::invalid("auth methods cannot create root tokens"));
        }
        if spec.origin == Origin::Login {
            auth.display_name = login_name(spec.mount, &auth.display_name);
        }
        let batch = resolve(auth.token_type, spec) == TokenType::Batch;
        if batch {
            check_batch(auth, root)?;
        }
        let life = Life {
            increment: auth.ttl,
            period: lesser(auth.period, spec.role.period),
            role_max: auth.max_ttl,
            explicit_max: lesser(auth.explicit_max_ttl, spec.role.explicit_max_ttl),
            ..Life::on(spec.mount)
        };
        let (ttl, warnings) = grant(&life, root, spec.now)?;
        let mut entry = entry(auth, spec, policies, ttl);
        let token = if batch {
            entry.token_type = TokenType::Batch;
            entry.renewable = false;
            batch::encode(self.cipher(), &entry)?
        } else {
            self.keep(view, &mut entry, spec)?
        };
        fill(auth, entry, token);
        Ok(warnings)
    }

    /// Stores a service token: at most four records.
    fn keep(&self, view: &mut View<'_>, entry: &mut TokenEntry, spec: &Issue<'_>) -> Result<SecretString, EngineError> {
        let salt = self.salt(view)?;
        let token = match spec.custom_id {
            Some(id) => SecretString::from(id),
            None => new_token(spec.entropy)?,
        };
        let key = salt.key(token.expose());
        // A random id does not repeat; a chosen one may.
        if spec.custom_id.is_some() && view.get(&id_path(&key))?.is_some() {
            return Err(EngineError::invalid("cannot create a token with a duplicate ID"));
        }
        entry.accessor.clone_from(&key);
        entry.cubbyhole_id = spec.entropy.base62(ID_CHARS)?;
        if let Some(end) = entry.expire_time {
            entry.lease_suffix = salt.lease_suffix(&key);
            if let Some(lease) = entry.lease_id() {
                LeaseRecord::Token(key.clone()).put(view, &lease)?;
            }
            due::note(view, end, &DueItem::Token(key.clone()))?;
        }
        view.put_json(&id_path(&key), entry)?;
        if !entry.parent.is_empty() {
            view.put(&format!("{}{key}", children_path(&entry.parent)), b"1".as_slice().into())?;
        }
        Ok(token)
    }
}

/// The folder of a token's children.
pub(crate) fn children_path(key: &str) -> String {
    format!("sys/token/parent/{key}/")
}

fn entry(auth: &Auth, spec: &Issue<'_>, policies: Vec<String>, ttl: Duration) -> TokenEntry {
    TokenEntry {
        parent: spec.parent.map(|p| p.key.clone()).unwrap_or_default(),
        policies,
        path: spec.path.to_owned(),
        meta: auth.metadata.clone(),
        display_name: auth.display_name.clone(),
        num_uses: i64::try_from(auth.num_uses).unwrap_or(i64::MAX),
        ttl,
        max_ttl: auth.max_ttl,
        explicit_max_ttl: auth.explicit_max_ttl,
        period: auth.period,
        role: spec.role.name.clone(),
        bound_cidrs: auth.bound_cidrs.clone(),
        entity_id: auth.entity_id.clone(),
        token_type: TokenType::Service,
        creation_time: spec.now,
        expire_time: (!ttl.is_zero()).then(|| spec.now.plus(ttl)),
        // What never expires needs no renewal.
        renewable: auth.renewable && !ttl.is_zero(),
        orphan: spec.parent.is_none(),
        internal: auth.internal.clone(),
        mount_accessor: spec.mount.accessor.clone(),
        ..TokenEntry::default()
    }
}

fn fill(auth: &mut Auth, entry: TokenEntry, token: SecretString) {
    auth.client_token = token;
    auth.accessor = entry.accessor;
    auth.policies = normalise_policies(entry.policies.iter().chain(&auth.identity_policies), false);
    auth.token_policies = entry.policies;
    auth.ttl = entry.ttl;
    auth.renewable = entry.renewable;
    auth.token_type = entry.token_type;
    auth.orphan = entry.orphan;
}

/// Only a root token for which no limit was asked lives for ever; a hard limit alone is its life.
fn grant(life: &Life, root: bool, now: Time) -> Result<(Duration, Vec<String>), EngineError> {
    if root && life.increment.is_zero() && life.period.is_zero() {
        return Ok((life.explicit_max, Vec::new()));
    }
    let granted = life.grant(now, now).map_err(|e| EngineError::internal(e.to_string()))?;
    Ok((granted.ttl, granted.warnings))
}

/// The mount forces a type, or says what `default` means.
fn resolve(asked: TokenType, spec: &Issue<'_>) -> TokenType {
    use TokenType::{Batch, Default, DefaultBatch, DefaultService, Service};
    if spec.origin == Origin::Token {
        return if asked == Batch { Batch } else { Service };
    }
    match (spec.mount.token_type, asked) {
        (Batch, _) | (_, Batch) if spec.mount.token_type != Service => Batch,
        (Service, _) => Service,
        (DefaultBatch, Default | DefaultBatch) => Batch,
        (Default | DefaultService, DefaultBatch) => Batch,
        (_, Default | DefaultService | DefaultBatch | Service | Batch) => Service,
    }
}

/// A limit that a batch token cannot keep is refused, not dropped.
fn check_batch(auth: &Auth, root: bool) -> Result<(), EngineError> {
    for (name, set) in [
        ("explicit_max_ttl", !auth.explicit_max_ttl.is_zero()),
        ("num_uses", auth.num_uses > 0),
        ("period", !auth.period.is_zero()),
    ] {
        if set {
            return Err(EngineError::Invalid(format!("batch tokens cannot have {name:?} set")));
        }
    }
    if root {
        return Err(EngineError::invalid("batch tokens cannot be root tokens"));
    }
    Ok(())
}

/// The mount's path with `-` for `/`, then the method's name for the client.
fn login_name(mount: &Mount, name: &str) -> String {
    let path = mount.path.strip_prefix("auth/").unwrap_or(&mount.path).replace('/', "-");
    let full = format!("{path}{name}");
    full.strip_suffix('-').unwrap_or(&full).to_owned()
}
