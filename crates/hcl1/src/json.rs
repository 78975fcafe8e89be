//! JSON documents to the same tree. `serde_json` would lose positions and hide duplicate keys.

use std::collections::HashSet;

use crate::parser::once;
use crate::{Item, Key, Kind, NESTING_LIMIT_LEVELS, Node, Object, Options, ParseError, Position};

/// Parses a JSON document, whose top must be an object.
pub(crate) fn document(text: &str, options: Options) -> Result<Object, ParseError> {
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0, options };
    reader.blank();
    let node = reader.value(0)?;
    reader.blank();
    if reader.peek().is_some() {
        return Err(reader.error("unexpected text after the document"));
    }
    match node.kind {
        Kind::Object(object) => Ok(object),
        _ => Err(ParseError::at(node.position, "expected an object")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
    options: Options,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn position(&self) -> Position {
        Position { line: self.line, column: self.at - self.line_start + 1 }
    }

    fn error(&self, message: &str) -> ParseError {
        ParseError::at(self.position(), message)
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            let newline = self.peek() == Some(b'\n');
            self.at += 1;
            if newline {
                self.line += 1;
                self.line_start = self.at;
            }
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node, ParseError> {
        self.blank();
        let position = self.position();
        if depth > NESTING_LIMIT_LEVELS {
            return Err(ParseError::at(position, "nested too deeply"));
        }
        let kind = match self.peek() {
            Some(b'{') => Kind::Object(self.object(depth)?),
            Some(b'[') => Kind::List(self.list(depth)?),
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(Node { kind, position })
    }

    fn object(&mut self, depth: usize) -> Result<Object, ParseError> {
        self.at += 1;
        let mut object = Object::default();
        let mut seen = HashSet::new();
        if self.eat(b'}') {
            return Ok(object);
        }
        loop {
            self.blank();
            let position = self.position();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a quoted key"));
            }
            let text = self.string()?;
            if !self.eat(b':') {
                return Err(self.error("expected ':' after a key"));
            }
            let value = self.value(depth + 1)?;
            let item = Item { keys: vec![Key { text, position }], value, assigned: true };
            if !self.options.allow_duplicate_attributes {
                once(&item, &mut seen)?;
            }
            object.items.push(item);
            if self.eat(b'}') {
                return Ok(object);
            }
            if !self.eat(b',') {
                return Err(self.error("expected ',' or '}' in an object"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, ParseError> {
        self.at += 1;
        let mut nodes = Vec::new();
        if self.eat(b']') {
            return Ok(nodes);
        }
        loop {
            nodes.push(self.value(depth + 1)?);
            if self.eat(b']') {
                return Ok(nodes);
            }
            if !self.eat(b',') {
                return Err(self.error("expected ',' or ']' in a list"));
            }
        }
    }

    /// Finds the end of the string here, and lets `serde_json` undo its escapes.
    fn string(&mut self) -> Result<String, ParseError> {
        let rest = self.rest();
        let mut escaped = false;
        for (i, b) in rest.bytes().enumerate().skip(1) {
            match b {
                b'\n' => break,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    let raw = rest.get(..=i).unwrap_or("");
                    let text = serde_json::from_str(raw).map_err(|_| self.error("invalid escape in string"))?;
                    self.at += i + 1;
                    return Ok(text);
                }
                _ => {}
            }
        }
        Err(self.error("string not terminated"))
    }

    fn number(&mut self) -> Result<String, ParseError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.')).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or("");
        if serde_json::from_str::<serde_json::Number>(text).is_err() {
            return Err(self.error("malformed number"));
        }
        self.at += end;
        Ok(text.to_owned())
    }

    fn word(&mut self) -> Result<Kind, ParseError> {
        for (word, kind) in [("true", Kind::Bool(true)), ("false", Kind::Bool(false)), ("null", Kind::Null)] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        Err(self.error("expected a JSON value"))
    }
}
