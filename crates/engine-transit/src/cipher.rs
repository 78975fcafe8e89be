//! Encryption and decryption with a named key: which version, which derived key, which nonce.

use secret::Entropy;
use zeroize::Zeroizing;

use crate::codec;
use crate::crypto::aead::{Cipher, NonceBytes};
use crate::crypto::hash::Hash;
use crate::crypto::rsa::Padding;
use crate::fault::Fault;
use crate::kind::Family;
use crate::limits::NONCE_BYTES;
use crate::policy::{KeyEntry, Policy, Prepared};

/// What goes with a message besides the message.
#[derive(Debug, Default)]
pub(crate) struct Circumstances {
    /// For derivation; empty if none was sent.
    pub(crate) context: Vec<u8>,
    /// From the caller; see [`Policy::takes_nonce`].
    pub(crate) nonce: Vec<u8>,
    /// Authenticated with the message.
    pub(crate) aad: Vec<u8>,
    /// For RSA.
    pub(crate) padding: Padding,
}

impl Policy {
    /// Encrypts: the text `vault:v<n>:…`, and the version.
    pub(crate) fn encrypt(
        &self,
        version: i64,
        with: &Circumstances,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<(String, i64), Fault> {
        self.check_encrypts()?;
        let version = self.writing_version(version, "encryption")?;
        let entry = self.entry(version)?;
        let sealed = match (self.kind.family(), entry) {
            (Family::Aead, entry) => self.seal(entry, with, plaintext, entropy)?,
            (_, entry) => match entry.prepared(self.kind)? {
                Prepared::Rsa(key) => key.encrypt(with.padding, plaintext)?,
                _ => return Err(Fault::Server(format!("unsupported key type {}", self.kind))),
            },
        };
        Ok((codec::encode_onto(self.prefix(version), &sealed), version))
    }

    /// Decrypts a text that [`Self::encrypt`] or Vault made.
    pub(crate) fn decrypt(&self, with: &Circumstances, ciphertext: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        if !self.kind.encrypts() {
            return Err(Fault::Caller(format!("message decryption not supported for key type {}", self.kind)));
        }
        let (version, body) = self.split(ciphertext, "ciphertext")?;
        // Version 0 is from before there were versions.
        let version = version.max(i64::from(version == 0));
        self.check_readable(version, "ciphertext")?;
        let sealed = codec::decode(body).map_err(|_| Fault::caller("invalid ciphertext: could not decode base64"))?;
        let entry = self.entry(version)?;
        let plain = match self.kind.family() {
            Family::Aead => self.open(entry, with, &sealed)?,
            _ => match entry.prepared(self.kind)? {
                Prepared::Rsa(key) => key.decrypt(with.padding, &sealed)?,
                _ => return Err(Fault::Server(format!("unsupported key type {}", self.kind))),
            },
        };
        Ok(Zeroizing::new(plain))
    }

    /// Refuses kinds that do not encrypt.
    pub(crate) fn check_encrypts(&self) -> Result<(), Fault> {
        if self.kind.encrypts() {
            return Ok(());
        }
        Err(Fault::Caller(format!("message encryption not supported for key type {}", self.kind)))
    }

    fn seal(&self, entry: &KeyEntry, with: &Circumstances, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Fault> {
        let form = self.convergent_form(entry);
        if !with.nonce.is_empty() && form != 1 {
            return Err(Fault::caller("nonce provided when not allowed"));
        }
        if !self.derived {
            let Prepared::Cipher(cipher) = entry.prepared(self.kind)? else { return Err(Fault::server("unsupported key type")) };
            return cipher.seal(random_nonce(entropy)?, &with.aad, plaintext, true);
        }
        let key_bytes = self.kind.cipher_key_bytes();
        let mac_bytes = if form >= 3 { 32 } else { 0 };
        let derived = self.derive(entry, &with.context, key_bytes + mac_bytes)?;
        let (key, mac_key) = derived
            .split_at_checked(key_bytes)
            .filter(|(_, rest)| rest.len() >= mac_bytes)
            .ok_or_else(|| Fault::server("could not derive key, length too small"))?;
        let nonce = match form {
            0 => random_nonce(entropy)?,
            1 => with.nonce.as_slice().try_into().map_err(|_| {
                Fault::Caller(format!(
                    "base64-decoded nonce must be {NONCE_BYTES} bytes long when using convergent encryption with this key"
                ))
            })?,
            2 => nonce_of(&with.context, plaintext)?,
            _ => nonce_of(mac_key, plaintext)?,
        };
        Cipher::new(self.kind, key)?.seal(nonce, &with.aad, plaintext, form != 1)
    }

    fn open(&self, entry: &KeyEntry, with: &Circumstances, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let form = self.convergent_form(entry);
        let (nonce, body) = if form == 1 {
            (with.nonce.as_slice(), sealed)
        } else {
            sealed.split_at_checked(NONCE_BYTES).ok_or_else(|| Fault::caller("invalid ciphertext length"))?
        };
        let nonce = nonce.try_into().map_err(|_| Fault::caller("invalid convergent nonce supplied"))?;
        if !self.derived {
            let Prepared::Cipher(cipher) = entry.prepared(self.kind)? else { return Err(Fault::server("unsupported key type")) };
            return cipher.open(nonce, &with.aad, body);
        }
        let derived = self.derive(entry, &with.context, self.kind.cipher_key_bytes())?;
        Cipher::new(self.kind, &derived)?.open(nonce, &with.aad, body)
    }
}

fn random_nonce(entropy: &dyn Entropy) -> Result<NonceBytes, Fault> {
    let mut nonce = NonceBytes::default();
    entropy.fill(&mut nonce)?;
    Ok(nonce)
}

/// The nonce that a plaintext has of its own: the front of its MAC.
fn nonce_of(key: &[u8], plaintext: &[u8]) -> Result<NonceBytes, Fault> {
    let mac = Hash::Sha256.mac(key, plaintext).unwrap_or_default();
    mac.get(..NONCE_BYTES).and_then(|front| front.try_into().ok()).ok_or_else(|| Fault::server("could not derive a nonce"))
}
