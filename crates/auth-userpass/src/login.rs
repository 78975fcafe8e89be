//! `login/<name>` and the renewal of what it gave.

use std::collections::{BTreeMap, BTreeSet};

use engine::token_params::cidrs_allow;
use engine::{Alias, Auth, Call, EngineError, Outcome, Response};
use lockout::Verdict;
use secret::SecretString;

use crate::{Userpass, user};

/// Vault's words for a wrong name and a wrong password alike.
const WRONG: &str = "invalid username or password";

/// Checks name and password. The order of work is the same whether or not the user exists.
pub(crate) async fn login(engine: &Userpass, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("username").to_lowercase();
    let password = SecretString::from(call.fields.str("password"));
    if password.is_empty() {
        return Err(EngineError::invalid("invalid credentials"));
    }
    let user = user::load(&mut call.view, &name)?;
    let mount = call.mount;
    let Some(attempt) = engine.lockout.admit(mount.lockout, &mount.accessor, &name, user.is_some(), call.now).await else {
        return Err(EngineError::denied("permission denied"));
    };
    let hash = user.as_ref().map(|u| u.password_hash.clone());
    let right = engine.workers.verify(password, hash).await?;
    attempt.settle(if right { Verdict::Right } else { Verdict::Wrong }, call.now);
    let Some(user) = user.filter(|_| right) else { return Err(EngineError::invalid(WRONG)) };
    if !cidrs_allow(&user.token.token_bound_cidrs, call.request.connection.remote_addr) {
        return Err(EngineError::denied("permission denied"));
    }
    let mut auth = Auth {
        display_name: name.clone(),
        alias: Some(Alias { name: name.clone(), metadata: BTreeMap::new() }),
        metadata: BTreeMap::from([("username".to_owned(), name)]),
        ..Auth::default()
    };
    user.token.apply(&mut auth);
    Ok(Some(Response { auth: Some(Box::new(auth)), ..Response::default() }))
}

/// Renews only for a user who still exists with the same policies, with the times the user has now.
pub(crate) fn renew(call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
    let name = auth.metadata.get("username").cloned().unwrap_or_default();
    let Some(user) = user::load(&mut call.view, &name)? else {
        return Err(EngineError::Rejected("username does not exist".to_owned()));
    };
    let issued = if auth.token_policies.is_empty() { &auth.policies } else { &auth.token_policies };
    if meant(&user.token.token_policies) != meant(issued) {
        return Err(EngineError::internal("policies have changed, not renewing"));
    }
    user.token.renew(auth);
    Ok(())
}

/// A policy list as it counts: `default` comes and goes by another switch.
fn meant(policies: &[String]) -> BTreeSet<String> {
    policies.iter().map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty() && p != "default").collect()
}
