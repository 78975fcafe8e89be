//! `{{identity…}}` in a rule's path: read once when the policy is written, filled in for each caller.
//!
//! A value can never widen a rule: one that holds `/ + * ,` or a control character drops the rule (GHSA-59w7-v8rr-pr4p), and so
//! does an ambiguous one (two aliases on one mount, CVE-2021-43998). Other texts with the same holes (the roles of engines) are
//! filled by [`fill`], which asks the engine what a value may hold.

use std::collections::BTreeMap;

use crate::pattern::Pattern;

/// Who is asking, for templates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The entity's id.
    pub id: String,
    /// The entity's name.
    pub name: String,
    /// The entity's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The entity's aliases.
    pub aliases: Vec<AliasFacts>,
    /// The groups it is in, directly or by inheritance.
    pub groups: Vec<GroupFacts>,
}

/// What templates may read of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AliasFacts {
    /// Accessor of the auth mount.
    pub mount_accessor: String,
    /// The alias' id.
    pub id: String,
    /// Its name in the auth method.
    pub name: String,
    /// Written by the auth method.
    pub metadata: BTreeMap<String, String>,
    /// Written by an operator.
    pub custom_metadata: BTreeMap<String, String>,
}

/// What templates may read of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupFacts {
    /// The group's id.
    pub id: String,
    /// The group's name.
    pub name: String,
    /// The group's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A path with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// Literal text, alternating with selectors; starts and ends with literal text, perhaps empty.
    literals: Vec<String>,
    selectors: Vec<String>,
}

impl Template {
    /// Cuts a path at `{{` and `}}`. `Err` if they do not pair up.
    pub(crate) fn parse(path: &str) -> Result<Self, ()> {
        let mut template = Self { literals: Vec::new(), selectors: Vec::new() };
        let mut rest = path;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (selector, after) = after.split_once("}}").ok_or(())?;
            if literal.contains("}}") || selector.contains("{{") || selector.trim().is_empty() {
                return Err(());
            }
            template.literals.push(literal.to_owned());
            template.selectors.push(selector.trim().to_owned());
            rest = after;
        }
        if rest.contains("}}") {
            return Err(());
        }
        template.literals.push(rest.to_owned());
        Ok(template)
    }

    /// Whether it has holes at all.
    pub(crate) fn is_templated(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// The pattern for a caller, or `None` if a value is missing or would change what the pattern means.
    pub(crate) fn render(&self, identity: &Identity) -> Option<Pattern> {
        // A letter in every hole shows which wildcards the author wrote.
        let written = Pattern::new(&self.fill(|_| Some("x"))?);
        let text = self.fill(|selector| identity.select(selector).filter(|v| is_harmless(v)))?;
        let filled = Pattern::new(&text);
        let same = filled.shape() == written.shape() && !text.contains("+*");
        same.then_some(filled)
    }

    fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut literals = self.literals.iter();
        let mut out = literals.next()?.clone();
        for (selector, literal) in self.selectors.iter().zip(literals) {
            out.push_str(value(selector)?);
            out.push_str(literal);
        }
        Some(out)
    }
}

/// Fills the `{{identity…}}` holes of a text that is no path. `None` if it is not well formed, if a value is missing or ambiguous,
/// or if `may_stand` refuses one: only the engine knows what a value would mean there.
#[must_use]
pub fn fill(text: &str, identity: &Identity, may_stand: impl Fn(&str) -> bool) -> Option<String> {
    Template::parse(text).ok()?.fill(|selector| identity.select(selector).filter(|v| may_stand(v)))
}

impl Identity {
    fn select(&self, selector: &str) -> Option<&str> {
        let selector = selector.strip_prefix("identity.")?;
        if let Some(field) = selector.strip_prefix("entity.") {
            return match field {
                "id" => named(&self.id),
                "name" => named(&self.name),
                _ => match field.strip_prefix("aliases.") {
                    Some(alias) => self.alias(alias),
                    None => self.metadata.get(field.strip_prefix("metadata.")?).map(String::as_str),
                },
            };
        }
        let field = selector.strip_prefix("groups.")?;
        if let Some((id, field)) = field.strip_prefix("ids.").and_then(|f| f.split_once('.')) {
            let group = only(self.groups.iter().filter(|g| g.id == id))?;
            return if field == "name" { named(&group.name) } else { group_metadata(group, field) };
        }
        let (name, field) = field.strip_prefix("names.")?.split_once('.')?;
        let group = only(self.groups.iter().filter(|g| g.name == name))?;
        if field == "id" { named(&group.id) } else { group_metadata(group, field) }
    }

    fn alias(&self, rest: &str) -> Option<&str> {
        let (accessor, field) = rest.split_once('.')?;
        let alias = only(self.aliases.iter().filter(|a| a.mount_accessor == accessor))?;
        match field {
            "id" => named(&alias.id),
            "name" => named(&alias.name),
            _ => match field.strip_prefix("custom_metadata.") {
                Some(key) => alias.custom_metadata.get(key).map(String::as_str),
                None => alias.metadata.get(field.strip_prefix("metadata.")?).map(String::as_str),
            },
        }
    }
}

fn group_metadata<'a>(group: &'a GroupFacts, field: &str) -> Option<&'a str> {
    group.metadata.get(field.strip_prefix("metadata.")?).map(String::as_str)
}

/// Ids and names are never empty; metadata may be, and Vault fills it in as nothing (golden `acl_sudo`, "none").
fn named(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn is_harmless(value: &str) -> bool {
    value != "." && value != ".." && !value.chars().any(|c| matches!(c, '/' | '+' | '*' | ',') || c.is_control())
}
