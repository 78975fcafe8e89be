//! Keys that gpg made, read and encrypted to. The secret halves are here only for these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step fails the test")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pgp::composed::{Deserializable, Message, SignedSecretKey};
use pgp::types::Password;
use pgp_keys::{EncryptError, KeyError, PublicKey};
use secret::{Entropy, EntropyError, SecretBytes, SystemEntropy, Time};

const CURVE: &str = include_str!("data/curve.b64");
const CURVE_SECRET: &str = include_str!("data/curve-secret.b64");
const RSA: &str = include_str!("data/rsa.b64");
const RSA_SECRET: &str = include_str!("data/rsa-secret.b64");
/// 2027.
const NOW: Time = Time(1_800_000_000_000_000_000);

#[test]
fn the_holder_reads_what_was_encrypted() {
    for (public, private) in [(CURVE, CURVE_SECRET), (RSA, RSA_SECRET)] {
        let key = PublicKey::parse(public, NOW).unwrap();
        assert!(key.fingerprint().len() == 40 && key.fingerprint().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
        let plain = SecretBytes::from(b"a share in hexadecimal".as_slice());
        let sealed = key.encrypt(&plain, &SystemEntropy).unwrap();
        assert_ne!(sealed, key.encrypt(&plain, &SystemEntropy).unwrap());
        assert!(!sealed.windows(plain.len()).any(|w| w == plain.expose()));
        let secret = SignedSecretKey::from_bytes(BASE64_STANDARD.decode(private).unwrap().as_slice()).unwrap();
        let mut opened = Message::from_bytes(sealed.as_slice()).unwrap().decrypt(&Password::empty(), &secret).unwrap();
        assert_eq!(opened.as_data_vec().unwrap(), plain.expose());
    }
}

#[test]
fn texts_that_are_no_usable_key_are_refused() {
    let cut = BASE64_STANDARD.encode(&BASE64_STANDARD.decode(CURVE).unwrap()[..40]);
    for (text, kind) in [
        ("x", "error decoding given PGP key: "),
        ("not a key", "error decoding given PGP key: "),
        ("", "error parsing given PGP key: "),
        ("AAAA", "error parsing given PGP key: openpgp: invalid data: tag byte does not have MSB set"),
        (cut.as_str(), "error parsing given PGP key: "),
        (CURVE_SECRET, "error parsing given PGP key: "),
        (include_str!("data/sign.b64"), "error parsing given PGP key: it has no valid key for encryption"),
        (include_str!("data/old.b64"), "error parsing given PGP key: it has no valid key for encryption"),
        (include_str!("data/revoked.b64"), "error parsing given PGP key: it has no valid key for encryption"),
    ] {
        let refused = PublicKey::parse(text, NOW).unwrap_err().to_string();
        assert!(refused.starts_with(kind), "{refused}");
    }
    let huge = "A".repeat(1 << 20);
    assert!(matches!(PublicKey::parse(&huge, NOW), Err(KeyError::Malformed(_))));
}

#[test]
fn a_subkey_that_was_put_under_another_key_is_not_used() {
    let (curve, rsa) = (BASE64_STANDARD.decode(CURVE).unwrap(), BASE64_STANDARD.decode(include_str!("data/sign.b64")).unwrap());
    // The last packets of one key (subkey and its binding) behind another key that cannot encrypt.
    let key = pgp::composed::SignedPublicKey::from_bytes(curve.as_slice()).unwrap();
    let mut grafted = rsa;
    for part in &key.public_subkeys {
        grafted.extend(pgp::ser::Serialize::to_bytes(part).unwrap());
    }
    assert_eq!(PublicKey::parse(&BASE64_STANDARD.encode(grafted), NOW).unwrap_err(), KeyError::NotForEncryption);
}

struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

#[test]
fn without_randomness_nothing_leaves() {
    let key = PublicKey::parse(CURVE, NOW).unwrap();
    assert_eq!(key.encrypt(&SecretBytes::from(b"x".as_slice()), &NoEntropy).unwrap_err(), EncryptError::NoEntropy);
}
