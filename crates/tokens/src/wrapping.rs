//! Wrapping tokens: an answer kept in the cubbyhole of a token that can be used once (contract §7.3).

use std::time::Duration;

use api_types::Map;
use engine::{EngineError, TokenType};
use secret::{Entropy, SecretString, Time};
use serde::{Deserialize, Serialize};
use storage::View;

use crate::due::{self, DueItem};
use crate::limits::{ID_CHARS, REVOKE_STEPS};
use crate::names::RESPONSE_WRAPPING;
use crate::store::{id_path, new_token};
use crate::{Found, TokenEntry, TokenStore};

const INVALID: &str = "wrapping token is not valid or does not exist";

/// What is to be wrapped.
pub struct Wrap<'a> {
    /// How long the wrapping token lives; more than zero.
    pub ttl: Duration,
    /// The request path whose answer this is.
    pub creation_path: &'a str,
    /// JSON text of the answer.
    pub payload: &'a str,
    /// The accessor inside the answer, if it is a login.
    pub wrapped_accessor: &'a str,
    /// The time of the request.
    pub now: Time,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
}

/// The `wrap_info` of an answer.
#[derive(Debug, Clone)]
pub struct WrapInfo {
    /// The wrapping token.
    pub token: SecretString,
    /// Its accessor.
    pub accessor: String,
    /// Its life.
    pub ttl: Duration,
    /// When it was made.
    pub creation_time: Time,
    /// The request path whose answer it holds.
    pub creation_path: String,
    /// The accessor inside the answer; empty if there is none.
    pub wrapped_accessor: String,
}

/// The `data` of `sys/wrapping/lookup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrapLookup {
    /// Seconds.
    pub creation_ttl: u64,
    /// RFC 3339.
    pub creation_time: String,
    /// The request path whose answer it holds.
    pub creation_path: String,
}

impl TokenStore {
    /// Makes a wrapping token. Four records.
    pub fn wrapping(&self, view: &mut View<'_>, wrap: &Wrap<'_>) -> Result<WrapInfo, EngineError> {
        let token = new_token(wrap.entropy)?;
        let key = self.salt(view)?.key(token.expose());
        let end = wrap.now.plus(wrap.ttl);
        let entry = TokenEntry {
            accessor: key.clone(),
            policies: vec![RESPONSE_WRAPPING.to_owned()],
            path: wrap.creation_path.to_owned(),
            num_uses: 1,
            ttl: wrap.ttl,
            explicit_max_ttl: wrap.ttl,
            token_type: TokenType::Service,
            cubbyhole_id: wrap.entropy.base62(ID_CHARS)?,
            creation_time: wrap.now,
            expire_time: Some(end),
            orphan: true,
            ..TokenEntry::default()
        };
        let info = WrapLookup {
            creation_ttl: wrap.ttl.as_secs(),
            creation_time: wrap.now.rfc3339(),
            creation_path: wrap.creation_path.to_owned(),
        };
        let mut response = Map::new();
        response.insert("response".into(), wrap.payload.into());
        view.put_json(&cubbyhole(&entry, "response"), &response)?;
        view.put_json(&cubbyhole(&entry, "wrapinfo"), &info)?;
        view.put_json(&id_path(&key), &entry)?;
        due::note(view, end, &DueItem::Token(key.clone()))?;
        Ok(WrapInfo {
            token,
            accessor: key,
            ttl: wrap.ttl,
            creation_time: wrap.now,
            creation_path: info.creation_path,
            wrapped_accessor: wrap.wrapped_accessor.to_owned(),
        })
    }
}

impl TokenStore {
    /// The wrapping token as presented. `spent_now` takes one whose only use was counted for this very request.
    ///
    /// # Errors
    /// `Invalid` with `wrapping token is not valid or does not exist`, also for tokens that wrap nothing.
    pub fn validate_wrapping(&self, view: &mut View<'_>, token: &str, spent_now: bool, now: Time) -> Result<Found, EngineError> {
        self.find(view, token, now)?
            .filter(|f| f.entry.policies == [RESPONSE_WRAPPING] && (spent_now || !f.entry.is_spent()))
            .ok_or_else(|| EngineError::invalid(INVALID))
    }

    /// What `sys/wrapping/lookup` tells of a wrapping token, without using it.
    pub fn wrapping_lookup(&self, view: &mut View<'_>, token: &str, now: Time) -> Result<WrapLookup, EngineError> {
        let found = self.validate_wrapping(view, token, false, now)?;
        wrap_lookup(view, &found)
    }

    /// Takes the answer out and revokes the token. `None` if the kept answer is empty.
    ///
    /// # Errors
    /// `Invalid` as [`TokenStore::validate_wrapping`].
    pub fn unwrap_response(
        &self,
        view: &mut View<'_>,
        token: &str,
        spent_now: bool,
        now: Time,
    ) -> Result<Option<SecretString>, EngineError> {
        let found = self.validate_wrapping(view, token, spent_now, now)?;
        let payload = payload(view, &found)?;
        self.revoke_tree(view, &found.key, now, REVOKE_STEPS)?;
        Ok(Some(payload).filter(|p| !p.is_empty()))
    }

    /// Moves the answer to a new wrapping token of the same life and path; the old one is gone.
    ///
    /// # Errors
    /// `Invalid` as [`TokenStore::validate_wrapping`].
    pub fn rewrap(
        &self,
        view: &mut View<'_>,
        token: &str,
        spent_now: bool,
        now: Time,
        entropy: &dyn Entropy,
    ) -> Result<WrapInfo, EngineError> {
        let found = self.validate_wrapping(view, token, spent_now, now)?;
        let info = wrap_lookup(view, &found)?;
        let payload = payload(view, &found)?;
        self.revoke_tree(view, &found.key, now, REVOKE_STEPS)?;
        let wrap = Wrap {
            ttl: found.entry.ttl,
            creation_path: &info.creation_path,
            payload: payload.expose(),
            wrapped_accessor: "",
            now,
            entropy,
        };
        self.wrapping(view, &wrap)
    }
}

fn cubbyhole(entry: &TokenEntry, name: &str) -> String {
    format!("cubbyhole/{}/{name}", entry.cubbyhole_id)
}

fn wrap_lookup(view: &mut View<'_>, found: &Found) -> Result<WrapLookup, EngineError> {
    let info = view.get_json::<WrapLookup>(&cubbyhole(&found.entry, "wrapinfo"))?;
    info.map(|info| WrapLookup::clone(&info)).ok_or_else(|| EngineError::invalid(INVALID))
}

fn payload(view: &mut View<'_>, found: &Found) -> Result<SecretString, EngineError> {
    let kept = view.get_json::<Map>(&cubbyhole(&found.entry, "response"))?;
    let text = kept.as_ref().and_then(|map| map.get("response")).and_then(|v| v.as_str());
    text.map(SecretString::from).ok_or_else(|| EngineError::invalid(INVALID))
}
