//! From what the browser brought to verified claims: the code's exchange (RFC 6749 §4.1.3, RFC 7636), the ID token's checks
//! (OpenID Connect Core §3.1.3.7), user information (§5.3).

use api_types::Map;
use engine::EngineError;
use jose::{Claims, Jws, TimeRules};
use outbound::{Credentials, Payload, Question};
use secret::{SecretString, ct_eq};
use serde::Deserialize;
use serde_json::Value;

use crate::Jwt;
use crate::config::{Config, KeySetAddress};
use crate::fetched::FetchError;
use crate::limits::PROVIDER_ANSWER_MAX_BYTES;
use crate::oidc::FAILED;
use crate::pending::PendingLogin;
use crate::place::Place;
use crate::provider::Provider;
use crate::role::Role;

/// What the browser brought.
pub(crate) enum Received {
    /// A code for the token endpoint.
    Code(SecretString),
    /// The ID token itself.
    IdToken(SecretString),
}

/// Why an ID token is refused.
#[derive(Debug, thiserror::Error)]
enum IdTokenError {
    #[error("the id_token's signature could not be verified")]
    Signature,
    #[error("the id_token is signed with an algorithm that is not allowed")]
    Algorithm,
    #[error("id token issued by a different provider")]
    Issuer,
    #[error("the id_token is not for this client")]
    Audience,
    #[error("the id_token is for another authorized party")]
    Party,
    #[error("invalid id_token nonce")]
    Nonce,
    #[error("the id_token has no subject")]
    Subject,
    #[error("the id_token does not belong to the access token")]
    AccessToken,
    #[error("the sign-in at the provider is older than the role allows")]
    Age,
    #[error(transparent)]
    Claims(#[from] jose::ClaimsError),
}

/// The token endpoint's answer. No `Debug`: it holds tokens.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    #[serde(default)]
    access_token: String,
}

/// Claims that only the signed token says.
const SIGNED_ONLY: [&str; 13] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "nonce", "azp", "acr", "amr", "auth_time", "at_hash"];

/// The claims of the ID token, and of the user information that goes with it.
pub(crate) async fn claims(
    engine: &Jwt,
    config: &Config,
    role: &Role,
    login: &PendingLogin,
    received: Received,
    place: Place<'_>,
) -> Result<Map, EngineError> {
    let failed = |why: &str| EngineError::Invalid(format!("{FAILED} {why}"));
    let provider = engine.fetched.provider(&*engine.web, config, place.now).await.map_err(|error| {
        complain(place, &error);
        failed("No response from provider.")
    })?;
    let asker = Asker { engine, config, provider: &provider, place };
    let tokens = match received {
        Received::IdToken(token) => Tokens { id_token: token.expose().to_owned(), access_token: String::new() },
        Received::Code(code) => asker.exchange(&code, login).await.map_err(|error| {
            complain(place, &error);
            failed("Error exchanging oidc code.")
        })?,
    };
    let claims = asker.id_token(&tokens, role, login).await.map_err(|error| {
        complain(place, &error);
        EngineError::Invalid(format!("Token verification failed. {error}"))
    })?;
    let mut claims = claims.into_map();
    if let Some(more) = asker.user_information(&tokens, &claims).await {
        claims.extend(more.into_iter().filter(|(name, _)| !SIGNED_ONLY.contains(&name.as_str())));
    }
    Ok(claims)
}

struct Asker<'a> {
    engine: &'a Jwt,
    config: &'a Config,
    provider: &'a Provider,
    place: Place<'a>,
}

impl Asker<'_> {
    async fn exchange(&self, code: &SecretString, login: &PendingLogin) -> Result<Tokens, FetchError> {
        let (id, secret) = (self.config.oidc_client_id.as_str(), &self.config.oidc_client_secret);
        // RFC 6749 §2.3.1: both parts are form-encoded before they become Basic credentials.
        let (shown_id, shown_secret) = (form_encoded(id), SecretString::new(form_encoded(secret.expose())));
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", login.redirect_uri.as_str()),
            ("code_verifier", login.verifier.expose()),
        ];
        let credentials = if self.provider.takes_basic() {
            Credentials::Basic(&shown_id, &shown_secret)
        } else {
            form.extend([("client_id", id), ("client_secret", secret.expose())]);
            Credentials::None
        };
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let trust = self.config.trust();
        let question = Question {
            url: &self.provider.token_endpoint,
            trust: &trust,
            credentials,
            payload: Payload::Form(SecretString::new(form)),
            answer_max_bytes: PROVIDER_ANSWER_MAX_BYTES,
        };
        let answer = self.engine.web.ask(question, self.place.now).await?;
        if answer.status != 200 {
            return Err(FetchError::Status(answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| FetchError::NotTokens)
    }

    async fn id_token(&self, tokens: &Tokens, role: &Role, login: &PendingLogin) -> Result<Claims, IdTokenError> {
        let token = Jws::parse(&tokens.id_token).map_err(|_| IdTokenError::Signature)?;
        if !self.config.allows(token.algorithm()) {
            return Err(IdTokenError::Algorithm);
        }
        let keys =
            KeySetAddress { jwks_url: self.provider.jwks_uri.clone(), jwks_ca_pem: self.config.oidc_discovery_ca_pem.clone() };
        let verified = self.engine.fetched.verify(&*self.engine.web, &[keys], &token, self.place.now).await;
        let claims = verified.map_err(|_| IdTokenError::Signature)?;
        self.check(&claims, role, login)?;
        if let Some(hash) = claims.text("at_hash")?.filter(|_| !tokens.access_token.is_empty()) {
            let same = ct_eq(hash.as_bytes(), token.algorithm().half_hash(&tokens.access_token).as_bytes());
            same.then_some(()).ok_or(IdTokenError::AccessToken)?;
        }
        Ok(claims)
    }

    fn check(&self, claims: &Claims, role: &Role, login: &PendingLogin) -> Result<(), IdTokenError> {
        if claims.text("iss")? != Some(self.provider.issuer.as_str()) {
            return Err(IdTokenError::Issuer);
        }
        let audiences = claims.audiences()?;
        let client = self.config.oidc_client_id.as_str();
        let bound = role.audiences();
        // The client always, and one of the role's if it names any.
        if !audiences.contains(&client) || !(bound.is_empty() || bound.iter().any(|b| audiences.contains(&b.as_str()))) {
            return Err(IdTokenError::Audience);
        }
        if claims.text("azp")?.is_some_and(|party| party != client) {
            return Err(IdTokenError::Party);
        }
        let nonce = claims.text("nonce")?.unwrap_or_default();
        if !ct_eq(nonce.as_bytes(), login.nonce.expose().as_bytes()) {
            return Err(IdTokenError::Nonce);
        }
        let subject = claims.text("sub")?.unwrap_or_default();
        if subject.is_empty() || !(role.bound_subject.is_empty() || role.bound_subject == subject) {
            return Err(IdTokenError::Subject);
        }
        claims.check_times(&TimeRules { require_expiration: true, ..role.times() }, self.place.now)?;
        if role.max_age > 0 {
            let oldest = self.place.now.minus(std::time::Duration::from_secs(role.max_age)).minus(role.times().clock_skew_leeway);
            claims.date("auth_time")?.filter(|at| *at >= oldest).ok_or(IdTokenError::Age)?;
        }
        Ok(())
    }

    /// What the provider says besides. A provider that says nothing costs those claims, not the login.
    async fn user_information(&self, tokens: &Tokens, claims: &Map) -> Option<Map> {
        let url = self.provider.userinfo_endpoint.as_deref().filter(|u| !u.is_empty() && !tokens.access_token.is_empty())?;
        let token = SecretString::from(tokens.access_token.as_str());
        let trust = self.config.trust();
        let question =
            Question { credentials: Credentials::Bearer(&token), ..Question::get(url, &trust, PROVIDER_ANSWER_MAX_BYTES) };
        let found = match self.engine.web.ask(question, self.place.now).await {
            Ok(answer) if answer.status == 200 => serde_json::from_slice(&answer.body).ok(),
            Ok(answer) => {
                complain(self.place, &FetchError::Status(answer.status));
                None
            }
            Err(error) => {
                complain(self.place, &error);
                None
            }
        };
        // §5.3.2: without this check the answer could be about somebody else.
        let same = |info: &Map| info.get("sub").is_some_and(|s| s.is_string() && Some(s) == claims.get("sub"));
        match found {
            Some(Value::Object(info)) if same(&info) => Some(info),
            _ => None,
        }
    }
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn complain(place: Place<'_>, error: &dyn std::fmt::Display) {
    place.complain(error, "a sign-in through the provider failed");
}
