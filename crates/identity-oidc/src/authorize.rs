//! `oidc/provider/<name>/authorize`: a person with a token of this server lets a client know who they are.
//!
//! Nothing is redirected here: the answer is JSON, and whoever calls (the web UI) carries code and state to the client. So an error
//! never travels to an address that was not checked.

use std::sync::Arc;

use engine::{Call, EngineError, Outcome};
use identity::{IdentityEngine, Profile};
use serde_json::json;
use url::{Host, Url};

use crate::codes::{self, Grant};
use crate::limits::{NONCE_MAX_BYTES, PKCE_CHARS};
use crate::oauth::{self, OauthError};
use crate::rows::{Client, ClientKind};
use crate::{assignments, clients, keyring, providers, scopes};

/// `Err` is storage's fault; the inner error is the client's.
type Judged<T> = Result<Result<T, OauthError>, EngineError>;

pub(crate) fn authorize(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let state = call.fields.str("state").to_owned();
    let grant = match judge(call)? {
        Ok(grant) => grant,
        Err(why) => return Ok(Some(oauth::authorize_error(why, &state))),
    };
    let code = codes::put(&mut call.view, grant, call.now, call.entropy)?;
    Ok(Some(oauth::bare(200, &json!({ "code": code, "state": state }))))
}

/// The checks in the order of RFC 6749 §4.1.1: what is asked, by which client, for which address, by whom.
fn judge(call: &mut Call<'_>) -> Judged<Grant> {
    let name = call.fields.str("name").to_owned();
    let Some(provider) = providers::find(&mut call.view, &name)? else {
        return refuse("invalid_request", "provider not found");
    };
    let mut asked: Vec<String> = call.fields.str("scope").split_whitespace().map(str::to_owned).collect();
    if !asked.iter().any(|s| s == scopes::OPENID) {
        return refuse("invalid_request", "scope parameter must contain the \"openid\" value");
    }
    asked.retain(|s| provider.scopes_supported.contains(s));
    asked.sort_unstable();
    asked.dedup();
    if let Err(why) = check_kind(call) {
        return Ok(Err(why));
    }
    let id = call.fields.str("client_id").to_owned();
    if id.is_empty() {
        return refuse("invalid_client_id", "client_id parameter is required");
    }
    let Some(client) = clients::by_id(&mut call.view, &id)? else {
        return refuse("invalid_client_id", "client with client_id not found");
    };
    if !provider.allows(&id) {
        return refuse("unauthorized_client", "client is not authorized to use the provider");
    }
    let uri = call.fields.str("redirect_uri").to_owned();
    if uri.is_empty() {
        return refuse("invalid_request", "redirect_uri parameter is required");
    }
    if !client.redirect_uris.iter().any(|known| same_address(known, &uri)) {
        return refuse("invalid_redirect_uri", "redirect_uri is not allowed for the client");
    }
    let (challenge, hashed) = match challenge(call, &client) {
        Ok(pair) => pair,
        Err(why) => return Ok(Err(why)),
    };
    let nonce = call.fields.str("nonce").to_owned();
    if nonce.len() > NONCE_MAX_BYTES {
        return refuse("invalid_request", "nonce is too long");
    }
    let auth_time = match auth_time(call) {
        Ok(at) => at,
        Err(why) => return Ok(Err(why)),
    };
    if keyring::named(&mut call.view, &client.key)?.is_none() {
        return refuse("server_error", "the key of the client is gone");
    }
    let entity = call.caller.entity_id.clone();
    let who = match person(call, &client, &entity)? {
        Ok(who) => who,
        Err(why) => return Ok(Err(why)),
    };
    let grant = Grant {
        provider: name,
        client_id: id,
        entity_id: who.entity_id,
        redirect_uri: uri,
        nonce,
        scopes: asked,
        auth_time,
        challenge,
        hashed,
        ..Grant::default()
    };
    Ok(Ok(grant))
}

/// The kind of answer, and extensions this provider does not have.
fn check_kind(call: &Call<'_>) -> Result<(), OauthError> {
    match call.fields.str("response_type") {
        "" => return Err(OauthError("invalid_request", "response_type parameter is required")),
        "code" => {}
        _ => return Err(OauthError("unsupported_response_type", "unsupported response_type value")),
    }
    if call.request.data.contains_key("request") {
        return Err(OauthError("request_not_supported", "request parameter is not supported"));
    }
    if call.request.data.contains_key("request_uri") {
        return Err(OauthError("request_uri_not_supported", "request_uri parameter is not supported"));
    }
    Ok(())
}

/// The PKCE challenge and whether it is hashed (RFC 7636); clients without a secret need one.
fn challenge(call: &Call<'_>, client: &Client) -> Result<(String, bool), OauthError> {
    let challenge = call.fields.str("code_challenge");
    if challenge.is_empty() {
        if client.kind == ClientKind::Public {
            return Err(OauthError("invalid_request", "PKCE is required for public clients"));
        }
        return Ok((String::new(), false));
    }
    let hashed = match call.fields.text("code_challenge_method").unwrap_or("plain") {
        "S256" => true,
        "plain" => false,
        _ => return Err(OauthError("invalid_request", "invalid code_challenge_method")),
    };
    if !PKCE_CHARS.contains(&challenge.len()) {
        return Err(OauthError("invalid_request", "invalid code_challenge"));
    }
    Ok((challenge.to_owned(), hashed))
}

/// When the caller logged in, if the client sets a bound to that.
fn auth_time(call: &Call<'_>) -> Result<Option<secret::Time>, OauthError> {
    let Some(max_age) = call.fields.int("max_age") else { return Ok(None) };
    let Some(seconds) = u64::try_from(max_age).ok().filter(|s| *s > 0) else {
        return Err(OauthError("invalid_request", "max_age must be greater than zero"));
    };
    let issued = call.caller.issued;
    if call.now.since(issued).as_secs() >= seconds {
        return Err(OauthError("max_age_violation", "active re-authentication is required by max_age"));
    }
    Ok(Some(issued))
}

/// The entity, if it may use the client now. Asked at each step, since assignments and entities change between them.
pub(crate) fn person(call: &mut Call<'_>, client: &Arc<Client>, entity_id: &str) -> Judged<Profile> {
    if entity_id.is_empty() {
        return refuse("access_denied", "identity entity must be associated with the request");
    }
    let Some(who) = identity::profile(&mut call.view, entity_id)?.filter(|p| !p.disabled) else {
        return refuse("access_denied", "identity entity associated with the request is not usable");
    };
    if !assignments::allow(&mut call.view, client, &who)? {
        return refuse("access_denied", "identity entity not authorized by client assignment");
    }
    Ok(Ok(who))
}

/// Exactly the same text; for an address on the machine of the person itself any port, as RFC 8252 §7.3 asks.
fn same_address(known: &str, sent: &str) -> bool {
    if known == sent {
        return true;
    }
    let loopback = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        let local = match url.host()? {
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
            Host::Domain(_) => false,
        };
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !local || !plain {
            return None;
        }
        url.set_port(None).ok()?;
        Some(url)
    };
    matches!((loopback(known), loopback(sent)), (Some(a), Some(b)) if a == b)
}

fn refuse<T>(code: &'static str, text: &'static str) -> Judged<T> {
    Ok(Err(OauthError(code, text)))
}

#[cfg(test)]
mod tests {
    use super::same_address;

    #[test]
    fn an_address_is_the_same_text_or_another_port_of_this_machine() {
        for (known, sent) in [
            ("https://a/cb", "https://a/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb"),
            ("http://127.0.0.1:1/cb?x=1", "http://127.0.0.1:5000/cb?x=1"),
            ("http://[::1]:1/cb", "http://[::1]/cb"),
            ("com.example.app:/cb", "com.example.app:/cb"),
        ] {
            assert!(same_address(known, sent), "{known} {sent}");
        }
        for (known, sent) in [
            ("https://a/cb", "https://a/cb/"),
            ("https://a/cb", "https://a/cb?x"),
            ("https://a/cb", "https://a:443/cb"),
            ("https://a/cb", "https://A/cb"),
            ("https://a/cb", "http://a/cb"),
            ("https://a/cb", "https://a/cb#f"),
            ("https://a/cb", "https://a@evil/cb"),
            ("https://a/cb", ""),
            ("http://localhost:1/cb", "http://localhost:2/cb"),
            ("https://127.0.0.1:1/cb", "https://127.0.0.1:2/cb"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/other"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb?x"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1@evil:1/cb"),
            ("http://127.0.0.1:1/cb", "http://u@127.0.0.1:2/cb"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb#f"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.2:1/cb"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1.evil/cb"),
        ] {
            assert!(!same_address(known, sent), "{known} {sent}");
        }
    }
}
