//! `custom_response_headers` of a listener (contract §8.2): headers for all answers, for a class of statuses, for one status.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, StatusCode};

/// What TCP listeners send unless another value is configured (Vault's default, also without TLS).
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// For which statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    All,
    /// The first digit.
    Class(u16),
    One(u16),
}

/// The configured headers.
#[derive(Debug, Clone, Default)]
pub struct CustomHeaders {
    /// Ascending, so that what is closer to a status comes later and wins.
    sets: BTreeMap<Which, HeaderMap>,
}

/// Why a header cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomHeaderError {
    /// Neither `default`, `2xx` nor `200`.
    #[error("invalid status {0:?}: expected \"default\", a class such as \"2xx\" or a code such as \"404\"")]
    Status(String),
    /// No header has such a name or value.
    #[error("invalid header {0:?}")]
    Header(String),
    /// A name of Vault's own.
    #[error("header {0:?} begins with X-Vault- and is ignored")]
    Reserved(String),
}

impl CustomHeaders {
    /// Adds a header for `default`, a class (`4xx`) or a status (`404`).
    pub fn add(&mut self, status: &str, name: &str, values: &[String]) -> Result<(), CustomHeaderError> {
        let which = which(status).ok_or_else(|| CustomHeaderError::Status(status.to_owned()))?;
        if name.to_ascii_lowercase().starts_with("x-vault-") {
            return Err(CustomHeaderError::Reserved(name.to_owned()));
        }
        let wrong = || CustomHeaderError::Header(name.to_owned());
        let header = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(&values.join("; ")).map_err(|_| wrong())?;
        self.sets.entry(which).or_default().insert(header, value);
        Ok(())
    }

    /// Puts the headers for a reply's status into it. What the reply itself says stays.
    pub(crate) fn apply(&self, status: StatusCode, head: &mut HeaderMap) {
        let code = status.as_u16();
        let mut wanted = HeaderMap::new();
        wanted.insert(STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
        for which in [Which::All, Which::Class(code / 100), Which::One(code)] {
            for (name, value) in self.sets.get(&which).into_iter().flatten() {
                wanted.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in &wanted {
            if !head.contains_key(name) {
                head.insert(name.clone(), value.clone());
            }
        }
    }
}

fn which(status: &str) -> Option<Which> {
    if status == "default" {
        return Some(Which::All);
    }
    if let Some(class) = status.strip_suffix("xx") {
        return class.parse().ok().filter(|c| (1..=5).contains(c)).map(Which::Class);
    }
    status.parse().ok().filter(|c| (100..600).contains(c)).map(Which::One)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(custom: &CustomHeaders, code: u16, name: &str) -> Option<String> {
        let mut head = HeaderMap::new();
        head.insert("content-type", "application/json".parse().unwrap());
        custom.apply(StatusCode::from_u16(code).unwrap(), &mut head);
        head.get(name).map(|v| v.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_closest_status_wins() {
        let mut c = CustomHeaders::default();
        for (status, name, value) in [
            ("default", "X-One", "all"),
            ("default", "Content-Type", "text/html"),
            ("default", "Strict-Transport-Security", "max-age=1"),
            ("4xx", "X-One", "class"),
            ("404", "X-One", "code"),
            ("404", "X-Two", "only here"),
        ] {
            c.add(status, name, &[value.to_owned()]).unwrap();
        }
        for (code, name, want) in [
            (200, "x-one", Some("all")),
            (400, "x-one", Some("class")),
            (404, "x-one", Some("code")),
            (404, "x-two", Some("only here")),
            (400, "x-two", None),
            (200, "content-type", Some("application/json")),
            (200, "strict-transport-security", Some("max-age=1")),
        ] {
            assert_eq!(shown(&c, code, name).as_deref(), want, "{code} {name}");
        }
        let none = CustomHeaders::default();
        assert_eq!(shown(&none, 200, "strict-transport-security").as_deref(), Some("max-age=31536000; includeSubDomains"));
    }

    #[test]
    fn what_is_no_status_or_header_is_named() {
        let mut c = CustomHeaders::default();
        let mut add = |s: &str, n: &str, v: &str| c.add(s, n, &[v.to_owned()]).unwrap_err().to_string();
        for status in ["", "2x", "xx", "9xx", "0xx", "99", "600", "-200", "default ", "20x"] {
            assert!(add(status, "X-A", "b").starts_with("invalid status"), "{status}");
        }
        assert_eq!(add("default", "x-vault-thing", "b"), "header \"x-vault-thing\" begins with X-Vault- and is ignored");
        assert_eq!(add("default", "a b", "b"), "invalid header \"a b\"");
        assert_eq!(add("default", "X-Split", "a\r\nSet-Cookie: b"), "invalid header \"X-Split\"");
    }
}
