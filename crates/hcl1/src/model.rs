//! The document as a tree: objects are ordered lists of items, and everything knows where it stood.
//!
//! Deliberately absent: `Debug` that shows a value (configurations hold credentials).

use std::fmt;

use serde_json::Value as Json;

/// A place in the text. Both count from 1; the column counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
}

/// The body of a document or of a block.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// In the order of the text.
    pub items: Vec<Item>,
}

/// `key = value` or `key "label" … { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The key and, for a block, its labels. Never empty.
    pub keys: Vec<Key>,
    /// The value; an [`Kind::Object`] for a block.
    pub value: Node,
    /// Whether it was written with `=` (or as a JSON member) and so may stand only once in its object.
    pub assigned: bool,
}

/// A key or a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Without quotes.
    pub text: String,
    /// Where it starts.
    pub position: Position,
}

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it starts.
    pub position: Position,
}

/// A value.
#[derive(Clone, PartialEq)]
pub enum Kind {
    /// A quoted text or a heredoc.
    Text(String),
    /// Its decimal text (`0x1f` and `017` are converted).
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// JSON only.
    Null,
    /// `[ … ]`.
    List(Vec<Node>),
    /// `{ … }`.
    Object(Object),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(nodes) => f.debug_list().entries(nodes.iter().map(|n| &n.kind)).finish(),
            Self::Object(object) => object.fmt(f),
            other => f.write_str(other.name()),
        }
    }
}

impl Kind {
    /// What it is, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Number(_) => "number",
            Self::Bool(_) => "bool",
            Self::Null => "null",
            Self::List(_) => "list",
            Self::Object(_) => "object",
        }
    }
}

/// A block found by [`Object::blocks`].
#[derive(Debug, Clone, PartialEq)]
pub struct Block<'a> {
    /// As many as were asked for.
    pub labels: Vec<&'a Key>,
    /// What stands between the braces.
    pub body: &'a Object,
    /// Where the block starts.
    pub position: Position,
}

/// A key whose value has another shape than the caller needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} must be {expected} at line {line}, column {column}")]
pub struct ShapeError {
    /// The key at fault.
    pub key: String,
    /// What it should be, with its article.
    pub expected: &'static str,
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
}

impl ShapeError {
    fn of(key: &Key, expected: &'static str) -> Self {
        Self { key: key.text.clone(), expected, line: key.position.line, column: key.position.column }
    }
}

impl Item {
    /// The key (not the labels). Items are never made without one.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.keys.first()
    }

    /// Whether the key is `name`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.keys.first().is_some_and(|k| k.text == name)
    }
}

impl Node {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON; see [`Object::to_json`].
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.kind {
            Kind::Text(text) => Json::String(text.clone()),
            Kind::Number(text) => serde_json::from_str(text).unwrap_or(Json::Null),
            Kind::Bool(b) => Json::Bool(*b),
            Kind::Null => Json::Null,
            Kind::List(nodes) => Json::Array(nodes.iter().map(Self::to_json).collect()),
            Kind::Object(object) => object.to_json(),
        }
    }
}

impl Object {
    /// The value of the attribute `name`. If it stands several times (allowed by [`crate::Options`]), the last one.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Node> {
        self.items.iter().rev().find(|i| i.keys.len() == 1 && i.is(name)).map(|i| &i.value)
    }

    /// The keys that `known` does not name, in order: to warn of, or to refuse.
    pub fn unknown_keys<'a>(&'a self, known: &'a [&str]) -> impl Iterator<Item = &'a Key> {
        self.items.iter().filter_map(Item::key).filter(move |k| !known.contains(&k.text.as_str()))
    }

    /// All blocks called `name`, flattened to `labels` labels, in whichever way they are written:
    /// `path "a" { … }`, `path = { "a" = { … } }`, `{"path": {"a": { … }}}`, `{"path": [{"a": { … }}]}`.
    pub fn blocks<'a>(&'a self, name: &str, labels: usize) -> Result<Vec<Block<'a>>, ShapeError> {
        let mut found = Vec::new();
        for item in self.items.iter().filter(|i| i.is(name)) {
            let Some((key, given)) = item.keys.split_first() else { continue };
            if given.len() > labels {
                return Err(ShapeError::of(key, "a block with fewer labels"));
            }
            let mut all = Vec::with_capacity(labels);
            all.extend(given.iter());
            flatten(key, all, &item.value, labels, &mut found)?;
        }
        Ok(found)
    }

    /// The document as JSON. Attributes become members, labels become nested objects (`path "a" {…}` is
    /// `{"path": {"a": {…}}}`), and a block that stands several times becomes an array of objects.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut root = serde_json::Map::new();
        for item in &self.items {
            let Some((last, parents)) = item.keys.split_last() else { continue };
            let mut here = &mut root;
            for key in parents {
                let slot = here.entry(key.text.clone()).or_insert_with(|| Json::Object(serde_json::Map::new()));
                let Some(next) = last_object(slot) else { return Json::Null };
                here = next;
            }
            let value = item.value.to_json();
            match here.get_mut(&last.text) {
                Some(Json::Array(many)) if !item.assigned => many.push(value),
                Some(old) if !item.assigned => *old = Json::Array(vec![old.take(), value]),
                _ => {
                    here.insert(last.text.clone(), value);
                }
            }
        }
        Json::Object(root)
    }
}

fn flatten<'a>(
    key: &Key,
    given: Vec<&'a Key>,
    value: &'a Node,
    labels: usize,
    found: &mut Vec<Block<'a>>,
) -> Result<(), ShapeError> {
    match &value.kind {
        Kind::List(nodes) => {
            for node in nodes {
                flatten(key, given.clone(), node, labels, found)?;
            }
            Ok(())
        }
        Kind::Object(body) if given.len() == labels => {
            let position = given.last().map_or(value.position, |k| k.position);
            found.push(Block { labels: given, body, position });
            Ok(())
        }
        Kind::Object(body) => {
            for item in &body.items {
                let mut longer = given.clone();
                longer.extend(item.keys.iter());
                if longer.len() > labels {
                    return Err(ShapeError::of(key, "a block with fewer labels"));
                }
                flatten(item.keys.first().unwrap_or(key), longer, &item.value, labels, found)?;
            }
            Ok(())
        }
        _ => Err(ShapeError::of(key, "a block")),
    }
}

/// The object in which a label's block goes: the slot itself, or the newest of an array of blocks. A scalar gives way.
fn last_object(slot: &mut Json) -> Option<&mut serde_json::Map<String, Json>> {
    if !slot.is_object() && !slot.as_array().is_some_and(|a| a.last().is_some_and(Json::is_object)) {
        *slot = Json::Object(serde_json::Map::new());
    }
    match slot {
        Json::Object(map) => Some(map),
        Json::Array(many) => many.last_mut().and_then(Json::as_object_mut),
        _ => None,
    }
}
