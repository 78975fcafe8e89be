//! Authorization codes: good once, for five minutes, and kept under their hash only.

use api_types::Map;
use engine::EngineError;
use secret::{Entropy, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage::{Page, View};

use crate::limits::{CODE_CHARS, CODE_LIFE};
use crate::rows::{CODES, CODES_DUE};

/// What the person agreed to, for the token endpoint.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Grant {
    pub(crate) provider: String,
    pub(crate) client_id: String,
    pub(crate) entity_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) nonce: String,
    pub(crate) scopes: Vec<String>,
    /// When the person logged in, if the client asked for it (`max_age`).
    pub(crate) auth_time: Option<Time>,
    /// Empty without PKCE.
    pub(crate) challenge: String,
    /// The challenge is a SHA-256 and not the verifier itself.
    pub(crate) hashed: bool,
    pub(crate) expires: Time,
}

/// Keeps a grant and gives its code.
pub(crate) fn put(view: &mut View<'_>, mut grant: Grant, now: Time, entropy: &dyn Entropy) -> Result<String, EngineError> {
    let code = entropy.base62(CODE_CHARS)?;
    let hash = hash(&code);
    grant.expires = now.plus(CODE_LIFE);
    view.put_json(&format!("{CODES}{hash}"), &grant)?;
    view.put_json(&due(grant.expires, &hash), &Map::new())?;
    Ok(code)
}

/// The grant of a code, which is gone afterwards whatever comes of it.
pub(crate) fn take(view: &mut View<'_>, code: &str, now: Time) -> Result<Option<Grant>, EngineError> {
    let hash = hash(code);
    let key = format!("{CODES}{hash}");
    let Some(grant) = view.get_json::<Grant>(&key)? else { return Ok(None) };
    view.delete(&key)?;
    view.delete(&due(grant.expires, &hash))?;
    Ok((now < grant.expires).then(|| Grant::clone(&grant)))
}

/// Clears away codes that ended without being redeemed, at most `limit` a call. Codes are refused by their time all the same;
/// this is only about space.
pub fn sweep(view: &mut View<'_>, now: Time, limit: usize) -> Result<(), EngineError> {
    let mut left = limit;
    for folder in view.list(CODES_DUE, &Page::default())? {
        let over = folder.trim_end_matches('/').parse::<i64>().is_ok_and(|minute| minute < now.unix().div_euclid(60));
        if !over {
            continue;
        }
        let page = Page { after: None, limit: Some(left) };
        for hash in view.list(&format!("{CODES_DUE}{folder}"), &page)? {
            view.delete(&format!("{CODES}{hash}"))?;
            view.delete(&format!("{CODES_DUE}{folder}{hash}"))?;
            left = left.saturating_sub(1);
        }
        if left == 0 {
            break;
        }
    }
    Ok(())
}

fn hash(code: &str) -> String {
    hex::encode(Sha256::digest(code))
}

fn due(at: Time, hash: &str) -> String {
    format!("{CODES_DUE}{}/{hash}", at.unix().div_euclid(60))
}
