//! What was fetched from outside and is used again: discovery documents and key sets.
//!
//! Each is fetched again when it is old, and a key set also when it does not know a token's key, which is what a provider's change
//! of keys looks like. Both are limited, since anybody can send tokens with unknown keys. While the provider is out, what it last
//! said goes on to count. What is kept depends on address and roots only, so a changed configuration uses other entries and
//! nothing has to be invalidated; a mount sees only the addresses of its own configuration.

use std::sync::Arc;
use std::time::Duration;

use jose::{Claims, JWKS_MAX_BYTES, JwkSet, Jws};
use outbound::{NoAnswer, Question, Trust};
use parking_lot::Mutex;
use secret::Time;

use crate::config::{Config, KeySetAddress};
use crate::limits::{DISCOVERY_MAX_BYTES, FETCH_BURST, FETCH_EVERY, REUSE, SOURCES_MAX, STALE_MAX};
use crate::provider::{Provider, ProviderError};
use crate::web::Web;

/// Why something is not there. For the log.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("the server answered {0}")]
    Status(u16),
    #[error("the answer holds no ID token")]
    NotTokens,
    #[error("the answer is not a key set")]
    NotKeys,
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("it could not be fetched a moment ago and is not asked for again yet")]
    NotYet,
}

/// Why a token is not verified.
#[derive(Debug)]
pub(crate) enum VerifyError {
    /// No key of any set made the signature, or the token cannot be checked.
    Token,
    /// There are no keys to check with.
    Fetch(FetchError),
}

/// All that was fetched, for all mounts.
#[derive(Default)]
pub(crate) struct Fetched {
    /// Most recently used last.
    sources: Mutex<Vec<(Address, Arc<Source>)>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Address {
    url: String,
    trust: Trust,
    /// Of a discovery document.
    issuer: Option<String>,
}

#[derive(Default)]
struct Source {
    state: Mutex<State>,
    /// Held while fetching, so that many logins fetch once.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    document: Option<Document>,
    /// When it came.
    at: Time,
    /// Changes with every fetch, also with one that failed.
    generation: u64,
    spent: u32,
    /// Since when `spent` counts.
    since: Time,
}

#[derive(Clone)]
enum Document {
    Keys(Arc<JwkSet>),
    Provider(Arc<Provider>),
}

impl Fetched {
    /// Fetches a key set, whatever is kept.
    pub(crate) async fn key_set_now(&self, web: &dyn Web, set: &KeySetAddress, now: Time) -> Result<(), FetchError> {
        let address = Address::of(set);
        let source = self.source(&address);
        source.fetch(web, &address, now).await.map(|_| ())
    }

    /// Fetches a discovery document, whatever is kept.
    pub(crate) async fn provider_now(&self, web: &dyn Web, config: &Config, now: Time) -> Result<(), FetchError> {
        let address = Address::discovery(config);
        let source = self.source(&address);
        source.fetch(web, &address, now).await.map(|_| ())
    }

    /// The provider that a configuration names.
    pub(crate) async fn provider(&self, web: &dyn Web, config: &Config, now: Time) -> Result<Arc<Provider>, FetchError> {
        let address = Address::discovery(config);
        match self.source(&address).get(web, &address, now).await? {
            Document::Provider(provider) => Ok(provider),
            Document::Keys(_) => Err(FetchError::NotKeys),
        }
    }

    /// The claims of a token, if a key of one of the sets made its signature.
    pub(crate) async fn verify(
        &self,
        web: &dyn Web,
        sets: &[KeySetAddress],
        token: &Jws<'_>,
        now: Time,
    ) -> Result<Claims, VerifyError> {
        let mut worst = VerifyError::Token;
        let mut seen = Vec::new();
        for set in sets {
            let address = Address::of(set);
            let source = self.source(&address);
            let keys = source.keys(web, &address, now).await;
            let generation = source.state.lock().generation;
            match keys.map_err(VerifyError::Fetch).and_then(|k| k.verify(token).map_err(|_| VerifyError::Token)) {
                Ok(claims) => return Ok(claims),
                Err(e) => worst = e,
            }
            seen.push((address, source, generation));
        }
        // Perhaps the keys were changed. A set that could not be had a moment ago is not asked for twice.
        for (address, source, generation) in seen {
            if let Some(keys) = source.newer(web, &address, generation, now).await {
                match keys.verify(token) {
                    Ok(claims) => return Ok(claims),
                    Err(_) => worst = VerifyError::Token,
                }
            }
        }
        Err(worst)
    }

    fn source(&self, address: &Address) -> Arc<Source> {
        let mut sources = self.sources.lock();
        let found = sources.iter().position(|(a, _)| a == address).map(|i| sources.remove(i));
        let found = found.unwrap_or_else(|| (address.clone(), Arc::new(Source::default())));
        if sources.len() >= SOURCES_MAX {
            sources.remove(0);
        }
        let source = Arc::clone(&found.1);
        sources.push(found);
        source
    }
}

impl Address {
    fn of(set: &KeySetAddress) -> Self {
        Self { url: set.jwks_url.clone(), trust: Trust::named(&set.jwks_ca_pem), issuer: None }
    }

    fn discovery(config: &Config) -> Self {
        Self {
            url: Provider::document_url(&config.oidc_discovery_url),
            trust: config.trust(),
            issuer: Some(config.oidc_discovery_url.clone()),
        }
    }

    async fn fetch(&self, web: &dyn Web, now: Time) -> Result<Document, FetchError> {
        let max_bytes = if self.issuer.is_some() { DISCOVERY_MAX_BYTES } else { JWKS_MAX_BYTES };
        let answer = web.ask(Question::get(&self.url, &self.trust, max_bytes), now).await?;
        if answer.status != 200 {
            return Err(FetchError::Status(answer.status));
        }
        match &self.issuer {
            Some(issuer) => Ok(Document::Provider(Arc::new(Provider::parse(&answer.body, issuer)?))),
            None => JwkSet::parse(&answer.body).map(|k| Document::Keys(Arc::new(k))).map_err(|_| FetchError::NotKeys),
        }
    }
}

impl Source {
    /// What is kept, fetched before if it is old or missing.
    async fn get(&self, web: &dyn Web, address: &Address, now: Time) -> Result<Document, FetchError> {
        if let Some(kept) = self.kept(now, REUSE) {
            return Ok(kept);
        }
        let turn = self.turn.lock().await;
        if let Some(kept) = self.kept(now, REUSE) {
            return Ok(kept);
        }
        let fetched = if self.may_fetch(now) { self.fetch_in_turn(web, address, now).await } else { Err(FetchError::NotYet) };
        drop(turn);
        match fetched {
            Ok(document) => Ok(document),
            Err(error) => self.kept(now, STALE_MAX).ok_or(error),
        }
    }

    async fn keys(&self, web: &dyn Web, address: &Address, now: Time) -> Result<Arc<JwkSet>, FetchError> {
        match self.get(web, address, now).await? {
            Document::Keys(keys) => Ok(keys),
            Document::Provider(_) => Err(FetchError::NotKeys),
        }
    }

    /// Keys that are newer than those of a generation: those somebody else fetched meanwhile, or freshly fetched ones.
    async fn newer(&self, web: &dyn Web, address: &Address, generation: u64, now: Time) -> Option<Arc<JwkSet>> {
        let _turn = self.turn.lock().await;
        if self.state.lock().generation == generation && self.may_fetch(now) {
            self.fetch_in_turn(web, address, now).await.ok()?;
        }
        let state = self.state.lock();
        match &state.document {
            Some(Document::Keys(keys)) if state.generation != generation => Some(Arc::clone(keys)),
            _ => None,
        }
    }

    async fn fetch(&self, web: &dyn Web, address: &Address, now: Time) -> Result<Document, FetchError> {
        let _turn = self.turn.lock().await;
        self.fetch_in_turn(web, address, now).await
    }

    /// Only with the turn in hand.
    async fn fetch_in_turn(&self, web: &dyn Web, address: &Address, now: Time) -> Result<Document, FetchError> {
        let fetched = address.fetch(web, now).await;
        let mut state = self.state.lock();
        state.generation = state.generation.wrapping_add(1);
        match &fetched {
            Ok(document) => {
                state.document = Some(document.clone());
                state.at = now;
            }
            Err(error) => tracing::warn!(%error, "keys or provider could not be fetched"),
        }
        fetched
    }

    fn kept(&self, now: Time, age: Duration) -> Option<Document> {
        let state = self.state.lock();
        (now.since(state.at) < age).then(|| state.document.clone()).flatten()
    }

    /// A bucket: a burst, then one for each [`FETCH_EVERY`].
    fn may_fetch(&self, now: Time) -> bool {
        let mut state = self.state.lock();
        let elapsed = now.since(state.since);
        let back = u32::try_from(elapsed.as_secs() / FETCH_EVERY.as_secs()).unwrap_or(u32::MAX);
        if back > 0 {
            state.spent = state.spent.saturating_sub(back);
            state.since = now;
        }
        let may = state.spent < FETCH_BURST;
        if may {
            state.spent += 1;
        }
        may
    }
}
