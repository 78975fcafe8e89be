//! The rules of all of a token's policies, compiled for lookup, and the decision.
//!
//! Exact rules stand in a hash map. Rules with wildcards are grouped by their *head*, the text before the first wildcard. Heads
//! that start the path are tried longest first: a later first wildcard always wins, so the first match decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use serde_json::{Value, json};

use crate::capability::Capabilities;
use crate::document::Policy;
use crate::grant::{Denial, DenialReason, Grant, GrantKind, Source};
use crate::params::{Conditions, ValueLists};
use crate::pattern::{Pattern, Wild};
use crate::prefix_table::PrefixTable;
use crate::segments::Segments;
use crate::template::Identity;

/// A request, as far as a decision needs it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What is asked for, after the existence check (create or update).
    pub operation: Operation,
    /// The full logical path, exactly as the router sees it; of a list, with its closing `/`.
    pub path: &'a str,
    /// Body or query parameters.
    pub data: &'a Map,
    /// The client's wish for response wrapping.
    pub wrap_ttl: Option<Duration>,
    /// Whether the path needs `sudo` ([`crate::paths::needs_sudo`]).
    pub needs_sudo: bool,
}

/// A compiled access list.
#[derive(Debug)]
pub struct Acl {
    /// Set for the root policy, which needs no rules.
    root: Option<Arc<[Source]>>,
    exact: HashMap<Box<str>, Rule>,
    heads: PrefixTable<Segments<Rule>>,
}

/// All that the policies say about one pattern.
#[derive(Debug)]
struct Rule {
    capabilities: Capabilities,
    /// Boxed: most rules have none.
    conditions: Option<Box<Conditions>>,
    sources: Arc<[Source]>,
}

/// A rule that matched, and its pattern.
type Hit<'a> = (&'a str, &'a Rule);

impl Acl {
    /// The access list of the `root` policy: everything.
    #[must_use]
    pub fn root() -> Self {
        let sources = [Source { policy: "root".into(), capabilities: Capabilities::SUDO }];
        Self { root: Some(sources.into()), exact: HashMap::new(), heads: PrefixTable::new(BTreeMap::new()) }
    }

    /// Whether it allows everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root.is_some()
    }

    /// Compiles the policies of a token, in the order of their names. A rule with a template that `identity` cannot fill, or
    /// cannot fill safely, is dropped. Never yields root: that is [`Acl::root`], for the caller to decide.
    #[must_use]
    pub fn compile(policies: &[Arc<Policy>], identity: Option<&Identity>) -> Self {
        let mut drafts: BTreeMap<Box<str>, Draft> = BTreeMap::new();
        for policy in policies {
            for rule in policy.rules() {
                let Some(pattern) = rule.path.pattern(identity) else { continue };
                let draft = drafts.entry(pattern.text().into()).or_insert_with(|| Draft::new(pattern));
                draft.add(policy.shared_name(), rule.capabilities, &rule.conditions);
            }
        }
        let mut exact = HashMap::new();
        let mut heads: BTreeMap<Box<str>, Vec<(Wild, Rule)>> = BTreeMap::new();
        for (text, draft) in drafts {
            let (pattern, rule) = draft.finish();
            match pattern {
                Pattern::Exact(_) => {
                    exact.insert(text, rule);
                }
                Pattern::Wild(wild) => heads.entry(wild.head().into()).or_default().push((wild, rule)),
            }
        }
        let heads = heads.into_iter().map(|(head, rules)| (head, Segments::new(rules))).collect();
        Self { root: None, exact, heads: PrefixTable::new(heads) }
    }

    /// Allows or refuses a request.
    pub fn decide(&self, ask: &Ask<'_>) -> Result<Grant, Denial> {
        if let Some(root) = &self.root {
            return Ok(Grant::by_policies(GrantKind::Root, true, Arc::clone(root), Capabilities::SUDO));
        }
        if ask.operation == Operation::Help {
            return Ok(Grant::by_nobody(GrantKind::Rule));
        }
        let list = ask.operation.is_listing();
        let Some((pattern, rule)) = self.lookup(ask.path, list) else {
            return Err(Denial { reason: DenialReason::NoRule, pattern: None });
        };
        rule.decide(ask).map_err(|reason| Denial { reason, pattern: Some(pattern.to_owned()) })
    }

    /// What the caller may do on a path, for `sys/capabilities`: sorted; `["root"]`; `["deny"]` for nothing.
    #[must_use]
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.is_root() {
            return vec!["root"];
        }
        self.lookup(path, true).map_or(Capabilities::NONE, |(_, rule)| rule.capabilities).names()
    }

    /// Whether any rule allows something at or below `prefix`, a mount's path with its `/`.
    #[must_use]
    pub fn touches(&self, prefix: &str) -> bool {
        if self.is_root() {
            return true;
        }
        let bare = prefix.strip_suffix('/').unwrap_or(prefix);
        if self.exact.iter().any(|(path, rule)| rule.allows_something() && (path.starts_with(prefix) || &**path == bare)) {
            return true;
        }
        // A denied prefix hides every rule whose first wildcard comes earlier.
        let denied =
            self.wild_rules().filter(|(w, r)| r.capabilities.is_deny() && w.is_plain_prefix() && prefix.starts_with(w.head()));
        let hidden = denied.map(|(w, _)| w.head().len()).max();
        self.wild_rules().any(|(wild, rule)| {
            rule.allows_something()
                && (wild.reaches(prefix) || wild.matches(bare))
                && hidden.is_none_or(|h| wild.head().len() >= h)
        })
    }

    /// The data of `sys/internal/ui/resultant-acl`.
    #[must_use]
    pub fn resultant(&self) -> Map {
        let mut data = Map::new();
        data.insert("root".into(), Value::Bool(self.is_root()));
        if self.is_root() {
            return data;
        }
        let exact: Map = self.exact.iter().map(|(path, rule)| (path.to_string(), rule.describe())).collect();
        let glob: Map = self
            .wild_rules()
            .map(|(wild, rule)| (if wild.is_plain_prefix() { wild.head() } else { wild.text() }.to_owned(), rule.describe()))
            .collect();
        data.insert("exact_paths".into(), Value::Object(exact));
        data.insert("glob_paths".into(), Value::Object(glob));
        data
    }

    /// The one rule that decides about a path. Patterns never add up: the best match stands alone.
    fn lookup(&self, path: &str, list: bool) -> Option<Hit<'_>> {
        if is_unclean(path) {
            return None;
        }
        if let Some(hit) = self.exact(path) {
            return Some(hit);
        }
        let bare = if list { path.strip_suffix('/') } else { None };
        let Some(bare) = bare else { return self.wild(path) };
        if let Some(hit) = self.exact(bare) {
            return Some(hit);
        }
        // People forget the slash in rules for lists, so the bare path goes first. But a deny on the path as it is must not be
        // skipped by that (GHSA-xp3c-3jw3-4vcr).
        let full = self.wild(path);
        match self.wild(bare) {
            Some(hit) if !full.is_some_and(|(_, rule)| rule.capabilities.is_deny()) => Some(hit),
            _ => full,
        }
    }

    /// What decides about a path, for explanations: the pattern, its capabilities and its conditions.
    pub(crate) fn found(&self, path: &str, list: bool) -> Option<(&str, Capabilities, Option<&Conditions>)> {
        self.lookup(path, list).map(|(text, rule)| (text, rule.capabilities, rule.conditions.as_deref()))
    }

    fn exact(&self, path: &str) -> Option<Hit<'_>> {
        self.exact.get_key_value(path).map(|(text, rule)| (&**text, rule))
    }

    fn wild(&self, path: &str) -> Option<Hit<'_>> {
        self.heads.starting(path).find_map(|head| head.find(path)).map(|(wild, rule)| (wild.text(), rule))
    }

    fn wild_rules(&self) -> impl Iterator<Item = &(Wild, Rule)> {
        self.heads.values().flat_map(Segments::rules)
    }
}

impl Rule {
    fn decide(&self, ask: &Ask<'_>) -> Result<Grant, DenialReason> {
        if self.capabilities.is_deny() {
            return Err(DenialReason::ExplicitDeny);
        }
        let needed = Capabilities::needed(ask.operation).ok_or(DenialReason::MissingCapability)?;
        if !self.capabilities.any_of(needed) {
            return Err(DenialReason::MissingCapability);
        }
        let sudo = self.capabilities.any_of(Capabilities::SUDO);
        if ask.needs_sudo && !sudo {
            return Err(DenialReason::MissingSudo);
        }
        if let Some(conditions) = &self.conditions {
            conditions.check(ask.operation, ask.data, ask.wrap_ttl)?;
        }
        Ok(Grant::by_policies(GrantKind::Rule, sudo, Arc::clone(&self.sources), needed))
    }

    fn allows_something(&self) -> bool {
        !self.capabilities.is_deny() && self.capabilities != Capabilities::NONE
    }

    fn describe(&self) -> Value {
        let mut out = Map::new();
        out.insert("capabilities".into(), json!(self.capabilities.names()));
        let Some(conditions) = &self.conditions else { return Value::Object(out) };
        let lists = |lists: &ValueLists| lists.iter().map(|(k, v)| (k.clone(), Value::Array(v.clone()))).collect::<Map>();
        for (key, values) in [("allowed_parameters", &conditions.allowed), ("denied_parameters", &conditions.denied)] {
            if !values.is_empty() {
                out.insert(key.into(), Value::Object(lists(values)));
            }
        }
        if !conditions.required.is_empty() {
            out.insert("required_parameters".into(), json!(conditions.required));
        }
        for (key, ttl) in [("min_wrapping_ttl", conditions.min_wrap_ttl), ("max_wrapping_ttl", conditions.max_wrap_ttl)] {
            if !ttl.is_zero() {
                out.insert(key.into(), json!(ttl.as_secs()));
            }
        }
        Value::Object(out)
    }
}

/// A rule while policies are being added.
struct Draft {
    pattern: Pattern,
    capabilities: Capabilities,
    conditions: Conditions,
    sources: Vec<Source>,
}

impl Draft {
    fn new(pattern: Pattern) -> Self {
        Self { pattern, capabilities: Capabilities::NONE, conditions: Conditions::default(), sources: Vec::new() }
    }

    fn add(&mut self, policy: &Arc<str>, capabilities: Capabilities, conditions: &Conditions) {
        self.capabilities = self.capabilities.with(capabilities);
        self.conditions.merge(conditions);
        match self.sources.last_mut().filter(|s| Arc::ptr_eq(&s.policy, policy)) {
            Some(source) => source.capabilities = source.capabilities.with(capabilities),
            None => self.sources.push(Source { policy: Arc::clone(policy), capabilities }),
        }
    }

    fn finish(self) -> (Pattern, Rule) {
        let deny = self.capabilities.is_deny();
        let conditions = (!deny && !self.conditions.is_empty()).then(|| Box::new(self.conditions));
        let capabilities = if deny { Capabilities::DENY } else { self.capabilities };
        (self.pattern, Rule { capabilities, conditions, sources: self.sources.into() })
    }
}

/// A path with `.` or `..` segments has no rule: whatever let it through would read it differently (CVE-2026-3605).
fn is_unclean(path: &str) -> bool {
    path.contains('.') && path.split('/').any(|segment| segment == "." || segment == "..")
}
