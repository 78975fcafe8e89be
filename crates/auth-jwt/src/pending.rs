//! Sign-ins under way, in memory: between the address a browser is sent to and its coming back. Vault keeps them the same way, so
//! they end with the process or its leadership; nothing of them is worth a write.
//!
//! Everything here is bounded: their number, their time, and what form posts leave. Anybody can begin a sign-in.

use std::collections::{HashMap, VecDeque};

use api_types::Map;
use parking_lot::Mutex;
use secret::{SecretString, Time};

use crate::limits::{FINISHED_LIFE, FINISHED_MAX, PENDING_LIFE, PENDING_MAX, POSTED_MAX_BYTES};

/// One sign-in. No `Debug`: it holds the verifier and the nonces.
#[derive(Clone)]
pub(crate) struct PendingLogin {
    pub(crate) role: String,
    /// As it was sent to the provider.
    pub(crate) redirect_uri: String,
    /// Empty if the client sent none.
    pub(crate) client_nonce: SecretString,
    pub(crate) nonce: SecretString,
    /// PKCE (RFC 7636).
    pub(crate) verifier: SecretString,
    /// Provider and client of the moment; a sign-in does not outlive their change.
    pub(crate) provider: String,
    pub(crate) client_id: String,
    pub(crate) began: Time,
    /// What the provider posted, if it did.
    pub(crate) posted: Option<Posted>,
}

/// What came in a form post.
#[derive(Clone, Default)]
pub(crate) struct Posted {
    pub(crate) code: SecretString,
    pub(crate) id_token: SecretString,
}

/// Why a form post is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PostError {
    #[error("Expired or missing OAuth state.")]
    Unknown,
    #[error("Too many sign-ins are under way. Try again later.")]
    Full,
}

/// Those of all mounts. The key is the mount's uuid with the state.
#[derive(Default)]
pub(crate) struct PendingLogins(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    logins: HashMap<(String, String), PendingLogin>,
    /// In the order they began; may name some that are gone.
    order: VecDeque<((String, String), Time)>,
    posted_bytes: usize,
    finished: VecDeque<Finished>,
}

/// An exchange that succeeded: a code works once, but a transaction may have to run again.
struct Finished {
    request_id: String,
    at: Time,
    login: PendingLogin,
    claims: Map,
}

impl Posted {
    fn bytes(&self) -> usize {
        self.code.expose().len() + self.id_token.expose().len()
    }
}

impl PendingLogins {
    /// Begins one.
    pub(crate) fn begin(&self, mount: &str, state: &str, login: PendingLogin) {
        let mut inner = self.0.lock();
        let now = login.began;
        inner.expire(now);
        while inner.logins.len() >= PENDING_MAX && inner.drop_oldest() {}
        let key = (mount.to_owned(), state.to_owned());
        inner.order.push_back((key.clone(), now));
        inner.logins.insert(key, login);
    }

    /// Adds what the provider posted; once.
    pub(crate) fn post(&self, mount: &str, state: &str, posted: Posted, now: Time) -> Result<(), PostError> {
        let mut inner = self.0.lock();
        inner.expire(now);
        let key = (mount.to_owned(), state.to_owned());
        let bytes = inner.posted_bytes + posted.bytes();
        let login = inner.logins.get_mut(&key).filter(|l| l.posted.is_none()).ok_or(PostError::Unknown)?;
        if bytes > POSTED_MAX_BYTES {
            return Err(PostError::Full);
        }
        login.posted = Some(posted);
        inner.posted_bytes = bytes;
        Ok(())
    }

    /// Takes one out, whatever comes of it then.
    pub(crate) fn take(&self, mount: &str, state: &str, now: Time) -> Option<PendingLogin> {
        let mut inner = self.0.lock();
        inner.expire(now);
        inner.remove(&(mount.to_owned(), state.to_owned()))
    }

    /// Keeps the result of an exchange for the request that made it.
    pub(crate) fn finish(&self, request_id: &str, login: &PendingLogin, claims: &Map, now: Time) {
        if request_id.is_empty() {
            return;
        }
        let mut inner = self.0.lock();
        if inner.finished.len() >= FINISHED_MAX {
            inner.finished.pop_front();
        }
        let finished = Finished { request_id: request_id.to_owned(), at: now, login: login.clone(), claims: claims.clone() };
        inner.finished.push_back(finished);
    }

    /// What this very request found out before its transaction had to run again.
    pub(crate) fn finished(&self, request_id: &str, now: Time) -> Option<(PendingLogin, Map)> {
        let mut inner = self.0.lock();
        inner.finished.retain(|f| now.since(f.at) < FINISHED_LIFE);
        let found = inner.finished.iter().find(|f| f.request_id == request_id)?;
        Some((found.login.clone(), found.claims.clone()))
    }
}

impl Inner {
    fn expire(&mut self, now: Time) {
        while self.order.front().is_some_and(|(_, began)| now.since(*began) >= PENDING_LIFE) {
            self.drop_oldest();
        }
        // Finished ones leave their place in the order behind; it must not outgrow what it orders.
        if self.order.len() > PENDING_MAX * 2 {
            let Self { logins, order, .. } = self;
            order.retain(|(key, _)| logins.contains_key(key));
        }
    }

    /// Whether there was any.
    fn drop_oldest(&mut self) -> bool {
        let Some((key, _)) = self.order.pop_front() else { return false };
        self.remove(&key);
        true
    }

    fn remove(&mut self, key: &(String, String)) -> Option<PendingLogin> {
        let login = self.logins.remove(key)?;
        self.posted_bytes = self.posted_bytes.saturating_sub(login.posted.as_ref().map_or(0, Posted::bytes));
        Some(login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn now() -> Time {
        Time::from_unix(1_800_000_000)
    }

    fn login(began: Time) -> PendingLogin {
        PendingLogin {
            role: "r".into(),
            redirect_uri: "http://localhost:8250/oidc/callback".into(),
            client_nonce: SecretString::default(),
            nonce: SecretString::from("n"),
            verifier: SecretString::from("v"),
            provider: "https://idp.example".into(),
            client_id: "id".into(),
            began,
            posted: None,
        }
    }

    fn posted(bytes: usize) -> Posted {
        Posted { code: SecretString::default(), id_token: SecretString::new("x".repeat(bytes)) }
    }

    #[test]
    fn a_state_works_once_on_its_mount_and_for_ten_minutes() {
        let pending = PendingLogins::default();
        for state in ["a", "b", "c"] {
            pending.begin("m", state, login(now()));
        }
        assert!(pending.take("other", "a", now()).is_none());
        assert!(pending.take("m", "A", now()).is_none());
        assert!(pending.take("m", "", now()).is_none());
        assert!(pending.take("m", "a", now()).is_some());
        assert!(pending.take("m", "a", now()).is_none());
        assert!(pending.take("m", "b", now().plus(Duration::from_secs(599))).is_some());
        assert!(pending.take("m", "c", now().plus(Duration::from_secs(600))).is_none());
        assert_eq!(pending.post("m", "c", posted(1), now()), Err(PostError::Unknown));
    }

    #[test]
    fn a_form_post_is_taken_once_and_posts_are_bounded_together() {
        let pending = PendingLogins::default();
        pending.begin("m", "a", login(now()));
        assert_eq!(pending.post("other", "a", posted(1), now()), Err(PostError::Unknown));
        assert_eq!(pending.post("m", "a", posted(1), now()), Ok(()));
        assert_eq!(pending.post("m", "a", posted(1), now()), Err(PostError::Unknown));
        pending.begin("m", "b", login(now()));
        assert_eq!(pending.post("m", "b", posted(POSTED_MAX_BYTES), now()), Err(PostError::Full));
        assert!(pending.take("m", "a", now()).is_some_and(|l| l.posted.is_some_and(|p| p.bytes() == 1)));
        assert_eq!(pending.post("m", "b", posted(POSTED_MAX_BYTES), now()), Ok(()));
        assert!(pending.take("m", "b", now()).is_some());
        assert_eq!(pending.0.lock().posted_bytes, 0);
    }

    #[test]
    fn class_n_half_open_sign_ins_are_bounded_and_a_flood_leaves_earlier_ones() {
        let pending = PendingLogins::default();
        pending.begin("m", "mine", login(now()));
        for n in 0..10_000 {
            pending.begin("m", &n.to_string(), login(now()));
        }
        assert!(pending.take("m", "mine", now()).is_some());
        for n in 0..PENDING_MAX * 3 {
            pending.begin("m", &n.to_string(), login(now()));
            if n % 2 == 0 {
                pending.take("m", &n.to_string(), now());
            }
        }
        let inner = pending.0.lock();
        assert!(inner.logins.len() <= PENDING_MAX && inner.order.len() <= PENDING_MAX * 2 + 1, "{}", inner.order.len());
    }

    #[test]
    fn a_result_is_its_requests_own_and_for_a_moment() {
        let pending = PendingLogins::default();
        let claims = Map::from_iter([("sub".to_owned(), "a".into())]);
        pending.finish("r1", &login(now()), &claims, now());
        pending.finish("", &login(now()), &claims, now());
        assert!(pending.finished("r1", now()).is_some());
        for other in ["", "r2", "r"] {
            assert!(pending.finished(other, now()).is_none());
        }
        assert!(pending.finished("r1", now().plus(FINISHED_LIFE)).is_none());
        for n in 0..FINISHED_MAX * 2 {
            pending.finish(&n.to_string(), &login(now()), &claims, now());
        }
        assert_eq!(pending.0.lock().finished.len(), FINISHED_MAX);
    }
}
