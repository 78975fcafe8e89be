//! `oidc/provider/<name>/token`: a client turns a code into tokens (RFC 6749 §4.1.3).
//!
//! An unknown client and a wrong secret get the same answer. A code is gone once a client that showed who it is has presented it,
//! whatever comes of it; somebody who is no client cannot burn one.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::authorize::person;
use crate::codes::{self, Grant};
use crate::oauth::{self, OauthError};
use crate::rows::{Client, ClientKind, Provider};
use crate::{clients, keyring, providers, scopes, userinfo};

type Judged<T> = Result<Result<T, OauthError>, EngineError>;

pub(crate) fn token(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(match exchange(engine, call)? {
        Ok(answer) => oauth::uncached(answer),
        Err(why) => oauth::token_error(why),
    }))
}

fn exchange(engine: &IdentityEngine, call: &mut Call<'_>) -> Judged<Response> {
    let name = call.fields.str("name").to_owned();
    let Some(provider) = providers::find(&mut call.view, &name)? else {
        return refuse("invalid_request", "provider not found");
    };
    let client = match authenticated(call)? {
        Ok(client) => client,
        Err(why) => return Ok(Err(why)),
    };
    if !provider.allows(&client.id) {
        return refuse("invalid_client", "client is not authorized to use the provider");
    }
    let key = keyring::named(&mut call.view, &client.key)?;
    if !key.is_some_and(|k| k.allows(&client.id)) {
        return refuse("invalid_client", "client is not authorized to use the key");
    }
    if call.fields.str("grant_type") != "authorization_code" {
        return refuse("unsupported_grant_type", "unsupported grant_type or parameter is empty value");
    }
    let code = call.fields.str("code").to_owned();
    if code.is_empty() {
        return refuse("invalid_request", "code parameter is required");
    }
    let Some(grant) = codes::take(&mut call.view, &code, call.now)? else {
        return refuse("invalid_grant", "authorization grant is invalid or expired");
    };
    if let Err(why) = fits(call, &grant, &client, &name) {
        return Ok(Err(why));
    }
    respond(engine, call, &provider, &client, &grant, &code)
}

/// The client that sent the request: by HTTP Basic, by parameters, or without a secret if it has none.
fn authenticated(call: &mut Call<'_>) -> Judged<Arc<Client>> {
    let (id, secret) = match call.request.header("authorization").and_then(basic) {
        Some(pair) => pair,
        None => (call.fields.str("client_id").to_owned(), call.fields.str("client_secret").to_owned()),
    };
    if id.is_empty() {
        return refuse("invalid_request", "client_id parameter is required");
    }
    let found = clients::by_id(&mut call.view, &id)?;
    let good = found.filter(|c| match c.kind {
        ClientKind::Public => true,
        ClientKind::Confidential => !c.secret.is_empty() && secret::ct_eq(c.secret.as_bytes(), secret.as_bytes()),
    });
    Ok(good.ok_or(OauthError("invalid_client", "client failed to authenticate")))
}

/// RFC 6749 §2.3.1: both halves are form-encoded inside the base64.
fn basic(header: &str) -> Option<(String, String)> {
    let bytes = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |s: &str| percent_decode_str(&s.replace('+', " ")).decode_utf8().ok().map(|s| s.into_owned());
    Some((decode(id)?, decode(secret)?))
}

/// Whether the code was given to this client, for this address, and the PKCE verifier fits.
fn fits(call: &Call<'_>, grant: &Grant, client: &Client, provider: &str) -> Result<(), OauthError> {
    if grant.client_id != client.id {
        return Err(OauthError("invalid_grant", "authorization code was not issued to the client"));
    }
    if grant.provider != provider {
        return Err(OauthError("invalid_grant", "authorization code was not issued by the provider"));
    }
    let uri = call.fields.str("redirect_uri");
    if uri.is_empty() {
        return Err(OauthError("invalid_request", "redirect_uri parameter is required"));
    }
    if uri != grant.redirect_uri {
        return Err(OauthError(
            "invalid_grant",
            "redirect_uri does not match the redirect_uri used in the authorization request",
        ));
    }
    let verifier = call.fields.str("code_verifier");
    match (grant.challenge.is_empty(), verifier.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => return Err(OauthError("invalid_request", "unexpected code_verifier for token exchange")),
        (false, true) => return Err(OauthError("invalid_request", "expected code_verifier for token exchange")),
        (false, false) => {}
    }
    let shown = if grant.hashed { BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) } else { verifier.to_owned() };
    if secret::ct_eq(shown.as_bytes(), grant.challenge.as_bytes()) {
        return Ok(());
    }
    Err(OauthError("invalid_grant", "invalid code_verifier for token exchange"))
}

fn respond(
    engine: &IdentityEngine,
    call: &mut Call<'_>,
    provider: &Provider,
    client: &Arc<Client>,
    grant: &Grant,
    code: &str,
) -> Judged<Response> {
    let who = match person(call, client, &grant.entity_id)? {
        Ok(who) => who,
        Err(why) => return Ok(Err(why)),
    };
    let filled = scopes::claims(&mut call.view, provider, &grant.scopes, &who.facts, call.now)?;
    let Ok(mut claims) = filled else {
        return refuse("invalid_request", "failed to populate scopes: conflicting top-level keys");
    };
    let access = userinfo::issue(call, client, grant)?;
    let found = keyring::named(&mut call.view, &client.key)?.unwrap_or_default();
    let key = keyring::ready(&mut call.view, &client.key, &found, call.now, call.entropy)?;
    let algorithm = keyring::algorithm(&key);
    let life = Duration::from_secs(client.id_token_ttl.min(key.verification_ttl));
    let mut own = vec![
        ("iss", Value::from(providers::issuer(engine, provider, &grant.provider))),
        ("sub", who.entity_id.into()),
        ("aud", client.id.clone().into()),
        ("iat", call.now.unix().into()),
        ("exp", call.now.plus(life).unix().into()),
        ("namespace", "root".into()),
        ("at_hash", algorithm.half_hash(access.expose()).into()),
        ("c_hash", algorithm.half_hash(code).into()),
    ];
    if !grant.nonce.is_empty() {
        own.push(("nonce", grant.nonce.clone().into()));
    }
    if let Some(at) = grant.auth_time {
        own.push(("auth_time", at.unix().into()));
    }
    claims.extend(own.into_iter().map(|(k, v)| (k.to_owned(), v)));
    let id_token = keyring::sign(&mut call.view, &key, &claims)?;
    Ok(Ok(oauth::bare(
        200,
        &json!({
            "access_token": access.expose(),
            "expires_in": client.access_token_ttl,
            "id_token": id_token.expose(),
            "token_type": "Bearer",
        }),
    )))
}

fn refuse<T>(code: &'static str, text: &'static str) -> Judged<T> {
    Ok(Err(OauthError(code, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_or_nothing() {
        let header = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert_eq!(basic(&header("a:b:c")), Some(("a".into(), "b:c".into())));
        assert_eq!(basic(&header("a%3A1:b+c%2B")), Some(("a:1".into(), "b c+".into())));
        for bad in ["", "Basic", "Basic !", "basic YTpi", "Bearer YTpi", &header("ab"), "Basic //79"] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }
}
