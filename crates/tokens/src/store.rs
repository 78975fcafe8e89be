//! Finding tokens and counting their uses.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::{EngineError, TokenType};
use secret::{Entropy, SecretBytes, SecretString, Time};
use storage::{Page, View};

use crate::entry::SPENT;
use crate::hash::Salt;
use crate::limits::{ID_CHARS, MAX_TOKEN_BYTES, SALT_CHARS, TOKEN_RANDOM_CHARS};
use crate::names::ROOT;
use crate::{BatchCipher, Found, TokenEntry, batch};

/// What every service token begins with.
pub(crate) const SERVICE_PREFIX: &str = "hvs.";

const SALT: &str = "sys/token/salt";
const ID: &str = "sys/token/id/";

/// How many uses are left after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseLeft {
    /// The token has no such limit.
    Unlimited,
    /// So many more.
    More(u64),
    /// None: revoke the token when the request is answered.
    Last,
}

/// The rules over the stored tokens. Holds no token; only the salt's keyed state is kept.
pub struct TokenStore {
    batch: Arc<dyn BatchCipher>,
    salt: RwLock<Option<Salt>>,
}

impl TokenStore {
    /// Over a storage that [`TokenStore::initialise`] was called on.
    #[must_use]
    pub fn new(batch: Arc<dyn BatchCipher>) -> Self {
        Self { batch, salt: RwLock::new(None) }
    }

    /// Makes the salt. Part of the server's initialisation; does nothing if there is one.
    pub fn initialise(view: &mut View<'_>, entropy: &dyn Entropy) -> Result<(), EngineError> {
        if view.get(SALT)?.is_none() {
            view.put(SALT, SecretBytes::new(entropy.base62(SALT_CHARS)?.into_bytes()))?;
        }
        Ok(())
    }

    /// Forgets the salt: when the server is sealed, and when a snapshot was restored.
    pub fn forget_salt(&self) {
        *self.salt.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The token as presented, if it may be used now: known, in time, with uses left. One read for service tokens.
    pub fn lookup(&self, view: &mut View<'_>, presented: &str, now: Time) -> Result<Option<Found>, EngineError> {
        Ok(self.find(view, presented, now)?.filter(|found| !found.entry.is_spent()))
    }

    /// Like [`TokenStore::lookup`], but also a token whose last use was spent by this very request.
    pub fn find(&self, view: &mut View<'_>, presented: &str, now: Time) -> Result<Option<Found>, EngineError> {
        if presented.is_empty() || presented.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        if presented.starts_with(batch::PREFIX) {
            return self.find_batch(view, presented, now);
        }
        let key = self.salt(view)?.key(presented);
        self.by_key(view, &key, now)
    }

    /// The token with this accessor.
    pub fn lookup_accessor(&self, view: &mut View<'_>, accessor: &str, now: Time) -> Result<Option<Found>, EngineError> {
        // An accessor is a key; anything else must not reach into other folders.
        if accessor.len() != ID_CHARS || !accessor.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        self.by_key(view, accessor, now)
    }

    /// Accessors of all stored tokens, ascending.
    pub fn list_accessors(&self, view: &mut View<'_>, page: &Page) -> Result<Vec<String>, EngineError> {
        Ok(view.list(ID, page)?)
    }

    /// Counts one use. Every authenticated request does, also one that is then denied. Write it even if the request fails.
    pub fn spend_use(&self, view: &mut View<'_>, found: &Found) -> Result<UseLeft, EngineError> {
        let left = match found.entry.num_uses {
            0 => return Ok(UseLeft::Unlimited),
            n if n < 0 => return Err(EngineError::denied("permission denied")),
            1 => SPENT,
            n => n - 1,
        };
        view.put_json(&id_path(&found.key), &TokenEntry { num_uses: left, ..TokenEntry::clone(&found.entry) })?;
        Ok(u64::try_from(left).map_or(UseLeft::Last, UseLeft::More))
    }

    /// A token with policy `root` that never expires: at initialisation, by `generate-root`, and in dev mode, where the id may
    /// be given.
    pub fn root(
        &self,
        view: &mut View<'_>,
        now: Time,
        entropy: &dyn Entropy,
        custom_id: Option<&str>,
    ) -> Result<SecretString, EngineError> {
        let token = match custom_id {
            Some(id) => SecretString::from(id),
            None => new_token(entropy)?,
        };
        let key = self.salt(view)?.key(token.expose());
        let entry = TokenEntry {
            accessor: key.clone(),
            policies: vec![ROOT.to_owned()],
            path: "auth/token/root".to_owned(),
            display_name: ROOT.to_owned(),
            token_type: TokenType::Service,
            cubbyhole_id: entropy.base62(ID_CHARS)?,
            creation_time: now,
            orphan: true,
            ttl: Duration::ZERO,
            ..TokenEntry::default()
        };
        view.put_json(&id_path(&key), &entry)?;
        Ok(token)
    }

    pub(crate) fn cipher(&self) -> &dyn BatchCipher {
        &*self.batch
    }

    /// The live token under a key.
    pub(crate) fn by_key(&self, view: &mut View<'_>, key: &str, now: Time) -> Result<Option<Found>, EngineError> {
        Ok(stored(view, key)?.filter(|e| e.is_live(now)).map(|entry| Found { entry, key: key.to_owned() }))
    }

    /// The salt's keyed state, read once.
    pub(crate) fn salt(&self, view: &mut View<'_>) -> Result<Salt, EngineError> {
        if let Some(salt) = self.salt.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(salt.clone());
        }
        let record = view.get(SALT)?.ok_or_else(|| EngineError::internal("the token salt is missing"))?;
        let salt = Salt::new(record.bytes()).ok_or_else(|| EngineError::internal("the token salt cannot be used"))?;
        *self.salt.write().unwrap_or_else(PoisonError::into_inner) = Some(salt.clone());
        Ok(salt)
    }

    /// A batch token dies with its time and with its parent.
    fn find_batch(&self, view: &mut View<'_>, presented: &str, now: Time) -> Result<Option<Found>, EngineError> {
        let Some(entry) = batch::decode(self.cipher(), presented)? else { return Ok(None) };
        // Without an end it was not made here.
        if entry.expire_time.is_none() || !entry.is_live(now) || entry.is_root() {
            return Ok(None);
        }
        if !entry.parent.is_empty() && self.by_key(view, &entry.parent, now)?.is_none_or(|p| p.entry.is_spent()) {
            return Ok(None);
        }
        Ok(Some(Found { entry, key: String::new() }))
    }
}

/// Where a token is stored.
pub(crate) fn id_path(key: &str) -> String {
    format!("{ID}{key}")
}

/// The entry under a key, live or not.
pub(crate) fn stored(view: &mut View<'_>, key: &str) -> Result<Option<Arc<TokenEntry>>, EngineError> {
    Ok(view.get_json::<TokenEntry>(&id_path(key))?)
}

/// A fresh service token.
pub(crate) fn new_token(entropy: &dyn Entropy) -> Result<SecretString, EngineError> {
    Ok(SecretString::new(format!("{SERVICE_PREFIX}{}", entropy.base62(TOKEN_RANDOM_CHARS)?)))
}
