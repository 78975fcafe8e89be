//! The secret ids of a role, by their own text or by their accessor.
//!
//! Storage, below the mount: `ids/<role's folder>/secret/<hash>` is the secret id's record,
//! `ids/<role's folder>/accessor/<accessor>` leads to it, `due/<hour>/<role's folder>.<hash>` says when it may be tidied away.
//! A secret id or an accessor is only ever looked for in the folder of the role that the path names, so that of another role
//! is not there (class R, CVE-2023-24999).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::Map;
use engine::token_params::check_cidrs;
use engine::{Call, EngineError, Kind, Outcome, Response};
use secret::{SecretString, Time, ct_eq};
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::View;

use crate::role::{self, NAME_MAX_BYTES, Role, not_negative};
use crate::salt::Salt;
use crate::{Approle, cidrs, metadata, tidy};

/// Go's zero time, which stands for "never" on the wire.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Records of a deleted role that go with it in the same transaction. What is left cannot be reached and is tidied away.
const FORGET_MAX: usize = 2_000;
/// An accessor is a UUID; nothing else becomes part of a key.
const ACCESSOR_CHARS: usize = 36;

/// A secret id as stored. The secret id itself is nowhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SecretId {
    /// [`Salt::secret_id`] of the text; also the record's name.
    pub(crate) hash: String,
    pub(crate) accessor: String,
    /// Uses that are left; 0 is any number.
    pub(crate) num_uses: u64,
    /// Life in seconds from `created`; 0 is for ever.
    pub(crate) ttl: u64,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    /// Logins work before this instant.
    pub(crate) expires: Option<Time>,
    /// Goes into tokens.
    pub(crate) metadata: BTreeMap<String, String>,
    /// Networks that logins may come from.
    pub(crate) cidr_list: Vec<String>,
    /// Networks that tokens may be used from, in place of the role's.
    pub(crate) token_bound_cidrs: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AccessorEntry {
    hash: String,
}

impl SecretId {
    pub(crate) fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }

    fn show(&self) -> Map {
        let mut data = Map::new();
        data.insert("cidr_list".into(), self.cidr_list.clone().into());
        data.insert("creation_time".into(), self.created.rfc3339().into());
        data.insert("expiration_time".into(), self.expires.map_or_else(|| NEVER.to_owned(), Time::rfc3339).into());
        data.insert("last_updated_time".into(), self.updated.rfc3339().into());
        data.insert("metadata".into(), json!(self.metadata));
        data.insert("secret_id_accessor".into(), self.accessor.clone().into());
        data.insert("secret_id_num_uses".into(), self.num_uses.into());
        data.insert("secret_id_ttl".into(), self.ttl.into());
        data.insert("token_bound_cidrs".into(), self.token_bound_cidrs.clone().into());
        data
    }
}

/// Folder of a role's secret ids and accessors.
pub(crate) fn folder(role_folder: &str) -> String {
    format!("ids/{role_folder}/")
}

fn secret_key(role_folder: &str, hash: &str) -> String {
    format!("ids/{role_folder}/secret/{hash}")
}

fn accessor_key(role_folder: &str, accessor: &str) -> String {
    format!("ids/{role_folder}/accessor/{accessor}")
}

/// The record with this hash in this folder. The comparison of the hashes takes the same time wherever they differ; the
/// folder of a role that does not exist may be anything.
pub(crate) fn load(view: &mut View<'_>, role_folder: &str, hash: &str) -> Result<Option<Arc<SecretId>>, EngineError> {
    let found = view.get_json::<SecretId>(&secret_key(role_folder, hash))?;
    Ok(found.filter(|s| ct_eq(s.hash.as_bytes(), hash.as_bytes())))
}

/// Overwrites a record that is there.
pub(crate) fn store(view: &mut View<'_>, role_folder: &str, entry: &SecretId) -> Result<(), EngineError> {
    Ok(view.put_json(&secret_key(role_folder, &entry.hash), entry)?)
}

/// Removes a record and what leads to it.
pub(crate) fn remove(view: &mut View<'_>, role_folder: &str, entry: &SecretId) -> Result<(), EngineError> {
    view.delete(&secret_key(role_folder, &entry.hash))?;
    view.delete(&accessor_key(role_folder, &entry.accessor))?;
    if let Some(at) = entry.expires {
        view.delete(&tidy::due_key(at, role_folder, &entry.hash))?;
    }
    Ok(())
}

/// Removes all that a deleted role leaves, now or by later tidying.
pub(crate) fn forget_all(view: &mut View<'_>, role_folder: &str) -> Result<(), EngineError> {
    if !view.delete_below(&folder(role_folder), FORGET_MAX)? {
        tidy::note_left_over(view, role_folder)?;
    }
    Ok(())
}

/// `role/<name>/secret-id`: a new secret id of the server's choice.
pub(crate) fn generate(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let secret_id = SecretString::from(call.entropy.uuid()?);
    register(call, secret_id)
}

/// `role/<name>/custom-secret-id`: one of the caller's choice.
pub(crate) fn custom(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let secret_id = presented(call)?;
    register(call, secret_id)
}

/// The `secret_id` of the body.
fn presented(call: &Call<'_>) -> Result<SecretString, EngineError> {
    match call.fields.str("secret_id") {
        "" => Err(EngineError::invalid("missing secret_id")),
        text if text.len() > NAME_MAX_BYTES => {
            Err(EngineError::Invalid(format!("secret_id is longer than maximum of {NAME_MAX_BYTES} bytes")))
        }
        text => Ok(SecretString::from(text)),
    }
}

fn register(call: &mut Call<'_>, secret_id: SecretString) -> Outcome {
    let Some(role) = role::named(call)? else {
        return Err(EngineError::Absent(format!("role {:?} does not exist", call.fields.str("role_name"))));
    };
    if !role.bind_secret_id {
        return Err(EngineError::invalid("bind_secret_id is not set on the role"));
    }
    let mut entry = wanted(&role, call)?;
    let salt = Salt::ensure(&mut call.view, call.entropy)?;
    entry.hash = salt.secret_id(&role.folder, secret_id.expose());
    if let Some(old) = load(&mut call.view, &role.folder, &entry.hash)? {
        if !old.has_expired(call.now) {
            return Err(EngineError::internal("failed to store SecretID: SecretID is already registered"));
        }
        remove(&mut call.view, &role.folder, &old)?;
    }
    store(&mut call.view, &role.folder, &entry)?;
    call.view.put_json(&accessor_key(&role.folder, &entry.accessor), &AccessorEntry { hash: entry.hash.clone() })?;
    if let Some(at) = entry.expires {
        tidy::note_due(&mut call.view, at, &role.folder, &entry.hash)?;
    }
    tidy::now_and_then(call)?;
    let mut data = Map::new();
    data.insert("secret_id".into(), secret_id.expose().into());
    data.insert("secret_id_accessor".into(), entry.accessor.into());
    data.insert("secret_id_num_uses".into(), entry.num_uses.into());
    data.insert("secret_id_ttl".into(), entry.ttl.into());
    Ok(Some(Response::data(data)))
}

/// The new record that the request asks for, within what the role allows; without its hash.
fn wanted(role: &Role, call: &Call<'_>) -> Result<SecretId, EngineError> {
    let fields = &call.fields;
    let texts = |name: &str| fields.texts(name).unwrap_or_default().to_vec();
    let cidr_list = texts("cidr_list");
    cidrs::check(&cidr_list)?;
    cidrs::check_subset(role.bound_cidrs(), &cidr_list)?;
    let token_bound_cidrs = texts("token_bound_cidrs");
    check_cidrs(&token_bound_cidrs)?;
    cidrs::check_subset(&role.token.token_bound_cidrs, &token_bound_cidrs)?;
    let num_uses = match fields.int("num_uses") {
        None => role.secret_id_num_uses,
        Some(n) => within(not_negative(n, "num_uses")?, role.secret_id_num_uses)
            .ok_or_else(|| EngineError::invalid("num_uses cannot be higher than the role's secret_id_num_uses"))?,
    };
    let ttl = match fields.duration("ttl") {
        None => role.secret_id_ttl,
        Some(d) => within(d.as_secs(), role.secret_id_ttl)
            .ok_or_else(|| EngineError::invalid("ttl cannot be longer than the role's secret_id_ttl"))?,
    };
    let ttl = ttl.min(call.mount.max_lease_ttl.as_secs());
    Ok(SecretId {
        hash: String::new(),
        accessor: call.entropy.uuid()?,
        num_uses,
        ttl,
        created: call.now,
        updated: call.now,
        expires: (ttl > 0).then(|| call.now.plus(Duration::from_secs(ttl))),
        metadata: metadata::parse(fields.str("metadata"))?,
        cidr_list,
        token_bound_cidrs,
    })
}

/// `n` if the role's limit admits it; 0 is "no limit" on both sides.
fn within(n: u64, limit: u64) -> Option<u64> {
    (limit == 0 || (1..=limit).contains(&n)).then_some(n)
}

/// The role of the path, whose absence is an error of the server's in Vault's eyes.
fn present_role(call: &mut Call<'_>) -> Result<Arc<Role>, EngineError> {
    role::named(call)?.ok_or_else(|| EngineError::Internal(no_role(call)))
}

fn no_role(call: &Call<'_>) -> String {
    format!("role {:?} does not exist", call.fields.str("role_name"))
}

/// The role and the record of the `secret_id` in the body.
fn by_text(call: &mut Call<'_>) -> Result<(Arc<Role>, Option<Arc<SecretId>>), EngineError> {
    let secret_id = presented(call)?;
    let role = present_role(call)?;
    let salt = Salt::load(&mut call.view)?;
    let entry = load(&mut call.view, &role.folder, &salt.secret_id(&role.folder, secret_id.expose()))?;
    Ok((role, entry))
}

/// The role and the record of the `secret_id_accessor` in the body.
fn by_accessor(call: &mut Call<'_>) -> Result<(Arc<Role>, Option<Arc<SecretId>>), EngineError> {
    let accessor = call.fields.str("secret_id_accessor").to_owned();
    if accessor.is_empty() {
        return Err(EngineError::invalid("missing secret_id_accessor"));
    }
    let role = present_role(call)?;
    if accessor.len() != ACCESSOR_CHARS || !accessor.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Ok((role, None));
    }
    let entry = match call.view.get_json::<AccessorEntry>(&accessor_key(&role.folder, &accessor))? {
        Some(found) => load(&mut call.view, &role.folder, &found.hash)?,
        None => None,
    };
    Ok((role, entry))
}

fn no_accessor(call: &Call<'_>) -> String {
    format!("failed to find accessor entry for secret_id_accessor: {:?}", call.fields.str("secret_id_accessor"))
}

/// `role/<name>/secret-id/lookup`; nothing there is 204.
pub(crate) fn lookup(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let (_, entry) = by_text(call)?;
    Ok(entry.filter(|e| !e.has_expired(call.now)).map(|e| Response::data(e.show())))
}

/// `role/<name>/secret-id/destroy`; nothing there is 204 as well.
pub(crate) fn destroy(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let (role, entry) = by_text(call)?;
    if let Some(entry) = entry {
        remove(&mut call.view, &role.folder, &entry)?;
    }
    Ok(None)
}

/// `role/<name>/secret-id-accessor/lookup`; nothing there is a 404 with the reason in `data`, as Vault has it.
pub(crate) fn lookup_accessor(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let (_, entry) = by_accessor(call)?;
    if let Some(entry) = entry.filter(|e| !e.has_expired(call.now)) {
        return Ok(Some(Response::data(entry.show())));
    }
    let mut response = Response::json(json!({ "error": no_accessor(call) }));
    response.kind = Kind::NotFoundEnvelope;
    Ok(Some(response))
}

/// `role/<name>/secret-id-accessor/destroy`; nothing there is an error of the server's in Vault's eyes.
pub(crate) fn destroy_accessor(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let (role, entry) = by_accessor(call)?;
    let entry = entry.ok_or_else(|| EngineError::Internal(no_accessor(call)))?;
    remove(&mut call.view, &role.folder, &entry)?;
    Ok(None)
}

/// `role/<name>/secret-id`: the accessors.
pub(crate) fn list(_: &Approle, call: &mut Call<'_>) -> Outcome {
    let Some(role) = role::named(call)? else { return Err(EngineError::Invalid(no_role(call))) };
    let page = role::page(call);
    Ok(Some(Response::list(call.view.list(&accessor_key(&role.folder, ""), &page)?)))
}
