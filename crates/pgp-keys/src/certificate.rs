//! One public key: parsed, its encryption key chosen, and messages made for it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pgp::composed::{Deserializable, MessageBuilder, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;
use secret::{Entropy, SecretBytes, Time};

use crate::source::Source;

/// Largest key that is read, in base64: real ones with many signatures of others have some hundred KiB.
const KEY_TEXT_BYTES_MAX: usize = 512 << 10;
/// Signatures of a key over itself that are checked. Strangers may send keys, and each check costs an operation of the key.
const SIGNATURES_MAX: usize = 32;

/// Why a text is no usable key. The words before the colon are Vault's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The text is not base64.
    #[error("error decoding given PGP key: {0}")]
    Base64(String),
    /// The bytes are no OpenPGP public key.
    #[error("error parsing given PGP key: {0}")]
    Malformed(String),
    /// Nothing in it may be used to encrypt: expired, revoked, unbound, or for signing only.
    #[error("error parsing given PGP key: it has no valid key for encryption")]
    NotForEncryption,
}

/// Why nothing was encrypted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncryptError {
    /// The key's algorithm refused.
    #[error("the PGP key cannot encrypt: {0}")]
    Refused(String),
    /// No randomness.
    #[error("no entropy")]
    NoEntropy,
}

enum Recipient {
    Primary,
    Subkey(Box<SignedPublicSubKey>),
}

/// A public key with a valid part for encryption.
pub struct PublicKey {
    whole: SignedPublicKey,
    recipient: Recipient,
    fingerprint: String,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint)
    }
}

impl PublicKey {
    /// Reads base64 of the binary form. `now` decides what has expired.
    pub fn parse(text: &str, now: Time) -> Result<Self, KeyError> {
        if text.len() > KEY_TEXT_BYTES_MAX {
            return Err(KeyError::Malformed("it is too large".into()));
        }
        let bytes = BASE64_STANDARD.decode(text).map_err(|e| KeyError::Base64(e.to_string()))?;
        if bytes.first().is_some_and(|tag| tag & 0x80 == 0) {
            return Err(KeyError::Malformed("openpgp: invalid data: tag byte does not have MSB set".into()));
        }
        let whole = SignedPublicKey::from_bytes(bytes.as_slice()).map_err(|e| KeyError::Malformed(e.to_string()))?;
        let recipient = recipient(&whole, now).ok_or(KeyError::NotForEncryption)?;
        let fingerprint = hex::encode(whole.primary_key.fingerprint().as_bytes());
        Ok(Self { whole, recipient, fingerprint })
    }

    /// The primary key's fingerprint, lower-case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A binary OpenPGP message with `plaintext`: AES-256 with a modification check (RFC 4880), which every client in use reads.
    pub fn encrypt(&self, plaintext: &SecretBytes, entropy: &dyn Entropy) -> Result<Vec<u8>, EncryptError> {
        let mut source = Source::new(entropy);
        let made = self.message(plaintext, &mut source);
        if source.failed {
            return Err(EncryptError::NoEntropy);
        }
        made.map_err(|e| EncryptError::Refused(e.to_string()))
    }

    fn message(&self, plaintext: &SecretBytes, source: &mut Source<'_>) -> Result<Vec<u8>, pgp::errors::Error> {
        let builder = MessageBuilder::from_bytes("", plaintext.expose().to_vec());
        let mut builder = builder.seipd_v1(&mut *source, SymmetricKeyAlgorithm::AES256);
        match &self.recipient {
            Recipient::Primary => builder.encrypt_to_key(&mut *source, &self.whole)?,
            Recipient::Subkey(key) => builder.encrypt_to_key(&mut *source, &&**key)?,
        };
        builder.to_vec(&mut *source)
    }
}

/// The newest valid subkey for encryption, else the primary key if it may encrypt.
fn recipient(whole: &SignedPublicKey, now: Time) -> Option<Recipient> {
    let now_secs = now.unix();
    let primary = &whole.primary_key;
    let certified = self_signatures(whole);
    let newest = certified.iter().max_by_key(|s| created(s))?;
    let revoked = whole.details.revocation_signatures.iter().any(|s| s.verify_key(primary).is_ok());
    if revoked || is_over(primary.created_at().as_secs(), newest, now_secs) {
        return None;
    }
    let subkey = whole
        .public_subkeys
        .iter()
        .take(SIGNATURES_MAX)
        .filter(|key| key.key.algorithm().can_encrypt() && is_bound(whole, key, now_secs))
        .max_by_key(|key| key.key.created_at().as_secs());
    if let Some(key) = subkey {
        return Some(Recipient::Subkey(Box::new(key.clone())));
    }
    (primary.algorithm().can_encrypt() && may_encrypt(newest)).then_some(Recipient::Primary)
}

/// The valid signatures of the key over itself and its names.
fn self_signatures(whole: &SignedPublicKey) -> Vec<&Signature> {
    let primary = &whole.primary_key;
    let id = primary.legacy_key_id();
    let own = |s: &&Signature| s.issuer_key_id().is_empty() || s.issuer_key_id().contains(&&id);
    let direct = whole.details.direct_signatures.iter().filter(own).map(|s| (s, None));
    let named = whole.details.users.iter().flat_map(|user| user.signatures.iter().filter(own).map(move |s| (s, Some(&user.id))));
    let valid = |(s, user): &(&Signature, Option<&pgp::packet::UserId>)| match user {
        None => s.verify_key(primary).is_ok(),
        Some(user) => s.is_certification() && s.verify_certification(primary, pgp::types::Tag::UserId, user).is_ok(),
    };
    direct.chain(named).take(SIGNATURES_MAX).filter(valid).map(|(s, _)| s).collect()
}

fn is_bound(whole: &SignedPublicKey, key: &SignedPublicSubKey, now_secs: i64) -> bool {
    let valid = |s: &&Signature| s.verify_subkey_binding(&whole.primary_key, &key.key).is_ok();
    let of = |kind: SignatureType| key.signatures.iter().take(SIGNATURES_MAX).filter(move |s| s.typ() == Some(kind));
    if of(SignatureType::SubkeyRevocation).any(|s| valid(&s)) {
        return false;
    }
    let newest = of(SignatureType::SubkeyBinding).filter(valid).max_by_key(|s| created(s));
    newest.is_some_and(|s| may_encrypt(s) && !is_over(key.key.created_at().as_secs(), s, now_secs))
}

/// Keys without flags are older than flags and may do anything.
fn may_encrypt(signature: &Signature) -> bool {
    let flags = signature.key_flags();
    flags.encrypt_comms() || flags.encrypt_storage() || !(flags.sign() || flags.certify() || flags.authentication())
}

fn created(signature: &Signature) -> u32 {
    signature.created().map_or(0, |t| t.as_secs())
}

fn is_over(created_secs: u32, signature: &Signature, now_secs: i64) -> bool {
    let Some(lifetime) = signature.key_expiration_time() else { return false };
    let seconds = std::time::Duration::from(lifetime).as_secs();
    seconds != 0 && i64::from(created_secs).saturating_add_unsigned(seconds) <= now_secs
}
