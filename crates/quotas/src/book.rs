//! All rules of one kind, and the one that applies: role before exact path before longest prefix before mount before everything.

use std::collections::{BTreeMap, HashMap};

use crate::{Scope, Scoped};

/// Rules by name and by mount.
#[derive(Debug)]
pub struct Book<R> {
    rules: BTreeMap<String, R>,
    /// Names by mount; those of no mount cover everything.
    by_mount: HashMap<String, Vec<String>>,
}

impl<R> Default for Book<R> {
    fn default() -> Self {
        Self { rules: BTreeMap::new(), by_mount: HashMap::new() }
    }
}

impl<R: Scoped> Book<R> {
    /// A book of these rules.
    #[must_use]
    pub fn new(rules: BTreeMap<String, R>) -> Self {
        let mut by_mount: HashMap<String, Vec<String>> = HashMap::new();
        for (name, rule) in &rules {
            by_mount.entry(rule.scope().mount.clone()).or_default().push(name.clone());
        }
        Self { rules, by_mount }
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All rules, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &R)> {
        self.rules.iter().map(|(name, rule)| (name.as_str(), rule))
    }

    /// The rule for a request at `rest` below the mount with this uuid (empty: no mount serves it), for a login with this role
    /// (empty: none, or not known).
    #[must_use]
    pub fn find(&self, mount: &str, rest: &str, role: &str) -> Option<(&str, &R)> {
        let rest = rest.trim_matches('/');
        let own = (!mount.is_empty()).then(|| self.of(mount)).into_iter().flatten();
        let best = own.filter_map(|(name, rule)| Some((precision(rule.scope(), rest, role)?, name, rule))).max_by_key(|b| b.0);
        best.map(|(_, name, rule)| (name, rule)).or_else(|| self.of("").next())
    }

    /// The rules of a mount that name a role.
    pub fn with_role<'a>(&'a self, mount: &'a str) -> impl Iterator<Item = (&'a str, &'a R)> {
        self.of(mount).filter(|(_, rule)| !rule.scope().role.is_empty())
    }

    fn of(&self, mount: &str) -> impl Iterator<Item = (&str, &R)> {
        let names = self.by_mount.get(mount).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|name| Some((name.as_str(), self.rules.get(name)?)))
    }
}

/// How closely a rule of the right mount fits; `None` if it does not. Greater wins.
fn precision(scope: &Scope, rest: &str, role: &str) -> Option<(u8, usize)> {
    if !scope.role.is_empty() {
        return (scope.role == role).then_some((3, 0));
    }
    if let Some(head) = scope.suffix.strip_suffix('*') {
        return rest.starts_with(head).then_some((1, head.len()));
    }
    match scope.suffix.as_str() {
        "" => Some((0, 0)),
        suffix => (suffix == rest).then_some((2, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Rule(Scope);

    impl Scoped for Rule {
        fn scope(&self) -> &Scope {
            &self.0
        }
    }

    fn book(rules: &[(&str, &str, &str, &str)]) -> Book<Rule> {
        let rule = |m: &&str, s: &&str, r: &&str| Rule(Scope { mount: (*m).into(), suffix: (*s).into(), role: (*r).into() });
        Book::new(rules.iter().map(|(n, m, s, r)| ((*n).to_owned(), rule(m, s, r))).collect())
    }

    #[test]
    fn the_closest_rule_wins() {
        let b = book(&[
            ("all", "", "", ""),
            ("kv", "kv", "", ""),
            ("team", "kv", "data/team", ""),
            ("wide", "kv", "data/*", ""),
            ("narrow", "kv", "data/team/*", ""),
            ("login", "k8s", "", ""),
            ("role", "k8s", "", "app"),
        ]);
        let find = |m, p, r| b.find(m, p, r).map(|f| f.0);
        for (mount, path, role, want) in [
            ("", "x", "", "all"),
            ("other", "data/team", "", "all"),
            ("kv", "", "", "kv"),
            ("kv", "config", "", "kv"),
            ("kv", "data/team", "", "team"),
            ("kv", "data/team/", "", "team"),
            ("kv", "data/team/a", "", "narrow"),
            ("kv", "data/teams", "", "wide"),
            ("kv", "data", "", "kv"),
            ("k8s", "login", "", "login"),
            ("k8s", "login", "app", "role"),
            ("k8s", "login", "apps", "login"),
            ("kv", "login", "app", "kv"),
        ] {
            assert_eq!(find(mount, path, role), Some(want), "{mount} {path} {role}");
        }
        assert_eq!(b.with_role("k8s").map(|r| r.0).collect::<Vec<_>>(), ["role"]);
        assert_eq!(b.with_role("kv").count(), 0);
    }

    #[test]
    fn without_a_rule_for_everything_there_may_be_none() {
        let b = book(&[("kv", "kv", "data/x", "")]);
        assert!(b.find("kv", "data/y", "").is_none());
        assert!(b.find("", "data/x", "").is_none());
        assert!(book(&[]).is_empty() && !b.is_empty());
    }

    proptest! {
        /// A rule of another mount never applies, whatever the path.
        #[test]
        fn rules_stay_on_their_mount(path in "[a-z/*]{0,12}", suffix in "[a-z/]{0,6}\\*?", role in "[a-z]{0,2}") {
            let b = book(&[("x", "one", &suffix, &role)]);
            prop_assert!(b.find("two", &path, &role).is_none());
        }
    }
}
