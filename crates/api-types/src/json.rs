//! JSON as Go's encoder writes it: `<`, `>`, `&`, U+2028 and U+2029 inside strings come out as `\u00XX`, so that a body can
//! stand inside an HTML page.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

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
    fn numbers_keep_every_digit() {
        let v: serde_json::Value = serde_json::from_str("123456789012345678901234567890.5").unwrap();
        assert_eq!(to_string(&v).unwrap(), "123456789012345678901234567890.5");
    }
}
