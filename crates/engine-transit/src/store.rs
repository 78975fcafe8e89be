//! Where keys are, below the mount's view:
//!
//! - `policy/<name>`: [`Policy`], with the versions from `min_decryption_version` on. One record, so that using a key is one
//!   lookup, and the record cache keeps it decoded with its ciphers ready.
//! - `archive/<name>/<n>`: [`KeyEntry`], a version below that. It comes back when the minimum is lowered.
//! - `import/policy/wrapping-key`: the RSA key that imports are wrapped with.
//! - `config/keys`, `config/cache`: settings of the mount.

use std::sync::Arc;

use engine::EngineError;
use secret::{Entropy, Time};
use serde::{Deserialize, Serialize};
use storage::{Page, View};

use crate::limits::VERSIONS_MAX;
use crate::policy::{KeyEntry, Policy};

const POLICY: &str = "policy/";
const ARCHIVE: &str = "archive/";
const WRAPPING_KEY: &str = "import/policy/wrapping-key";
const KEYS_CONFIG: &str = "config/keys";
const CACHE_CONFIG: &str = "config/cache";

/// `config/keys`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct KeysConfig {
    pub(crate) disable_upsert: bool,
}

/// `config/cache`. Kept for clients that set it; the server's record cache is bounded as a whole.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct CacheConfig {
    pub(crate) size: i64,
}

/// The key as it is stored.
pub(crate) fn load(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Policy>>, EngineError> {
    let mut key = String::with_capacity(POLICY.len() + name.len());
    key.push_str(POLICY);
    key.push_str(name);
    Ok(view.get_json(&key)?)
}

/// The key, after the rotation that may be due. Rotating at the first use after the period, instead of by a clock, costs
/// nothing while a key rests and makes the same versions on every node.
pub(crate) fn current(
    view: &mut View<'_>,
    name: &str,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<Option<Arc<Policy>>, EngineError> {
    match load(view, name)? {
        Some(found) if found.rotation_due(now) => {
            let mut policy = (*found).clone();
            policy.rotate(entropy, now)?;
            save(view, &mut policy)?;
            Ok(Some(Arc::new(policy)))
        }
        found => Ok(found),
    }
}

/// Whether there is such a key.
pub(crate) fn exists(view: &mut View<'_>, name: &str) -> Result<bool, EngineError> {
    Ok(view.get(&format!("{POLICY}{name}"))?.is_some())
}

/// Stores a key and moves versions between it and the archive as its minima say.
pub(crate) fn save(view: &mut View<'_>, policy: &mut Policy) -> Result<(), EngineError> {
    check(policy)?;
    let later = policy.keys.split_off(&policy.min_decryption_version);
    for (version, entry) in std::mem::replace(&mut policy.keys, later) {
        view.put_json(&archived(&policy.name, version), &entry)?;
    }
    for version in (policy.min_decryption_version..=policy.latest_version).rev() {
        if policy.keys.contains_key(&version) {
            continue;
        }
        let Some(entry) = view.get_json::<KeyEntry>(&archived(&policy.name, version))? else { break };
        policy.keys.insert(version, (*entry).clone());
        view.delete(&archived(&policy.name, version))?;
    }
    if policy.min_available_version > 1 {
        for (version, _) in archive(view, &policy.name)? {
            if version < policy.min_available_version {
                view.delete(&archived(&policy.name, version))?;
            }
        }
    }
    Ok(view.put_json(&format!("{POLICY}{}", policy.name), policy)?)
}

/// The archived versions of a key.
pub(crate) fn archive(view: &mut View<'_>, name: &str) -> Result<Vec<(i64, Arc<KeyEntry>)>, EngineError> {
    let prefix = format!("{ARCHIVE}{name}/");
    let mut out = Vec::new();
    for number in view.list(&prefix, &Page::default())? {
        if let (Ok(version), Some(entry)) = (number.parse(), view.get_json(&format!("{prefix}{number}"))?) {
            out.push((version, entry));
        }
    }
    Ok(out)
}

/// Puts a version into the archive, for restores.
pub(crate) fn put_archived(view: &mut View<'_>, name: &str, version: i64, entry: &KeyEntry) -> Result<(), EngineError> {
    Ok(view.put_json(&archived(name, version), entry)?)
}

/// Removes a key with its archive.
pub(crate) fn forget(view: &mut View<'_>, name: &str) -> Result<(), EngineError> {
    view.delete_below(&format!("{ARCHIVE}{name}/"), usize::MAX)?;
    Ok(view.delete(&format!("{POLICY}{name}"))?)
}

/// The names of all keys.
pub(crate) fn names(view: &mut View<'_>, page: &Page) -> Result<Vec<String>, EngineError> {
    Ok(view.list(POLICY, page)?)
}

/// The key that imports are wrapped with, if there is one yet.
pub(crate) fn wrapping_key(view: &mut View<'_>) -> Result<Option<Arc<Policy>>, EngineError> {
    Ok(view.get_json(WRAPPING_KEY)?)
}

/// Stores the key that imports are wrapped with.
pub(crate) fn put_wrapping_key(view: &mut View<'_>, policy: &Policy) -> Result<(), EngineError> {
    Ok(view.put_json(WRAPPING_KEY, policy)?)
}

/// The settings for all keys.
pub(crate) fn keys_config(view: &mut View<'_>) -> Result<KeysConfig, EngineError> {
    Ok(view.get_json(KEYS_CONFIG)?.map(|c| *c).unwrap_or_default())
}

/// Stores the settings for all keys.
pub(crate) fn put_keys_config(view: &mut View<'_>, config: KeysConfig) -> Result<(), EngineError> {
    Ok(view.put_json(KEYS_CONFIG, &config)?)
}

/// The configured cache size.
pub(crate) fn cache_config(view: &mut View<'_>) -> Result<CacheConfig, EngineError> {
    Ok(view.get_json(CACHE_CONFIG)?.map(|c| *c).unwrap_or_default())
}

/// Stores the cache size.
pub(crate) fn put_cache_config(view: &mut View<'_>, config: CacheConfig) -> Result<(), EngineError> {
    Ok(view.put_json(CACHE_CONFIG, &config)?)
}

/// Refuses a key whose numbers contradict each other, however it came about; a restored backup may say anything.
fn check(policy: &Policy) -> Result<(), EngineError> {
    let refuse = |text: String| Err(EngineError::Internal(text));
    let (least, latest) = (policy.min_decryption_version, policy.latest_version);
    if least < 1 {
        return refuse(format!("minimum decryption version of {least} is less than 1"));
    }
    if latest < 1 {
        return refuse(format!("latest version of {latest} is less than 1"));
    }
    if latest > VERSIONS_MAX {
        return refuse(format!("latest version of {latest} is greater than {VERSIONS_MAX}"));
    }
    if least > latest {
        return refuse(format!("minimum decryption version of {least} is greater than the latest version {latest}"));
    }
    if policy.min_encryption_version > 0 && policy.min_encryption_version < least {
        return refuse(format!(
            "minimum decryption version of {least} is greater than minimum encryption version {}",
            policy.min_encryption_version
        ));
    }
    if !policy.keys.contains_key(&latest) || policy.keys.keys().any(|v| *v < 1 || *v > latest) {
        return refuse("versions of the key are missing or out of range".to_owned());
    }
    Ok(())
}

fn archived(name: &str, version: i64) -> String {
    format!("{ARCHIVE}{name}/{version}")
}
