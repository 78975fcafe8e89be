//! `keys/`: making, showing, listing and removing keys.

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use serde_json::{Value, json};
use storage::Page;

use crate::Transit;
use crate::codec;
use crate::crypto::ed25519;
use crate::crypto::kdf::Kdf;
use crate::fault::Fault;
use crate::kind::{Family, KeyKind};
use crate::limits::{AUTO_ROTATE_MIN_SECONDS, HMAC_KEY_MAX_BYTES, HMAC_KEY_MIN_BYTES};
use crate::policy::{KeyEntry, Policy};
use crate::store;

/// Makes a key. One that exists already is only shown.
pub(super) fn create(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let fields = &call.fields;
    let period = rotation_period(call)?.unwrap_or(0);
    let (derived, convergent) = (flag(call, "derived"), flag(call, "convergent_encryption"));
    if convergent && !derived {
        return Err(EngineError::invalid("convergent encryption requires derivation to be enabled"));
    }
    let name = fields.text("type").filter(|t| !t.is_empty()).unwrap_or("aes256-gcm96");
    let kind = KeyKind::parse(name).ok_or_else(|| EngineError::Invalid(format!("unknown key type {name}")))?;
    let key_size = fields.int("key_size").unwrap_or(0);
    if key_size != 0 && kind != KeyKind::Hmac {
        return Err(EngineError::Invalid(format!("key_size is not valid for algorithm {kind}")));
    }
    if key_size != 0 && !(HMAC_KEY_MIN_BYTES..=HMAC_KEY_MAX_BYTES).contains(&key_size) {
        return Err(EngineError::Invalid(format!("invalid key_size {key_size}")));
    }
    if let Some(found) = super::named(call)? {
        return Ok(Some(Response::data(describe(&found, &[])?)));
    }
    let mut policy = Policy::new(call.fields.str("name"), kind);
    policy.set_derived(derived, convergent)?;
    policy.exportable = flag(call, "exportable");
    policy.allow_plaintext_backup = flag(call, "allow_plaintext_backup");
    policy.auto_rotate_period = period;
    policy.key_size = key_size;
    policy.add(KeyEntry::generate(kind, key_size, call.entropy, call.now)?);
    store::save(&mut call.view, &mut policy)?;
    Ok(Some(Response::data(describe(&policy, &[])?)))
}

/// Shows a key. A context shows the public keys that a derived Ed25519 key has for it.
pub(super) fn read(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let Some(policy) = super::named(call)? else { return Ok(None) };
    let context =
        codec::decode(call.fields.str("context")).map_err(|_| EngineError::invalid("failed to base64-decode context"))?;
    Ok(Some(Response::data(describe(&policy, &context)?)))
}

/// Lists the names.
pub(super) fn list(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let page = Page {
        after: call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned),
        limit: call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    };
    Ok(Some(Response::list(store::names(&mut call.view, &page)?)))
}

/// Removes a key, if its settings allow that.
pub(super) fn delete(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name");
    let refuse = |why: &str| Err(EngineError::Invalid(format!("error deleting policy {name}: {why}")));
    match store::load(&mut call.view, name)? {
        None => refuse("could not delete key; not found"),
        Some(policy) if !policy.deletion_allowed => refuse("deletion is not allowed for this key"),
        Some(_) => {
            store::forget(&mut call.view, name)?;
            Ok(None)
        }
    }
}

/// A flag that is false unless it was sent.
pub(super) fn flag(call: &Call<'_>, name: &str) -> bool {
    call.fields.bool(name).unwrap_or(false)
}

/// `auto_rotate_period` in nanoseconds, if it was sent.
pub(super) fn rotation_period(call: &Call<'_>) -> Result<Option<i64>, EngineError> {
    let Some(period) = call.fields.duration("auto_rotate_period") else { return Ok(None) };
    if !period.is_zero() && period.as_secs() < AUTO_ROTATE_MIN_SECONDS {
        return Err(EngineError::invalid("auto rotate period must be 0 to disable or at least an hour"));
    }
    Ok(Some(i64::try_from(period.as_nanos()).unwrap_or(i64::MAX)))
}

/// A key as clients see it.
pub(super) fn describe(policy: &Policy, context: &[u8]) -> Result<Map, Fault> {
    let kind = policy.kind;
    let mut data = json!({
        "name": policy.name,
        "type": kind.name(),
        "derived": policy.derived,
        "deletion_allowed": policy.deletion_allowed,
        "min_available_version": policy.min_available_version,
        "min_decryption_version": policy.min_decryption_version,
        "min_encryption_version": policy.min_encryption_version,
        "latest_version": policy.latest_version,
        "exportable": policy.exportable,
        "allow_plaintext_backup": policy.allow_plaintext_backup,
        "supports_encryption": kind.encrypts(),
        "supports_decryption": kind.encrypts(),
        "supports_signing": kind.signs(),
        "supports_derivation": kind.derives(),
        "auto_rotate_period": policy.auto_rotate_period / 1_000_000_000,
        "imported_key": policy.imported,
    });
    let mut more = Map::new();
    if policy.key_size != 0 {
        more.insert("key_size".to_owned(), policy.key_size.into());
    }
    if policy.imported {
        more.insert("imported_key_allow_rotation".to_owned(), policy.allow_imported_key_rotation.into());
    }
    for (name, event) in [("backup_info", policy.backup_info), ("restore_info", policy.restore_info)] {
        if let Some(event) = event {
            more.insert(name.to_owned(), json!({ "time": event.time.text(), "version": event.version }));
        }
    }
    if policy.derived {
        match policy.kdf {
            Kdf::HkdfSha256 => more.insert("kdf".to_owned(), "hkdf_sha256".into()),
            Kdf::HmacSha256Counter => {
                more.insert("kdf_mode".to_owned(), "hmac-sha256-counter".into());
                more.insert("kdf".to_owned(), "hmac-sha256-counter".into())
            }
        };
        more.insert("convergent_encryption".to_owned(), policy.convergent_encryption.into());
        if policy.convergent_encryption {
            more.insert("convergent_encryption_version".to_owned(), policy.convergent_version.into());
        }
    }
    if kind != KeyKind::Hmac {
        let versions = policy.keys.iter().map(|(n, entry)| Ok((n.to_string(), describe_version(policy, entry, context)?)));
        more.insert("keys".to_owned(), Value::Object(versions.collect::<Result<_, Fault>>()?));
    }
    if let Some(map) = data.as_object_mut() {
        map.append(&mut more);
    }
    Ok(data.as_object().cloned().unwrap_or_default())
}

fn describe_version(policy: &Policy, entry: &KeyEntry, context: &[u8]) -> Result<Value, Fault> {
    if !policy.kind.asymmetric() {
        return Ok(entry.creation_time.into());
    }
    let public = match policy.kind.family() {
        Family::Rsa => entry.rsa_public().map(|p| codec::pem("PUBLIC KEY", &p.der())).unwrap_or_default(),
        Family::Ed25519 if policy.derived && context.is_empty() => String::new(),
        Family::Ed25519 if policy.derived => {
            let key = policy.derived_ed25519(entry, context)?;
            codec::encode(key.get(ed25519::HALF_BYTES..).unwrap_or_default())
        }
        _ => entry.public_key.clone(),
    };
    Ok(json!({
        "name": policy.kind.version_name(),
        "public_key": public,
        "creation_time": entry.created().rfc3339(),
        "certificate_chain": chain_pem(entry),
        "hybrid_public_key": "",
    }))
}

/// The certificates of a version, one PEM block after the other.
pub(super) fn chain_pem(entry: &KeyEntry) -> String {
    let chain = entry.certificate_chain.as_deref().unwrap_or_default();
    let blocks: Vec<String> = chain.iter().map(|der| codec::pem("CERTIFICATE", der.bytes()).trim().to_owned()).collect();
    blocks.join("\n")
}
