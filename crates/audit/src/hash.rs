//! `hmac-sha256:…`: how a device writes a value that only somebody who already knows it can recognise.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;

const PREFIX: &[u8; 12] = b"hmac-sha256:";
/// Prefix and 32 bytes in hexadecimal.
const TEXT_LEN_BYTES: usize = 76;
/// Devices whose hashes are kept with a token. There are seldom more than two.
const KEPT_DEVICES_MAX: usize = 4;

/// A hash as text; plain ASCII that needs no escape in JSON.
pub(crate) type Digits = [u8; TEXT_LEN_BYTES];

/// A device's keyed hash. The key is the text of the device's salt.
#[derive(Clone)]
pub(crate) struct Hasher {
    mac: Hmac<Sha256>,
    /// Tells the hashers of one process apart; a device that is enabled again has a new salt and a new number.
    number: u64,
}

impl Hasher {
    pub(crate) fn new(salt: &secret::SecretString) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        #[expect(clippy::expect_used, reason = "RFC 2104 takes keys of any length; the error belongs to other MACs")]
        let mac = Hmac::new_from_slice(salt.expose().as_bytes()).expect("HMAC takes any key");
        Self { mac, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// `hmac-sha256:` and 64 lower-case hexadecimal digits.
    pub(crate) fn hash(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.digits(text)).into_owned()
    }

    pub(crate) fn digits(&self, text: &str) -> Digits {
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        let mut out = [0u8; TEXT_LEN_BYTES];
        let (prefix, digits) = out.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        // The lengths are both constants, so there is no error to speak of.
        let _ = hex::encode_to_slice(mac.finalize().into_bytes(), digits);
        out
    }
}

/// The hashes of one token and its accessor, as the devices write them. Whoever keeps what was worked out for a token keeps this
/// with it and drops it with it, so it never outlives the token's record or a seal, and is as bounded as its keeper.
#[derive(Default)]
pub struct Kept(Mutex<Vec<(u64, Arc<TokenHashes>)>>);

/// The two hashes that every entry of a token holds twice.
#[derive(Clone, Copy)]
pub(crate) struct TokenHashes {
    pub(crate) token: Digits,
    pub(crate) accessor: Digits,
}

impl Kept {
    /// The hashes of `token` and `accessor` under `hasher`: those kept, or fresh ones, which are kept from now on.
    pub(crate) fn hashes(&self, hasher: &Hasher, token: &str, accessor: &str) -> Arc<TokenHashes> {
        let mut kept = self.0.lock();
        if let Some((_, found)) = kept.iter().find(|(number, _)| *number == hasher.number) {
            return Arc::clone(found);
        }
        let made = Arc::new(TokenHashes { token: hasher.digits(token), accessor: hasher.digits(accessor) });
        if kept.len() >= KEPT_DEVICES_MAX {
            kept.remove(0);
        }
        kept.push((hasher.number, Arc::clone(&made)));
        made
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_hmac_that_openssl_computes() {
        let hasher = Hasher::new(&"key".into());
        // RFC-style vector: HMAC_SHA256("key", "The quick brown fox jumps over the lazy dog").
        assert_eq!(
            hasher.hash("The quick brown fox jumps over the lazy dog"),
            "hmac-sha256:f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        );
    }

    #[test]
    fn another_salt_gives_another_hash_and_a_long_salt_is_no_error() {
        let long = "s".repeat(500);
        assert_ne!(Hasher::new(&"a".into()).hash("x"), Hasher::new(&"b".into()).hash("x"));
        assert_eq!(Hasher::new(&long.as_str().into()).hash("").len(), TEXT_LEN_BYTES);
    }

    #[test]
    fn hashes_are_kept_for_each_salt_and_only_for_a_few() {
        let kept = Kept::default();
        let hashers: Vec<_> = (0..10).map(|i| Hasher::new(&format!("salt {i}").into())).collect();
        for _ in 0..2 {
            for hasher in &hashers {
                let found = kept.hashes(hasher, "hvs.x", "acc");
                assert_eq!((found.token, found.accessor), (hasher.digits("hvs.x"), hasher.digits("acc")));
                assert!(Arc::ptr_eq(&found, &kept.hashes(hasher, "hvs.x", "acc")));
            }
        }
        assert_eq!(kept.0.lock().len(), KEPT_DEVICES_MAX);
        // The same salt under another number: a device that was taken out and put back.
        assert_eq!(Hasher::new(&"s".into()).digits("x"), Hasher::new(&"s".into()).digits("x"));
        assert_ne!(Hasher::new(&"s".into()).number(), Hasher::new(&"s".into()).number());
    }
}
