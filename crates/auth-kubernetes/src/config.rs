//! `config`: which API server vouches for tokens, and how we prove to it who we are.
//!
//! A write replaces the whole record. The reviewer's token goes in and never comes out.

use std::sync::OnceLock;

use api_types::Map;
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secret::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::Kubernetes;
use crate::jwt::VerifyingKey;

const KEY: &str = "config";

pub(crate) const FIELDS: &[Field] = &[
    Field::new("kubernetes_host", FieldKind::String, "URL of the Kubernetes API server."),
    Field::new("kubernetes_ca_cert", FieldKind::String, "PEM certificates that the API server's certificate must come from."),
    Field::new(
        "token_reviewer_jwt",
        FieldKind::String,
        "Service account token with which logins are reviewed; without one the pod's own token or the client's is used.",
    ),
    Field::new("pem_keys", FieldKind::CommaStringSlice, "PEM public keys or certificates that verify tokens before the review."),
    Field::new("issuer", FieldKind::String, "Deprecated: the issuer a token must have."),
    Field::new("disable_iss_validation", FieldKind::Bool, "Deprecated: do not look at the issuer; true unless set."),
    Field::new("disable_local_ca_jwt", FieldKind::Bool, "Do not fall back to the CA and token of the pod this server runs in."),
    Field::new(
        "use_annotations_as_alias_metadata",
        FieldKind::Bool,
        "Copy the account's vault.hashicorp.com/alias-metadata-* annotations to the alias.",
    ),
];

/// The record as stored. No `Debug`: it holds the reviewer's token.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) kubernetes_host: String,
    /// PEM, empty if none was given.
    pub(crate) kubernetes_ca_cert: String,
    /// Empty if none was given.
    #[serde(with = "secret_text")]
    pub(crate) token_reviewer_jwt: SecretString,
    pub(crate) pem_keys: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) disable_iss_validation: bool,
    pub(crate) disable_local_ca_jwt: bool,
    pub(crate) use_annotations_as_alias_metadata: bool,
    /// `pem_keys`, parsed once for as long as the record stays in the cache.
    #[serde(skip)]
    parsed_keys: OnceLock<Vec<VerifyingKey>>,
}

impl Config {
    /// The mount's configuration.
    pub(crate) fn load(call: &mut Call<'_>) -> Result<Option<std::sync::Arc<Self>>, EngineError> {
        Ok(call.view.get_json(KEY)?)
    }

    /// The keys of `pem_keys`. They were parsed before they were stored; one that does not parse any more verifies nothing.
    pub(crate) fn keys(&self) -> &[VerifyingKey] {
        self.parsed_keys.get_or_init(|| self.pem_keys.iter().filter_map(|pem| VerifyingKey::from_pem(pem).ok()).collect())
    }

    /// Whether a signature must be verified here. Asked of the texts, so that a lost key cannot switch the check off.
    pub(crate) fn verifies_signatures(&self) -> bool {
        !self.pem_keys.is_empty()
    }

    /// The issuer that is enforced: only one that is named, and only when validation is on (contract §1.2).
    pub(crate) fn expected_issuer(&self) -> Option<&str> {
        (!self.disable_iss_validation && !self.issuer.is_empty()).then_some(self.issuer.as_str())
    }

    /// Whether the CA is the pod's own.
    pub(crate) fn wants_local_ca(&self) -> bool {
        self.kubernetes_ca_cert.is_empty() && !self.disable_local_ca_jwt
    }

    fn from_fields(fields: &Fields) -> Result<Self, EngineError> {
        let config = Self {
            kubernetes_host: fields.str("kubernetes_host").to_owned(),
            kubernetes_ca_cert: fields.str("kubernetes_ca_cert").to_owned(),
            token_reviewer_jwt: SecretString::from(fields.str("token_reviewer_jwt")),
            pem_keys: fields.texts("pem_keys").unwrap_or_default().to_vec(),
            issuer: fields.str("issuer").to_owned(),
            disable_iss_validation: fields.bool("disable_iss_validation").unwrap_or(true),
            disable_local_ca_jwt: fields.bool("disable_local_ca_jwt").unwrap_or_default(),
            use_annotations_as_alias_metadata: fields.bool("use_annotations_as_alias_metadata").unwrap_or_default(),
            parsed_keys: OnceLock::new(),
        };
        if config.kubernetes_host.is_empty() {
            return Err(EngineError::invalid("no host provided"));
        }
        if !config.kubernetes_ca_cert.is_empty() && !has_certificate(&config.kubernetes_ca_cert) {
            return Err(EngineError::invalid("The provided CA PEM data contains no valid certificates"));
        }
        Ok(config)
    }
}

/// `config` (204).
pub(crate) async fn write(engine: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    let config = Config::from_fields(&call.fields)?;
    if config.wants_local_ca() {
        engine.local.ca(call.now).await.map_err(|e| EngineError::Invalid(e.to_string()))?;
    }
    for pem in &config.pem_keys {
        VerifyingKey::from_pem(pem).map_err(|e| EngineError::Invalid(e.to_string()))?;
    }
    call.view.put_json(KEY, &config)?;
    Ok(None)
}

/// `config`; of the reviewer's token only whether it is there.
pub(crate) fn read(_: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    let Some(config) = Config::load(call)? else { return Ok(None) };
    let data: Map = [
        ("kubernetes_host", Value::from(config.kubernetes_host.as_str())),
        ("kubernetes_ca_cert", config.kubernetes_ca_cert.as_str().into()),
        ("pem_keys", config.pem_keys.clone().into()),
        ("issuer", config.issuer.as_str().into()),
        ("disable_iss_validation", config.disable_iss_validation.into()),
        ("disable_local_ca_jwt", config.disable_local_ca_jwt.into()),
        ("token_reviewer_jwt_set", (!config.token_reviewer_jwt.is_empty()).into()),
        ("use_annotations_as_alias_metadata", config.use_annotations_as_alias_metadata.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    Ok(Some(Response::data(data)))
}

fn has_certificate(pem: &str) -> bool {
    CertificateDer::pem_slice_iter(pem.as_bytes()).any(|block| block.is_ok())
}

/// The one place where the reviewer's token becomes text: inside the barrier.
mod secret_text {
    use super::{Deserialize, Deserializer, SecretString, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
        String::deserialize(deserializer).map(SecretString::new)
    }
}
