//! Requests from other origins (contract §1.10): which may come, what a preflight is told. The setting is `sys/config/cors`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, StatusCode};
use server_core::Cors;

use crate::respond::{self, Reply};

/// The methods of the API, as Vault lists them.
const METHODS: &str = "DELETE,GET,OPTIONS,POST,PUT,PATCH,LIST";
/// Seconds a browser may keep the answer to a preflight (Vault's).
const MAX_AGE_SECONDS: &str = "300";

/// What the setting says to a request.
pub(crate) enum Origin {
    /// It has no origin, or the setting is off.
    None,
    /// It may come; the origin is told so.
    Allowed(HeaderValue),
    /// Answer with this instead.
    Answered(Box<Reply>),
}

/// Looks at a request's origin.
pub(crate) fn check(cors: Option<&Cors>, method: &Method, head: &HeaderMap) -> Origin {
    let (Some(cors), Some(origin)) = (cors, head.get(ORIGIN)) else { return Origin::None };
    let known = |o: &String| o == "*" || o.as_bytes() == origin.as_bytes();
    if !cors.allowed_origins.iter().any(known) {
        return Origin::Answered(Box::new(respond::errors(StatusCode::FORBIDDEN, &["origin not allowed".to_owned()])));
    }
    if method != Method::OPTIONS {
        return Origin::Allowed(origin.clone());
    }
    let wanted = head.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|m| m.to_str().ok()).unwrap_or_default();
    if !wanted.is_empty() && !METHODS.split(',').any(|m| m == wanted) {
        return Origin::Answered(Box::new(respond::errors(StatusCode::METHOD_NOT_ALLOWED, &[])));
    }
    let mut reply = respond::empty(StatusCode::OK);
    let to = reply.headers_mut();
    to.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    to.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    if let Ok(headers) = HeaderValue::from_str(&cors.allowed_headers.join(",")) {
        to.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    allow(to, origin);
    Origin::Answered(Box::new(reply))
}

/// Tells the origin that it may read the answer.
pub(crate) fn allow(head: &mut HeaderMap, origin: &HeaderValue) {
    head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    head.insert(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(cors: Option<&Cors>, method: &str, head: &[(&'static str, &'static str)]) -> (u16, Option<String>, HeaderMap) {
        let head: HeaderMap = head.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect();
        match check(cors, &method.parse().unwrap(), &head) {
            Origin::None => (0, None, HeaderMap::new()),
            Origin::Allowed(origin) => (1, Some(origin.to_str().unwrap().to_owned()), HeaderMap::new()),
            Origin::Answered(reply) => (reply.status().as_u16(), None, reply.headers().clone()),
        }
    }

    #[test]
    fn only_known_origins_come_in() {
        let cors =
            Cors { allowed_origins: vec!["https://a".into()], allowed_headers: vec!["X-Vault-Token".into(), "X-Own".into()] };
        let all = Cors { allowed_origins: vec!["*".into()], allowed_headers: vec![] };
        for (cors, method, origin, want) in [
            (None, "GET", Some("https://a"), 0),
            (Some(&cors), "GET", None, 0),
            (Some(&cors), "GET", Some("https://a"), 1),
            (Some(&cors), "LIST", Some("https://a"), 1),
            (Some(&cors), "GET", Some("https://a.evil"), 403),
            (Some(&cors), "GET", Some("https://A"), 403),
            (Some(&cors), "GET", Some("null"), 403),
            (Some(&cors), "GET", Some(""), 403),
            (Some(&cors), "OPTIONS", Some("https://b"), 403),
            (Some(&cors), "OPTIONS", Some("https://a"), 200),
            (Some(&all), "GET", Some("https://anything"), 1),
        ] {
            let head: Vec<(&'static str, &'static str)> = origin.map(|o| ("origin", o)).into_iter().collect();
            assert_eq!(ask(cors, method, &head).0, want, "{method} {origin:?}");
        }
    }

    #[test]
    fn a_preflight_is_told_what_may_be_sent() {
        let cors =
            Cors { allowed_origins: vec!["https://a".into()], allowed_headers: vec!["X-Vault-Token".into(), "X-Own".into()] };
        let (status, _, head) =
            ask(Some(&cors), "OPTIONS", &[("origin", "https://a"), ("access-control-request-method", "LIST")]);
        assert_eq!(status, 200);
        for (name, value) in [
            ("access-control-allow-origin", "https://a"),
            ("access-control-allow-methods", "DELETE,GET,OPTIONS,POST,PUT,PATCH,LIST"),
            ("access-control-allow-headers", "X-Vault-Token,X-Own"),
            ("access-control-max-age", "300"),
            ("vary", "Origin"),
        ] {
            assert_eq!(head[name], value, "{name}");
        }
        for odd in ["TRACE", "get", "GET,POST"] {
            let seen = ask(Some(&cors), "OPTIONS", &[("origin", "https://a"), ("access-control-request-method", odd)]);
            assert_eq!(seen.0, 405, "{odd}");
        }
    }
}
