//! From recorded answers to HTTP (contract §1.2, §1.6).

use std::collections::BTreeMap;

use audit::Logged;
use bytes::Bytes;
use engine::{Kind, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use server_core::{Answer, Failure, render, render_wrapped};

use crate::custom_headers::CustomHeaders;
use crate::forward;
use crate::reply_body::ReplyBody;
use crate::status;

/// An HTTP response.
pub type Reply = http::Response<ReplyBody>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serialises an answer that audit has seen (or that its table excuses).
pub(crate) fn answer(logged: Logged<Answer>) -> Reply {
    match logged.into_inner() {
        Answer::Failure(failure) => refusal(&failure),
        Answer::Wrapped(wrap) => body(StatusCode::OK, render_wrapped(&wrap)),
        Answer::Response { request_id, mount_type, response, is_list, is_read, inject } => {
            if let Kind::Bare { content_type, body, status } = response.kind {
                return with_headers(bare(status, &content_type, body), response.headers);
            }
            if let Kind::Stream { content_type, body } = &response.kind {
                return with_headers(stream(content_type, body), response.headers);
            }
            let headers = response.headers.clone();
            let reply = match shape(&response, is_list, is_read) {
                (status, true) => body(status, render(&response, &request_id, &mount_type, inject)),
                (StatusCode::NOT_FOUND, false) => errors(StatusCode::NOT_FOUND, &[]),
                (status, false) => empty(status),
            };
            with_headers(reply, headers)
        }
    }
}

fn with_headers(mut reply: Reply, headers: BTreeMap<String, Vec<String>>) -> Reply {
    for (name, values) in headers {
        for value in values {
            if let (Ok(n), Ok(v)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(&value)) {
                reply.headers_mut().append(n, v);
            }
        }
    }
    reply
}

fn stream(content_type: &str, body: &engine::Stream) -> Reply {
    let Some(pieces) = body.take() else { return refusal(&Failure::internal()) };
    let mut reply = http::Response::new(ReplyBody::Pieces(pieces));
    if let Ok(value) = HeaderValue::from_str(content_type) {
        reply.headers_mut().insert(CONTENT_TYPE, value);
    }
    reply
}

/// Status, and whether the envelope is sent.
fn shape(response: &Response, is_list: bool, is_read: bool) -> (StatusCode, bool) {
    let nothing = response.data.is_none() && response.auth.is_none() && response.secret.is_none() && response.warnings.is_empty();
    match response.kind {
        Kind::NotFoundEnvelope => (StatusCode::NOT_FOUND, true),
        Kind::Accepted => (StatusCode::ACCEPTED, !nothing),
        Kind::Envelope | Kind::Bare { .. } | Kind::Stream { .. } => {
            if nothing {
                return (if is_list || is_read { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT }, false);
            }
            let no_names =
                is_list && response.warnings.is_empty() && response.data.as_ref().is_some_and(engine::Data::is_empty_list);
            if no_names { (StatusCode::NOT_FOUND, false) } else { (StatusCode::OK, true) }
        }
    }
}

/// A failure in Vault's form.
pub(crate) fn refusal(failure: &Failure) -> Reply {
    let status = status::of(failure.kind);
    match &failure.data {
        None => errors(status, &failure.errors),
        Some(data) => json_body(status, &json!({ "errors": failure.errors, "data": data })),
    }
}

/// `{"errors": […]}`.
pub(crate) fn errors(status: StatusCode, texts: &[String]) -> Reply {
    json_body(status, &json!({ "errors": texts }))
}

/// A value as JSON with the final newline Go writes.
pub(crate) fn json_body<T: serde::Serialize>(status: StatusCode, value: &T) -> Reply {
    body(status, api_types::json::to_vec(value).unwrap_or_else(|_| b"{\"errors\":[]}".to_vec()))
}

fn body(status: StatusCode, mut text: Vec<u8>) -> Reply {
    text.push(b'\n');
    let mut reply = http::Response::new(ReplyBody::from(Bytes::from(text)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

pub(crate) fn bare(status: u16, content_type: &str, bytes: Vec<u8>) -> Reply {
    let mut reply = http::Response::new(ReplyBody::from(Bytes::from(bytes)));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        reply.headers_mut().insert(CONTENT_TYPE, value);
    }
    reply
}

/// No body; JSON's content type all the same, as Vault has it.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = http::Response::new(ReplyBody::from(Bytes::new()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// 400 without anything: the path holds bytes that no name may hold.
pub(crate) fn unprintable() -> Reply {
    let mut reply = http::Response::new(ReplyBody::from(Bytes::new()));
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    reply
}

/// Go's page for a path outside the API.
pub(crate) fn nowhere() -> Reply {
    bare(404, "text/plain; charset=utf-8", b"404 page not found\n".to_vec())
}

/// 307 with Go's little page for those who read.
pub(crate) fn redirect(to: &str, is_get: bool) -> Reply {
    let page = format!(
        "<a href=\"{}\">Temporary Redirect</a>.\n\n",
        to.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;")
    );
    let mut reply = if is_get {
        bare(307, "text/html; charset=utf-8", page.into_bytes())
    } else {
        let mut reply = http::Response::new(ReplyBody::from(Bytes::new()));
        *reply.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        reply
    };
    if let Ok(value) = HeaderValue::from_str(to) {
        reply.headers_mut().insert(LOCATION, value);
    }
    reply
}

/// An answer of the leader, for its client here.
pub(crate) fn passed_back(answer: http::Response<Bytes>) -> Reply {
    let (parts, body) = answer.into_parts();
    let mut reply = http::Response::new(ReplyBody::from(body));
    *reply.status_mut() = parts.status;
    *reply.headers_mut() = forward::end_to_end(&parts.headers);
    reply.headers_mut().remove(CONTENT_LENGTH);
    reply
}

/// What every reply carries.
pub(crate) fn finish(mut reply: Reply, namespace: Option<&HeaderValue>, custom: &CustomHeaders) -> Reply {
    let status = reply.status();
    let head = reply.headers_mut();
    head.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(ns) = namespace {
        head.insert(api_types::headers::NAMESPACE, ns.clone());
    }
    custom.apply(status, head);
    reply
}

/// What is left of a rate limit. `Retry-After` only where the request was refused.
pub(crate) fn pace(head: &mut HeaderMap, verdict: &server_core::Verdict) {
    let reset = verdict.reset.as_secs();
    for (name, number) in
        [("x-ratelimit-limit", verdict.limit), ("x-ratelimit-remaining", verdict.remaining), ("x-ratelimit-reset", reset)]
    {
        head.insert(name, HeaderValue::from(number));
    }
    if !verdict.allowed {
        head.insert(RETRY_AFTER, HeaderValue::from(reset));
    }
}

/// Lines as they come, for as long as the client stays.
pub(crate) fn lines(receiver: tokio::sync::mpsc::Receiver<Bytes>) -> Reply {
    let mut reply = http::Response::new(ReplyBody::Lines(receiver));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_404_for_readers_and_204_for_writers() {
        let none = Response::default();
        assert_eq!(shape(&none, false, true), (StatusCode::NOT_FOUND, false));
        assert_eq!(shape(&none, true, false), (StatusCode::NOT_FOUND, false));
        assert_eq!(shape(&none, false, false), (StatusCode::NO_CONTENT, false));
        assert_eq!(shape(&Response::list(vec![]), true, false), (StatusCode::NOT_FOUND, false));
        assert_eq!(shape(&Response::list(vec![]).with_warning("w"), true, false), (StatusCode::OK, true));
        assert_eq!(shape(&Response::list(vec!["a".into()]), true, false), (StatusCode::OK, true));
        assert_eq!(shape(&Response::json(json!({})), false, true), (StatusCode::OK, true));
        assert_eq!(shape(&Response { kind: Kind::Accepted, ..Response::default() }, false, false), (StatusCode::ACCEPTED, false));
    }
}
