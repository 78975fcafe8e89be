//! Typed reads of one stanza, with the coercions operators rely on (`"1"`, `1` and `true` are all true; durations are seconds or
//! Go durations).

use std::path::Path;
use std::time::Duration;

use hcl1::{Kind, Node, Object, ShapeError};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or parsed.
    #[error("configuration {0}: {1}")]
    File(String, String),
    /// A stanza has the wrong shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A value is wrong; the text names the key.
    #[error("{0}")]
    Invalid(String),
}

impl ConfigError {
    pub(super) fn file(path: &Path, e: impl ToString) -> Self {
        Self::File(path.display().to_string(), e.to_string())
    }
}

/// Reads one object; remembers warnings.
pub(super) struct Reader<'a> {
    place: &'static str,
    object: &'a Object,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(place: &'static str, object: &'a Object) -> Self {
        Self { place, object, warnings: Vec::new() }
    }

    pub(super) fn object(&self) -> &'a Object {
        self.object
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    fn wrong(&self, name: &str, node: &Node, expected: &str) -> ConfigError {
        let p = node.position;
        ConfigError::Invalid(format!("{}{name} must be {expected} (line {}, column {})", self.place, p.line, p.column))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        let Some(node) = self.object.attribute(name) else { return Ok(None) };
        match &node.kind {
            Kind::Text(t) | Kind::Number(t) => Ok(Some(t.clone())),
            _ => Err(self.wrong(name, node, "a text")),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ConfigError> {
        let Some(node) = self.object.attribute(name) else { return Ok(None) };
        let value = match &node.kind {
            Kind::Bool(b) => Some(*b),
            Kind::Number(t) | Kind::Text(t) => match t.to_lowercase().as_str() {
                "1" | "t" | "true" => Some(true),
                "0" | "f" | "false" | "" => Some(false),
                _ => None,
            },
            _ => None,
        };
        value.map(Some).ok_or_else(|| self.wrong(name, node, "true or false"))
    }

    /// A flag as text, for where the environment wins.
    pub(super) fn text_of_flag(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.flag(name)?.map(|on| on.to_string()))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, ConfigError> {
        let Some(node) = self.object.attribute(name) else { return Ok(None) };
        match &node.kind {
            Kind::Number(t) | Kind::Text(t) => t.trim().parse().map(Some).map_err(|_| self.wrong(name, node, "a whole number")),
            _ => Err(self.wrong(name, node, "a whole number")),
        }
    }

    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(node) = self.object.attribute(name) else { return Ok(None) };
        let parsed = match &node.kind {
            Kind::Number(t) | Kind::Text(t) => api_types::duration::parse(t).ok().and_then(api_types::duration::Signed::unsigned),
            _ => None,
        };
        parsed.map(Some).ok_or_else(|| self.wrong(name, node, "a duration such as \"768h\" or a number of seconds"))
    }
}
