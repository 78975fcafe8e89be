//! What a client may set: names, policy lists, metadata. The texts are Vault's.

use std::collections::BTreeSet;

use engine::{EngineError, Fields};

use crate::keys::NAME_MAX_BYTES;
use crate::records::Pairs;

/// Most pairs in one metadata map; Vault's number.
const PAIRS_MAX: usize = 64;
/// Longest metadata key; Vault's number.
const KEY_MAX_BYTES: usize = 128;
/// Longest metadata value; Vault's number.
const VALUE_MAX_BYTES: usize = 512;

/// The `name` that was sent; an empty one counts as none.
pub(crate) fn name(fields: &Fields) -> Result<Option<String>, EngineError> {
    let name = fields.str("name");
    if name.len() > NAME_MAX_BYTES {
        return Err(EngineError::Invalid(format!("name is too long (limit: {NAME_MAX_BYTES} bytes)")));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// The `policies` that were sent: trimmed, sorted, without doubles. `root` is refused however it is written.
pub(crate) fn policies(fields: &Fields) -> Result<Option<Vec<String>>, EngineError> {
    let Some(written) = fields.texts("policies") else { return Ok(None) };
    let set: BTreeSet<String> = written.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect();
    if set.iter().any(|p| p.to_lowercase() == "root") {
        return Err(EngineError::invalid("policies cannot contain root"));
    }
    Ok(Some(set.into_iter().collect()))
}

/// The `metadata` that was sent. `kind` is `entity` or `group`.
pub(crate) fn metadata(fields: &Fields, kind: &str) -> Result<Option<Pairs>, EngineError> {
    let Some(pairs) = fields.pairs("metadata") else { return Ok(None) };
    if pairs.len() > PAIRS_MAX {
        return Err(EngineError::Internal(format!(
            "invalid {kind} metadata: metadata cannot contain more than {PAIRS_MAX} key/value pairs"
        )));
    }
    for (key, value) in pairs {
        if let Some(why) = bad_pair(key, value) {
            return Err(EngineError::Internal(format!(
                "invalid {kind} metadata: failed to load metadata pair ({key:?}, {value:?}): {why}"
            )));
        }
    }
    Ok(Some(pairs.clone()))
}

fn bad_pair(key: &str, value: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | '/' | '+' | '_' | '-');
    if key.is_empty() {
        return Some("key cannot be blank".to_owned());
    }
    if !key.chars().all(allowed) {
        return Some("key contains invalid characters".to_owned());
    }
    if key.len() > KEY_MAX_BYTES {
        return Some(format!("key is too long (limit: {KEY_MAX_BYTES} characters)"));
    }
    if key.starts_with("vault-") {
        return Some("key prefix \"vault-\" is reserved for internal use".to_owned());
    }
    (value.len() > VALUE_MAX_BYTES).then(|| format!("value is too long (limit: {VALUE_MAX_BYTES} characters)"))
}

/// The `custom_metadata` that was sent.
pub(crate) fn custom_metadata(fields: &Fields) -> Result<Option<Pairs>, EngineError> {
    let Some(pairs) = fields.pairs("custom_metadata") else { return Ok(None) };
    let refuse = |why: String| Err(EngineError::Internal(format!("custom_metadata validation failed: {why}")));
    if pairs.len() > PAIRS_MAX {
        return refuse(format!("payload must contain at most {PAIRS_MAX} keys, provided {}", pairs.len()));
    }
    for (key, value) in pairs {
        if key.is_empty() || key.len() > KEY_MAX_BYTES {
            return refuse(format!("length of key {key:?} is {} but must be 0 < len(key) <= {KEY_MAX_BYTES}", key.len()));
        }
        if value.is_empty() || value.len() > VALUE_MAX_BYTES {
            return refuse(format!(
                "length of value for key {key:?} is {} but must be 0 < len(value) <= {VALUE_MAX_BYTES}",
                value.len()
            ));
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return refuse(format!("key {key:?} or its value contains unprintable characters"));
        }
    }
    Ok(Some(pairs.clone()))
}
