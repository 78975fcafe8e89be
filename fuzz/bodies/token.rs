//! Any text as a token: none is known that the store did not make. Any text as the content of a batch token: no panic in what reads it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::EngineError;
use secret::{SecretBytes, SystemEntropy, Time};
use storage::{MemoryTransaction, View};
use tokens::{BatchCipher, TokenStore};

/// Hides nothing and believes anything, so that what is behind the sealing is reached.
struct Open;

impl BatchCipher for Open {
    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, EngineError> {
        Ok(plaintext.to_vec())
    }

    fn open(&self, sealed: &[u8]) -> Result<Option<SecretBytes>, EngineError> {
        Ok(Some(sealed.into()))
    }
}

pub fn run((token, entry, seconds): (&str, &str, i64)) {
    let now = Time::from_unix(seconds.rem_euclid(1 << 33));
    let mut txn = MemoryTransaction::default();
    let mut view = View::new(&mut txn, "");
    TokenStore::initialise(&mut view, &SystemEntropy).expect("a salt");
    let store = TokenStore::new(Arc::new(Open));
    assert!(store.lookup_accessor(&mut view, token, now).is_ok_and(|found| found.is_none()));
    if !token.starts_with("hvb.") {
        assert!(store.find(&mut view, token, now).is_ok_and(|found| found.is_none()));
    }
    let sealed = format!("hvb.{}", URL_SAFE_NO_PAD.encode(entry));
    for presented in [token, &sealed] {
        if let Ok(Some(found)) = store.find(&mut view, presented, now) {
            assert!(found.entry.is_live(now));
            let _ = (found.entry.is_root(), found.entry.ttl_left_seconds(now), found.entry.lease_id(), found.entry.to_auth());
            let _ = found.entry.show(presented, &["p".to_owned()], now);
            let _ = store.spend_use(&mut view, &found);
        }
    }
}
