//! `login` with a signed token, and the renewal of what either way in gave. The order of the checks is Vault's: each has its own
//! answer, and clients and operators tell causes apart by them.

use api_types::Map;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::token_params::cidrs_allow;
use engine::{Auth, Call, EngineError, Outcome, Response};
use jose::{Algorithm, Claims, ClaimsError, Jws, JwsError};
use serde_json::Value;

use crate::Jwt;
use crate::config::{Config, KeySetAddress, KeySource};
use crate::fetched::{FetchError, VerifyError};
use crate::identity;
use crate::place::Place;
use crate::role::{Role, RoleType};

/// Checks a token and answers what its holder gets.
pub(crate) async fn login(engine: &Jwt, call: &mut Call<'_>) -> Outcome {
    let config = Config::load(call)?;
    let (role_name, role) = named_role(call, &config)?;
    if role.role_type == RoleType::Oidc {
        return Err(EngineError::invalid("role with oidc role_type is not allowed"));
    }
    // A token that comes out of a file ends in a newline.
    let text = call.fields.str("jwt").trim().to_owned();
    if text.is_empty() {
        return Err(EngineError::invalid("missing token"));
    }
    if !cidrs_allow(&role.token.token_bound_cidrs, call.request.connection.remote_addr) {
        return Err(EngineError::denied("permission denied"));
    }
    let invalid = |text: String| EngineError::Invalid(format!("error validating token: {text}"));
    let (claims, algorithm) = verified(engine, &config, &text, Place::of(call))
        .await
        .map_err(|e| invalid(format!("error verifying token signature: {e}")))?;
    if !config.allows(algorithm) {
        return Err(invalid("invalid algorithm (alg) header parameter: token signed with unexpected algorithm".to_owned()));
    }
    check_claims(&claims, &config, &role, call).map_err(|e| invalid(e.to_string()))?;
    if role.audiences().is_empty() && claims.audiences().is_ok_and(|found| !found.is_empty()) {
        return Err(EngineError::invalid("audience claim found in JWT but no audiences bound to the role"));
    }
    granted(&role_name, &role, claims.all())
}

/// Renews for a role that still exists, with the times it has now.
pub(crate) fn renew(call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
    let name = auth.internal.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(EngineError::internal("failed to fetch role_name during renewal"));
    }
    let role = Role::load(&mut call.view, &name)?
        .ok_or_else(|| EngineError::Internal(format!("role {name} does not exist during renewal")))?;
    role.token.renew(auth);
    Ok(())
}

/// For quotas by role: the role a login would be of.
pub(crate) fn role_of(call: &mut Call<'_>) -> Result<Option<String>, EngineError> {
    let sent = call.request.data.get("role").and_then(Value::as_str).map(str::to_lowercase);
    if let Some(name) = sent.filter(|n| !n.is_empty()) {
        return Ok(Some(name));
    }
    Ok(Config::load(call).ok().map(|c| c.default_role.clone()).filter(|n| !n.is_empty()))
}

/// The role that was sent or the mount's default one.
pub(crate) fn named_role(call: &mut Call<'_>, config: &Config) -> Result<(String, std::sync::Arc<Role>), EngineError> {
    let name = Some(call.fields.str("role")).filter(|n| !n.is_empty()).unwrap_or(&config.default_role).to_owned();
    if name.is_empty() {
        return Err(EngineError::invalid("missing role"));
    }
    let role =
        Role::load(&mut call.view, &name)?.ok_or_else(|| EngineError::Invalid(format!("role {name:?} could not be found")))?;
    Ok((name, role))
}

/// What claims that are good give.
pub(crate) fn granted(role_name: &str, role: &Role, claims: &Map) -> Outcome {
    let auth = identity::grant(role_name, role, claims).map_err(|e| EngineError::Invalid(e.to_string()))?;
    Ok(Some(Response { auth: Some(Box::new(auth)), ..Response::default() }))
}

/// The claims, once a key of the mount's configuration vouched for them.
async fn verified(engine: &Jwt, config: &Config, text: &str, place: Place<'_>) -> Result<(Claims, Algorithm), String> {
    let sets = match config.source() {
        KeySource::Own => {
            const UNKNOWN: &str = "no known key successfully validated the token signature";
            let token = Jws::parse(text).map_err(|e| shape_fault(text, e).unwrap_or_else(|| UNKNOWN.to_owned()))?;
            let claims = token.verify(config.keys()).map_err(|_| UNKNOWN.to_owned())?;
            return Ok((claims, token.algorithm()));
        }
        KeySource::Sets(sets) => sets,
        KeySource::Discovery => {
            let provider = engine.fetched.provider(&*engine.web, config, place.now).await;
            let provider = provider.map_err(|e| no_keys(place, &e))?;
            vec![KeySetAddress { jwks_url: provider.jwks_uri.clone(), jwks_ca_pem: config.oidc_discovery_ca_pem.clone() }]
        }
    };
    let token = Jws::parse(text).map_err(|e| remote_fault(text, e))?;
    match engine.fetched.verify(&*engine.web, &sets, &token, place.now).await {
        Ok(claims) => Ok((claims, token.algorithm())),
        Err(VerifyError::Token) => Err("failed to verify id token signature".to_owned()),
        Err(VerifyError::Fetch(e)) => Err(no_keys(place, &e)),
    }
}

/// Clients learn that keys are missing, the operator why.
fn no_keys(place: Place<'_>, error: &FetchError) -> String {
    place.complain(error, "a login failed for want of keys");
    "failed to verify signature: fetching keys failed".to_owned()
}

/// In the order in which Vault complains: issuer, subject, audience, times.
fn check_claims(claims: &Claims, config: &Config, role: &Role, call: &Call<'_>) -> Result<(), ClaimFault> {
    if !config.bound_issuer.is_empty() && claims.text("iss")? != Some(config.bound_issuer.as_str()) {
        return Err(ClaimFault::Claims(ClaimsError::Issuer));
    }
    if !role.bound_subject.is_empty() && claims.text("sub")? != Some(role.bound_subject.as_str()) {
        return Err(ClaimFault::Subject);
    }
    let found = claims.audiences()?;
    if !role.audiences().is_empty() && !found.iter().any(|a| role.audiences().iter().any(|w| w == a)) {
        return Err(ClaimFault::Audience);
    }
    Ok(claims.check_times(&role.times(), call.now)?)
}

#[derive(Debug, thiserror::Error)]
enum ClaimFault {
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    #[error("invalid subject (sub) claim")]
    Subject,
    #[error("invalid audience (aud) claim: audience claim does not match any expected audience")]
    Audience,
}

/// What is wrong with the token's outer shape, in the words of the library that Vault uses.
fn shape_fault(text: &str, error: JwsError) -> Option<String> {
    if text.bytes().filter(|b| *b == b'.').count() != 2 {
        return Some("go-jose/go-jose: compact JWS format must have three parts".to_owned());
    }
    // A signature that does not decode is one that no key made.
    let decodes = text.split('.').take(2).all(|part| URL_SAFE_NO_PAD.decode(part).is_ok());
    match error {
        JwsError::NotCompact if !decodes => Some("illegal base64 data at input byte 0".to_owned()),
        JwsError::TooLong => Some(error.to_string()),
        _ => None,
    }
}

/// How Vault lists them.
const IN_VAULTS_ORDER: [Algorithm; 10] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::EdDSA,
];

/// The same where the keys are remote: there the algorithm is looked at first.
fn remote_fault(text: &str, error: JwsError) -> String {
    let detail = match (shape_fault(text, error), error) {
        (Some(fault), _) => fault,
        (None, JwsError::Algorithm) => {
            let all = IN_VAULTS_ORDER.map(|a| format!("{:?}", a.name()));
            format!("unexpected signature algorithm {:?}; expected [{}]", named_algorithm(text), all.join(" "))
        }
        (None, other) => other.to_string(),
    };
    format!("oidc: malformed jwt: {detail}")
}

/// What the client itself wrote into its header, cut to the length of a name.
fn named_algorithm(text: &str) -> String {
    const NAME_MAX_CHARS: usize = 16;
    let header = text.split('.').next().and_then(|h| URL_SAFE_NO_PAD.decode(h).ok()).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).take(NAME_MAX_CHARS).collect()
}
