//! Settings of a mount. Names, bounds and texts are Vault's.

use engine::{Call, EngineError, Outcome, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Cert;

const KEY: &str = "config";
/// Bounds of `ocsp_cache_size`.
const OCSP_CACHE: std::ops::RangeInclusive<i64> = 2..=100_000;
/// Bounds of `role_cache_size`; -1 switches Vault's cache off.
const ROLE_CACHE: std::ops::RangeInclusive<i64> = 0..=10_000;

/// The settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Renewals do not need the certificate.
    pub disable_binding: bool,
    /// The alias keeps the certificate's metadata.
    pub enable_identity_alias_metadata: bool,
    /// A refusal says which certificate it was.
    pub enable_metadata_on_failures: bool,
    /// How many answers of OCSP responders are kept; zero for the default.
    pub ocsp_cache_size: i64,
    /// Kept and shown.
    pub role_cache_size: i64,
}

/// The settings of the mount.
pub fn load(call: &mut Call<'_>) -> Result<Config, EngineError> {
    Ok(call.view.get_json::<Config>(KEY)?.map(|c| c.as_ref().clone()).unwrap_or_default())
}

pub fn read(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let config = load(call)?;
    Ok(Some(Response::json(json!({
        "disable_binding": config.disable_binding,
        "enable_identity_alias_metadata": config.enable_identity_alias_metadata,
        "enable_metadata_on_failures": config.enable_metadata_on_failures,
        "ocsp_cache_size": config.ocsp_cache_size,
        "role_cache_size": config.role_cache_size,
    }))))
}

pub fn write(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let mut config = load(call)?;
    let flag = |name: &str, into: &mut bool| *into = call.fields.bool(name).unwrap_or(*into);
    flag("disable_binding", &mut config.disable_binding);
    flag("enable_identity_alias_metadata", &mut config.enable_identity_alias_metadata);
    flag("enable_metadata_on_failures", &mut config.enable_metadata_on_failures);
    if let Some(size) = call.fields.int("ocsp_cache_size") {
        if !OCSP_CACHE.contains(&size) {
            return Err(EngineError::Invalid(format!(
                "invalid cache size, must be >= {} and <= {}",
                OCSP_CACHE.start(),
                OCSP_CACHE.end()
            )));
        }
        config.ocsp_cache_size = size;
    }
    if let Some(size) = call.fields.int("role_cache_size") {
        if size != -1 && !ROLE_CACHE.contains(&size) {
            return Err(EngineError::Invalid(format!(
                "invalid role cache size, must be <= {} or -1 to disable role caching",
                ROLE_CACHE.end()
            )));
        }
        config.role_cache_size = size;
    }
    call.view.put_json(KEY, &config)?;
    Ok(None)
}
