//! `oidc/key`: named keys.

use std::time::Duration;

use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use serde_json::json;

use crate::keyring;
use crate::limits::{ROTATION_MIN, VERIFICATION_ROTATIONS_MAX};
use crate::rows::{self, CLIENTS, Client, DEFAULT, KEYS, NamedKey, ROLES, Role};

pub(crate) fn exists(_: &IdentityEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(keyring::named(&mut call.view, call.fields.str("name"))?.is_some())
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let old = keyring::named(&mut call.view, &name)?;
    let mut key = old.as_deref().cloned().unwrap_or_default();
    let before = key.clone();
    if let Some(period) = call.fields.duration("rotation_period") {
        key.rotation_period = period.as_secs();
    }
    if let Some(ttl) = call.fields.duration("verification_ttl") {
        key.verification_ttl = ttl.as_secs();
    }
    if let Some(ids) = call.fields.texts("allowed_client_ids") {
        key.allowed_client_ids = rows::unique(ids);
    }
    if key.rotation_period < ROTATION_MIN.as_secs() {
        return Err(EngineError::invalid("rotation_period must be at least one minute"));
    }
    if key.verification_ttl > key.rotation_period.saturating_mul(VERIFICATION_ROTATIONS_MAX.into()) {
        return Err(EngineError::invalid("verification_ttl cannot be longer than 10x rotation_period"));
    }
    if let Some(text) = call.fields.text("algorithm") {
        let known = text.parse().ok().filter(|a: &jose::Algorithm| !a.name().starts_with("PS"));
        key.algorithm = known.ok_or_else(|| EngineError::Invalid(format!("unknown signing algorithm {text:?}")))?;
    }
    if old.is_some() && key.verification_ttl < before.verification_ttl {
        check_users(call, &name, key.verification_ttl)?;
    }
    if key.signing.is_none() || key.algorithm != before.algorithm {
        let keep = Duration::from_secs(key.verification_ttl);
        keyring::rotate(&mut call.view, &name, &mut key, keep, call.now, call.entropy)?;
    } else if key.rotation_period != before.rotation_period {
        key.next_rotation = call.now.plus(Duration::from_secs(key.rotation_period));
    }
    rows::save(&mut call.view, KEYS, &name, &key)?;
    Ok(None)
}

/// A key must be published for as long as tokens under it live.
fn check_users(call: &mut Call<'_>, name: &str, ttl: u64) -> Result<(), EngineError> {
    let refuse = |who: &str| {
        Err(EngineError::Invalid(format!(
            "unable to update key {name:?} because it is currently referenced by one or more {who} greater than {ttl} seconds"
        )))
    };
    if !rows::names_where::<Role>(&mut call.view, ROLES, |r| r.key == name && r.ttl > ttl)?.is_empty() {
        return refuse("roles with a token ttl");
    }
    if !rows::names_where::<Client>(&mut call.view, CLIENTS, |c| c.key == name && c.id_token_ttl > ttl)?.is_empty() {
        return refuse("clients with an id_token_ttl");
    }
    Ok(())
}

pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(key) = keyring::named(&mut call.view, call.fields.str("name"))? else { return Ok(None) };
    Ok(Some(Response::json(json!({
        "algorithm": key.algorithm,
        "allowed_client_ids": key.allowed_client_ids,
        "rotation_period": key.rotation_period,
        "verification_ttl": key.verification_ttl,
    }))))
}

pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(rows::names_with(&mut call.view, KEYS, DEFAULT)?)))
}

pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if name == DEFAULT {
        return Err(EngineError::invalid("deletion of key \"default\" not allowed"));
    }
    let refuse = |who: &str, names: &[String]| {
        Err(EngineError::Invalid(format!(
            "unable to delete key {name:?} because it is currently referenced by these {who}: {}",
            names.join(", ")
        )))
    };
    let roles = rows::names_where::<Role>(&mut call.view, ROLES, |r| r.key == name)?;
    if !roles.is_empty() {
        return refuse("roles", &roles);
    }
    let clients = rows::names_where::<Client>(&mut call.view, CLIENTS, |c| c.key == name)?;
    if !clients.is_empty() {
        return refuse("clients", &clients);
    }
    if let Some(key) = rows::load::<NamedKey>(&mut call.view, KEYS, &name)? {
        keyring::delete(&mut call.view, &name, &key)?;
    }
    Ok(None)
}

pub(crate) fn rotate(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let found = keyring::named(&mut call.view, &name)?;
    let found = found.ok_or_else(|| EngineError::Invalid(format!("no named key found at {name:?}")))?;
    let mut key = NamedKey::clone(&found);
    // Clamped to what the key itself may have, so that one call cannot publish a retired key for years.
    let longest = key.rotation_period.saturating_mul(VERIFICATION_ROTATIONS_MAX.into());
    let asked = call.fields.duration("verification_ttl").map_or(key.verification_ttl, |d| d.as_secs().min(longest));
    keyring::rotate(&mut call.view, &name, &mut key, Duration::from_secs(asked), call.now, call.entropy)?;
    rows::save(&mut call.view, KEYS, &name, &key)?;
    Ok(None)
}
