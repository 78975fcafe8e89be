//! `config`: whose signatures are believed. Pure rules and the record; what a write asks the network is in `check`.
//!
//! A write replaces the whole record. The client's secret goes in and never comes out.

use std::sync::{Arc, OnceLock};

use api_types::Map;
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response};
use jose::{Algorithm, PublicKey};
use outbound::Trust;
use secret::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Jwt;
use crate::limits::JWKS_PAIRS_MAX;

const KEY: &str = "config";

pub(crate) const FIELDS: &[Field] = &[
    Field::new("oidc_discovery_url", FieldKind::String, "Address of the provider, without /.well-known."),
    Field::new("oidc_discovery_ca_pem", FieldKind::String, "PEM certificates that the provider's certificate must come from."),
    Field::new("oidc_client_id", FieldKind::String, "Id of this server at the provider."),
    Field::new("oidc_client_secret", FieldKind::String, "Secret of this server at the provider."),
    Field::new("oidc_response_mode", FieldKind::String, "query (the default) or form_post."),
    Field::new("oidc_response_types", FieldKind::CommaStringSlice, "code (the default) or id_token."),
    Field::new("jwks_url", FieldKind::String, "Address of a key set."),
    Field::new("jwks_ca_pem", FieldKind::String, "PEM certificates that the key set's server must come from."),
    Field::new("jwks_pairs", FieldKind::Any, "Several key sets: a list of objects with jwks_url and jwks_ca_pem."),
    Field::new("jwt_validation_pubkeys", FieldKind::CommaStringSlice, "PEM public keys or certificates that verify tokens."),
    Field::new("bound_issuer", FieldKind::String, "The `iss` a token must have."),
    Field::new(
        "jwt_supported_algs",
        FieldKind::CommaStringSlice,
        "Algorithms tokens may be signed with; any of ours unless set.",
    ),
    Field::new("default_role", FieldKind::LowerString, "The role of logins that name none."),
    Field::new("provider_config", FieldKind::Map, "Settings for particular providers."),
    Field::new(
        "namespace_in_state",
        FieldKind::Bool,
        "Carry the namespace in the state instead of the redirect; true unless set.",
    ),
    Field::new(
        "unsupported_critical_cert_extensions",
        FieldKind::CommaStringSlice,
        "Kept and shown; certificates given as keys are not validated as certificates.",
    ),
];

/// Providers of `provider_config` that need nothing which is not done for every provider.
const PROVIDERS: [&str; 2] = ["secureauth", "ibmisam"];

/// One address of a key set and who may vouch for its server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KeySetAddress {
    pub(crate) jwks_url: String,
    /// PEM, empty for the system's roots.
    pub(crate) jwks_ca_pem: String,
}

/// The record as stored. No `Debug`: it holds the client's secret.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) oidc_discovery_url: String,
    pub(crate) oidc_discovery_ca_pem: String,
    pub(crate) oidc_client_id: String,
    #[serde(with = "secret_text")]
    pub(crate) oidc_client_secret: SecretString,
    oidc_response_mode: String,
    oidc_response_types: Vec<String>,
    pub(crate) jwks_url: String,
    pub(crate) jwks_ca_pem: String,
    jwks_pairs: Vec<KeySetAddress>,
    jwt_validation_pubkeys: Vec<String>,
    pub(crate) bound_issuer: String,
    jwt_supported_algs: Vec<String>,
    pub(crate) default_role: String,
    provider_config: Map,
    pub(crate) namespace_in_state: bool,
    unsupported_critical_cert_extensions: Vec<String>,
    /// `jwt_validation_pubkeys`, parsed once for as long as the record stays in the cache.
    #[serde(skip)]
    parsed_keys: OnceLock<Vec<PublicKey>>,
}

/// Where the keys come from.
pub(crate) enum KeySource {
    /// The configuration itself.
    Own,
    /// Key sets, any of which may have the key.
    Sets(Vec<KeySetAddress>),
    /// The provider's discovery document names the key set.
    Discovery,
}

impl Config {
    /// The mount's configuration.
    pub(crate) fn load(call: &mut Call<'_>) -> Result<Arc<Self>, EngineError> {
        call.view.get_json(KEY)?.ok_or_else(|| EngineError::invalid("could not load configuration"))
    }

    pub(crate) fn store(&self, call: &mut Call<'_>) -> Result<(), EngineError> {
        Ok(call.view.put_json(KEY, self)?)
    }

    /// Whether browsers can sign in.
    pub(crate) fn is_oidc(&self) -> bool {
        !self.oidc_discovery_url.is_empty() && !self.oidc_client_id.is_empty() && !self.oidc_client_secret.is_empty()
    }

    pub(crate) fn source(&self) -> KeySource {
        if !self.oidc_discovery_url.is_empty() {
            KeySource::Discovery
        } else if !self.jwks_url.is_empty() {
            KeySource::Sets(vec![KeySetAddress { jwks_url: self.jwks_url.clone(), jwks_ca_pem: self.jwks_ca_pem.clone() }])
        } else if !self.jwks_pairs.is_empty() {
            KeySource::Sets(self.jwks_pairs.clone())
        } else {
            KeySource::Own
        }
    }

    /// The provider's roots.
    pub(crate) fn trust(&self) -> Trust {
        Trust::named(&self.oidc_discovery_ca_pem)
    }

    /// The keys of `jwt_validation_pubkeys`. They were parsed before they were stored; one that does not parse any more verifies
    /// nothing.
    pub(crate) fn keys(&self) -> &[PublicKey] {
        self.parsed_keys.get_or_init(|| self.jwt_validation_pubkeys.iter().filter_map(|p| PublicKey::from_pem(p).ok()).collect())
    }

    /// Whether tokens may be signed so.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        self.jwt_supported_algs.is_empty() || self.jwt_supported_algs.iter().any(|a| a == algorithm.name())
    }

    /// Whether the provider posts its answer here.
    pub(crate) fn form_post(&self) -> bool {
        self.oidc_response_mode == "form_post"
    }

    /// Whether the provider's answer is the ID token itself.
    pub(crate) fn implicit(&self) -> bool {
        self.oidc_response_types.iter().any(|t| t == "id_token")
    }

    pub(crate) fn from_fields(fields: &Fields) -> Result<Self, EngineError> {
        let text = |name: &str| fields.str(name).to_owned();
        let list = |name: &str| fields.texts(name).unwrap_or_default().to_vec();
        Ok(Self {
            oidc_discovery_url: text("oidc_discovery_url"),
            oidc_discovery_ca_pem: text("oidc_discovery_ca_pem"),
            oidc_client_id: text("oidc_client_id"),
            oidc_client_secret: SecretString::from(fields.str("oidc_client_secret")),
            oidc_response_mode: text("oidc_response_mode"),
            oidc_response_types: list("oidc_response_types"),
            jwks_url: text("jwks_url"),
            jwks_ca_pem: text("jwks_ca_pem"),
            jwks_pairs: pairs(fields.any("jwks_pairs"))?,
            // Vault shows keys without the line break at their end.
            jwt_validation_pubkeys: list("jwt_validation_pubkeys").iter().map(|pem| pem.trim().to_owned()).collect(),
            bound_issuer: text("bound_issuer"),
            jwt_supported_algs: list("jwt_supported_algs"),
            default_role: text("default_role"),
            provider_config: fields.map("provider_config").cloned().unwrap_or_default(),
            namespace_in_state: fields.bool("namespace_in_state").unwrap_or(true),
            unsupported_critical_cert_extensions: list("unsupported_critical_cert_extensions"),
            parsed_keys: OnceLock::new(),
        })
    }

    /// What comes before anything is asked of the network.
    pub(crate) fn check_source(&self) -> Result<(), EngineError> {
        let named = [
            !self.oidc_discovery_url.is_empty(),
            !self.jwks_url.is_empty(),
            !self.jwks_pairs.is_empty(),
            !self.jwt_validation_pubkeys.is_empty(),
        ];
        if named.iter().filter(|n| **n).count() != 1 {
            return Err(EngineError::invalid(
                "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set",
            ));
        }
        if self.oidc_client_id.is_empty() != self.oidc_client_secret.is_empty() {
            return Err(EngineError::invalid("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"));
        }
        if !self.oidc_client_id.is_empty() && self.oidc_discovery_url.is_empty() {
            return Err(EngineError::invalid("'oidc_discovery_url' must be set for OIDC"));
        }
        for pem in &self.jwt_validation_pubkeys {
            PublicKey::from_pem(pem).map_err(|e| EngineError::Invalid(format!("error parsing public key: {e}")))?;
        }
        Ok(())
    }

    /// What comes after it.
    pub(crate) fn check_rest(&self) -> Result<(), EngineError> {
        if let Some(name) = self.jwt_supported_algs.iter().find(|a| a.parse::<Algorithm>().is_err()) {
            return Err(EngineError::Invalid(format!("invalid jwt_supported_algs: unsupported signing algorithm {name:?}")));
        }
        if self.oidc_response_types.iter().any(|t| t != "code" && t != "id_token") {
            return Err(EngineError::Invalid(format!(
                "invalid response_types [{}]. 'code' and 'id_token' are allowed",
                self.oidc_response_types.join(" ")
            )));
        }
        match self.oidc_response_mode.as_str() {
            "" | "query" if self.implicit() => {
                return Err(EngineError::invalid("query response_mode may not be used with an id_token response_type"));
            }
            "" | "query" | "form_post" => {}
            other => return Err(EngineError::Invalid(format!("invalid response_mode: {other:?}"))),
        }
        if self.provider_config.is_empty() {
            return Ok(());
        }
        match self.provider_config.get("provider") {
            None => Err(EngineError::invalid("invalid provider_config: 'provider' field not found in provider_config")),
            Some(Value::String(name)) if PROVIDERS.contains(&name.as_str()) => Ok(()),
            Some(other) => Err(EngineError::Invalid(format!(
                "invalid provider_config: provider {:?} not found in custom providers",
                other.as_str().unwrap_or_default()
            ))),
        }
    }
}

/// `config`; everything but the client's secret.
pub(crate) fn read(_: &Jwt, call: &mut Call<'_>) -> Outcome {
    let Some(config) = call.view.get_json::<Config>(KEY)? else { return Ok(None) };
    let data: Map = [
        ("oidc_discovery_url", Value::from(config.oidc_discovery_url.as_str())),
        ("oidc_discovery_ca_pem", config.oidc_discovery_ca_pem.as_str().into()),
        ("oidc_client_id", config.oidc_client_id.as_str().into()),
        ("oidc_response_mode", config.oidc_response_mode.as_str().into()),
        ("oidc_response_types", config.oidc_response_types.clone().into()),
        ("jwks_url", config.jwks_url.as_str().into()),
        ("jwks_ca_pem", config.jwks_ca_pem.as_str().into()),
        ("jwks_pairs", serde_json::to_value(&config.jwks_pairs).unwrap_or_default()),
        ("jwt_validation_pubkeys", config.jwt_validation_pubkeys.clone().into()),
        ("bound_issuer", config.bound_issuer.as_str().into()),
        ("jwt_supported_algs", config.jwt_supported_algs.clone().into()),
        ("default_role", config.default_role.as_str().into()),
        ("provider_config", config.provider_config.clone().into()),
        ("namespace_in_state", config.namespace_in_state.into()),
        ("unsupported_critical_cert_extensions", config.unsupported_critical_cert_extensions.clone().into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    Ok(Some(Response::data(data)))
}

fn pairs(value: Option<&Value>) -> Result<Vec<KeySetAddress>, EngineError> {
    let wrong =
        || EngineError::invalid("error parsing 'jwks_pairs': a list of objects with 'jwks_url' and 'jwks_ca_pem' is expected");
    let items = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong()),
    };
    if items.len() > JWKS_PAIRS_MAX {
        return Err(EngineError::Invalid(format!("'jwks_pairs' may have {JWKS_PAIRS_MAX} entries at most")));
    }
    let pair = |item: &Value| {
        let known = item.as_object()?.keys().all(|k| k == "jwks_url" || k == "jwks_ca_pem");
        let pair: KeySetAddress = serde_json::from_value(item.clone()).ok()?;
        (known && !pair.jwks_url.is_empty()).then_some(pair)
    };
    items.iter().map(|item| pair(item).ok_or_else(wrong)).collect()
}

/// The one place where the client's secret becomes text: inside the barrier.
mod secret_text {
    use secret::SecretString;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
        String::deserialize(deserializer).map(SecretString::new)
    }
}
