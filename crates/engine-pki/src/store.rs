//! What is kept, and where.
//!
//! | key | record |
//! |---|---|
//! | `issuer/<id>` | [`Issuer`] |
//! | `issuer-name/<name>` | id of the issuer |
//! | `key/<id>` | [`Key`], the only place with secrets |
//! | `key-name/<name>` | id of the key |
//! | `role/<name>` | [`crate::roles::Role`] |
//! | `certs/<serial>` | [`Issued`]; serials in hexadecimal with `-` |
//! | `revoked/<serial>` | [`Revoked`] |
//! | `crl/stamp` | changes whenever revocation lists must be built anew |
//! | `config/<what>` | settings |

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::EngineError;
use secret::{Entropy, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::{Page, View};
use zeroize::Zeroizing;

use crate::draft::Urls;
use crate::keys::{KeyType, PrivateKey};
use crate::limits::{CHAIN_LINKS, ISSUERS};
use crate::pem;
use crate::reading::Certificate;

/// What an issuer may be used for, besides being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Signing certificates.
    IssuingCertificates,
    /// Signing revocation lists.
    CrlSigning,
    /// Signing OCSP answers.
    OcspSigning,
}

impl Usage {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::IssuingCertificates, Self::CrlSigning, Self::OcspSigning];

    /// The name in requests and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IssuingCertificates => "issuing-certificates",
            Self::CrlSigning => "crl-signing",
            Self::OcspSigning => "ocsp-signing",
        }
    }
}

/// What happens to a leaf that would outlive its issuer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeafNotAfter {
    /// It is refused.
    #[default]
    Err,
    /// It ends with the issuer.
    Truncate,
    /// It may.
    Permit,
}

/// A certificate authority.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issuer {
    /// A UUID.
    pub id: String,
    /// A name to refer to it by; empty for none.
    pub name: String,
    /// Its key; empty if this mount does not have it.
    pub key_id: String,
    /// DER in Base64.
    pub certificate: String,
    /// Colon-separated.
    pub serial_number: String,
    /// Issuer ids that make the chain, when set by hand.
    pub manual_chain: Vec<String>,
    /// See there.
    pub leaf_not_after_behavior: LeafNotAfter,
    /// See there.
    pub usage: Vec<Usage>,
    /// As it was given; empty for the key's default.
    pub revocation_signature_algorithm: String,
    /// Its own URLs; when empty the mount's are used.
    pub urls: Urls,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
}

impl Issuer {
    /// The usages as one text.
    #[must_use]
    pub fn usage_text(&self) -> String {
        let allowed = Usage::ALL.iter().filter(|u| self.usage.contains(u)).map(|u| u.as_str());
        std::iter::once("read-only").chain(allowed).collect::<Vec<_>>().join(",")
    }

    /// The certificate, read.
    pub fn read(&self) -> Result<Certificate, EngineError> {
        Certificate::from_der(&decode(&self.certificate)?)
            .map_err(|_| EngineError::internal("stored issuer certificate cannot be read"))
    }

    /// Refuses unless the usage is allowed.
    pub fn require(&self, usage: Usage) -> Result<(), EngineError> {
        if self.usage.contains(&usage) {
            return Ok(());
        }
        Err(EngineError::invalid(format!(
            "requested usage {} for issuer [id:{} name:{}] but only had usage {}",
            usage.as_str(),
            self.id,
            self.name,
            self.usage_text()
        )))
    }
}

/// A private key. `Debug` shows none of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Key {
    /// A UUID.
    pub id: String,
    /// A name to refer to it by; empty for none.
    pub name: String,
    /// Kind.
    pub kind: KeyType,
    /// The public key's identifier, hexadecimal: finds the key of a certificate.
    pub public_id: String,
    /// PKCS#8 in Base64.
    pub pkcs8: Zeroizing<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Key {
    /// The key, ready for use.
    pub fn load(&self) -> Result<PrivateKey, EngineError> {
        let der = Zeroizing::new(decode(&self.pkcs8)?);
        PrivateKey::from_der(&der).map_err(|e| EngineError::internal(e.to_string()))
    }
}

/// An issued certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issued {
    /// DER in Base64.
    pub certificate: String,
    /// Who signed it; empty if that is not known.
    pub issuer_id: String,
    /// Seconds since the epoch.
    pub not_after: i64,
}

/// A revocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    pub at: Time,
    /// Who signed the certificate.
    pub issuer_id: String,
    /// When the certificate ends, in seconds since the epoch: from then on it need not be listed.
    pub not_after: i64,
}

/// `config/issuers`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IssuersConfig {
    /// Id of the default issuer; empty for none.
    pub default: String,
    /// A new issuer with a key becomes the default.
    pub default_follows_latest_issuer: bool,
}

/// `config/keys`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KeysConfig {
    /// Id of the default key; empty for none.
    pub default: String,
}

/// Key of the stamp.
pub const CRL_STAMP: &str = "crl/stamp";

/// A setting, or its default.
pub fn setting<T: DeserializeOwned + Default + Clone + Send + Sync + 'static>(
    view: &mut View<'_>,
    key: &str,
) -> Result<T, EngineError> {
    Ok(view.get_json::<T>(key)?.map(|t| T::clone(&t)).unwrap_or_default())
}

/// A serial number as people write it: `0a:1b:…`.
#[must_use]
pub fn serial_text(serial: &[u8]) -> String {
    hex_joined(serial, ":")
}

/// Bytes as colon-separated hexadecimal.
#[must_use]
pub fn hex_joined(bytes: &[u8], by: &str) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(by)
}

/// The storage form of a serial as clients write it (`:` or `-`, either case); `None` for anything else.
#[must_use]
pub fn serial_key(text: &str) -> Option<String> {
    let key = text.trim().replace(':', "-").to_ascii_lowercase();
    let is_byte = |part: &str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
    (key.len() < 200 && key.split('-').all(is_byte)).then_some(key)
}

/// The bytes of a serial in storage form.
#[must_use]
pub fn serial_bytes(key: &str) -> Vec<u8> {
    key.split('-').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect()
}

/// The issuer with this id.
pub fn issuer(view: &mut View<'_>, id: &str) -> Result<Option<Arc<Issuer>>, EngineError> {
    if id.is_empty() || id.contains('/') { Ok(None) } else { Ok(view.get_json(&format!("issuer/{id}"))?) }
}

/// The issuer that `default`, a name or an id refers to.
pub fn resolve_issuer(view: &mut View<'_>, reference: &str) -> Result<Arc<Issuer>, EngineError> {
    // A server error (500), as in Vault: clients tell this case by the text and that status.
    let missing = || EngineError::internal(format!("unable to find PKI issuer for reference: {reference}"));
    if reference == "default" {
        let config: IssuersConfig = setting(view, "config/issuers")?;
        if config.default.is_empty() {
            return Err(EngineError::invalid("no default issuer currently configured"));
        }
        return issuer(view, &config.default)?.ok_or_else(missing);
    }
    if let Some(found) = issuer(view, reference)? {
        return Ok(found);
    }
    let id = named(view, "issuer-name", reference)?.ok_or_else(missing)?;
    issuer(view, &id)?.ok_or_else(missing)
}

/// The key that `default`, a name or an id refers to.
pub fn resolve_key(view: &mut View<'_>, reference: &str) -> Result<Arc<Key>, EngineError> {
    let missing = || EngineError::internal(format!("unable to find PKI key for reference: {reference}"));
    if reference == "default" {
        let config: KeysConfig = setting(view, "config/keys")?;
        if config.default.is_empty() {
            return Err(EngineError::invalid("no default key currently configured"));
        }
        return key(view, &config.default)?.ok_or_else(missing);
    }
    if let Some(found) = key(view, reference)? {
        return Ok(found);
    }
    let id = named(view, "key-name", reference)?.ok_or_else(missing)?;
    key(view, &id)?.ok_or_else(missing)
}

/// The key with this id.
pub fn key(view: &mut View<'_>, id: &str) -> Result<Option<Arc<Key>>, EngineError> {
    if id.is_empty() || id.contains('/') { Ok(None) } else { Ok(view.get_json(&format!("key/{id}"))?) }
}

fn named(view: &mut View<'_>, index: &str, name: &str) -> Result<Option<String>, EngineError> {
    if name.is_empty() || name.contains('/') {
        return Ok(None);
    }
    Ok(view.get_json::<String>(&format!("{index}/{name}"))?.map(|id| id.as_ref().clone()))
}

/// All issuers, in the order of their ids.
pub fn all_issuers(view: &mut View<'_>) -> Result<Vec<Arc<Issuer>>, EngineError> {
    let ids = view.list("issuer/", &Page { after: None, limit: Some(ISSUERS) })?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(issuer(view, &id)?);
    }
    Ok(out)
}

/// All keys, in the order of their ids.
pub fn all_keys(view: &mut View<'_>) -> Result<Vec<Arc<Key>>, EngineError> {
    let ids = view.list("key/", &Page { after: None, limit: Some(ISSUERS) })?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(key(view, &id)?);
    }
    Ok(out)
}

/// Which of the two kinds of names is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Issuer names.
    Issuer,
    /// Key names.
    Key,
}

impl Named {
    fn word(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Key => "key",
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Issuer => "issuer-name",
            Self::Key => "key-name",
        }
    }

    /// Refuses a name that is reserved, odd, or another's. An empty name is no name.
    pub fn check(self, view: &mut View<'_>, name: &str, own_id: &str) -> Result<(), EngineError> {
        let word = self.word();
        if name.is_empty() {
            return Ok(());
        }
        if name.eq_ignore_ascii_case("default") {
            return Err(EngineError::invalid(format!("reserved keyword 'default' can not be used as {word} name")));
        }
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
        let outer = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.starts_with(outer) || !name.ends_with(outer) || !name.chars().all(inner) {
            return Err(EngineError::invalid(format!("{word} name contained invalid characters")));
        }
        match named(view, self.index(), name)? {
            Some(id) if id != own_id => Err(EngineError::invalid(format!("{word} name already in use"))),
            _ => Ok(()),
        }
    }

    /// Moves the index entry from the old name to the new one.
    pub fn rename(self, view: &mut View<'_>, id: &str, old: &str, new: &str) -> Result<(), EngineError> {
        if old != new && !old.is_empty() {
            view.delete(&format!("{}/{old}", self.index()))?;
        }
        if !new.is_empty() {
            view.put_json(&format!("{}/{new}", self.index()), id)?;
        }
        Ok(())
    }
}

/// Keeps a key; one that is here already (by its public half) keeps its id and name. Answers the record and whether it is new.
pub fn add_key(
    view: &mut View<'_>,
    key: &PrivateKey,
    name: &str,
    entropy: &dyn Entropy,
) -> Result<(Arc<Key>, bool), EngineError> {
    let public_id = hex_joined(&key.public().id(), "");
    if let Some(found) = all_keys(view)?.into_iter().find(|k| k.public_id == public_id) {
        return Ok((found, false));
    }
    let pkcs8 = key.pkcs8().map_err(|e| EngineError::internal(e.to_string()))?;
    let record = Key {
        id: entropy.uuid()?,
        name: name.to_owned(),
        kind: key.spec().kind,
        public_id,
        pkcs8: Zeroizing::new(STANDARD.encode(pkcs8.expose())),
    };
    view.put_json(&format!("key/{}", record.id), &record)?;
    Named::Key.rename(view, &record.id, "", name)?;
    let mut config: KeysConfig = setting(view, "config/keys")?;
    if config.default.is_empty() {
        config.default = record.id.clone();
        view.put_json("config/keys", &config)?;
    }
    Ok((Arc::new(record), true))
}

/// Keeps an issuer, with the key that fits if the mount has it; a certificate that is here already stays as it is.
/// Answers the record and whether it is new.
pub fn add_issuer(
    view: &mut View<'_>,
    certificate: &Certificate,
    name: &str,
    entropy: &dyn Entropy,
) -> Result<(Arc<Issuer>, bool), EngineError> {
    let text = STANDARD.encode(&certificate.der);
    if let Some(found) = all_issuers(view)?.into_iter().find(|i| i.certificate == text) {
        return Ok((found, false));
    }
    let public_id = hex_joined(&certificate.key.id(), "");
    let key_id = all_keys(view)?.into_iter().find(|k| k.public_id == public_id).map(|k| k.id.clone()).unwrap_or_default();
    let may_sign_lists = certificate.allows(crate::oids::CRL_SIGN);
    let record = Issuer {
        id: entropy.uuid()?,
        name: name.to_owned(),
        key_id,
        certificate: text,
        serial_number: serial_text(&certificate.serial),
        manual_chain: Vec::new(),
        leaf_not_after_behavior: LeafNotAfter::Err,
        usage: Usage::ALL.into_iter().filter(|u| *u != Usage::CrlSigning || may_sign_lists).collect(),
        revocation_signature_algorithm: String::new(),
        urls: Urls::default(),
        revoked_at: None,
    };
    view.put_json(&format!("issuer/{}", record.id), &record)?;
    Named::Issuer.rename(view, &record.id, "", name)?;
    let mut config: IssuersConfig = setting(view, "config/issuers")?;
    if config.default.is_empty() || (config.default_follows_latest_issuer && !record.key_id.is_empty()) {
        config.default = record.id.clone();
        view.put_json("config/issuers", &config)?;
    }
    touch_crls(view, entropy)?;
    Ok((Arc::new(record), true))
}

/// Makes every revocation list out of date. A blind write: two revocations at once do not conflict.
pub fn touch_crls(view: &mut View<'_>, entropy: &dyn Entropy) -> Result<(), EngineError> {
    let stamp = entropy.uuid()?;
    Ok(view.put_json(CRL_STAMP, &stamp)?)
}

/// The issuer and those above it, as far as the mount knows them, or the chain set by hand.
pub fn chain(view: &mut View<'_>, issuer_record: &Issuer) -> Result<Vec<Certificate>, EngineError> {
    if !issuer_record.manual_chain.is_empty() {
        let mut out = Vec::new();
        for id in &issuer_record.manual_chain {
            if let Some(link) = issuer(view, id)? {
                out.push(link.read()?);
            }
        }
        return Ok(out);
    }
    let first = issuer_record.read()?;
    if first.is_self_signed() {
        return Ok(vec![first]);
    }
    let mut by_subject: BTreeMap<Vec<u8>, Vec<Certificate>> = BTreeMap::new();
    for other in all_issuers(view)? {
        let read = other.read()?;
        by_subject.entry(read.subject.clone()).or_default().push(read);
    }
    let mut out = vec![first];
    while let Some(last) = out.last().filter(|c| out.len() < CHAIN_LINKS && !c.is_self_signed()) {
        let parents = by_subject.get(&last.issuer).map(Vec::as_slice).unwrap_or_default();
        let Some(parent) = parents.iter().find(|p| last.is_signed_by(p)) else { break };
        out.push(parent.clone());
    }
    Ok(out)
}

/// Certificates as PEM, one by one.
#[must_use]
pub fn pems(chain: &[Certificate]) -> Vec<String> {
    chain.iter().map(|c| pem::encode(pem::CERTIFICATE, &c.der)).collect()
}

/// Base64 of a stored record.
pub fn decode(text: &str) -> Result<Vec<u8>, EngineError> {
    STANDARD.decode(text).map_err(|_| EngineError::internal("a stored record is not Base64"))
}

/// Keeps an issued certificate.
pub fn put_issued(view: &mut View<'_>, serial: &[u8], der: &[u8], issuer_id: &str, not_after: i64) -> Result<(), EngineError> {
    let record = Issued { certificate: STANDARD.encode(der), issuer_id: issuer_id.to_owned(), not_after };
    Ok(view.put_json(&format!("certs/{}", hex_joined(serial, "-")), &record)?)
}
