//! `role/…`: what operators say about a role as a whole.

use std::sync::Arc;

use api_types::Map;
use engine::token_params::TokenParams;
use engine::{Call, EngineError, Outcome, Response};
use serde::{Deserialize, Serialize};
use storage::{Page, View};

use crate::salt::Salt;
use crate::{Approle, cidrs, secret_id};

const FOLDER: &str = "role/";
/// From the hash of a role id to the name of its role.
const INDEX: &str = "role-id/";
/// No role can have this name, see [`Route`](engine::Route): reading it costs what reading a role costs.
const NOBODY: &str = "role/-";
/// The reference server's bound on names and ids.
pub(crate) const NAME_MAX_BYTES: usize = 4096;

/// A role as stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    /// Names the folder of the role's secret ids. A role that is made again under an old name has another one, so that no
    /// secret id outlives its role.
    pub(crate) folder: String,
    /// What clients log in with, as written; it is found whatever its case.
    pub(crate) role_id: String,
    /// A login needs a secret id.
    pub(crate) bind_secret_id: bool,
    /// Networks that logins may come from. `None` and an empty list bind nothing and are shown as `null` and `[]`.
    pub(crate) secret_id_bound_cidrs: Option<Vec<String>>,
    /// Uses of a new secret id; 0 is any number.
    pub(crate) secret_id_num_uses: u64,
    /// Life of a new secret id in seconds; 0 is for ever.
    pub(crate) secret_id_ttl: u64,
    /// Kept and shown; every record of this server is on every node.
    pub(crate) local_secret_ids: bool,
    /// What tokens get.
    pub(crate) token: TokenParams,
    /// The deprecated twin of `token_policies`, shown while it was the last to be written.
    pub(crate) policies: Option<Vec<String>>,
    /// The deprecated twin of `token_period`, likewise.
    pub(crate) period: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct IndexEntry {
    role: String,
}

impl Role {
    pub(crate) fn bound_cidrs(&self) -> &[String] {
        self.secret_id_bound_cidrs.as_deref().unwrap_or_default()
    }

    /// A role that anyone with its role id could use from anywhere is refused.
    fn check_constraints(&self) -> Result<(), EngineError> {
        if self.bind_secret_id || !self.bound_cidrs().is_empty() || !self.token.token_bound_cidrs.is_empty() {
            return Ok(());
        }
        Err(EngineError::internal("at least one constraint should be enabled on the role"))
    }
}

/// The role's name out of the path; case does not matter.
pub(crate) fn name(call: &Call<'_>) -> String {
    call.fields.str("role_name").to_lowercase()
}

/// The role of that (lower-case) name. Names are one segment of word characters, `.` and `-`, so they need no escape.
pub(crate) fn load(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Role>>, EngineError> {
    Ok(view.get_json(&format!("{FOLDER}{name}"))?)
}

/// The role that the path names.
pub(crate) fn named(call: &mut Call<'_>) -> Result<Option<Arc<Role>>, EngineError> {
    let name = name(call);
    load(&mut call.view, &name)
}

/// The role with this role id and its name. Found or not, the same number of records is read.
pub(crate) fn by_role_id(view: &mut View<'_>, salt: &Salt, role_id: &str) -> Result<Option<(String, Arc<Role>)>, EngineError> {
    match view.get_json::<IndexEntry>(&index_key(salt, role_id))? {
        Some(entry) => Ok(load(view, &entry.role)?.map(|role| (entry.role.clone(), role))),
        None => {
            view.get(NOBODY)?;
            Ok(None)
        }
    }
}

fn index_key(salt: &Salt, role_id: &str) -> String {
    format!("{INDEX}{}", salt.role_id(role_id))
}

/// Writes a role and its index. `old` is the role id that the index knows so far.
pub(crate) fn store(call: &mut Call<'_>, name: &str, role: &Role, old: Option<&str>) -> Result<(), EngineError> {
    role.check_constraints()?;
    if old != Some(role.role_id.as_str()) {
        let salt = Salt::ensure(&mut call.view, call.entropy)?;
        let key = index_key(&salt, &role.role_id);
        let taken = call.view.get_json::<IndexEntry>(&key)?;
        if taken.is_some_and(|entry| entry.role != name) {
            return Err(EngineError::internal("role_id already in use"));
        }
        if let Some(old) = old {
            call.view.delete(&index_key(&salt, old))?;
        }
        call.view.put_json(&key, &IndexEntry { role: name.to_owned() })?;
    }
    call.view.put_json(&format!("{FOLDER}{name}"), role)?;
    Ok(())
}

/// Tells `create` from `update`.
pub(crate) fn exists(_: &Approle, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(named(call)?.is_some())
}

/// `role/<name>`: creates or changes a role (204).
pub(crate) fn write(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let name = name(call);
    if name.len() > NAME_MAX_BYTES {
        return Err(EngineError::Invalid(format!("role_name is longer than maximum of {NAME_MAX_BYTES} bytes")));
    }
    let old = load(&mut call.view, &name)?;
    let mut role = match &old {
        Some(role) => Role::clone(role),
        None => Role { folder: call.entropy.uuid()?, bind_secret_id: true, ..Role::default() },
    };
    set_token(&mut role, call)?;
    set_own(&mut role, call, old.is_none())?;
    let warning = max_ttl_warning(&role, call);
    store(call, &name, &role, old.as_deref().map(|r| r.role_id.as_str()))?;
    Ok(warning.map(Response::warning))
}

fn set_token(role: &mut Role, call: &Call<'_>) -> Result<(), EngineError> {
    let fields = &call.fields;
    role.token.from_deprecated(fields, "policies", "token_policies")?;
    role.token.from_deprecated(fields, "period", "token_period")?;
    role.token.update(fields)?;
    let (policies, period) = (role.token.token_policies.clone(), role.token.token_period);
    follow(&mut role.policies, call, "policies", "token_policies", policies);
    follow(&mut role.period, call, "period", "token_period", period);
    Ok(())
}

/// A twin that was sent shows the value from now on; one that was not sent along with its modern field is forgotten.
pub(crate) fn follow<T>(kept: &mut Option<T>, call: &Call<'_>, twin: &str, modern: &str, value: T) {
    if call.fields.has(twin) {
        *kept = Some(value);
    } else if call.fields.has(modern) {
        *kept = None;
    }
}

fn set_own(role: &mut Role, call: &Call<'_>, created: bool) -> Result<(), EngineError> {
    let fields = &call.fields;
    if let Some(role_id) = fields.text("role_id") {
        role.role_id = role_id.to_owned();
    } else if created {
        role.role_id = call.entropy.uuid()?;
    }
    if role.role_id.is_empty() {
        return Err(EngineError::invalid("invalid role_id supplied, or failed to generate a role_id"));
    }
    check_role_id(&role.role_id)?;
    if let Some(local) = fields.bool("local_secret_ids") {
        if !created {
            return Err(EngineError::invalid("local_secret_ids can only be modified during role creation"));
        }
        role.local_secret_ids = local;
    }
    if let Some(bind) = fields.bool("bind_secret_id") {
        role.bind_secret_id = bind;
    }
    if let Some(blocks) = fields.texts("secret_id_bound_cidrs").or_else(|| fields.texts("bound_cidr_list")) {
        cidrs::check(blocks)?;
        role.secret_id_bound_cidrs = Some(blocks.to_vec());
    }
    if let Some(n) = fields.int("secret_id_num_uses") {
        role.secret_id_num_uses = not_negative(n, "secret_id_num_uses")?;
    }
    if let Some(ttl) = fields.duration("secret_id_ttl") {
        role.secret_id_ttl = ttl.as_secs();
    }
    Ok(())
}

pub(crate) fn check_role_id(role_id: &str) -> Result<(), EngineError> {
    if role_id.len() <= NAME_MAX_BYTES {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("role_id is longer than maximum of {NAME_MAX_BYTES} bytes")))
}

pub(crate) fn not_negative(n: i64, field: &str) -> Result<u64, EngineError> {
    u64::try_from(n).map_err(|_| EngineError::Invalid(format!("{field} cannot be negative")))
}

pub(crate) fn max_ttl_warning(role: &Role, call: &Call<'_>) -> Option<&'static str> {
    (role.token.token_max_ttl > call.mount.max_lease_ttl.as_secs()).then_some(
        "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated",
    )
}

/// `role/<name>`; the role id has a path of its own.
pub(crate) fn read(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let Some(role) = named(call)? else { return Ok(None) };
    let mut data = Map::new();
    data.insert("bind_secret_id".into(), role.bind_secret_id.into());
    data.insert("local_secret_ids".into(), role.local_secret_ids.into());
    data.insert("secret_id_bound_cidrs".into(), role.secret_id_bound_cidrs.clone().into());
    data.insert("secret_id_num_uses".into(), role.secret_id_num_uses.into());
    data.insert("secret_id_ttl".into(), role.secret_id_ttl.into());
    role.token.show(&mut data);
    show_twins(&role, &mut data);
    Ok(Some(Response::data(data)))
}

fn show_twins(role: &Role, data: &mut Map) {
    if let Some(policies) = role.policies.as_ref().filter(|p| !p.is_empty()) {
        data.insert("policies".into(), policies.clone().into());
    }
    if let Some(period) = role.period.filter(|p| *p > 0) {
        data.insert("period".into(), period.into());
    }
}

/// `role/<name>`: the role and its secret ids; nothing there is fine.
pub(crate) fn delete(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let name = name(call);
    let Some(role) = load(&mut call.view, &name)? else { return Ok(None) };
    let salt = Salt::load(&mut call.view)?;
    call.view.delete(&index_key(&salt, &role.role_id))?;
    call.view.delete(&format!("{FOLDER}{name}"))?;
    secret_id::forget_all(&mut call.view, &role.folder)?;
    Ok(None)
}

/// `role`.
pub(crate) fn list(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let page = page(call);
    Ok(Some(Response::list(call.view.list(FOLDER, &page)?)))
}

/// `after` and `limit` of a listing.
pub(crate) fn page(call: &Call<'_>) -> Page {
    Page {
        after: call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned),
        limit: call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    }
}
