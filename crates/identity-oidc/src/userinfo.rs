//! `oidc/provider/<name>/userinfo`, and the access tokens for it.
//!
//! An access token is a JWS under a key that signs nothing else. The path needs no token of the token store, since this one says it
//! all; it is judged anew each time: the client, the assignment and the entity as they are now.

use std::time::Duration;

use engine::{Call, EngineError, Outcome};
use identity::IdentityEngine;
use jose::{Algorithm, Claims, Expected, Jws, PrivateKey, TimeRules};
use secret::SecretString;
use serde_json::{Value, json};

use crate::authorize::person;
use crate::codes::Grant;
use crate::oauth::{self, OauthError};
use crate::rows::{ACCESS_KEY, Client};
use crate::{clients, keyring, providers, scopes};

const ALGORITHM: Algorithm = Algorithm::EdDSA;
/// RFC 9068.
const TYP: &str = "at+jwt";

/// An access token for what the code was for.
pub(crate) fn issue(call: &mut Call<'_>, client: &Client, grant: &Grant) -> Result<SecretString, EngineError> {
    let key = match key(call)? {
        Some(key) => key,
        None => make(call)?,
    };
    let claims = json!({
        "aud": audience(&grant.provider),
        "client_id": client.id,
        "exp": call.now.plus(Duration::from_secs(client.access_token_ttl)).unix(),
        "iat": call.now.unix(),
        "jti": call.entropy.uuid()?,
        "scope": grant.scopes.join(" "),
        "sub": grant.entity_id,
    });
    key.sign(None, Some(TYP), &claims).map_err(keyring::broken)
}

pub(crate) fn userinfo(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(match told(call)? {
        Ok(claims) => oauth::bare(200, &claims),
        Err(why) => oauth::userinfo_error(why),
    }))
}

fn told(call: &mut Call<'_>) -> Result<Result<Value, OauthError>, EngineError> {
    let name = call.fields.str("name").to_owned();
    // The same words for whatever is no access token of this provider, whether or not the provider is there.
    let denied = Ok(Err(OauthError("invalid_token", "permission denied")));
    let Some(claims) = verified(call, &name)? else { return denied };
    let Some(provider) = providers::find(&mut call.view, &name)? else { return denied };
    let text = |name: &'static str| claims.text(name).ok().flatten().unwrap_or_default().to_owned();
    let Some(client) = clients::by_id(&mut call.view, &text("client_id"))?.filter(|c| provider.allows(&c.id)) else {
        return Ok(Err(OauthError("access_denied", "client is not authorized to use the provider")));
    };
    let who = match person(call, &client, &text("sub"))? {
        Ok(who) => who,
        Err(why) => return Ok(Err(why)),
    };
    let asked: Vec<String> = text("scope").split_whitespace().map(str::to_owned).collect();
    let Ok(mut out) = scopes::claims(&mut call.view, &provider, &asked, &who.facts, call.now)? else {
        return Ok(Err(OauthError("server_error", "failed to populate scopes: conflicting top-level keys")));
    };
    out.insert("sub".to_owned(), who.entity_id.into());
    Ok(Ok(Value::Object(out)))
}

/// The claims of the request's token, if it is an access token of the provider and good now.
fn verified(call: &mut Call<'_>, provider: &str) -> Result<Option<Claims>, EngineError> {
    let Some(key) = key(call)? else { return Ok(None) };
    let Ok(token) = Jws::parse(call.request.token.expose()) else { return Ok(None) };
    if token.typ() != Some(TYP) {
        return Ok(None);
    }
    let Ok(claims) = token.verify([key.public_key()]) else { return Ok(None) };
    let audiences = [audience(provider)];
    let expected = Expected { issuer: None, audiences: Some(&audiences), times: TimeRules::own() };
    Ok(claims.check(&expected, call.now).is_ok().then_some(claims))
}

fn audience(provider: &str) -> String {
    format!("identity/oidc/provider/{provider}/userinfo")
}

fn key(call: &mut Call<'_>) -> Result<Option<PrivateKey>, EngineError> {
    let Some(record) = call.view.get(ACCESS_KEY)? else { return Ok(None) };
    PrivateKey::from_pkcs8(ALGORITHM, record.bytes()).map(Some).map_err(keyring::broken)
}

fn make(call: &mut Call<'_>) -> Result<PrivateKey, EngineError> {
    let document = PrivateKey::generate(ALGORITHM).map_err(keyring::broken)?;
    let key = PrivateKey::from_pkcs8(ALGORITHM, document.expose()).map_err(keyring::broken)?;
    call.view.put(ACCESS_KEY, document)?;
    Ok(key)
}
