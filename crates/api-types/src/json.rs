//! JSON as Go's encoder writes it: `<`, `>`, `&`, U+2028 and U+2029 inside strings come out as `\u00XX`, so that a body can
//! stand inside an HTML page.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::Map;

/// Serialises `value` in Go's form, without a trailing newline.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    to_writer(&mut out, value)?;
    Ok(out)
}

/// Serialises `value` in Go's form behind what is in `out`, for callers who know how long it will be.
pub fn to_writer<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, GoFormatter(CompactFormatter)))
}

/// Serialises `value` in Go's form as text.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let bytes = to_vec(value)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// A string in quotes, behind what is in `out`.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // Most text has nothing to escape, and this loop looks at many bytes at a time. 0xe2 begins U+2028 and U+2029.
    let special = |b: u8| b < 0x20 || matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
    if text.bytes().fold(false, |found, b| found | special(b)) {
        escaped(out, text);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        let short = match c {
            '"' => b'"',
            '\\' => b'\\',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to memory does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
                continue;
            }
            c => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

/// An object, behind what is in `out`. The same text as [`to_writer`]'s, without the way through a serialiser.
pub fn map(out: &mut Vec<u8>, map: &Map) {
    out.push(b'{');
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        self::value(out, value);
    }
    out.push(b'}');
}

/// Any value, behind what is in `out`. Depth is bounded where values come in.
pub fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                self::value(out, item);
            }
            out.push(b']');
        }
        Value::Object(object) => map(out, object),
    }
}

struct GoFormatter(CompactFormatter);

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Most text has nothing to escape, and looking for that byte by byte is many times faster than a search for characters.
        // 0xe2 begins U+2028 and U+2029.
        if !fragment.bytes().fold(false, |found, b| found | matches!(b, b'<' | b'>' | b'&' | 0xe2)) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let Some(c) = tail.chars().next() else { break };
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = tail.split_at(c.len_utf8()).1;
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.0.write_raw_fragment(writer, fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_go_escapes() {
        assert_eq!(to_string(&"a<b>&c\u{2028}é\"").unwrap(), r#""a\u003cb\u003e\u0026c\u2028é\"""#);
        assert_eq!(to_string(&serde_json::json!({"<k>": [1, null]})).unwrap(), r#"{"\u003ck\u003e":[1,null]}"#);
    }

    #[test]
    fn values_are_written_as_the_serialiser_does() {
        let text = r#"{"a<":[1,-2.50,1e400,true,false,null,"\u0000\u001f\b\f\n\r\t\"\\/ \u007f\u2028\u2029\u2030<>&\u00e9\ud83d\ude00"],"b":{},"c":[]}"#;
        let parsed: Value = serde_json::from_str(text).unwrap();
        let mut out = Vec::new();
        value(&mut out, &parsed);
        assert_eq!(String::from_utf8(out).unwrap(), to_string(&parsed).unwrap());
    }

    #[test]
    fn numbers_keep_every_digit() {
        let v: serde_json::Value = serde_json::from_str("123456789012345678901234567890.5").unwrap();
        assert_eq!(to_string(&v).unwrap(), "123456789012345678901234567890.5");
    }
}
