//! An issuer ready to sign, and the thread that does the arithmetic.

use std::sync::Arc;

use engine::EngineError;
use secret::Entropy;
use serde::{Deserialize, Serialize};
use storage::View;

use crate::draft::{Draft, Signer, Urls};
use crate::keys::{KeyError, PrivateKey};
use crate::limits::SERIAL_BYTES;
use crate::oids;
use crate::reading::Certificate;
use crate::store::{Issuer, Usage, chain, key, resolve_issuer, setting};

/// `config/cluster`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The mount as clients reach it.
    pub path: String,
    /// The mount as verifiers reach it.
    pub aia_path: String,
}

/// An issuer with its key and chain.
pub struct Authority {
    /// The record.
    pub issuer: Arc<Issuer>,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: PrivateKey,
    /// Its certificate and those above.
    pub chain: Vec<Certificate>,
    /// The URLs its certificates carry.
    pub urls: Urls,
}

impl Authority {
    /// The issuer by reference, if it may be used so and the mount has its key.
    pub fn load(view: &mut View<'_>, reference: &str, usage: Usage) -> Result<Self, EngineError> {
        let issuer = resolve_issuer(view, reference)?;
        issuer.require(usage)?;
        let certificate = issuer.read()?;
        if !certificate.is_ca || (usage == Usage::IssuingCertificates && !certificate.allows(oids::KEY_CERT_SIGN)) {
            return Err(EngineError::invalid(format!(
                "issuer [id:{} name:{}] is not a certificate authority",
                issuer.id, issuer.name
            )));
        }
        let missing = || {
            EngineError::invalid(format!(
                "unable to use issuer [id:{} name:{}] for signing: its key is not here",
                issuer.id, issuer.name
            ))
        };
        let record = key(view, &issuer.key_id)?.ok_or_else(missing)?;
        let urls = urls_of(view, &issuer)?;
        let chain = chain(view, &issuer)?;
        Ok(Self { key: record.load()?, certificate, chain, urls, issuer })
    }

    /// How it signs.
    #[must_use]
    pub fn signer(&self, hash_bits: u32, pss: bool) -> Signer {
        Signer {
            name: self.certificate.subject.clone(),
            key_id: self.certificate.key_id.clone(),
            scheme: self.key.scheme(hash_bits, pss),
        }
    }

    /// Refuses what no verifier would accept from this issuer: names outside its constraints.
    pub fn admits(&self, draft: &Draft) -> Result<(), EngineError> {
        for link in &self.chain {
            if let Some(name) = link.constraints.violation(&draft.names) {
                return Err(EngineError::invalid(format!(
                    "the name {name} is not permitted by the name constraints of the issuer"
                )));
            }
        }
        Ok(())
    }
}

/// The URLs of an issuer: its own, else the mount's, with templates filled in.
pub fn urls_of(view: &mut View<'_>, issuer: &Issuer) -> Result<Urls, EngineError> {
    let mut urls = if issuer.urls.is_empty() { setting(view, "config/urls")? } else { issuer.urls.clone() };
    if !urls.enable_templating {
        return Ok(urls);
    }
    let cluster: Cluster = setting(view, "config/cluster")?;
    let lists = [
        &mut urls.issuing_certificates,
        &mut urls.crl_distribution_points,
        &mut urls.delta_crl_distribution_points,
        &mut urls.ocsp_servers,
    ];
    for text in lists.into_iter().flatten() {
        for (name, value) in [("cluster_path", &cluster.path), ("cluster_aia_path", &cluster.aia_path), ("issuer_id", &issuer.id)]
        {
            let marker = format!("{{{{{name}}}}}");
            if text.contains(&marker) && value.is_empty() {
                return Err(EngineError::invalid(format!(
                    "unable to template AIA URLs: {name} is not configured in config/cluster"
                )));
            }
            *text = text.replace(&marker, value);
        }
    }
    Ok(urls)
}

/// A fresh serial number: 158 random bits.
pub fn serial(entropy: &dyn Entropy) -> Result<Vec<u8>, EngineError> {
    let mut bytes = entropy.bytes(SERIAL_BYTES)?;
    if let Some(first) = bytes.first_mut() {
        // Positive, and of full length so that every serial looks alike.
        *first = (*first & 0x7F) | 0x01;
    }
    Ok(bytes)
}

/// Runs arithmetic on a thread where it holds up nobody.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T, KeyError> + Send + 'static) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| EngineError::internal(e.to_string())),
        Err(_) => Err(EngineError::internal("the signing thread ended early")),
    }
}
