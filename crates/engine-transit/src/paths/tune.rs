//! `keys/<name>/rotate`, `config` and `trim`: what changes a key after it was made.

use engine::{Call, EngineError, Outcome, Response};

use super::keys::{describe, flag, rotation_period};
use crate::Transit;
use crate::policy::Policy;
use crate::store;

const NUMBERING_WARNING: &str = "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1";

/// Adds a version.
pub(super) fn rotate(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let mut policy = super::for_change(call, |_| "key not found".to_owned())?;
    policy.rotate(call.entropy, call.now)?;
    store::save(&mut call.view, &mut policy)?;
    Ok(Some(Response::data(describe(&policy, &[])?)))
}

/// Changes a key's settings; all of them or, after an error, none.
pub(super) fn configure(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let mut policy = super::for_change(call, |name| format!("no existing key named {name} could be found"))?;
    let warning = set_minima(call, &mut policy)?;
    if let Some(allowed) = call.fields.bool("deletion_allowed") {
        policy.deletion_allowed = allowed;
    }
    // What was once allowed to leave cannot be made secret again, so these two only go one way.
    policy.exportable |= flag(call, "exportable");
    policy.allow_plaintext_backup |= flag(call, "allow_plaintext_backup");
    if let Some(period) = rotation_period(call)? {
        policy.auto_rotate_period = period;
    }
    if policy.min_available_version > policy.min_encryption_version {
        return Err(EngineError::invalid("min encryption version should not be less than min available version"));
    }
    if policy.min_available_version > policy.min_decryption_version {
        return Err(EngineError::invalid("min decryption version should not be less then min available version"));
    }
    store::save(&mut call.view, &mut policy)?;
    let response = Response::data(describe(&policy, &[])?);
    Ok(Some(if warning { response.with_warning(NUMBERING_WARNING) } else { response }))
}

/// Sets the minimal versions; answers whether a 0 was read as 1.
fn set_minima(call: &Call<'_>, policy: &mut Policy) -> Result<bool, EngineError> {
    let mut raised = false;
    if let Some(mut wanted) = call.fields.int("min_decryption_version") {
        if wanted < 0 {
            return Err(EngineError::invalid("min decryption version cannot be negative"));
        }
        if wanted == 0 {
            wanted = 1;
            raised = true;
        }
        too_new("decryption", wanted, policy)?;
        policy.min_decryption_version = wanted;
    }
    if let Some(wanted) = call.fields.int("min_encryption_version") {
        if wanted < 0 {
            return Err(EngineError::invalid("min encryption version cannot be negative"));
        }
        too_new("encryption", wanted, policy)?;
        policy.min_encryption_version = wanted;
    }
    let (encryption, decryption) = (policy.min_encryption_version, policy.min_decryption_version);
    if encryption > 0 && encryption < decryption {
        return Err(EngineError::Invalid(format!(
            "cannot set min encryption/decryption values; min encryption version of {encryption} must be greater than or \
             equal to min decryption version of {decryption}"
        )));
    }
    Ok(raised)
}

fn too_new(what: &str, wanted: i64, policy: &Policy) -> Result<(), EngineError> {
    let latest = policy.latest_version;
    if wanted > latest {
        return Err(EngineError::Invalid(format!("cannot set min {what} version of {wanted}, latest key version is {latest}")));
    }
    Ok(())
}

/// Removes old versions for good.
pub(super) fn trim(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let mut policy = super::for_change(call, |_| "invalid key name".to_owned())?;
    let refuse = |why: &str| Err(EngineError::Invalid(format!("minimum available version {why}")));
    let Some(wanted) = call.fields.int("min_available_version") else {
        return Err(EngineError::invalid("missing min_available_version"));
    };
    match wanted {
        n if n < policy.min_available_version => refuse("cannot be decremented"),
        _ if policy.min_encryption_version == 0 => refuse("cannot be set when minimum encryption version is not set"),
        _ if policy.min_decryption_version == 0 => refuse("cannot be set when minimum decryption version is not set"),
        n if n > policy.min_encryption_version => refuse("cannot be greater than minmum encryption version"),
        n if n > policy.min_decryption_version => refuse("cannot be greater than minimum decryption version"),
        n if n < 0 => refuse("cannot be negative"),
        0 => refuse("should be positive"),
        n => {
            policy.min_available_version = n;
            store::save(&mut call.view, &mut policy)?;
            Ok(Some(Response::data(describe(&policy, &[])?)))
        }
    }
}
