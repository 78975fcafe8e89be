//! HCL1 and JSON documents: policies, server configuration, password policies.
//!
//! Vault reads HCL1, which is not HCL2: several attributes in a one-line block, commas between attributes, quoted keys,
//! octal numbers, `${…}` as plain text. No maintained Rust crate reads it, so this is our own front end (contract crates.md §5).
//! Every key and value keeps its line and column, so that a caller can name the key at fault.
//!
//! Deliberately absent: evaluation (functions, variables, interpolation) and schemas. Messages never quote a value: it may be a secret.

mod convert;
mod fmt;
mod json;
mod lexer;
mod model;
mod parser;

pub use fmt::fmt;
pub use model::{Block, Item, Key, Kind, Node, Object, Position, ShapeError};

/// Objects and lists may lie this deep in each other. Real policies need three levels, configurations five; the parser is
/// recursive, so the limit keeps a hostile document from exhausting the stack.
pub const NESTING_LIMIT_LEVELS: usize = 64;

/// How strict [`parse_with`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Accept the same attribute twice in one object (the last one counts). Vault refuses it since 1.21, and relaxes it under
    /// `VAULT_ALLOW_PENDING_REMOVAL_DUPLICATE_HCL_ATTRIBUTES`.
    pub allow_duplicate_attributes: bool,
}

/// Where a document stops being readable, and why. Lines and columns count from 1; a column counts bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}")]
pub struct ParseError {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
    /// What is wrong; never the text of a value.
    pub message: String,
}

impl ParseError {
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Self {
        Self { line: position.line, column: position.column, message: message.into() }
    }
}

/// Parses a document: JSON if its first byte that is not blank is `{`, else HCL1.
pub fn parse(text: &str) -> Result<Object, ParseError> {
    parse_with(text, Options::default())
}

/// [`parse`] with other rules than the default.
pub fn parse_with(text: &str, options: Options) -> Result<Object, ParseError> {
    if is_json(text) { json::document(text, options) } else { parser::document(text, options) }
}

pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}
