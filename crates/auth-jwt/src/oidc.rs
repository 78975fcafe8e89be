//! The way through a browser: `oidc/auth_url` sends it to the provider, `oidc/callback` takes what it comes back with.
//!
//! `state` ties the coming back to the going, `nonce` the ID token to the going, PKCE the code to this server, and `client_nonce` the
//! callback to the client that asked. Deliberately absent: what happens at the provider.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::token_params::cidrs_allow;
use engine::{Call, EngineError, Kind, Outcome, Response};
use secret::{SecretString, ct_eq};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use crate::Jwt;
use crate::config::Config;
use crate::exchange::{self, Received};
use crate::limits::{CLIENT_NONCE_MAX_BYTES, POSTED_FIELD_MAX_BYTES, STATE_CHARS, VERIFIER_CHARS};
use crate::login::{granted, named_role};
use crate::page;
use crate::pending::{PendingLogin, Posted};
use crate::place::Place;
use crate::provider::Provider;
use crate::role::{Role, RoleType};

/// Begins texts of failures, for people.
pub(crate) const FAILED: &str = "Vault login failed.";

/// Stands for a code that was posted.
const POSTED_CODE: &str = "no_code";

/// `oidc/auth_url`: where to send the browser. What is not allowed gets an empty address: anybody may ask (Vault does the same).
pub(crate) async fn auth_url(engine: &Jwt, call: &mut Call<'_>) -> Outcome {
    let config = Config::load(call)?;
    if !config.is_oidc() {
        return Err(EngineError::invalid("OIDC login is not configured for this mount"));
    }
    if call.fields.str("role").is_empty() && config.default_role.is_empty() {
        return Err(EngineError::invalid("missing role"));
    }
    let redirect = call.fields.str("redirect_uri").to_owned();
    if redirect.is_empty() {
        return Err(EngineError::invalid("missing redirect_uri"));
    }
    let client_nonce = call.fields.str("client_nonce").to_owned();
    if client_nonce.len() > CLIENT_NONCE_MAX_BYTES {
        return Err(EngineError::invalid("client_nonce is too long"));
    }
    let (role_name, role) = named_role(call, &config)?;
    let (redirect, namespace) = if config.namespace_in_state { without_namespace(redirect) } else { (redirect, None) };
    let allowed = role.role_type == RoleType::Oidc && is_allowed_redirect(&redirect, role.redirect_uris());
    if !allowed {
        Place::of(call).complain(&"redirect_uri is not one of the role's", "no address was given to sign in at");
        return Ok(Some(address("")));
    }
    let provider = match engine.fetched.provider(&*engine.web, &config, call.now).await {
        Ok(provider) => provider,
        Err(error) => {
            Place::of(call).complain(&error, "the provider is not known");
            return Ok(Some(address("")));
        }
    };
    // The UI does not know the mode; the provider has to post to the API.
    let redirect_uri = if config.form_post() { redirect.replacen("ui/vault/", "v1/", 1) } else { redirect };
    let login = PendingLogin {
        role: role_name,
        redirect_uri,
        client_nonce: SecretString::new(client_nonce),
        nonce: SecretString::new(format!("n_{}", call.entropy.base62(STATE_CHARS)?)),
        verifier: SecretString::new(call.entropy.base62(VERIFIER_CHARS)?),
        provider: config.oidc_discovery_url.clone(),
        client_id: config.oidc_client_id.clone(),
        began: call.now,
        posted: None,
    };
    let state = format!("st_{}", call.entropy.base62(STATE_CHARS)?);
    let shown_state = namespace.map_or_else(|| state.clone(), |ns| format!("{state},ns={ns}"));
    let Some(url) = provider_url(&provider, &config, &role, &login, &shown_state) else { return Ok(Some(address(""))) };
    engine.pending.begin(&call.mount.uuid, &state, login);
    Ok(Some(address(url.as_str())))
}

/// `oidc/callback`, as the client: logs in with what the browser came back with.
pub(crate) async fn callback(engine: &Jwt, call: &mut Call<'_>) -> Outcome {
    let config = Config::load(call)?;
    let (login, claims) = match engine.pending.finished(&call.request.id, call.now) {
        Some(again) => again,
        None => received(engine, call, &config).await?,
    };
    let role = Role::load(&mut call.view, &login.role)?.filter(|r| r.role_type == RoleType::Oidc);
    let role = role.ok_or_else(|| EngineError::Invalid(format!("{FAILED} Role could not be found")))?;
    granted(&login.role, &role, &claims)
}

/// Everything up to verified claims. The state is spent, whatever comes of it.
async fn received(engine: &Jwt, call: &mut Call<'_>, config: &Config) -> Result<(PendingLogin, api_types::Map), EngineError> {
    let unknown = || EngineError::Invalid(format!("{FAILED} Expired or missing OAuth state."));
    let state = bare_state(call.fields.str("state")).to_owned();
    let login = engine.pending.take(&call.mount.uuid, &state, call.now).ok_or_else(unknown)?;
    let same_nonce = ct_eq(login.client_nonce.expose().as_bytes(), call.fields.str("client_nonce").as_bytes());
    if !login.client_nonce.is_empty() && !same_nonce {
        return Err(EngineError::invalid("invalid client_nonce"));
    }
    if !config.is_oidc() || login.provider != config.oidc_discovery_url || login.client_id != config.oidc_client_id {
        return Err(unknown());
    }
    let role = Role::load(&mut call.view, &login.role)?.filter(|r| r.role_type == RoleType::Oidc);
    let role = role.ok_or_else(|| EngineError::Invalid(format!("{FAILED} Role could not be found")))?;
    if !cidrs_allow(&role.token.token_bound_cidrs, call.request.connection.remote_addr) {
        return Err(EngineError::denied("permission denied"));
    }
    let posted = login.posted.clone().unwrap_or_default();
    let code = match call.fields.str("code") {
        POSTED_CODE => posted.code,
        sent => SecretString::from(sent),
    };
    let received = match (code.is_empty(), config.implicit()) {
        (false, false) => Received::Code(code),
        (true, true) if !posted.id_token.is_empty() => Received::IdToken(posted.id_token),
        _ => return Err(EngineError::Invalid(format!("{FAILED} No code or id_token received."))),
    };
    let claims = exchange::claims(engine, config, &role, &login, received, Place::of(call)).await?;
    engine.pending.finish(&call.request.id, &login, &claims, call.now);
    Ok((login, claims))
}

/// `oidc/callback`, as the browser that the provider made post: keeps what came for the client and answers a page.
pub(crate) fn posted(engine: &Jwt, call: &mut Call<'_>) -> Outcome {
    let config = Config::load(call)?;
    let state = bare_state(call.fields.str("state")).to_owned();
    let text = |name: &str| SecretString::from(call.fields.str(name));
    let posted = Posted { code: text("code"), id_token: text("id_token") };
    let fits = [&posted.code, &posted.id_token].iter().all(|t| t.expose().len() <= POSTED_FIELD_MAX_BYTES);
    if !config.form_post() || !fits {
        return Ok(Some(html(400, page::failed("Invalid request."))));
    }
    // The same request may have to run again; then its post is there already.
    let outcome = engine.pending.post(&call.mount.uuid, &state, posted, call.now);
    let mount = call.mount.path.strip_prefix("auth/").unwrap_or(&call.mount.path).trim_end_matches('/');
    Ok(Some(match outcome {
        Ok(()) => html(200, page::received(mount, POSTED_CODE, &state)),
        Err(error) => html(400, page::failed(&error.to_string())),
    }))
}

fn html(status: u16, body: String) -> Response {
    let kind = Kind::Bare { content_type: "text/html; charset=utf-8".to_owned(), body: body.into_bytes(), status };
    Response { kind, ..Response::default() }
}

fn address(url: &str) -> Response {
    Response::json(serde_json::json!({ "auth_url": url }))
}

/// The UI and the CLI may send the state back with the namespace still on it.
fn bare_state(state: &str) -> &str {
    state.split_once(",ns=").map_or(state, |(state, _)| state)
}

fn provider_url(provider: &Provider, config: &Config, role: &Role, login: &PendingLogin, state: &str) -> Option<Url> {
    let mut url = Url::parse(&provider.authorization_endpoint).ok()?;
    let scopes: Vec<&str> =
        std::iter::once("openid").chain(role.scopes().iter().map(String::as_str).filter(|s| *s != "openid")).collect();
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", &config.oidc_client_id);
    if !config.implicit() {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(login.verifier.expose().as_bytes()));
        query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
    }
    if role.max_age > 0 {
        query.append_pair("max_age", &role.max_age.to_string());
    }
    query.append_pair("nonce", login.nonce.expose()).append_pair("redirect_uri", &login.redirect_uri);
    if config.form_post() {
        query.append_pair("response_mode", "form_post");
    }
    query.append_pair("response_type", if config.implicit() { "id_token" } else { "code" });
    query.append_pair("scope", &scopes.join(" ")).append_pair("state", state);
    drop(query);
    Some(url)
}

/// Takes `namespace` out of the redirect's query.
fn without_namespace(redirect: String) -> (String, Option<String>) {
    let Ok(mut url) = Url::parse(&redirect) else { return (redirect, None) };
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let Some((_, namespace)) = pairs.iter().find(|(k, v)| k == "namespace" && !v.is_empty()).cloned() else {
        return (redirect, None);
    };
    let others: Vec<&(String, String)> = pairs.iter().filter(|(k, _)| k != "namespace").collect();
    if others.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    (url.into(), Some(namespace))
}

/// One of the role's, to the letter; on the loopback the port is the client's choice (RFC 8252 §7.3).
fn is_allowed_redirect(sent: &str, allowed: &[String]) -> bool {
    if allowed.iter().any(|a| a == sent) {
        return true;
    }
    let Ok(mut sent) = Url::parse(sent) else { return false };
    if !is_loopback(&sent) || sent.set_port(None).is_err() {
        return false;
    }
    allowed.iter().filter_map(|a| Url::parse(a).ok()).any(|mut a| is_loopback(&a) && a.set_port(None).is_ok() && a == sent)
}

fn is_loopback(url: &Url) -> bool {
    url.username().is_empty()
        && url.password().is_none()
        && match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(v4)) => v4.octets() == [127, 0, 0, 1],
            Some(Host::Ipv6(v6)) => v6.is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_the_roles_own() {
        let allowed: Vec<String> = [
            "http://localhost:8250/oidc/callback",
            "https://vault.example/ui/vault/auth/oidc/oidc/callback",
            "http://[::1]/cb",
            "http://vault.example:8250/oidc/callback",
            "not a url",
        ]
        .map(str::to_owned)
        .to_vec();
        for fine in [
            "http://localhost:8250/oidc/callback",
            "http://localhost:1/oidc/callback",
            "http://localhost/oidc/callback",
            "https://vault.example/ui/vault/auth/oidc/oidc/callback",
            "http://[::1]:9/cb",
        ] {
            assert!(is_allowed_redirect(fine, &allowed), "{fine}");
        }
        for bad in [
            "http://127.0.0.1:8250/oidc/callback",
            "https://localhost:8250/oidc/callback",
            "http://localhost:8250/oidc/callbackx",
            "http://localhost:8250/oidc/callback/",
            "http://localhost:8250/oidc/callback?x=1",
            "http://localhost:8250/oidc/callback#x",
            "http://localhost.evil.example/oidc/callback",
            "http://localhost@evil.example/oidc/callback",
            "http://u@localhost/oidc/callback",
            "http://vault.example/oidc/callback",
            "http://vault.example:8251/oidc/callback",
            "https://vault.example/ui/vault/auth/oidc/oidc/callback/../x",
            "https://VAULT.example/ui/vault/auth/oidc/oidc/callback",
            "javascript:alert(1)",
            "",
        ] {
            assert!(!is_allowed_redirect(bad, &allowed), "{bad}");
        }
        assert!(!is_allowed_redirect("http://localhost/", &[]));
    }

    #[test]
    fn a_namespace_moves_out_of_the_redirect() {
        for (sent, redirect, namespace) in [
            ("http://h/cb?namespace=a", "http://h/cb", Some("a")),
            ("http://h/cb?x=1&namespace=a%2Fb", "http://h/cb?x=1", Some("a/b")),
            ("http://h/cb?x=1", "http://h/cb?x=1", None),
            ("http://h/cb?namespace=", "http://h/cb?namespace=", None),
            ("nothing", "nothing", None),
        ] {
            assert_eq!(without_namespace(sent.to_owned()), (redirect.to_owned(), namespace.map(str::to_owned)), "{sent}");
        }
        assert_eq!((bare_state("st_x,ns=a"), bare_state("st_x"), bare_state("")), ("st_x", "st_x", ""));
    }
}
