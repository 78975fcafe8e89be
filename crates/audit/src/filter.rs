//! `filter`: which requests a device records, as a boolean expression over facts of the request, in the language of go-bexpr.
//!
//! ```text
//! mount_type == "kv" and operation in ["read", "list"] or not path matches "^sys/"
//! ```
//!
//! Selectors: `mount_point`, `mount_type`, `namespace` (always empty: there is one), `operation`, `path`; also as JSON pointers
//! (`"/mount_type"`). Operators: `==`, `!=`, `in`, `not in`, `contains`, `not contains`, `matches`, `not matches`, `is empty`,
//! `is not empty`, `and`, `or`, `not`, parentheses; `and` binds closer than `or`. For `in` and `contains` a text holds its parts.
//! Deliberately absent: other facts of a request. What was sent or who asked must not decide whether it is seen.

mod parse;

use regex::Regex;

use crate::record::RequestFacts;

/// A filter that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Filter(Expression);

/// Why a filter was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is longer than any sensible one.
    #[error("it is longer than 4096 bytes")]
    TooLong,
    /// Parentheses or `not` go too deep.
    #[error("it is nested too deeply")]
    TooDeep,
    /// Something else was expected.
    #[error("at byte {at}: expected {expected}")]
    Syntax {
        /// Where, counted from 0.
        at: usize,
        /// What.
        expected: &'static str,
    },
    /// There is no such fact.
    #[error("selector {0:?} is not one of mount_point, mount_type, namespace, operation, path")]
    Selector(String),
    /// A regular expression that is none, or is too large.
    #[error("the regular expression {0:?} cannot be used")]
    Pattern(String),
}

/// No filter that somebody wrote comes near.
const FILTER_BYTES_MAX: usize = 4 << 10;

#[derive(Debug, Clone)]
enum Expression {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Test(Fact, Test),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    MountPoint,
    MountType,
    Namespace,
    Operation,
    Path,
}

#[derive(Debug, Clone)]
enum Test {
    Equals(String),
    /// The fact's text holds this one.
    Holds(String),
    /// The fact is one of these.
    OneOf(Vec<String>),
    Matches(Regex),
    Empty,
}

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        parse::expression(text).map(Self)
    }

    pub(crate) fn takes(&self, request: &RequestFacts<'_>) -> bool {
        self.0.holds(request)
    }
}

impl Expression {
    fn holds(&self, request: &RequestFacts<'_>) -> bool {
        match self {
            Self::Or(a, b) => a.holds(request) || b.holds(request),
            Self::And(a, b) => a.holds(request) && b.holds(request),
            Self::Not(a) => !a.holds(request),
            Self::Test(fact, test) => test.holds(fact.of(request)),
        }
    }
}

impl Fact {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mount_point" => Self::MountPoint,
            "mount_type" => Self::MountType,
            "namespace" => Self::Namespace,
            "operation" => Self::Operation,
            "path" => Self::Path,
            _ => return None,
        })
    }

    fn of<'a>(self, request: &'a RequestFacts<'_>) -> &'a str {
        match self {
            Self::MountPoint => request.mount_point,
            Self::MountType => request.mount_type,
            Self::Namespace => "",
            Self::Operation => request.operation.as_str(),
            Self::Path => request.path,
        }
    }
}

impl Test {
    fn holds(&self, fact: &str) -> bool {
        match self {
            Self::Equals(text) => fact == text,
            Self::Holds(part) => fact.contains(part.as_str()),
            Self::OneOf(texts) => texts.iter().any(|text| text == fact),
            Self::Matches(pattern) => pattern.is_match(fact),
            Self::Empty => fact.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests;
