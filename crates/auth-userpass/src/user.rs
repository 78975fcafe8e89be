//! `users/…`: what operators do.

use api_types::Map;
use engine::token_params::TokenParams;
use engine::{Call, EngineError, Fields, Outcome, Response};
use secret::{Entropy, SecretString};
use serde::{Deserialize, Serialize};
use storage::{Page, View};

use crate::Userpass;
use crate::password::check_hash;

const FOLDER: &str = "user/";

/// A user as stored. No `Debug`: it holds the hash.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct User {
    /// Bcrypt, in its text form.
    pub(crate) password_hash: String,
    #[serde(flatten)]
    pub(crate) token: TokenParams,
    // The deprecated twins, shown while they were the last to be written.
    policies: Option<Vec<String>>,
    ttl: Option<u64>,
    max_ttl: Option<u64>,
    bound_cidrs: Option<Vec<String>>,
}

/// The user, by the name in lower case.
pub(crate) fn load(view: &mut View<'_>, name: &str) -> Result<Option<std::sync::Arc<User>>, EngineError> {
    Ok(view.get_json(&key(name))?)
}

/// Names are one path segment of word characters, `.` and `-`, so they need no escape.
fn key(name: &str) -> String {
    format!("{FOLDER}{}", name.to_lowercase())
}

fn name(call: &Call<'_>) -> String {
    call.fields.str("username").to_lowercase()
}

/// Tells `create` from `update`.
pub(crate) fn exists(_: &Userpass, call: &mut Call<'_>) -> Result<bool, EngineError> {
    let name = name(call);
    Ok(load(&mut call.view, &name)?.is_some())
}

/// `users/<name>`: creates or changes a user (204).
pub(crate) async fn write(engine: &Userpass, call: &mut Call<'_>) -> Outcome {
    let name = name(call);
    let old = load(&mut call.view, &name)?;
    let created = old.is_none();
    let mut user = old.map(|u| User::clone(&u)).unwrap_or_default();
    set_token(&mut user, call)?;
    if created || sent(&call.fields, "password") || sent(&call.fields, "password_hash") {
        user.password_hash = new_hash(engine, &call.fields, call.entropy).await?;
    }
    call.view.put_json(&key(&name), &user)?;
    Ok(None)
}

fn sent(fields: &Fields, field: &str) -> bool {
    !fields.str(field).is_empty()
}

/// Modern fields win over their twins; a twin that was not sent along is forgotten.
fn set_token(user: &mut User, call: &Call<'_>) -> Result<(), EngineError> {
    let fields = &call.fields;
    for (twin, modern) in
        [("policies", "token_policies"), ("ttl", "token_ttl"), ("max_ttl", "token_max_ttl"), ("bound_cidrs", "token_bound_cidrs")]
    {
        user.token.from_deprecated(fields, twin, modern)?;
    }
    user.token.update(fields)?;
    let token = &user.token;
    follow(&mut user.policies, call, "policies", "token_policies", || token.token_policies.clone());
    follow(&mut user.ttl, call, "ttl", "token_ttl", || token.token_ttl);
    follow(&mut user.max_ttl, call, "max_ttl", "token_max_ttl", || token.token_max_ttl);
    follow(&mut user.bound_cidrs, call, "bound_cidrs", "token_bound_cidrs", || token.token_bound_cidrs.clone());
    Ok(())
}

fn follow<T>(kept: &mut Option<T>, call: &Call<'_>, twin: &str, modern: &str, value: impl FnOnce() -> T) {
    if call.fields.has(twin) {
        *kept = Some(value());
    } else if call.fields.has(modern) {
        *kept = None;
    }
}

/// The hash of the password that was sent, or the hash that was sent.
async fn new_hash(engine: &Userpass, fields: &Fields, entropy: &dyn Entropy) -> Result<String, EngineError> {
    match (sent(fields, "password"), sent(fields, "password_hash")) {
        (true, true) => Err(EngineError::invalid("\"password\" and \"password_hash\" cannot be supplied together")),
        (false, false) => Err(EngineError::invalid("\"password\" or \"password_hash\" must be supplied")),
        (true, false) => {
            let password = SecretString::from(fields.str("password"));
            engine.workers.hash(password, salt(entropy)?).await
        }
        (false, true) => {
            let hash = fields.str("password_hash");
            check_hash(hash)?;
            Ok(hash.to_owned())
        }
    }
}

fn salt(entropy: &dyn Entropy) -> Result<[u8; 16], EngineError> {
    let mut salt = [0u8; 16];
    entropy.fill(&mut salt)?;
    Ok(salt)
}

/// The user that `users/<name>/…` names. Its absence is an internal error in Vault's words.
fn named(call: &mut Call<'_>) -> Result<User, EngineError> {
    let name = name(call);
    let user = load(&mut call.view, &name)?.ok_or_else(|| EngineError::internal("username does not exist"))?;
    Ok(User::clone(&user))
}

/// `users/<name>/password` (204).
pub(crate) async fn set_password(engine: &Userpass, call: &mut Call<'_>) -> Outcome {
    let mut user = named(call)?;
    user.password_hash = new_hash(engine, &call.fields, call.entropy).await?;
    let key = key(&name(call));
    call.view.put_json(&key, &user)?;
    Ok(None)
}

/// `users/<name>/policies` (204).
pub(crate) fn set_policies(_: &Userpass, call: &mut Call<'_>) -> Outcome {
    let mut user = named(call)?;
    user.token.from_deprecated(&call.fields, "policies", "token_policies")?;
    if let Some(policies) = call.fields.texts("token_policies") {
        user.token.token_policies = policies.to_vec();
    }
    let policies = user.token.token_policies.clone();
    follow(&mut user.policies, call, "policies", "token_policies", || policies);
    let key = key(&name(call));
    call.view.put_json(&key, &user)?;
    Ok(None)
}

/// `users/<name>`; the hash is not shown.
pub(crate) fn read(_: &Userpass, call: &mut Call<'_>) -> Outcome {
    let name = name(call);
    let Some(user) = load(&mut call.view, &name)? else { return Ok(None) };
    let mut data = Map::new();
    user.token.show(&mut data);
    if let Some(policies) = &user.policies {
        data.insert("policies".into(), policies.clone().into());
    }
    if let Some(ttl) = user.ttl.filter(|t| *t > 0) {
        data.insert("ttl".into(), ttl.into());
    }
    if let Some(ttl) = user.max_ttl.filter(|t| *t > 0) {
        data.insert("max_ttl".into(), ttl.into());
    }
    if let Some(cidrs) = data.get("token_bound_cidrs").filter(|_| user.bound_cidrs.is_some()).cloned() {
        data.insert("bound_cidrs".into(), cidrs);
    }
    Ok(Some(Response::data(data)))
}

/// `users/<name>`; nothing there is fine.
pub(crate) fn delete(_: &Userpass, call: &mut Call<'_>) -> Outcome {
    let key = key(&name(call));
    call.view.delete(&key)?;
    Ok(None)
}

/// `users`.
pub(crate) fn list(_: &Userpass, call: &mut Call<'_>) -> Outcome {
    let page = Page {
        after: call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned),
        limit: call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    };
    Ok(Some(Response::list(call.view.list(FOLDER, &page)?)))
}
