//! Policy text to rules (contract §4.1). A mistake is refused when the policy is written, so compiling cannot fail.

use std::sync::Arc;
use std::time::Duration;

use hcl1::{Block, Key, Kind, Node};
use serde_json::Value;

use crate::capability::Capabilities;
use crate::params::{Conditions, ValueLists, merge_lists};
use crate::pattern::Pattern;
use crate::template::{Identity, Template};

/// Keys that may stand in a `path` block. The last ones belong to features of Vault Enterprise: they are accepted, as Vault's
/// free edition does, and say nothing here.
pub(crate) const PATH_KEYS: [&str; 11] = [
    "capabilities",
    "policy",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "comment",
    "mfa_methods",
    "control_group",
    "subscribe_event_types",
];

/// A policy, parsed. Immutable; share it in an [`Arc`].
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    name: Arc<str>,
    text: String,
    rules: Vec<Rule>,
}

/// One `path` block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) path: RulePath,
    /// The path as it stands in the text, for people.
    pub(crate) written: Box<str>,
    /// The line of the text that the stanza starts in.
    pub(crate) line: usize,
    pub(crate) capabilities: Capabilities,
    pub(crate) conditions: Conditions,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RulePath {
    Fixed(Pattern),
    Templated(Template),
}

/// Why a policy's text is refused. The texts are the client's answer; they name keys and paths, never parameter values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Neither HCL1 nor JSON.
    #[error("failed to parse policy: {0}")]
    Syntax(#[from] hcl1::ParseError),
    /// A `path` that is no block, or with no or several labels.
    #[error("failed to parse policy: {0}")]
    Shape(#[from] hcl1::ShapeError),
    /// A key that policies do not have.
    #[error("failed to parse policy: {context}invalid key {key:?} on line {line}")]
    UnknownKey {
        /// Empty, or `path "x": `.
        context: String,
        /// The key.
        key: String,
        /// Its line.
        line: usize,
    },
    /// A key with a value of another type than it takes.
    #[error("failed to parse policy: path {path:?}: {key:?} on line {line} must be {expected}")]
    WrongType {
        /// The rule's path.
        path: String,
        /// The key at fault.
        key: String,
        /// Its line.
        line: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// A capability that does not exist.
    #[error("failed to parse policy: path {path:?}: invalid capability {capability:?}")]
    Capability {
        /// The rule's path.
        path: String,
        /// The word.
        capability: String,
    },
    /// `policy = "…"` with a word that does not exist.
    #[error("failed to parse policy: path {path:?}: invalid policy {policy:?}")]
    LegacyPolicy {
        /// The rule's path.
        path: String,
        /// The word.
        policy: String,
    },
    /// `+*` would match a part of a segment and more.
    #[error("failed to parse policy: path {path:?}: invalid use of wildcards ('+*' is forbidden)")]
    Wildcards {
        /// The rule's path.
        path: String,
    },
    /// `{{` and `}}` do not pair up.
    #[error("failed to parse policy: path {path:?}: unbalanced templating characters")]
    Template {
        /// The rule's path.
        path: String,
    },
    /// No request could keep both limits.
    #[error("failed to parse policy: path {path:?}: max_wrapping_ttl cannot be less than min_wrapping_ttl")]
    WrappingOrder {
        /// The rule's path.
        path: String,
    },
}

impl Policy {
    /// Parses policy text, HCL1 or JSON.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        Self::parse_with(name, text, hcl1::Options::default())
    }

    /// [`Policy::parse`], with a say about duplicate attributes (for policies stored before they were refused).
    pub fn parse_with(name: &str, text: &str, options: hcl1::Options) -> Result<Self, PolicyError> {
        let document = hcl1::parse_with(text, options)?;
        if let Some(key) = document.unknown_keys(&["path", "name"]).next() {
            return Err(PolicyError::UnknownKey { context: String::new(), key: key.text.clone(), line: key.position.line });
        }
        let rules = document.blocks("path", 1)?.iter().map(Rule::read).collect::<Result<_, _>>()?;
        Ok(Self { name: name.into(), text: text.to_owned(), rules })
    }

    /// The name it is stored under (not the `name` in the text).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, byte for byte.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether its rules depend on who asks, so that a compiled [`crate::Acl`] is good for one identity only.
    #[must_use]
    pub fn is_templated(&self) -> bool {
        self.rules.iter().any(|r| matches!(r.path, RulePath::Templated(_)))
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    fn read(block: &Block<'_>) -> Result<Self, PolicyError> {
        let path = block.labels.first().map_or("", |k| k.text.as_str());
        if let Some(key) = block.body.unknown_keys(&PATH_KEYS).next() {
            let context = format!("path {path:?}: ");
            return Err(PolicyError::UnknownKey { context, key: key.text.clone(), line: key.position.line });
        }
        let reader = Reader { path, block };
        let capabilities = reader.capabilities()?;
        let conditions = Conditions {
            allowed: reader.value_lists("allowed_parameters")?,
            denied: reader.value_lists("denied_parameters")?,
            required: reader.names("required_parameters")?,
            min_wrap_ttl: reader.duration("min_wrapping_ttl")?,
            max_wrap_ttl: reader.duration("max_wrapping_ttl")?,
        };
        if !conditions.max_wrap_ttl.is_zero() && conditions.max_wrap_ttl < conditions.min_wrap_ttl {
            return Err(PolicyError::WrappingOrder { path: path.to_owned() });
        }
        let line = block.labels.first().map_or(block.position.line, |k| k.position.line);
        Ok(Self { path: RulePath::read(path)?, written: path.into(), line, capabilities, conditions })
    }
}

impl RulePath {
    /// The pattern for a caller; `None` if a template cannot be filled (safely).
    pub(crate) fn pattern(&self, identity: Option<&Identity>) -> Option<Pattern> {
        match self {
            Self::Fixed(pattern) => Some(pattern.clone()),
            Self::Templated(template) => identity.and_then(|i| template.render(i)),
        }
    }

    fn read(path: &str) -> Result<Self, PolicyError> {
        if path.contains("+*") {
            return Err(PolicyError::Wildcards { path: path.to_owned() });
        }
        let relative = path.strip_prefix('/').unwrap_or(path);
        let template = Template::parse(relative).map_err(|()| PolicyError::Template { path: path.to_owned() })?;
        Ok(if template.is_templated() { Self::Templated(template) } else { Self::Fixed(Pattern::new(relative)) })
    }
}

struct Reader<'a> {
    path: &'a str,
    block: &'a Block<'a>,
}

impl<'a> Reader<'a> {
    fn wrong(&self, key: &str, node: &Node, expected: &'static str) -> PolicyError {
        PolicyError::WrongType { path: self.path.to_owned(), key: key.to_owned(), line: node.position.line, expected }
    }

    /// The value of a key; the last one if duplicates are allowed.
    fn value(&self, key: &str) -> Option<&'a Node> {
        self.block.body.items.iter().rev().find(|i| i.is(key)).map(|i| &i.value)
    }

    fn capabilities(&self) -> Result<Capabilities, PolicyError> {
        let mut set = Capabilities::NONE;
        if let Some(node) = self.value("policy") {
            let word = node.as_str().ok_or_else(|| self.wrong("policy", node, "a string"))?;
            if !word.is_empty() {
                let invalid = || PolicyError::LegacyPolicy { path: self.path.to_owned(), policy: word.to_owned() };
                set = set.with(Capabilities::legacy(word).ok_or_else(invalid)?);
            }
        }
        for word in self.texts("capabilities")? {
            let invalid = || PolicyError::Capability { path: self.path.to_owned(), capability: word.to_owned() };
            set = set.with(Capabilities::named(word).ok_or_else(invalid)?);
        }
        Ok(if set.is_deny() { Capabilities::DENY } else { set })
    }

    fn texts(&self, key: &str) -> Result<Vec<&'a str>, PolicyError> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Node { kind: Kind::List(nodes), .. }) => {
                nodes.iter().map(|n| n.as_str().ok_or_else(|| self.wrong(key, n, "a list of strings"))).collect()
            }
            Some(node) => Err(self.wrong(key, node, "a list of strings")),
        }
    }

    fn names(&self, key: &str) -> Result<Vec<String>, PolicyError> {
        let mut names: Vec<String> = Vec::new();
        for name in self.texts(key)? {
            let name = name.to_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn value_lists(&self, key: &str) -> Result<ValueLists, PolicyError> {
        let mut lists = ValueLists::new();
        for item in self.block.body.items.iter().filter(|i| i.is(key)) {
            let Kind::Object(object) = &item.value.kind else { return Err(self.wrong(key, &item.value, "an object of lists")) };
            if item.keys.len() > 1 {
                return Err(self.wrong(key, &item.value, "an object of lists"));
            }
            for entry in &object.items {
                let (Some(Key { text, .. }), Kind::List(nodes)) = (entry.key(), &entry.value.kind) else {
                    return Err(self.wrong(key, &entry.value, "an object of lists"));
                };
                let one = ValueLists::from([(text.to_lowercase(), nodes.iter().map(Node::to_json).collect())]);
                merge_lists(&mut lists, &one);
            }
        }
        Ok(lists)
    }

    /// A TTL as text (`"90s"`) or as a number of seconds.
    fn duration(&self, key: &str) -> Result<Duration, PolicyError> {
        let Some(node) = self.value(key) else { return Ok(Duration::ZERO) };
        let text = match node.to_json() {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(self.wrong(key, node, "a duration")),
        };
        let ttl = api_types::duration::parse(&text).ok().and_then(api_types::duration::Signed::unsigned);
        ttl.ok_or_else(|| self.wrong(key, node, "a duration"))
    }
}
