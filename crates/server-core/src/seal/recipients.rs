//! For whom shares and root tokens are encrypted before they leave (contract §2.1).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pgp_keys::{EncryptError, KeyError, PublicKey};
use secret::{Entropy, SecretBytes, Time};

/// One OpenPGP key for each share, in order; or none at all.
#[derive(Default)]
pub(crate) struct Recipients(Vec<PublicKey>);

impl Recipients {
    /// Reads keys in base64.
    pub(crate) fn parse(keys: &[String], now: Time) -> Result<Self, KeyError> {
        keys.iter().map(|key| PublicKey::parse(key, now)).collect::<Result<_, _>>().map(Self)
    }

    /// The fingerprints; `None` without keys, which clients see as `null`.
    pub(crate) fn fingerprints(&self) -> Option<Vec<String>> {
        (!self.0.is_empty()).then(|| self.0.iter().map(|k| k.fingerprint().to_owned()).collect())
    }

    /// What is handed out: the shares themselves, or an OpenPGP message for each, of the share's hexadecimal text.
    pub(crate) fn seal(&self, shares: &[SecretBytes], entropy: &dyn Entropy) -> Result<Vec<SecretBytes>, EncryptError> {
        if self.0.is_empty() {
            return Ok(shares.to_vec());
        }
        let one = |(key, share): (&PublicKey, &SecretBytes)| {
            let text = SecretBytes::new(hex::encode(share.expose()).into_bytes());
            key.encrypt(&text, entropy).map(SecretBytes::new)
        };
        self.0.iter().zip(shares).map(one).collect()
    }
}

/// An OpenPGP message in base64.
pub(crate) fn to_base64(key: &PublicKey, plain: &SecretBytes, entropy: &dyn Entropy) -> Result<String, EncryptError> {
    key.encrypt(plain, entropy).map(|message| BASE64_STANDARD.encode(message))
}
