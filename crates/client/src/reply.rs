//! An answer, and what Vault's client makes of its status.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ClientError, ResponseError};
use crate::secret_reply::SecretReply;

/// An answer of any status. `Debug` shows no content.
#[derive(Clone)]
pub struct Reply {
    /// The verb on the wire.
    pub method: &'static str,
    /// The whole URL that answered, with query.
    pub url: String,
    /// The namespace that was asked for.
    pub namespace: Option<String>,
    /// The status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// Turns a status of 400 or above into an error. 429 stays an answer on `sys/health`, where it means "standby".
    pub fn check(self) -> Result<Self, ClientError> {
        if self.status < 400 || (self.status == 429 && self.url.contains("/v1/sys/health")) {
            return Ok(self);
        }
        Err(ClientError::Response(self.error()))
    }

    /// The body as a `T`, after [`Reply::check`].
    pub fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let reply = self.check()?;
        serde_json::from_slice(&reply.body).map_err(|e| undecodable(&e))
    }

    /// The body as a secret: `None` for 204 and for a 404 that says nothing more; a 404 with data or warnings (KV v2's deleted
    /// versions) is a secret, a 404 with errors is an error.
    pub fn secret(self) -> Result<Option<SecretReply>, ClientError> {
        if self.status == 404 {
            let parsed: Option<SecretReply> = serde_json::from_slice(&self.body).ok();
            if let Some(secret) = parsed.filter(|s| s.data.is_some() || !s.warnings().is_empty()) {
                return Ok(Some(secret));
            }
            let error = self.error();
            return if error.errors.is_empty() { Ok(None) } else { Err(ClientError::Response(error)) };
        }
        let reply = self.check()?;
        if reply.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        serde_json::from_slice(&reply.body).map(Some).map_err(|e| undecodable(&e))
    }

    fn error(self) -> ResponseError {
        let parsed: Option<Vec<String>> =
            serde_json::from_slice::<Value>(&self.body).ok().and_then(|body| match body.get("errors") {
                Some(Value::Array(errors)) => Some(errors.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
                _ => None,
            });
        let raw = parsed.is_none() && !self.body.is_empty();
        let errors = match parsed {
            Some(errors) => errors,
            None if raw => vec![String::from_utf8_lossy(&self.body).into_owned()],
            None => Vec::new(),
        };
        ResponseError { method: self.method, url: self.url, namespace: self.namespace, status: self.status, errors, raw }
    }
}

/// Where an answer is wrong. The parser's own words would quote the text, which may be a secret.
fn undecodable(e: &serde_json::Error) -> ClientError {
    let kind = if e.is_data() { "unexpected value" } else { "invalid JSON" };
    ClientError::Decode(format!("{kind} at line {} column {}", e.line(), e.column()))
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} {}: {}, {} bytes)", self.method, self.url, self.status, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &'static str) -> Reply {
        Reply {
            method: "GET",
            url: "http://h/v1/x".to_owned(),
            namespace: None,
            status,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn a_404_is_a_secret_only_if_it_says_something() {
        assert!(reply(404, r#"{"errors":[]}"#).secret().unwrap().is_none());
        assert!(reply(404, "").secret().unwrap().is_none());
        assert!(reply(204, "").secret().unwrap().is_none());
        assert!(reply(404, r#"{"data":{"metadata":{}}}"#).secret().unwrap().is_some());
        assert!(reply(404, r#"{"data":null,"warnings":["w"]}"#).secret().unwrap().is_some());
        let e = reply(404, r#"{"errors":["no handler"]}"#).secret().unwrap_err();
        assert!(e.to_string().ends_with("Code: 404. Errors:\n\n* no handler"), "{e}");
    }

    #[test]
    fn errors_and_raw_bodies() {
        for (status, body, end) in [
            (403, r#"{"errors":["permission denied"]}"#, "Code: 403. Errors:\n\n* permission denied"),
            (405, r#"{"errors":[]}"#, "Code: 405. Errors:\n\n"),
            (500, r#"{"errors":["a","b"]}"#, "Code: 500. Errors:\n\n* a* b"),
            (502, "bad gateway", "Code: 502. Raw Message:\n\nbad gateway"),
            (500, "", "Code: 500. Errors:\n\n"),
        ] {
            let text = reply(status, body).check().unwrap_err().to_string();
            assert!(text.ends_with(end), "{text}");
        }
        assert!(reply(399, "").check().is_ok());
    }

    #[test]
    fn bodies_that_are_not_json_are_refused() {
        assert!(matches!(reply(200, "<html>").secret(), Err(ClientError::Decode(_))));
        assert!(matches!(reply(200, "[").json::<Value>(), Err(ClientError::Decode(_))));
        let e = reply(200, r#""hunter2""#).secret().unwrap_err().to_string();
        assert!(!e.contains("hunter2"), "{e}");
    }
}
