//! `login` and the renewal of what it gave.

use std::collections::BTreeMap;

use engine::{Alias, Auth, Call, EngineError, Outcome, Response};
use lockout::{Ruling, Verdict};
use secret::SecretString;

use crate::role::{self, NAME_MAX_BYTES, Role};
use crate::salt::Salt;
use crate::secret_id::{self, SecretId};
use crate::{Approle, cidrs};

/// Vault's words for a wrong role id and a wrong secret id alike.
const WRONG: &str = "invalid role or secret ID";
/// The folder of no role; folders are UUIDs.
const NOBODY: &str = "nobody";

/// Checks role id and secret id. The work and the answer are the same whether the role id or the secret id is wrong.
pub(crate) fn login(engine: &Approle, call: &mut Call<'_>) -> Outcome {
    let role_id = call.fields.str("role_id").to_owned();
    if role_id.is_empty() {
        return Err(EngineError::invalid("missing role_id"));
    }
    let secret_id = SecretString::from(call.fields.str("secret_id"));
    let salt = Salt::load(&mut call.view)?;
    let found = role::by_role_id(&mut call.view, &salt, &role_id)?;
    let role = found.as_ref().map(|(_, role)| role);
    let binds = role.is_none_or(|r| r.bind_secret_id);
    // An unknown role id binds too, so that this does not tell which exist.
    if binds && secret_id.is_empty() {
        return Err(EngineError::invalid("missing secret_id"));
    }
    let folder = role.map_or(NOBODY, |r| r.folder.as_str());
    let entry = if binds && secret_id.expose().len() <= NAME_MAX_BYTES {
        secret_id::load(&mut call.view, folder, &salt.secret_id(folder, secret_id.expose()))?
    } else {
        None
    };
    let entry = entry.filter(|e| !e.has_expired(call.now));
    let right = role.is_some() && (entry.is_some() || !binds);
    let verdict = if right { Verdict::Right } else { Verdict::Wrong };
    let mount = call.mount;
    // The check was quick, so the verdict is counted after it, and told only if the role id is not locked.
    if engine.lockout.judge(mount.lockout, &mount.accessor, &role_id, role.is_some(), verdict, call.now) == Ruling::Locked {
        return Err(EngineError::denied("permission denied"));
    }
    let Some((name, role)) = found.filter(|_| right) else { return Err(EngineError::invalid(WRONG)) };
    check_source(call, &role, entry.as_deref())?;
    if let Some(entry) = &entry {
        spend(call, &role, entry)?;
    }
    let auth = grant(&name, &role, entry.as_deref());
    Ok(Some(Response { auth: Some(Box::new(auth)), ..Response::default() }))
}

/// The role whose id was sent, for quotas; `None` tells nothing to the client, whose login goes on all the same.
pub(crate) fn role_of(call: &mut Call<'_>) -> Result<Option<String>, EngineError> {
    let Some(role_id) = call.request.data.get("role_id").and_then(|v| v.as_str()) else { return Ok(None) };
    let salt = Salt::load(&mut call.view)?;
    Ok(role::by_role_id(&mut call.view, &salt, role_id)?.map(|(name, _)| name))
}

/// Checks where the login comes from. A secret id whose networks reach beyond what its role says by now is refused.
fn check_source(call: &Call<'_>, role: &Role, entry: Option<&SecretId>) -> Result<(), EngineError> {
    let addr = call.request.connection.remote_addr;
    let shown = addr.map(|a| a.to_canonical().to_string()).unwrap_or_default();
    let refuse = |by: &str| Err(EngineError::Invalid(format!("source address {shown:?} unauthorized {by}")));
    if let Some(entry) = entry {
        cidrs::check_subset(role.bound_cidrs(), &entry.cidr_list)?;
        cidrs::check_subset(&role.token.token_bound_cidrs, &entry.token_bound_cidrs)?;
        if !cidrs::allow(&entry.cidr_list, addr) {
            return refuse("through CIDR restrictions on the secret ID");
        }
    }
    if !cidrs::allow(role.bound_cidrs(), addr) {
        return refuse("by CIDR restrictions on the role");
    }
    // Where a token could not be used it is not issued either.
    if cidrs::allow(token_cidrs(role, entry), addr) { Ok(()) } else { Err(EngineError::denied("permission denied")) }
}

/// Where a token may be used: what the secret id says, else what the role says.
fn token_cidrs<'a>(role: &'a Role, entry: Option<&'a SecretId>) -> &'a [String] {
    entry.map(|e| e.token_bound_cidrs.as_slice()).filter(|own| !own.is_empty()).unwrap_or(&role.token.token_bound_cidrs)
}

/// Counts one use; the last one takes the secret id away. The core commits this together with the token, and of two logins
/// that spend the same use one is run again and finds it gone.
fn spend(call: &mut Call<'_>, role: &Role, entry: &SecretId) -> Result<(), EngineError> {
    match entry.num_uses {
        0 => Ok(()),
        1 => secret_id::remove(&mut call.view, &role.folder, entry),
        n => {
            let entry = SecretId { num_uses: n - 1, updated: call.now, ..entry.clone() };
            secret_id::store(&mut call.view, &role.folder, &entry)
        }
    }
}

fn grant(name: &str, role: &Role, entry: Option<&SecretId>) -> Auth {
    let mut metadata: BTreeMap<String, String> = entry.map(|e| e.metadata.clone()).unwrap_or_default();
    // Last, so that a secret id cannot claim another role.
    metadata.insert("role_name".to_owned(), name.to_owned());
    let mut auth = Auth {
        alias: Some(Alias { name: role.role_id.clone(), metadata: metadata.clone() }),
        metadata,
        internal: [("role_name".to_owned(), name.into())].into_iter().collect(),
        ..Auth::default()
    };
    role.token.apply(&mut auth);
    auth.bound_cidrs = token_cidrs(role, entry).to_vec();
    auth
}

/// Renews for a role that still exists, with the times it has now.
pub(crate) fn renew(call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
    let name = auth.internal.get("role_name").and_then(|n| n.as_str()).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(EngineError::internal("failed to fetch role_name during renewal"));
    }
    let role = role::load(&mut call.view, &name)?
        .ok_or_else(|| EngineError::Internal(format!("role {name:?} does not exist during renewal")))?;
    role.token.renew(auth);
    Ok(())
}
