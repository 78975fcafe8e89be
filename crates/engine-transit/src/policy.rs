//! A named key with its versions: the record `policy/<name>`, in the JSON that Vault keeps and puts into backups.
//!
//! Deliberately absent: storage (`store`), requests (`paths`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secret::{Entropy, Time};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::aead::Cipher;
use crate::crypto::ec::EcKey;
use crate::crypto::ed25519;
use crate::crypto::kdf::Kdf;
use crate::crypto::number::Number;
use crate::crypto::rsa::{RsaKey, RsaPrivate, RsaPublic};
use crate::fault::Fault;
use crate::kind::{Family, KeyKind};
use crate::limits::{HMAC_KEY_MAX_BYTES, HMAC_KEY_MIN_BYTES};
use crate::pace;
use crate::record::{Blob, Event, Stamp};

const PREFIX_TEMPLATE: &str = "vault:v{{version}}:";
const VERSION_HOLE: &str = "{{version}}";

/// The convergent form of new keys: nonce and key both derived, the nonce from the plaintext.
pub(crate) const CONVERGENT_VERSION: i64 = 3;

/// One version of a key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KeyEntry {
    /// The key of symmetric kinds; seed and public key of Ed25519.
    pub(crate) key: Blob,
    /// A key of its own for HMAC; for the kind `hmac`, the same as `key`.
    pub(crate) hmac_key: Blob,
    pub(crate) time: Stamp,
    pub(crate) ec_x: Option<Number>,
    pub(crate) ec_y: Option<Number>,
    pub(crate) ec_d: Option<Number>,
    pub(crate) rsa_key: Option<RsaPrivate>,
    /// Of imported keys; follows from the private half where there is one.
    pub(crate) rsa_public_key: Option<RsaPublic>,
    /// PEM for ECDSA, base64 for Ed25519, empty for RSA.
    pub(crate) public_key: String,
    /// 0: as the policy says.
    pub(crate) convergent_version: i64,
    /// Seconds since the epoch.
    pub(crate) creation_time: i64,
    /// DER, leaf first.
    pub(crate) certificate_chain: Option<Vec<Blob>>,
    #[serde(skip)]
    prepared: OnceLock<Arc<Prepared>>,
}

/// A version ready for use, made at the first use and shared by all requests that read the same record.
pub(crate) enum Prepared {
    Cipher(Cipher),
    Ec(EcKey),
    Ed25519(aws_lc_rs::signature::Ed25519KeyPair),
    Rsa(RsaKey),
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared(***)")
    }
}

/// A named key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) name: String,
    /// Bytes of an HMAC key.
    #[serde(default)]
    pub(crate) key_size: i64,
    /// Versions from `min_decryption_version` on; older ones are in the archive.
    #[serde(default)]
    pub(crate) keys: BTreeMap<i64, KeyEntry>,
    /// A context is needed, and the key itself is never used.
    #[serde(default)]
    pub(crate) derived: bool,
    #[serde(default)]
    pub(crate) kdf: Kdf,
    #[serde(default)]
    pub(crate) convergent_encryption: bool,
    #[serde(default)]
    pub(crate) exportable: bool,
    #[serde(default)]
    pub(crate) min_decryption_version: i64,
    #[serde(default)]
    pub(crate) min_encryption_version: i64,
    #[serde(default)]
    pub(crate) latest_version: i64,
    /// Vault's bookkeeping of its archive, filled in backups.
    #[serde(default)]
    pub(crate) archive_version: i64,
    #[serde(default)]
    pub(crate) archive_min_version: i64,
    #[serde(default)]
    pub(crate) min_available_version: i64,
    #[serde(default)]
    pub(crate) deletion_allowed: bool,
    /// -1: each version says for itself.
    #[serde(default)]
    pub(crate) convergent_version: i64,
    #[serde(rename = "type")]
    pub(crate) kind: KeyKind,
    #[serde(default)]
    pub(crate) backup_info: Option<Event>,
    #[serde(default)]
    pub(crate) restore_info: Option<Event>,
    #[serde(default)]
    pub(crate) allow_plaintext_backup: bool,
    #[serde(default)]
    pub(crate) version_template: String,
    #[serde(default)]
    pub(crate) storage_prefix: String,
    /// Nanoseconds, as Go writes a duration.
    #[serde(default)]
    pub(crate) auto_rotate_period: i64,
    #[serde(rename = "Imported", default)]
    pub(crate) imported: bool,
    #[serde(rename = "AllowImportedKeyRotation", default)]
    pub(crate) allow_imported_key_rotation: bool,
}

impl KeyEntry {
    /// A fresh version. Keys of RSA and ECDSA come from AWS-LC's own generator.
    pub(crate) fn generate(kind: KeyKind, key_size: i64, entropy: &dyn Entropy, now: Time) -> Result<Self, Fault> {
        let mut entry = Self::empty(entropy, now)?;
        match kind.family() {
            Family::Aead => entry.key = Blob::new(entropy.bytes(kind.cipher_key_bytes())?),
            Family::Hmac => {
                let length = usize::try_from(key_size).unwrap_or(0);
                if !(HMAC_KEY_MIN_BYTES..=HMAC_KEY_MAX_BYTES).contains(&key_size) {
                    return Err(Fault::Server(format!(
                        "invalid key size for HMAC key, must be between {HMAC_KEY_MIN_BYTES} and {HMAC_KEY_MAX_BYTES} bytes"
                    )));
                }
                entry.key = Blob::new(entropy.bytes(length)?);
                entry.hmac_key = entry.key.clone();
            }
            Family::Ecdsa(curve) => entry.set_ec(curve, &EcKey::generate(curve)?),
            Family::Ed25519 => {
                entry.set_ed25519(&ed25519::expand(&zeroize::Zeroizing::new(entropy.bytes(ed25519::HALF_BYTES)?))?)
            }
            Family::Rsa => entry.rsa_key = Some(pace::off_the_loop(|| RsaPrivate::generate(kind.rsa_bits()))?),
        }
        Ok(entry)
    }

    /// A version with an HMAC key and nothing else yet.
    pub(crate) fn empty(entropy: &dyn Entropy, now: Time) -> Result<Self, Fault> {
        let hmac_key = Blob::new(entropy.bytes(32)?);
        Ok(Self { hmac_key, time: Stamp(Some(now)), creation_time: now.unix(), ..Self::default() })
    }

    pub(crate) fn set_ec(&mut self, curve: crate::crypto::ec::Curve, parts: &crate::crypto::ec::EcParts) {
        self.set_ec_public(curve, &parts.x, &parts.y);
        self.ec_d = Some(Number::new(&parts.scalar));
    }

    pub(crate) fn set_ec_public(&mut self, curve: crate::crypto::ec::Curve, x: &[u8], y: &[u8]) {
        self.ec_x = Some(Number::new(x));
        self.ec_y = Some(Number::new(y));
        self.public_key = codec::pem("PUBLIC KEY", &curve.public_der(&[&[4], x, y].concat()));
    }

    pub(crate) fn set_ed25519(&mut self, key: &[u8]) {
        self.public_key = codec::encode(key.get(ed25519::HALF_BYTES..).unwrap_or_default());
        self.key = Blob::new(key.to_vec());
    }

    /// Whether it is a public key only.
    pub(crate) fn lacks_private_half(&self) -> bool {
        self.rsa_key.is_none() && self.ec_d.is_none() && self.key.is_empty()
    }

    /// The public half of an RSA version.
    pub(crate) fn rsa_public(&self) -> Option<RsaPublic> {
        self.rsa_key.as_ref().map(RsaPrivate::public).or_else(|| self.rsa_public_key.clone())
    }

    /// The uncompressed point of an ECDSA version.
    pub(crate) fn ec_point(&self, curve: crate::crypto::ec::Curve) -> Option<Vec<u8>> {
        let (x, y) = (self.ec_x.as_ref()?.padded(curve.bytes()), self.ec_y.as_ref()?.padded(curve.bytes()));
        Some([&[4], x.as_slice(), y.as_slice()].concat())
    }

    /// The version ready for use.
    pub(crate) fn prepared(&self, kind: KeyKind) -> Result<&Prepared, Fault> {
        if let Some(found) = self.prepared.get() {
            return Ok(found);
        }
        let fresh = Arc::new(self.prepare(kind)?);
        Ok(self.prepared.get_or_init(|| fresh))
    }

    fn prepare(&self, kind: KeyKind) -> Result<Prepared, Fault> {
        let inconsistent = || Fault::server("stored key is not consistent");
        Ok(match kind.family() {
            Family::Aead => Prepared::Cipher(Cipher::new(kind, self.key.bytes())?),
            Family::Ed25519 => Prepared::Ed25519(ed25519::prepare(self.key.bytes())?),
            Family::Ecdsa(curve) => {
                let point = self.ec_point(curve).ok_or_else(inconsistent)?;
                let scalar = self.ec_d.as_ref().map(|d| d.padded(curve.bytes()));
                Prepared::Ec(EcKey::new(curve, scalar.as_ref().map(|s| s.as_slice()), point)?)
            }
            Family::Rsa => Prepared::Rsa(RsaKey::new(&self.rsa_public().ok_or_else(inconsistent)?, self.rsa_key.as_ref())?),
            Family::Hmac => return Err(Fault::Server(format!("unsupported key type {kind}"))),
        })
    }
}

impl Policy {
    /// A key without versions.
    pub(crate) fn new(name: &str, kind: KeyKind) -> Self {
        Self {
            name: name.to_owned(),
            key_size: 0,
            keys: BTreeMap::new(),
            derived: false,
            kdf: Kdf::default(),
            convergent_encryption: false,
            exportable: false,
            min_decryption_version: 1,
            min_encryption_version: 0,
            latest_version: 0,
            archive_version: 0,
            archive_min_version: 0,
            min_available_version: 0,
            deletion_allowed: false,
            convergent_version: -1,
            kind,
            backup_info: None,
            restore_info: None,
            allow_plaintext_backup: false,
            version_template: String::new(),
            storage_prefix: String::new(),
            auto_rotate_period: 0,
            imported: false,
            allow_imported_key_rotation: false,
        }
    }

    /// Asks for a context, and for convergence where wanted, as far as the kind allows.
    pub(crate) fn set_derived(&mut self, derived: bool, convergent: bool) -> Result<(), Fault> {
        if convergent && !derived {
            return Err(Fault::caller("convergent encryption requires derivation to be enabled"));
        }
        if derived && !self.kind.derives() {
            return Err(Fault::Server(format!(
                "key derivation and convergent encryption not supported for keys of type {}",
                self.kind
            )));
        }
        if convergent && self.kind.family() != Family::Aead {
            return Err(Fault::Server(format!("convergent encryption not supported for keys of type {}", self.kind)));
        }
        self.derived = derived;
        self.convergent_encryption = convergent;
        self.kdf = if derived { Kdf::HkdfSha256 } else { Kdf::default() };
        Ok(())
    }

    /// Adds a version.
    pub(crate) fn add(&mut self, mut entry: KeyEntry) {
        if self.convergent_encryption && (self.convergent_version == -1 || self.convergent_version > 1) {
            entry.convergent_version = CONVERGENT_VERSION;
        }
        self.latest_version += 1;
        self.keys.insert(self.latest_version, entry);
    }

    /// Adds a fresh version, unless the key was imported and must not be rotated here.
    pub(crate) fn rotate(&mut self, entropy: &dyn Entropy, now: Time) -> Result<(), Fault> {
        if self.imported && !self.allow_imported_key_rotation {
            return Err(Fault::Server(format!("imported key {} does not allow rotation within Vault", self.name)));
        }
        self.add(KeyEntry::generate(self.kind, self.key_size, entropy, now)?);
        self.imported = false;
        Ok(())
    }

    /// Whether automatic rotation is due.
    pub(crate) fn rotation_due(&self, now: Time) -> bool {
        if self.auto_rotate_period <= 0 || (self.imported && !self.allow_imported_key_rotation) {
            return false;
        }
        let period = Duration::from_nanos(u64::try_from(self.auto_rotate_period).unwrap_or(0));
        self.keys.get(&self.latest_version).is_some_and(|latest| latest.created().plus(period) < now)
    }

    /// A version that is in use.
    pub(crate) fn entry(&self, version: i64) -> Result<&KeyEntry, Fault> {
        self.keys.get(&version).ok_or_else(|| Fault::caller("no such key version"))
    }

    /// The convergent form of a version; 0 if the key is not convergent.
    pub(crate) fn convergent_form(&self, entry: &KeyEntry) -> i64 {
        match (self.convergent_encryption, entry.convergent_version, self.convergent_version) {
            (false, ..) => 0,
            (true, 0, 0) => 1,
            (true, 0, policy) => policy,
            (true, own, _) => own,
        }
    }

    /// Whether a caller may bring a nonce: for keys of the oldest convergent form only, which cannot be made any more. A
    /// repeated nonce gives away the key of every other form (CVE-2023-4680).
    pub(crate) fn takes_nonce(&self) -> bool {
        self.kind.family() == Family::Aead && self.convergent_encryption && matches!(self.convergent_version, 0 | 1)
    }

    /// Key material for a context.
    pub(crate) fn derive(&self, entry: &KeyEntry, context: &[u8], length: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, Fault> {
        if context.is_empty() {
            return Err(Fault::caller(
                "missing 'context' for key derivation; the key was created using a derived key, which means additional, \
                 per-request information must be included in order to perform operations with the key",
            ));
        }
        self.kdf.derive(entry.key.bytes(), context, length)
    }

    /// What stands before ciphertexts and signatures.
    pub(crate) fn prefix(&self, version: i64) -> String {
        self.template().replace(VERSION_HOLE, &version.to_string())
    }

    /// Takes a prefix apart: version and what follows. `what` names the thing in complaints.
    pub(crate) fn split<'v>(&self, value: &'v str, what: &str) -> Result<(i64, &'v str), Fault> {
        let invalid = |why: &str| Fault::Caller(format!("invalid {what}: {why}"));
        let (before, after) =
            self.template().split_once(VERSION_HOLE).ok_or_else(|| Fault::server("error parsing version template"))?;
        let rest = value.strip_prefix(before).ok_or_else(|| invalid("no prefix"))?;
        let (version, rest) = rest.split_once(after).ok_or_else(|| invalid("wrong number of fields"))?;
        let version: i64 = version.parse().map_err(|_| invalid("version number could not be decoded"))?;
        Ok((version, rest))
    }

    /// Refuses versions that are not in use for reading.
    pub(crate) fn check_readable(&self, version: i64, what: &str) -> Result<(), Fault> {
        if version > self.latest_version {
            return Err(Fault::Caller(format!("invalid {what}: version is too new")));
        }
        if version < self.min_decryption_version {
            return Err(Fault::caller("ciphertext or signature version is disallowed by policy (too old)"));
        }
        Ok(())
    }

    /// The version to write with: 0 is the latest. `purpose` names the work in complaints.
    pub(crate) fn writing_version(&self, wanted: i64, purpose: &str) -> Result<i64, Fault> {
        let refuse = |why: &str| Err(Fault::Caller(format!("requested version for {purpose} is {why}")));
        match wanted {
            0 => Ok(self.latest_version),
            v if v < 0 => refuse("negative"),
            v if v > self.latest_version => refuse("higher than the latest key version"),
            v if v < self.min_encryption_version => refuse("less than the minimum encryption key version"),
            v => Ok(v),
        }
    }

    fn template(&self) -> &str {
        if self.version_template.is_empty() { PREFIX_TEMPLATE } else { &self.version_template }
    }
}

impl KeyEntry {
    /// The same version without key material.
    pub(crate) fn shell(&self) -> Self {
        Self {
            time: self.time,
            creation_time: self.creation_time,
            hmac_key: self.hmac_key.clone(),
            convergent_version: self.convergent_version,
            certificate_chain: self.certificate_chain.clone(),
            ..Self::default()
        }
    }

    /// When it was made.
    pub(crate) fn created(&self) -> Time {
        self.time.0.unwrap_or_else(|| Time::from_unix(self.creation_time))
    }
}
