//! Answers in the form of OAuth 2.0: bodies without envelope, and errors with a code and a description (RFC 6749 §5.2).

use engine::{Kind, Response};
use serde_json::{Value, json};

/// An error of the protocol: its code, and words for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OauthError(pub(crate) &'static str, pub(crate) &'static str);

/// A JSON body without envelope.
pub(crate) fn bare(status: u16, body: &Value) -> Response {
    let body = api_types::json::to_vec(body).unwrap_or_default();
    Response { kind: Kind::Bare { content_type: "application/json".into(), body, status }, ..Response::default() }
}

/// Adds a header. The edge lets only a few through on such bodies.
pub(crate) fn with_header(mut response: Response, name: &str, value: impl Into<String>) -> Response {
    response.headers.insert(name.to_owned(), vec![value.into()]);
    response
}

/// An answer that clients may keep for an hour (discovery documents).
pub(crate) fn cacheable(body: &Value) -> Response {
    with_header(bare(200, body), "cache-control", "max-age=3600")
}

/// An error of the authorization endpoint.
pub(crate) fn authorize_error(OauthError(code, text): OauthError, state: &str) -> Response {
    bare(400, &json!({ "error": code, "error_description": text, "state": state }))
}

/// An error of the token endpoint: 401 for a client that did not show who it is, else 400.
pub(crate) fn token_error(OauthError(code, text): OauthError) -> Response {
    let body = json!({ "error": code, "error_description": text });
    if code == "invalid_client" {
        return uncached(with_header(bare(401, &body), "www-authenticate", "Basic"));
    }
    uncached(bare(400, &body))
}

/// Marks an answer with tokens (RFC 6749 §5.1).
pub(crate) fn uncached(response: Response) -> Response {
    with_header(with_header(response, "cache-control", "no-store"), "pragma", "no-cache")
}

/// An error of the userinfo endpoint (RFC 6750 §3).
pub(crate) fn userinfo_error(OauthError(code, text): OauthError) -> Response {
    let status = match code {
        "invalid_token" => 401,
        "access_denied" => 403,
        "server_error" => 500,
        _ => 400,
    };
    let reply = bare(status, &json!({ "error": code, "error_description": text }));
    if status != 401 {
        return reply;
    }
    with_header(reply, "www-authenticate", format!("Bearer error={code:?},error_description={text:?}"))
}
