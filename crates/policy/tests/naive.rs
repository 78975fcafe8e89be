//! The compiled list against an evaluator that is as plain as the contract's text: every rule, every time, in order.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code outside of #[test] functions")]

mod common;

use std::sync::Arc;

use api_types::Operation;
use common::plain;
use policy::{Acl, DenialReason, Policy};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Rule {
    pattern: String,
    capabilities: Vec<&'static str>,
}

/// Contract §4.2, word for word, plus our two additions: dot segments have no rule, and a list does not skip a deny.
fn naive(rules: &[Rule], operation: Operation, path: &str) -> Result<(), DenialReason> {
    if path.split('/').any(|s| s == "." || s == "..") {
        return Err(DenialReason::NoRule);
    }
    let exact = |p: &str| rules.iter().map(|r| &r.pattern).find(|r| *r == p && !is_wild(r)).cloned();
    let wild =
        |p: &str| rules.iter().map(|r| &r.pattern).filter(|r| is_wild(r) && matches(r, p)).max_by(|a, b| better(a, b)).cloned();
    let bare = path.strip_suffix('/').filter(|_| operation == Operation::List);
    let mut winner = exact(path);
    if winner.is_none() {
        winner = bare.and_then(exact);
    }
    if winner.is_none() {
        let denied = wild(path).filter(|p| merged(rules, p).contains(&"deny"));
        winner = denied.or_else(|| bare.and_then(wild));
    }
    let winner = winner.or_else(|| wild(path)).ok_or(DenialReason::NoRule)?;
    let capabilities = merged(rules, &winner);
    if capabilities.contains(&"deny") {
        return Err(DenialReason::ExplicitDeny);
    }
    let needed = match operation {
        Operation::Renew | Operation::Revoke => "update",
        other => other.as_str(),
    };
    if capabilities.contains(&needed) { Ok(()) } else { Err(DenialReason::MissingCapability) }
}

fn merged(rules: &[Rule], pattern: &str) -> Vec<&'static str> {
    rules.iter().filter(|r| r.pattern == pattern).flat_map(|r| r.capabilities.clone()).collect()
}

fn is_wild(pattern: &str) -> bool {
    pattern.ends_with('*') || pattern.split('/').any(|s| s == "+")
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, star) = pattern.strip_suffix('*').map_or((pattern, false), |p| (p, true));
    let want: Vec<&str> = pattern.split('/').collect();
    let have: Vec<&str> = path.split('/').collect();
    let last = want.len() - 1;
    let same = |i: usize| have.get(i).is_some_and(|h| want[i] == "+" || want[i] == *h);
    if star {
        (0..last).all(same) && have.get(last).is_some_and(|h| h.starts_with(want[last]))
    } else {
        have.len() == want.len() && (0..=last).all(same)
    }
}

fn better(a: &str, b: &str) -> std::cmp::Ordering {
    let first = |p: &str| {
        let mut at = 0;
        for s in p.split('/') {
            if s == "+" {
                return at;
            }
            at += s.len() + 1;
        }
        p.len() - 1
    };
    let star = |p: &str| p.ends_with('*');
    let pluses = |p: &str| p.split('/').filter(|s| *s == "+").count();
    first(a).cmp(&first(b)).then(star(b).cmp(&star(a))).then(pluses(b).cmp(&pluses(a))).then(a.len().cmp(&b.len())).then(a.cmp(b))
}

fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "+", "+", "", "a+", "é", ".", ".."])
}

fn pattern() -> impl Strategy<Value = String> {
    (prop::collection::vec(segment(), 1..5), any::<bool>())
        .prop_map(|(s, star)| s.join("/") + if star { "*" } else { "" })
        .prop_filter("refused when written", |p| !p.contains("+*") && !p.starts_with('/'))
}

fn rule() -> impl Strategy<Value = Rule> {
    let capability = prop::sample::select(vec!["read", "update", "list", "create", "delete", "patch", "deny", "sudo"]);
    (pattern(), prop::collection::vec(capability, 0..3)).prop_map(|(pattern, capabilities)| Rule { pattern, capabilities })
}

fn compile(rules: &[Rule], split: usize) -> Acl {
    let (one, two) = rules.split_at(split.min(rules.len()));
    let policies: Vec<_> = [one, two]
        .iter()
        .enumerate()
        .map(|(i, rules)| {
            let text: String =
                rules.iter().map(|r| format!("path {:?} {{ capabilities = {:?} }}\n", r.pattern, r.capabilities)).collect();
            Arc::new(Policy::parse(&format!("p{i}"), &text).unwrap())
        })
        .collect();
    Acl::compile(&policies, None)
}

#[test]
fn patterns_of_any_length_are_found() {
    for n in [1, 63, 64, 65, 66, 5000] {
        let plus = vec!["+"; n].join("/");
        let rules = [
            (format!("{plus}/z"), vec!["read"]),
            (format!("{plus}/y*"), vec!["list"]),
            (format!("{plus}/a"), vec!["deny"]),
            ("+/q".to_owned(), vec!["update"]),
        ]
        .map(|(pattern, capabilities)| Rule { pattern, capabilities });
        let acl = compile(&rules, 1);
        let path = vec!["x"; n].join("/");
        for (operation, path) in [
            (Operation::Read, format!("{path}/z")),
            (Operation::List, format!("{path}/yy")),
            (Operation::Read, format!("{path}/a")),
            (Operation::Read, path.clone()),
        ] {
            assert_eq!(plain(&acl, operation, &path).map(|_| ()), naive(&rules, operation, &path), "{n} {operation}");
        }
        assert!(plain(&acl, Operation::Read, &format!("{path}/z")).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// CVE class A: router path and rule are compared byte for byte, for every operation.
    #[test]
    fn class_a_compiled_equals_naive(
        rules in prop::collection::vec(rule(), 0..14),
        split in 0_usize..14,
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abc", "", "+", "é", ".", ".."]), 1..6),
    ) {
        let acl = compile(&rules, split);
        let path = path.join("/");
        for operation in [Operation::Read, Operation::List, Operation::Update, Operation::Create, Operation::Delete, Operation::Patch, Operation::Renew, Operation::Revoke] {
            prop_assert_eq!(plain(&acl, operation, &path).map(|_| ()), naive(&rules, operation, &path), "{} {}", operation, path);
        }
        prop_assert!(plain(&acl, Operation::Header, &path).is_err());
    }

    /// A mount is shown if a rule allows anything on any path in it.
    #[test]
    fn touches_misses_nothing(
        rules in prop::collection::vec(rule(), 0..8),
        mount in prop::sample::select(vec!["a/", "b/", "ab/", "a/b/"]),
        rest in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "x"]), 1..4),
    ) {
        let acl = compile(&rules, 3);
        let path = format!("{mount}{}", rest.join("/"));
        let reachable = [Operation::Read, Operation::Update, Operation::List].iter().any(|op| plain(&acl, *op, &path).is_ok());
        prop_assert!(!reachable || acl.touches(mount), "{} {}", mount, path);
    }
}
