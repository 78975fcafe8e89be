//! `backup/` and `restore/`. A backup is Vault's: base64 of the key and its archive as JSON, so each reads the other's.

use engine::{Call, EngineError, Outcome, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::Transit;
use crate::codec;
use crate::kind::KeyKind;
use crate::policy::{KeyEntry, Policy};
use crate::record::{Event, Stamp};
use crate::store;

#[derive(Serialize, Deserialize)]
struct Backup {
    policy: Policy,
    archived_keys: Option<Archive>,
}

/// All versions, the first of them being `min_available_version`. As versions count from 1, the first entry of a key that
/// was never trimmed is empty.
#[derive(Serialize, Deserialize)]
struct Archive {
    #[serde(default)]
    keys: Option<Vec<KeyEntry>>,
}

/// Backs a key up, if it may leave the server in plaintext.
pub(super) fn backup(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let mut policy = match store::load(&mut call.view, call.fields.str("name"))? {
        Some(found) => (*found).clone(),
        None => return Err(EngineError::Internal(format!("key {:?} not found", call.fields.str("name")))),
    };
    if !policy.exportable {
        return Err(EngineError::internal("exporting is disallowed on the policy"));
    }
    if !policy.allow_plaintext_backup {
        return Err(EngineError::internal("plaintext backup is disallowed on the policy"));
    }
    policy.backup_info = Some(Event { time: Stamp(Some(call.now)), version: policy.latest_version });
    store::save(&mut call.view, &mut policy)?;
    let mut all = policy.keys.clone();
    for (version, entry) in store::archive(&mut call.view, &policy.name)? {
        all.insert(version, (*entry).clone());
    }
    let first = policy.min_available_version;
    let keys = (first..=policy.latest_version).map(|v| all.remove(&v).unwrap_or_default()).collect();
    policy.archive_version = policy.latest_version;
    policy.archive_min_version = first;
    let whole = Backup { policy, archived_keys: Some(Archive { keys: Some(keys) }) };
    let mut text = serde_json::to_vec(&whole).map_err(|_| EngineError::internal("the key cannot be encoded"))?;
    text.push(b'\n');
    let text = Zeroizing::new(text);
    Ok(Some(Response::json(json!({ "backup": codec::encode(&*text) }))))
}

/// Restores a key under its own name or another.
pub(super) fn restore(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let text = call.fields.str("backup");
    if text.is_empty() {
        return Err(EngineError::invalid("'backup' must be supplied"));
    }
    let Backup { mut policy, archived_keys } = read(text)?;
    if let Some(name) = call.fields.text("name").filter(|n| !n.is_empty()) {
        name.clone_into(&mut policy.name);
    }
    if policy.name.contains('/') || policy.name.is_empty() {
        return Err(EngineError::internal("key names cannot be paths"));
    }
    if store::exists(&mut call.view, &policy.name)? {
        if call.fields.bool("force") != Some(true) {
            return Err(EngineError::Internal(format!("key {:?} already exists", policy.name)));
        }
        store::forget(&mut call.view, &policy.name)?;
    }
    complete(&mut policy);
    if !policy.derived && policy.kind != KeyKind::Hmac {
        // Better refused now than found broken when it is needed.
        for entry in policy.keys.values() {
            entry.prepared(policy.kind)?;
        }
    }
    let first = policy.min_available_version;
    for (i, entry) in archived_keys.and_then(|a| a.keys).unwrap_or_default().into_iter().enumerate() {
        let version = first.saturating_add(i64::try_from(i).unwrap_or(i64::MAX));
        if version >= 1 && version <= policy.latest_version && !is_empty(&entry) && !policy.keys.contains_key(&version) {
            store::put_archived(&mut call.view, &policy.name, version, &entry)?;
        }
    }
    policy.restore_info = Some(Event { time: Stamp(Some(call.now)), version: policy.latest_version });
    store::save(&mut call.view, &mut policy)?;
    Ok(None)
}

/// The complaint never quotes the input.
fn read(text: &str) -> Result<Backup, EngineError> {
    let bytes = Zeroizing::new(codec::decode(text).map_err(EngineError::Internal)?);
    serde_json::from_slice(&bytes).map_err(|e| {
        EngineError::Internal(format!("the backup is not of the expected form at line {}, column {}", e.line(), e.column()))
    })
}

/// What Vault does to keys from before some of the fields existed.
fn complete(policy: &mut Policy) {
    if policy.min_decryption_version == 0 {
        policy.min_decryption_version = 1;
    }
    if policy.convergent_encryption && policy.convergent_version == 0 {
        policy.convergent_version = 1;
    }
    policy.storage_prefix.clear();
}

fn is_empty(entry: &KeyEntry) -> bool {
    entry.lacks_private_half() && entry.rsa_public_key.is_none() && entry.ec_x.is_none() && entry.public_key.is_empty()
}
