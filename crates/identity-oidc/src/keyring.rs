//! Named keys at work: making, rotating, publishing, signing.
//!
//! A key signs for its rotation period; its successor is made and published one period ahead, so that clients that keep the key set
//! for a while know it when it starts. A retired key stays published until the last token it signed can have ended.

use std::time::Duration;

use engine::EngineError;
use jose::{Jwk, PrivateKey, PrivateKeyError};
use secret::{Entropy, SecretString, Time};
use serde::Serialize;
use std::sync::Arc;
use storage::View;

use crate::limits::RING_MAX;
use crate::rows::{self, ANY, DEFAULT, KEY_IDS, KEYS, NamedKey, PRIVATE, Pointer, RingKey};

/// A named key as stored; the default one is there before anybody wrote it.
pub(crate) fn named(view: &mut View<'_>, name: &str) -> Result<Option<Arc<NamedKey>>, EngineError> {
    let found = rows::load::<NamedKey>(view, KEYS, name)?;
    Ok(found.or_else(|| {
        (name == DEFAULT).then(|| Arc::new(NamedKey { allowed_client_ids: vec![ANY.to_owned()], ..NamedKey::default() }))
    }))
}

/// Makes sure that the key can sign now: makes what it lacks and rotates it if its time has come. Saves what it changes.
pub(crate) fn ready(
    view: &mut View<'_>,
    name: &str,
    key: &NamedKey,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<NamedKey, EngineError> {
    let mut key = key.clone();
    if key.signing.is_none() || now >= key.next_rotation {
        let keep = Duration::from_secs(key.verification_ttl);
        rotate(view, name, &mut key, keep, now, entropy)?;
        rows::save(view, KEYS, name, &key)?;
    }
    Ok(key)
}

/// The next key takes over; the one before stays published for `keep`. The caller saves.
pub(crate) fn rotate(
    view: &mut View<'_>,
    name: &str,
    key: &mut NamedKey,
    keep: Duration,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<(), EngineError> {
    if let Some(old) = key.signing.take() {
        rows::remove(view, PRIVATE, &old)?;
        for entry in key.ring.iter_mut().filter(|e| e.id == old) {
            entry.expires = Some(now.plus(keep));
        }
    }
    let successor = key.next.take();
    // After a change of algorithm the successor is of the old kind, and has signed nothing.
    let (fits, stale) = match successor {
        Some(id) if key.ring.iter().any(|e| e.id == id && e.jwk.algorithm == Some(key.algorithm)) => (Some(id), None),
        other => (None, other),
    };
    if let Some(id) = stale {
        rows::remove(view, PRIVATE, &id)?;
        rows::remove(view, KEY_IDS, &id)?;
        key.ring.retain(|e| e.id != id);
    }
    key.signing = Some(match fits {
        Some(id) => id,
        None => make(view, name, key, entropy)?,
    });
    key.next = Some(make(view, name, key, entropy)?);
    key.next_rotation = now.plus(Duration::from_secs(key.rotation_period));
    forget(view, key, now)
}

/// Drops public halves whose time is over, and the oldest beyond the bound.
fn forget(view: &mut View<'_>, key: &mut NamedKey, now: Time) -> Result<(), EngineError> {
    let (mut kept, mut gone): (Vec<_>, Vec<_>) =
        std::mem::take(&mut key.ring).into_iter().partition(|e| e.expires.is_none_or(|at| at > now));
    while kept.len() > RING_MAX {
        match kept.iter().position(|e| e.expires.is_some()) {
            Some(oldest) => gone.push(kept.remove(oldest)),
            None => break,
        }
    }
    for entry in gone {
        rows::remove(view, KEY_IDS, &entry.id)?;
    }
    key.ring = kept;
    Ok(())
}

fn make(view: &mut View<'_>, name: &str, key: &mut NamedKey, entropy: &dyn Entropy) -> Result<String, EngineError> {
    let id = entropy.uuid()?;
    let document = PrivateKey::generate(key.algorithm).map_err(broken)?;
    let pair = PrivateKey::from_pkcs8(key.algorithm, document.expose()).map_err(broken)?;
    view.put(&format!("{PRIVATE}{id}"), document)?;
    rows::save(view, KEY_IDS, &id, &Pointer { name: name.to_owned() })?;
    let jwk = Jwk::signing(pair.public_key().clone(), id.clone(), key.algorithm);
    key.ring.push(RingKey { id: id.clone(), jwk, expires: None });
    Ok(id)
}

/// Signs claims with a key that [`ready`] gave.
pub(crate) fn sign<C: Serialize>(view: &mut View<'_>, key: &NamedKey, claims: &C) -> Result<SecretString, EngineError> {
    let id = key.signing.as_deref().ok_or_else(|| broken(PrivateKeyError::Sign))?;
    let entry = key.ring.iter().find(|e| e.id == id).and_then(|e| e.jwk.algorithm);
    let algorithm = entry.ok_or_else(|| broken(PrivateKeyError::Read))?;
    let document = view.get(&format!("{PRIVATE}{id}"))?.ok_or_else(|| broken(PrivateKeyError::Read))?;
    let pair = PrivateKey::from_pkcs8(algorithm, document.bytes()).map_err(broken)?;
    pair.sign(Some(id), None, claims).map_err(broken)
}

/// The algorithm of the key that signs.
pub(crate) fn algorithm(key: &NamedKey) -> jose::Algorithm {
    let signing = key.ring.iter().find(|e| Some(&e.id) == key.signing.as_ref());
    signing.and_then(|e| e.jwk.algorithm).unwrap_or(key.algorithm)
}

/// The public halves that are published now.
pub(crate) fn published(key: &NamedKey, now: Time) -> impl Iterator<Item = &Jwk> {
    key.ring.iter().filter(move |e| e.expires.is_none_or(|at| at > now)).map(|e| &e.jwk)
}

/// A published public half by its id.
pub(crate) fn public(view: &mut View<'_>, id: &str, now: Time) -> Result<Option<Jwk>, EngineError> {
    let Some(owner) = rows::load::<Pointer>(view, KEY_IDS, id)? else { return Ok(None) };
    let Some(key) = named(view, &owner.name)? else { return Ok(None) };
    Ok(published(&key, now).find(|j| j.id.as_deref() == Some(id)).cloned())
}

/// Removes a key with all that belongs to it.
pub(crate) fn delete(view: &mut View<'_>, name: &str, key: &NamedKey) -> Result<(), EngineError> {
    for entry in &key.ring {
        rows::remove(view, PRIVATE, &entry.id)?;
        rows::remove(view, KEY_IDS, &entry.id)?;
    }
    rows::remove(view, KEYS, name)
}

/// The text for clients says nothing; the log says what.
pub(crate) fn broken(why: PrivateKeyError) -> EngineError {
    tracing::error!(error = %why, "a signing key of identity tokens fails");
    EngineError::internal("internal error")
}
