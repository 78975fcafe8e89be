//! From the head of an HTTP request to what it asks for: path, operation, headers, query (contract §1.1, §1.3).

use std::cell::RefCell;
use std::collections::BTreeMap;

use api_types::{Map, Operation, duration, headers};
use engine::WrapRequest;
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use secret::{Entropy, SecretString, SystemEntropy};
use serde_json::Value;

use crate::limits::PATH_BYTES_MAX;

/// Where a URL leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A path below `/v1/`, decoded.
    Logical(String),
    /// Somewhere else on this server.
    Redirect(String),
    /// The web UI's files, below `/ui/`.
    Ui(String),
    /// Nowhere.
    Nowhere,
    /// The path holds bytes that no name may hold.
    Unprintable,
}

/// Finds the place. Vault's router cleans the path as it was sent (so an encoded `..` stays), answers an unclean one with a
/// redirect, and decodes afterwards.
pub(crate) fn place(uri: &Uri, ui: bool) -> Place {
    let raw = uri.path();
    if raw.len() > PATH_BYTES_MAX {
        return Place::Unprintable;
    }
    let with_query = |path: String| match uri.query() {
        Some(q) => format!("{path}?{q}"),
        None => path,
    };
    match raw {
        "/" if ui => return Place::Redirect("/ui/".into()),
        "/ui" if ui => return Place::Redirect("/ui/".into()),
        "/v1" | "/v1/sys" => return Place::Redirect(with_query(format!("{raw}/"))),
        _ => {}
    }
    if let Some(clean) = cleaned(raw) {
        return Place::Redirect(with_query(clean));
    }
    if let Some(file) = raw.strip_prefix("/ui/").filter(|_| ui) {
        return Place::Ui(file.to_owned());
    }
    let Some(below) = raw.strip_prefix("/v1/") else { return Place::Nowhere };
    // Nearly every path is what it says.
    if below.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'%') {
        return Place::Logical(below.to_owned());
    }
    match percent_decode_str(below).decode_utf8() {
        Ok(path) if path.chars().all(is_printable) => Place::Logical(path.into_owned()),
        _ => Place::Unprintable,
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    match c {
        ' ' => true,
        '\u{00a0}'
        | '\u{00ad}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}'
        | '\u{3000}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{10ffff}' => false,
        c => !c.is_control(),
    }
}

/// The path without `//`, `/./` and `/../`; `None` if it has none of them.
fn cleaned(path: &str) -> Option<String> {
    let mut segments = path.split('/').skip(1).peekable();
    let mut dirty = false;
    while let Some(segment) = segments.next() {
        dirty |= match segment {
            "" => segments.peek().is_some(),
            "." | ".." => true,
            _ => false,
        };
    }
    if !dirty {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            s => kept.push(s),
        }
    }
    let tail = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{tail}", kept.join("/")))
}

/// What a method and query ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An operation; the map is the query where it is the data.
    Operation(Operation, Map),
    /// 405.
    UnknownMethod,
    /// `list=` with something that is no boolean: 400 without text.
    BadQuery,
}

/// Reads method and query.
pub(crate) fn operation(method: &Method, uri: &Uri) -> Asked {
    let query = parse_form(uri.query().unwrap_or_default().as_bytes());
    if query.get("help").is_some_and(|v| v.as_str().is_some_and(|s| !s.is_empty())) || method.as_str() == "HELP" {
        return Asked::Operation(Operation::Help, Map::new());
    }
    match method.as_str() {
        "GET" if query.get("scan").is_some_and(|v| v.as_str() == Some("true")) => {
            Asked::Operation(Operation::Scan, without(query, "scan"))
        }
        "GET" => match query.get("list").and_then(Value::as_str).filter(|s| !s.is_empty()) {
            None => Asked::Operation(Operation::Read, query),
            Some(text) => match parse_bool(text) {
                Some(true) => Asked::Operation(Operation::List, without(query, "list")),
                Some(false) => Asked::Operation(Operation::Read, without(query, "list")),
                None => Asked::BadQuery,
            },
        },
        "LIST" => Asked::Operation(Operation::List, without(query, "list")),
        "SCAN" => Asked::Operation(Operation::Scan, without(query, "scan")),
        "DELETE" => Asked::Operation(Operation::Delete, query),
        "POST" | "PUT" => Asked::Operation(Operation::Update, Map::new()),
        "PATCH" => Asked::Operation(Operation::Patch, Map::new()),
        // `sys/health` is probed with HEAD, and its parameters count.
        "HEAD" => Asked::Operation(Operation::Header, query),
        "OPTIONS" => Asked::Operation(Operation::Header, Map::new()),
        _ => Asked::UnknownMethod,
    }
}

fn without(mut query: Map, name: &str) -> Map {
    query.remove(name);
    query
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A query as data: a key that is there several times becomes a list.
pub(crate) fn parse_form(text: &[u8]) -> Map {
    let mut map = Map::new();
    if text.is_empty() {
        return map;
    }
    let text = String::from_utf8_lossy(text);
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |s: &str| percent_decode_str(&s.replace('+', " ")).decode_utf8_lossy().into_owned();
        let value = Value::String(decode(value));
        match map.get_mut(&decode(key)) {
            None => {
                map.insert(decode(key), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    map
}

/// A fresh request id: a random (version 4) UUID, RFC 9562 §5.4. Ids are told to everybody and decide nothing, so their bytes are
/// drawn for many at a time. `None` if the system has none.
pub(crate) fn id() -> Option<String> {
    const POOL_BYTES: usize = 64 * 16;
    thread_local! {
        static POOL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let bytes = POOL.with_borrow_mut(|pool| {
        if pool.len() < 16 {
            *pool = SystemEntropy.bytes(POOL_BYTES).ok()?;
        }
        pool.split_off(pool.len() - 16).try_into().ok()
    })?;
    let number = (u128::from_be_bytes(bytes) & !(0xf000 << 64) & !(0xc000 << 48)) | (0x4000 << 64) | (0x8000 << 48);
    let mut out = String::with_capacity(36);
    for digit in 0..32u32 {
        if matches!(digit, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        let nibble = u32::try_from((number >> (124 - 4 * digit)) & 0xf).unwrap_or(0);
        out.push(char::from_digit(nibble, 16).unwrap_or('0'));
    }
    Some(out)
}

/// The token: `X-Vault-Token`, else the first `Authorization` that begins with exactly `Bearer `.
pub(crate) fn token(head: &HeaderMap) -> SecretString {
    let text = head.get(headers::TOKEN).and_then(|v| v.to_str().ok()).map(str::trim).filter(|t| !t.is_empty());
    let bearer = || {
        head.get_all(headers::AUTHORIZATION)
            .iter()
            .find_map(|v| v.to_str().ok().and_then(|t| t.strip_prefix("Bearer ")).map(str::trim))
    };
    text.or_else(bearer).map(SecretString::from).unwrap_or_default()
}

/// The other headers, by lower-case name. What carries the token never goes further (CVE-2026-4525); of `Authorization` only HTTP
/// Basic does, which clients of the OIDC provider show who they are with.
pub(crate) fn other_headers(head: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in head {
        let Ok(text) = value.to_str() else { continue };
        let carries_token = match name.as_str() {
            headers::TOKEN => true,
            headers::AUTHORIZATION => !text.starts_with("Basic "),
            _ => false,
        };
        if !carries_token {
            out.entry(name.as_str().to_owned()).or_default().push(text.to_owned());
        }
    }
    out
}

/// Reads `X-Vault-Wrap-TTL` and checks the headers that can be wrong. The error is a 400's text.
pub(crate) fn checked_headers(head: &HeaderMap) -> Result<Option<WrapRequest>, String> {
    if head.contains_key(headers::FORWARD) {
        return Err("forwarding via header X-Vault-Forward disabled in configuration".into());
    }
    for value in head.get_all(headers::MFA) {
        let text = value.to_str().unwrap_or_default();
        let (name, rest) = text.split_once(':').map_or((text, None), |(n, r)| (n, Some(r)));
        let missing = if name.is_empty() {
            "missing method name or ID"
        } else if rest == Some("") {
            "missing method value"
        } else {
            continue;
        };
        return Err(format!("failed to parse X-Vault-MFA header: invalid data in header \"X-Vault-MFA\"; {missing}"));
    }
    // A header that is there and cannot be read is an error: without it the answer would go out unwrapped.
    let text = head.get(headers::WRAP_TTL).map_or(Ok(""), |v| v.to_str());
    let text = text.map_err(|_| "error parsing X-Vault-Wrap-TTL header: it is not text".to_owned())?;
    if text.is_empty() {
        return Ok(None);
    }
    let ttl = duration::parse(text).map_err(|e| format!("error parsing X-Vault-Wrap-TTL header: {e}"))?;
    let ttl = ttl
        .unsigned()
        .ok_or_else(|| "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative".to_owned())?;
    let format = head.get(headers::WRAP_FORMAT).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok((!ttl.is_zero()).then_some(WrapRequest { ttl, format }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(uri: &str) -> Place {
        place(&uri.parse().unwrap(), false)
    }

    #[test]
    fn paths_lead_where_vaults_do() {
        let logical = |s: &str| Place::Logical(s.into());
        let redirect = |s: &str| Place::Redirect(s.into());
        for (uri, want) in [
            ("/v1/secret/data/a", logical("secret/data/a")),
            ("/v1/secret/data/a/", logical("secret/data/a/")),
            ("/v1/", logical("")),
            ("/v1", redirect("/v1/")),
            ("/v1/sys", redirect("/v1/sys/")),
            ("/v1/a//b?x=1", redirect("/v1/a/b?x=1")),
            ("/v1/a/../b", redirect("/v1/b")),
            ("/v1/a/./b/", redirect("/v1/a/b/")),
            ("/v1/../../etc", redirect("/etc")),
            ("/v1/a/%2e%2e/x", logical("a/../x")),
            ("/v1/a%2Fb", logical("a/b")),
            ("/v1/a%20b", logical("a b")),
            ("/v1/%C3%A4", logical("ä")),
            ("/v1/a%00b", Place::Unprintable),
            ("/v1/a%0Ab", Place::Unprintable),
            ("/v1/a%E2%80%AEb", Place::Unprintable),
            ("/v1/%FF", Place::Unprintable),
            ("/", Place::Nowhere),
            ("/v2/sys/health", Place::Nowhere),
            ("/ui/", Place::Nowhere),
        ] {
            assert_eq!(at(uri), want, "{uri}");
        }
        assert_eq!(at(&format!("/v1/{}", "a".repeat(9000))), Place::Unprintable);
        assert_eq!(place(&"/".parse().unwrap(), true), redirect("/ui/"));
    }

    #[test]
    fn queries_are_data_and_list_is_an_operation() {
        let ask = |m: &str, uri: &str| operation(&Method::from_bytes(m.as_bytes()).unwrap(), &uri.parse().unwrap());
        let op = |o, v: Value| Asked::Operation(o, v.as_object().unwrap().clone());
        assert_eq!(
            ask("GET", "/v1/a?version=1&version=2&x=a+b"),
            op(Operation::Read, json!({"version": ["1", "2"], "x": "a b"}))
        );
        assert_eq!(ask("GET", "/v1/a?list=true&after=b"), op(Operation::List, json!({"after": "b"})));
        assert_eq!(ask("LIST", "/v1/a?list=1"), op(Operation::List, json!({})));
        assert_eq!(ask("SCAN", "/v1/a?limit=2"), op(Operation::Scan, json!({"limit": "2"})));
        assert_eq!(ask("GET", "/v1/a?scan=true"), op(Operation::Scan, json!({})));
        assert_eq!(ask("GET", "/v1/a?scan=1"), op(Operation::Read, json!({"scan": "1"})));
        assert_eq!(ask("GET", "/v1/a?list=perhaps"), Asked::BadQuery);
        assert_eq!(ask("GET", "/v1/a?help=1"), op(Operation::Help, json!({})));
        assert_eq!(ask("PUT", "/v1/a?x=1"), op(Operation::Update, json!({})));
        assert_eq!(ask("PURGE", "/v1/a"), Asked::UnknownMethod);
    }

    #[test]
    fn ids_are_version_4_and_differ() {
        let ids: std::collections::BTreeSet<String> = (0..500).map(|_| id().unwrap()).collect();
        assert_eq!(ids.len(), 500);
        for id in ids {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
            assert!(id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }

    #[test]
    fn bad_headers_are_named() {
        let check = |name: &'static str, value: &'static str| {
            let mut head = HeaderMap::new();
            head.insert(name, value.parse().unwrap());
            checked_headers(&head)
        };
        assert_eq!(check(headers::WRAP_TTL, "60").unwrap().unwrap().ttl.as_secs(), 60);
        assert_eq!(check(headers::WRAP_TTL, "0"), Ok(None));
        for (name, value, text) in [
            (headers::WRAP_TTL, "-5s", "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative"),
            (
                headers::MFA,
                ":",
                "failed to parse X-Vault-MFA header: invalid data in header \"X-Vault-MFA\"; missing method name or ID",
            ),
            (
                headers::MFA,
                "n:",
                "failed to parse X-Vault-MFA header: invalid data in header \"X-Vault-MFA\"; missing method value",
            ),
            (headers::FORWARD, "active-node", "forwarding via header X-Vault-Forward disabled in configuration"),
        ] {
            assert_eq!(check(name, value), Err(text.to_owned()));
        }
        assert!(check(headers::WRAP_TTL, "soon").is_err());
        assert!(check(headers::WRAP_TTL, "60\u{e9}").is_err());
    }

    #[test]
    fn the_token_never_travels_on() {
        let mut head = HeaderMap::new();
        head.insert("authorization", "Bearer  hvs.x ".parse().unwrap());
        assert_eq!(token(&head).expose(), "hvs.x");
        head.insert("x-vault-token", "hvs.y".parse().unwrap());
        assert_eq!(token(&head).expose(), "hvs.y");
        head.insert("user-agent", "t".parse().unwrap());
        assert_eq!(other_headers(&head).keys().collect::<Vec<_>>(), ["user-agent"]);
        let mut basic = HeaderMap::new();
        basic.insert("authorization", "bearer hvs.x".parse().unwrap());
        assert!(token(&basic).is_empty());
        assert!(other_headers(&basic).is_empty(), "what looks like a token stays here");
        basic.insert("authorization", "Basic YTpi".parse().unwrap());
        assert!(token(&basic).is_empty());
        assert_eq!(other_headers(&basic)["authorization"], ["Basic YTpi"]);
    }
}
