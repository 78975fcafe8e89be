//! `oidc/config`, and what an issuer may be.

use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use serde_json::json;
use storage::View;
use url::Url;

use crate::rows::{CONFIG, Config};

const ISSUER_SET: &str = "If \"issuer\" is set explicitly, all tokens must be validated against that address, including those \
                          issued by secondary clusters. Setting issuer to \"\" will restore the default behavior of using the \
                          cluster's api_addr as the issuer.";

pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({ "issuer": stored(&mut call.view)? }))))
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(issuer) = call.fields.text("issuer").map(str::to_owned) else { return Ok(None) };
    check_issuer(&issuer)?;
    call.view.put_json(CONFIG, &Config { issuer: issuer.clone() })?;
    Ok(warned(&issuer))
}

/// The answer of a write that set an issuer.
pub(crate) fn warned(issuer: &str) -> Option<Response> {
    (!issuer.is_empty()).then(|| Response::warning(ISSUER_SET))
}

/// Scheme, host, port and nothing else; or nothing at all.
pub(crate) fn check_issuer(issuer: &str) -> Result<(), EngineError> {
    let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
    let plain =
        |rest: &str| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', '\\']) && !rest.contains(char::is_whitespace);
    if issuer.is_empty() || (rest.is_some_and(plain) && Url::parse(issuer).is_ok_and(|u| u.has_host())) {
        return Ok(());
    }
    Err(EngineError::invalid(
        "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
    ))
}

/// The issuer of identity tokens.
pub(crate) fn issuer(engine: &IdentityEngine, view: &mut View<'_>) -> Result<String, EngineError> {
    let own = stored(view)?;
    let base = if own.is_empty() { engine.address() } else { &own };
    Ok(format!("{base}/v1/identity/oidc"))
}

fn stored(view: &mut View<'_>) -> Result<String, EngineError> {
    Ok(view.get_json::<Config>(CONFIG)?.map(|c| c.issuer.clone()).unwrap_or_default())
}
