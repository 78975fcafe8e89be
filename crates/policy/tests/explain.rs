//! What is told about a decision is what the evaluator does, and what is offered as missing is exactly what was missing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of #[test] functions")]

mod common;

use std::sync::Arc;

use api_types::{Map, Operation};
use common::{operation, plain};
use policy::{Acl, Ask, Explanation, Identity, Policy, Precedence, explain};
use proptest::prelude::*;

fn parsed(texts: &[&str]) -> Vec<Arc<Policy>> {
    texts.iter().enumerate().map(|(i, t)| Arc::new(Policy::parse(&format!("p{i}"), t).unwrap())).collect()
}

fn story(texts: &[&str], op: &str, path: &str, needs_sudo: bool) -> Explanation {
    let none = Map::new();
    let ask = Ask { operation: operation(op), path, data: &none, wrap_ttl: None, needs_sudo };
    explain(&parsed(texts), None, &ask)
}

#[test]
fn every_stanza_that_matches_is_told_with_its_place() {
    let broad = "# the team\npath \"secret/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n";
    let narrow = "path \"secret/+/b\" { capabilities = [\"update\"] }\n\npath \"/secret/a/b\" { capabilities = [\"list\"] }";
    let told = story(&[broad, narrow, "path \"x\" { capabilities = [\"read\"] }"], "read", "secret/a/b", false);
    assert!(!told.allowed());
    assert_eq!(told.pattern.as_deref(), Some("secret/a/b"));
    assert_eq!(told.capabilities, ["list"]);
    let places: Vec<_> = told.stanzas.iter().map(|s| (s.policy.as_str(), s.path.as_str(), s.line, s.beaten_by)).collect();
    let beaten = Some(Precedence::Exact);
    assert_eq!(places, [("p1", "/secret/a/b", 3, None), ("p0", "secret/*", 2, beaten), ("p1", "secret/+/b", 1, beaten)]);
    assert_eq!(told.silent, ["p2"]);
    assert_eq!(told.why, "an exact path goes before every pattern");
    assert_eq!(told.grant.as_deref(), Some("path \"secret/a/b\" {\n  capabilities = [\"read\"]\n}\n"));
}

#[test]
fn each_rule_of_precedence_is_named() {
    let read = |path: &str| format!("path {path:?} {{ capabilities = [\"read\"] }}\n");
    for (op, path, winner, loser, why) in [
        ("read", "a/b", "a/b", "a/+", Precedence::Exact),
        ("read", "a/b/c", "a/b/*", "a/*", Precedence::LaterWildcard),
        ("read", "a/b/c", "a/+/c", "a/*", Precedence::NoClosingStar),
        ("read", "a/b/c/d", "a/+/c/*", "a/+/+/*", Precedence::FewerPlus),
        ("read", "a/b/cd", "a/+/cd*", "a/+/c*", Precedence::Longer),
        ("list", "a/b/", "a/+", "a/b/*", Precedence::BareListFirst),
        ("list", "a/b/", "a/b/", "a/b", Precedence::Exact),
    ] {
        let told = story(&[&(read(loser) + &read(winner))], op, path, false);
        assert_eq!(told.pattern.as_deref(), Some(winner), "{winner} {loser}");
        let beaten: Vec<_> = told.stanzas.iter().filter_map(|s| s.beaten_by.map(|b| (s.path.as_str(), b))).collect();
        assert_eq!(beaten, [(loser, why)], "{winner}");
        assert!(told.why.contains(&why.to_string()), "{}", told.why);
    }
    let deny = "path \"a/b/*\" { capabilities = [\"deny\"] }\npath \"a/+\" { capabilities = [\"list\"] }";
    let told = story(&[deny], "list", "a/b/", false);
    assert_eq!(told.stanzas.iter().filter_map(|s| s.beaten_by).collect::<Vec<_>>(), [Precedence::DenyOnList]);
}

#[test]
fn what_is_missing_keeps_what_was_there() {
    let wide =
        "path \"secret/*\" {\n  capabilities = [\"read\", \"list\"]\n  allowed_parameters = { \"v\" = [\"1\", \"a b\"] }\n}";
    let told = story(&[wide], "delete", "secret/a", false);
    let grant = told.grant.unwrap();
    for part in ["path \"secret/a\"", "[\"delete\", \"list\", \"read\"]", "\"v\" = [\"1\",\"a b\"]"] {
        assert!(grant.replace("\", \"a b", "\",\"a b").contains(part), "{grant}");
    }
    let told = story(&["path \"sys/audit\" { capabilities = [\"read\"] }"], "read", "sys/audit", true);
    assert_eq!(told.grant.as_deref(), Some("path \"sys/audit\" {\n  capabilities = [\"read\", \"sudo\"]\n}\n"));
    assert!(told.advice.contains("sudo"), "{}", told.advice);
}

#[test]
fn what_cannot_be_granted_is_not_offered() {
    let deny = "path \"secret/*\" {\n  capabilities = [\"deny\"]\n}";
    for (text, op, path, words) in [
        (deny, "read", "secret/a", "policy \"p0\", line 1"),
        ("", "read", "secret/*", "reads as a pattern"),
        ("", "read", "a/+/b", "reads as a pattern"),
        ("", "read", "a/../b", "no stanza matches"),
        ("", "read", "a/{{identity.entity.id}}", "no stanza matches"),
        ("path \"a\" {\n  capabilities = [\"update\"]\n  required_parameters = [\"x\"]\n}", "update", "a", "\"x\""),
        ("path \"a\" {\n  capabilities = [\"read\"]\n  max_wrapping_ttl = \"1m\"\n}", "read", "a", "wrapping"),
    ] {
        let told = story(&[text], op, path, false);
        assert!(!told.allowed() && told.grant.is_none(), "{text} {path} {:?}", told.grant);
        assert!(told.advice.contains(words), "{}", told.advice);
    }
}

#[test]
fn templates_say_what_they_became_or_that_they_are_silent() {
    let text = "path \"kv/{{identity.entity.name}}/*\" { capabilities = [\"read\"] }";
    let none = Map::new();
    let ask = Ask { operation: Operation::Read, path: "kv/ann/x", data: &none, wrap_ttl: None, needs_sudo: false };
    let ann = Identity { id: "1".into(), name: "ann".into(), ..Identity::default() };
    let told = explain(&parsed(&[text]), Some(&ann), &ask);
    assert!(told.allowed());
    assert_eq!(told.pattern.as_deref(), Some("kv/ann/*"));
    assert_eq!(told.stanzas.first().unwrap().path, "kv/{{identity.entity.name}}/*");
    let told = explain(&parsed(&[text]), None, &ask);
    assert!(!told.allowed());
    assert_eq!((told.unfilled.len(), told.stanzas.len()), (1, 0));
    let told = Explanation::of_root(&ask);
    assert!(told.allowed() && told.stanzas.is_empty());
}

fn rules() -> impl Strategy<Value = Vec<(String, Vec<&'static str>)>> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "+", "c"]);
    let pattern = (prop::collection::vec(segment, 1..4), prop::sample::select(vec!["", "*", "/", "/*"]))
        .prop_map(|(s, end)| s.join("/") + end)
        .prop_filter("refused when written", |p| !p.contains("+*"));
    let capability = prop::sample::select(vec!["read", "update", "list", "create", "delete", "patch", "deny", "sudo"]);
    prop::collection::vec((pattern, prop::collection::vec(capability, 0..4)), 0..8)
}

fn text(rules: &[(String, Vec<&'static str>)]) -> String {
    rules.iter().map(|(p, c)| format!("path {p:?} {{ capabilities = {c:?} }}\n")).collect()
}

const OPERATIONS: [Operation; 6] =
    [Operation::Read, Operation::List, Operation::Update, Operation::Create, Operation::Delete, Operation::Patch];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2500))]

    /// The story's decision is the evaluator's, its winner is among the stanzas, and what it offers changes nothing else.
    #[test]
    fn the_story_is_the_evaluators(
        rules in rules(),
        split in 0_usize..8,
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abc"]), 1..4),
        needs_sudo in any::<bool>(),
    ) {
        let (one, two) = rules.split_at(split.min(rules.len()));
        let policies = parsed(&[&text(one), &text(two)]);
        let acl = Acl::compile(&policies, None);
        let bare = path.join("/");
        let folder = format!("{bare}/");
        let none = Map::new();
        for op in OPERATIONS {
            let path = if op == Operation::List { &folder } else { &bare };
            let ask = Ask { operation: op, path, data: &none, wrap_ttl: None, needs_sudo };
            let told = explain(&policies, None, &ask);
            let decided = acl.decide(&ask);
            prop_assert_eq!(&told.decision, &decided);
            if let Err(denial) = &decided {
                prop_assert_eq!(&denial.pattern, &told.pattern);
            }
            // The deciding stanzas are those of the deciding pattern, all of them and no others.
            for stanza in &told.stanzas {
                prop_assert_eq!(stanza.beaten_by.is_none(), Some(&stanza.path) == told.pattern.as_ref(), "{}", stanza.path);
            }
            prop_assert_eq!(told.pattern.is_some(), told.stanzas.iter().any(|s| s.beaten_by.is_none()));
            prop_assert_eq!(decided.is_ok(), told.advice.is_empty());
            let Some(grant) = told.grant else { continue };
            let mut more = policies.clone();
            more.push(Arc::new(Policy::parse("added", &grant).unwrap()));
            let after = Acl::compile(&more, None);
            prop_assert!(after.decide(&ask).is_ok(), "{}", grant);
            for (other, at) in OPERATIONS.iter().flat_map(|o| [(*o, &bare), (*o, &folder)]) {
                // Lists come with their slash, other requests of a folder do not exist.
                if (other == Operation::List) != (at == &folder) || (other, at) == (op, path) {
                    continue;
                }
                let (was, is) = (plain(&acl, other, at).is_ok(), plain(&after, other, at).is_ok());
                prop_assert_eq!(was, is, "{} {} after\n{}\nbefore\n{}{}", other, at, grant, text(one), text(two));
            }
        }
    }
}
