//! Limits on a JSON text before it is parsed: one pass over the bytes, no recursion, memory only for the keys of the open
//! objects (to notice a key that is there twice).

use std::collections::HashSet;

use crate::limits::{Limits, NUMBER_BYTES_MAX};

/// Which bound a text breaks; the words are Vault's. Texts that are no JSON pass here: the parser says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonLimit {
    #[error("JSON input exceeds allowed nesting depth")]
    Depth,
    #[error("JSON string value exceeds allowed length")]
    String,
    #[error("JSON object exceeds allowed entry count")]
    Entries,
    #[error("JSON array exceeds allowed element count")]
    Elements,
    #[error("JSON payload exceeds allowed token count")]
    Tokens,
    #[error("JSON number value exceeds allowed length")]
    Number,
    /// The key itself is not repeated to the client: it may be part of a secret sent to the wrong place.
    #[error("duplicate key in object")]
    DuplicateKey,
}

enum Open<'a> {
    Object { entries: usize, keys: HashSet<&'a [u8]>, key_next: bool },
    Array { elements: usize },
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    limits: &'a Limits,
    tokens: usize,
    stack: Vec<Open<'a>>,
}

/// Checks a body whose first byte is `{` or `[`.
pub(crate) fn check(text: &[u8], limits: &Limits) -> Result<(), JsonLimit> {
    Scan { text, at: 0, limits, tokens: 0, stack: Vec::new() }.run()
}

impl<'a> Scan<'a> {
    fn run(mut self) -> Result<(), JsonLimit> {
        while let Some(&b) = self.text.get(self.at) {
            match b {
                b'{' => {
                    self.value()?;
                    self.open(Open::Object { entries: 0, keys: HashSet::new(), key_next: true })?;
                }
                b'[' => {
                    self.value()?;
                    self.open(Open::Array { elements: 0 })?;
                }
                b'}' | b']' => {
                    self.stack.pop();
                    self.at += 1;
                }
                b'"' => self.string()?,
                b',' => {
                    if let Some(Open::Object { key_next, .. }) = self.stack.last_mut() {
                        *key_next = true;
                    }
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' | b'f' | b'n' => {
                    self.value()?;
                    self.skip(|b| b.is_ascii_alphabetic());
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn open(&mut self, container: Open<'a>) -> Result<(), JsonLimit> {
        self.stack.push(container);
        self.at += 1;
        if self.stack.len() > self.limits.max_json_depth { Err(JsonLimit::Depth) } else { Ok(()) }
    }

    /// Counts a value in whatever holds it.
    fn value(&mut self) -> Result<(), JsonLimit> {
        self.tokens += 1;
        if self.tokens > self.limits.max_json_tokens {
            return Err(JsonLimit::Tokens);
        }
        if let Some(Open::Array { elements }) = self.stack.last_mut() {
            *elements += 1;
            if *elements > self.limits.max_json_array_elements {
                return Err(JsonLimit::Elements);
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonLimit> {
        let start = self.at + 1;
        let mut end = start;
        while let Some(found) = self.text.get(end..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            end += found;
            if self.text.get(end) == Some(&b'"') {
                break;
            }
            // Whatever stands after a backslash belongs to the string.
            end += 2;
        }
        if self.text.get(end) != Some(&b'"') {
            end = self.text.len();
        }
        let inside = self.text.get(start..end.min(self.text.len())).unwrap_or_default();
        self.at = end + 1;
        if inside.len() > self.limits.max_json_string_bytes {
            return Err(JsonLimit::String);
        }
        let max_entries = self.limits.max_json_object_entries;
        if let Some(Open::Object { entries, keys, key_next: key_next @ true }) = self.stack.last_mut() {
            *key_next = false;
            *entries += 1;
            if *entries > max_entries {
                return Err(JsonLimit::Entries);
            }
            // Compared as written: two spellings of one key (by escapes) are left to the parser, where the last one wins.
            return if keys.insert(inside) { Ok(()) } else { Err(JsonLimit::DuplicateKey) };
        }
        self.value()
    }

    fn number(&mut self) -> Result<(), JsonLimit> {
        self.value()?;
        let start = self.at;
        self.skip(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
        if self.at - start > NUMBER_BYTES_MAX { Err(JsonLimit::Number) } else { Ok(()) }
    }

    fn skip(&mut self, of: impl Fn(u8) -> bool) {
        while self.text.get(self.at).is_some_and(|b| of(*b)) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Limits {
        Limits {
            max_json_depth: 3,
            max_json_string_bytes: 5,
            max_json_object_entries: 2,
            max_json_array_elements: 3,
            max_json_tokens: 12,
            ..Limits::default()
        }
    }

    #[test]
    fn each_bound_has_its_words() {
        for (text, want) in [
            (r#"{"a":{"b":[1,2]}}"#, None),
            (r#"{"a":{"b":[[1]]}}"#, Some(JsonLimit::Depth)),
            (r#"{"a":"12345"}"#, None),
            (r#"{"a":"123456"}"#, Some(JsonLimit::String)),
            (r#"{"123456":1}"#, Some(JsonLimit::String)),
            (r#"{"a":1,"b":2,"c":3}"#, Some(JsonLimit::Entries)),
            ("[1,2,3,4]", Some(JsonLimit::Elements)),
            ("[[1,2,3],[1,2,3],[1,2,3]]", Some(JsonLimit::Tokens)),
            (r#"{"a":1,"a":2}"#, Some(JsonLimit::DuplicateKey)),
            (r#"{"a":{"a":1},"b":{"a":1}}"#, None),
            (r#"{"a":"\"a","b":1}"#, None),
            (r#"{"a":"a","b":"a"}"#, None),
            ("[true,false,null]", None),
            ("{", None),
            (r#"{"a"#, None),
            (r#"{"a\"#, None),
            ("}]}]", None),
        ] {
            assert_eq!(check(text.as_bytes(), &small()).err(), want, "{text}");
        }
        let long = format!("[{}]", "1".repeat(65));
        assert_eq!(check(long.as_bytes(), &small()), Err(JsonLimit::Number));
    }

    #[test]
    fn a_deep_bomb_ends_at_the_bound() {
        let bomb = "[".repeat(10_000_000);
        assert_eq!(check(bomb.as_bytes(), &Limits::default()), Err(JsonLimit::Depth));
    }
}
