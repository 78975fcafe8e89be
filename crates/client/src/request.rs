//! One request as a value: what the caller wants, before any address or token is known.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use secret::SecretString;
use serde::Serialize;

/// Characters that Go's `url.URL` escapes in a path.
const PATH_ESCAPES: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The verb. `List` travels as `GET` with `list=true`, which every proxy lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// List.
    List,
    /// Write, as the command line sends it.
    Put,
    /// Write, as some calls of the library send it.
    Post,
    /// Merge patch.
    Patch,
    /// Delete.
    Delete,
    /// Health probes.
    Head,
}

impl Method {
    /// The verb on the wire.
    #[must_use]
    pub fn on_wire(self) -> &'static str {
        match self {
            Self::Get | Self::List => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }
}

/// What travels in a request.
#[derive(Clone, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// JSON text.
    Json(Vec<u8>),
    /// A JSON merge patch (RFC 7396).
    MergePatch(Vec<u8>),
    /// A file, streamed; opened again for each attempt.
    File(PathBuf),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Json(b) => write!(f, "Json({} bytes)", b.len()),
            Self::MergePatch(b) => write!(f, "MergePatch({} bytes)", b.len()),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A request below `/v1/`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// Path below `/v1/`, not escaped, without a leading slash, cleaned as Go's `path.Join` does (so a trailing slash is gone).
    pub path: String,
    /// Query parameters in order, without `list`.
    pub query: Vec<(String, String)>,
    /// What travels.
    pub body: Body,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// Replaces the client's token; `Some(None)` sends none.
    pub token: Option<Option<SecretString>>,
    /// Whether the client's namespace is sent.
    pub namespaced: bool,
    /// Whether the client's wrap TTL is sent.
    pub wrapped: bool,
    /// Whether the client's timeout applies; streams and snapshots have none.
    pub timed: bool,
}

impl Request {
    /// A request without body.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: clean(path),
            query: Vec::new(),
            body: Body::Empty,
            headers: Vec::new(),
            token: None,
            namespaced: true,
            wrapped: true,
            timed: true,
        }
    }

    /// A read.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::Get, path)
    }

    /// A list.
    #[must_use]
    pub fn list(path: &str) -> Self {
        Self::new(Method::List, path)
    }

    /// A write.
    #[must_use]
    pub fn put(path: &str) -> Self {
        Self::new(Method::Put, path)
    }

    /// A write by POST.
    #[must_use]
    pub fn post(path: &str) -> Self {
        Self::new(Method::Post, path)
    }

    /// A merge patch.
    #[must_use]
    pub fn patch(path: &str) -> Self {
        Self::new(Method::Patch, path)
    }

    /// A deletion.
    #[must_use]
    pub fn delete(path: &str) -> Self {
        Self::new(Method::Delete, path)
    }

    /// With `value` as JSON body (a merge patch if the verb is PATCH). A value that JSON cannot hold leaves the body empty;
    /// maps and plain structs always can be held.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        let bytes = api_types::json::to_vec(value).unwrap_or_default();
        self.body = if self.method == Method::Patch { Body::MergePatch(bytes) } else { Body::Json(bytes) };
        self
    }

    /// With the content of a file as body.
    #[must_use]
    pub fn file(mut self, path: PathBuf) -> Self {
        self.body = Body::File(path);
        self
    }

    /// With one more query parameter.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this token instead of the client's.
    #[must_use]
    pub fn with_token(mut self, token: SecretString) -> Self {
        self.token = Some(Some(token));
        self
    }

    /// Without any token.
    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.token = Some(None);
        self
    }

    /// In the root namespace, whatever the client's is.
    #[must_use]
    pub fn without_namespace(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// Not wrapped, whatever the client asks for otherwise.
    #[must_use]
    pub fn without_wrapping(mut self) -> Self {
        self.wrapped = false;
        self
    }

    /// Without a time limit.
    #[must_use]
    pub fn untimed(mut self) -> Self {
        self.timed = false;
        self
    }

    /// Escaped path and query as they stand behind the server's address: `/v1/secret/data/a%20b?version=2`.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let mut out = format!("/v1/{}", utf8_percent_encode(&self.path, PATH_ESCAPES));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        if self.method == Method::List {
            query.append_pair("list", "true");
        }
        let query = query.finish();
        if !query.is_empty() {
            out.push('?');
            out.push_str(&query);
        }
        out
    }
}

/// Drops empty and `.` segments and resolves `..`, as `path.Join` does; the server would only redirect otherwise.
fn clean(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                out.pop();
            }
            s => out.push(s),
        }
    }
    out.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_escaped() {
        for (path, url) in [
            ("secret/data/a", "/v1/secret/data/a"),
            ("/secret//a/./b/", "/v1/secret/a/b"),
            ("a/../b", "/v1/b"),
            ("../../b", "/v1/b"),
            ("kv/a b?c#d%e", "/v1/kv/a%20b%3Fc%23d%25e"),
            ("kv/ü", "/v1/kv/%C3%BC"),
            ("kv/a+b&c=d:e@f", "/v1/kv/a+b&c=d:e@f"),
        ] {
            assert_eq!(Request::get(path).path_and_query(), url);
        }
    }

    #[test]
    fn list_is_a_get_with_a_parameter() {
        let r = Request::list("secret/metadata/").param("after", "a b");
        assert_eq!((r.method.on_wire(), r.path_and_query().as_str()), ("GET", "/v1/secret/metadata?after=a+b&list=true"));
    }

    #[test]
    fn debug_shows_no_content() {
        let r = Request::put("x").json("hunter2").with_token(SecretString::from("hvs.x"));
        let shown = format!("{r:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("hvs.x"), "{shown}");
    }
}
