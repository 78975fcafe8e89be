//! Any bytes as an OpenPGP key, in base64 and as armour: no panic, and a key that is accepted can be encrypted to or says why not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgp_keys::PublicKey;
use secret::{SecretBytes, SystemEntropy, Time};

pub fn run(bytes: &[u8]) {
    let now = Time::from_unix(1_790_000_000);
    for text in [STANDARD.encode(bytes), String::from_utf8_lossy(bytes).into_owned()] {
        if let Ok(key) = PublicKey::parse(&text, now) {
            assert!(!key.fingerprint().is_empty());
            if let Ok(message) = key.encrypt(&SecretBytes::new(b"share".to_vec()), &SystemEntropy) {
                assert!(!message.windows(5).any(|w| w == b"share"));
            }
        }
    }
}
