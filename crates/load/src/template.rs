//! A request as bytes, with holes for the running number and the seconds until a common expiry.
//! Absent on purpose: escaping. Only digits are ever filled in.

use std::io::Write;
use std::net::SocketAddr;

use crate::plan::RequestPlan;

/// A request ready to be written again and again into one buffer.
#[derive(Debug)]
pub struct Template {
    line: Vec<Piece>,
    headers: Vec<u8>,
    body: Option<Body>,
}

/// What is filled into the holes.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    /// For `{{i}}`.
    pub number: u64,
    /// For `{{ttl}}`, whole seconds.
    pub ttl_seconds: u64,
}

#[derive(Debug)]
enum Body {
    /// No holes: the length is known.
    Fixed(Vec<u8>),
    Varying(Vec<Piece>),
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Number,
    Ttl,
}

impl Template {
    /// Cuts the plan's request into pieces.
    pub fn new(request: &RequestPlan, address: SocketAddr) -> Self {
        let line = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        let mut headers = format!("Host: {address}\r\n");
        if let Some(token) = &request.token {
            headers.push_str("X-Vault-Token: ");
            headers.push_str(token);
            headers.push_str("\r\n");
        }
        let body = request.body.as_deref().map(|text| {
            let pieces = cut(text);
            if pieces.iter().all(|piece| matches!(piece, Piece::Bytes(_))) {
                Body::Fixed(text.as_bytes().to_vec())
            } else {
                Body::Varying(pieces)
            }
        });
        Self { line: cut(&line), headers: headers.into_bytes(), body }
    }

    /// Whether `{{ttl}}` occurs, so that the clock has to be read.
    pub fn has_ttl(&self) -> bool {
        let body = match &self.body {
            Some(Body::Varying(pieces)) => pieces.contains(&Piece::Ttl),
            _ => false,
        };
        body || self.line.contains(&Piece::Ttl)
    }

    /// Writes the whole request to `out`, which is emptied first. `scratch` is room for a body.
    pub fn write(&self, filling: Filling, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        out.clear();
        fill(&self.line, filling, out);
        out.extend_from_slice(&self.headers);
        match &self.body {
            None => out.extend_from_slice(b"\r\n"),
            Some(Body::Fixed(bytes)) => with_body(bytes, out),
            Some(Body::Varying(pieces)) => {
                scratch.clear();
                fill(pieces, filling, scratch);
                with_body(scratch, out);
            }
        }
    }
}

fn with_body(body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
    digits(u64::try_from(body.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

fn fill(pieces: &[Piece], filling: Filling, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Number => digits(filling.number, out),
            Piece::Ttl => digits(filling.ttl_seconds, out),
        }
    }
}

fn digits(number: u64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _infallible = write!(out, "{number}");
}

fn cut(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let number = rest.split_once("{{i}}");
        let ttl = rest.split_once("{{ttl}}");
        let (before, piece, after) = match (number, ttl) {
            (Some((before, after)), Some((other, _))) if before.len() < other.len() => (before, Piece::Number, after),
            (_, Some((before, after))) => (before, Piece::Ttl, after),
            (Some((before, after)), None) => (before, Piece::Number, after),
            (None, None) => break,
        };
        if !before.is_empty() {
            pieces.push(Piece::Bytes(before.as_bytes().to_vec()));
        }
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Bytes(rest.as_bytes().to_vec()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str, body: Option<&str>, number: u64) -> String {
        let request = RequestPlan {
            method: "POST".to_owned(),
            path: path.to_owned(),
            token: Some("t".to_owned()),
            body: body.map(str::to_owned),
            expect: vec![],
            first: 0,
            spread: None,
            expire_at: None,
        };
        let template = Template::new(&request, "127.0.0.1:1".parse().unwrap());
        let (mut out, mut scratch) = (b"left over".to_vec(), b"left over".to_vec());
        template.write(Filling { number, ttl_seconds: 59 }, &mut out, &mut scratch);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn holes_are_filled_and_the_length_is_that_of_the_filled_body() {
        let head = "HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Vault-Token: t\r\n";
        let json = "Content-Type: application/json\r\nContent-Length:";
        let cases = [
            ("/a", None, format!("POST /a {head}\r\n")),
            ("/k-{{i}}", None, format!("POST /k-1234 {head}\r\n")),
            ("/{{i}}/{{i}}/{{ttl}}x", None, format!("POST /1234/1234/59x {head}\r\n")),
            ("/a", Some(r#"{"a":{"b":1}}"#), format!("POST /a {head}{json} 13\r\n\r\n{}", r#"{"a":{"b":1}}"#)),
            (
                "/a",
                Some(r#"{"ttl":"{{ttl}}s","n":{{i}}}"#),
                format!("POST /a {head}{json} 22\r\n\r\n{}", r#"{"ttl":"59s","n":1234}"#),
            ),
        ];
        for (path, body, expected) in cases {
            assert_eq!(written(path, body, 1234), expected);
        }
    }

    #[test]
    fn the_clock_is_read_only_where_needed() {
        for (text, needed) in [("{{ttl}}", true), ("{{i}}", false), ("{ttl}", false), ("{}", false)] {
            assert_eq!(cut(text).contains(&Piece::Ttl), needed, "{text}");
        }
    }
}
