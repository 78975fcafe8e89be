//! Answers that are good for later logins, as they came. Whoever takes one believes it anew, so keeping saves only the way to
//! the responder: another role, a later time or a revoked responder is judged as if the answer had just come.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use secret::Time;
use sha2::{Digest, Sha256};

/// Vault's `ocsp_cache_size` unless it is set.
const ANSWERS_DEFAULT: usize = 100;

/// Names an answer: who was asked what, for which mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Of a mount (its uuid), a responder's URL and a question.
    pub fn new(mount: &str, url: &str, question: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [mount.as_bytes(), url.as_bytes(), question] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// The answers; the oldest go first.
#[derive(Default)]
pub struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    answers: HashMap<Key, (Time, Vec<u8>)>,
    order: VecDeque<Key>,
}

impl Kept {
    /// An answer that is not over.
    pub fn get(&self, key: Key, now: Time) -> Option<Vec<u8>> {
        self.lock().answers.get(&key).filter(|(until, _)| now <= *until).map(|(_, body)| body.clone())
    }

    /// Keeps an answer until its `nextUpdate`. `limit` is the mount's `ocsp_cache_size`, zero for the default.
    pub fn put(&self, key: Key, body: Vec<u8>, until: Time, limit: i64) {
        let limit = usize::try_from(limit).ok().filter(|n| *n > 0).unwrap_or(ANSWERS_DEFAULT);
        let mut inner = self.lock();
        if inner.answers.insert(key, (until, body)).is_none() {
            inner.order.push_back(key);
        }
        while inner.order.len() > limit {
            if let Some(oldest) = inner.order.pop_front() {
                inner.answers.remove(&oldest);
            }
        }
    }

    /// What a panic left behind is whole: every change is one insertion or removal.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_no_more_than_its_bound_and_nothing_that_is_over() {
        let kept = Kept::default();
        let (now, until) = (Time::from_unix(10), Time::from_unix(20));
        let keys: Vec<Key> = (0_u8..150).map(|n| Key::new("m", "u", &[n])).collect();
        for key in &keys {
            kept.put(*key, vec![1], until, 0);
        }
        let there = |kept: &Kept| keys.iter().filter(|k| kept.get(**k, now).is_some()).count();
        assert_eq!(there(&kept), ANSWERS_DEFAULT);
        kept.put(keys[149], vec![2], until, 3);
        assert_eq!((there(&kept), kept.get(keys[149], now)), (3, Some(vec![2])));
        assert_eq!(kept.get(keys[149], Time::from_unix(21)), None);
        assert_ne!(Key::new("ab", "c", b""), Key::new("a", "bc", b""));
    }
}
