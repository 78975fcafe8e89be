//! The text in `data`, hashed while it is written: by default all of it, at any depth, so a field that an engine adds tomorrow
//! does not leak. Keys, numbers, booleans and what was exempted by name stay as they are.

use std::io::Write;

use api_types::Map;
use serde_json::Value;

use super::json::{array, decimal, string};
use crate::hash::Hasher;

/// How one payload is written.
pub(super) struct Mask<'a> {
    /// `None` writes in plain.
    pub(super) hasher: Option<&'a Hasher>,
    /// Top-level keys that stay plain.
    pub(super) plain: &'a [String],
    /// Write counts for the top-level `keys` and `key_info`.
    pub(super) elide: bool,
}

impl Mask<'_> {
    /// The object as values.
    pub(super) fn map(&self, out: &mut Vec<u8>, map: &Map) {
        members(out, map, |out, key, value| match (self.elide, key, value) {
            (true, "keys", Value::Array(names)) => decimal(out, names.len() as u64),
            (true, "key_info", Value::Object(infos)) => decimal(out, infos.len() as u64),
            _ if self.is_plain(key) => masked(out, value, None),
            _ => masked(out, value, self.hasher),
        });
    }

    /// The object as JSON text, which must be valid: copied but for its strings. A string before a colon is a key and nothing else
    /// is, so no stack of containers is needed.
    pub(super) fn raw(&self, out: &mut Vec<u8>, text: &str) {
        let mut walk = Walk { rest: text.as_bytes(), depth: 0 };
        // Whether the value under the present top-level key stays plain.
        let mut exempt = false;
        while let Some((&byte, after)) = walk.rest.split_first() {
            if byte != b'"' {
                walk.step(byte, after);
                out.push(byte);
                continue;
            }
            let (inside, after) = string_end(after);
            walk.rest = after;
            if !is_key(after) {
                match self.hasher.filter(|_| !exempt) {
                    Some(hasher) => hashed(out, inside, hasher),
                    None => quoted(out, inside),
                }
                continue;
            }
            quoted(out, inside);
            if walk.depth == 1 {
                exempt = self.plain.iter().any(|key| unescaped(inside, |text| text == key));
                if self.elide && matches!(inside, b"keys" | b"key_info") {
                    walk.count(out);
                }
            }
        }
    }

    fn is_plain(&self, key: &str) -> bool {
        self.plain.iter().any(|plain| plain == key)
    }
}

/// A place in JSON text.
struct Walk<'t> {
    rest: &'t [u8],
    depth: usize,
}

impl<'t> Walk<'t> {
    fn step(&mut self, byte: u8, after: &'t [u8]) {
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.rest = after;
    }

    /// At the colon before a value: writes how many items the value has if it has any, and passes it; else leaves it.
    fn count(&mut self, out: &mut Vec<u8>) {
        let Some(colon) = self.rest.iter().position(|b| *b == b':') else { return };
        let value = self.rest.get(colon + 1..).unwrap_or_default().trim_ascii_start();
        let object = match value.first() {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => return,
        };
        let (level, mut items, mut some) = (self.depth, 0u64, false);
        self.rest = value;
        while let Some((&byte, after)) = self.rest.split_first() {
            if byte == b'"' {
                self.rest = string_end(after).1;
                some = true;
                continue;
            }
            self.step(byte, after);
            match byte {
                b',' if self.depth == level + 1 => items += 1,
                b'}' | b']' if self.depth == level => break,
                b' ' | b'\n' | b'\r' | b'\t' => {}
                b'{' if object && self.depth == level + 1 => {}
                b'[' if !object && self.depth == level + 1 => {}
                _ => some = true,
            }
        }
        out.push(b':');
        decimal(out, items + u64::from(some));
    }
}

/// What is between the quotes, and what follows the second one.
fn string_end(after_quote: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    loop {
        let found = after_quote.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest));
        let Some(found) = found.map(|n| at + n) else { return (after_quote, &[]) };
        if after_quote.get(found) == Some(&b'"') {
            return (after_quote.get(..found).unwrap_or_default(), after_quote.get(found + 1..).unwrap_or_default());
        }
        // Whatever stands after a backslash belongs to the string.
        at = found + 2;
    }
}

fn is_key(after: &[u8]) -> bool {
    after.trim_ascii_start().first() == Some(&b':')
}

fn quoted(out: &mut Vec<u8>, inside: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(inside);
    out.push(b'"');
}

fn hashed(out: &mut Vec<u8>, inside: &[u8], hasher: &Hasher) {
    let digits = unescaped(inside, |text| hasher.digits(text));
    quoted(out, &digits);
}

/// Gives what the inside of a string literal means.
fn unescaped<T>(inside: &[u8], take: impl FnOnce(&str) -> T) -> T {
    match std::str::from_utf8(inside) {
        Ok(text) if !inside.contains(&b'\\') => take(text),
        _ => {
            let mut literal = Vec::with_capacity(inside.len() + 2);
            quoted(&mut literal, inside);
            // The text is valid by contract; if it were not, nothing of it must show.
            take(&serde_json::from_slice::<String>(&literal).unwrap_or_default())
        }
    }
}

/// A value whose texts are hashed at any depth. Depth is bounded where JSON comes in.
fn masked(out: &mut Vec<u8>, value: &Value, hasher: Option<&Hasher>) {
    match value {
        Value::String(text) => match hasher {
            Some(hasher) => quoted(out, &hasher.digits(text)),
            None => string(out, text),
        },
        Value::Array(items) => array(out, items, |out, item| masked(out, item, hasher)),
        Value::Object(map) => members(out, map, |out, _, value| masked(out, value, hasher)),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(number) => {
            // Numbers keep their digits, and writing to memory does not fail.
            let _ = write!(out, "{number}");
        }
    }
}

fn members(out: &mut Vec<u8>, map: &Map, mut write: impl FnMut(&mut Vec<u8>, &str, &Value)) {
    out.push(b'{');
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        write(out, key, value);
    }
    out.push(b'}');
}
