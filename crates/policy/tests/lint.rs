//! The linter: each rule with a policy that trips it and one that does not, and the claim "never decides" against the evaluator.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of #[test] functions")]

mod common;

use api_types::Operation;
use common::acl;
use policy::{Finding, Level, Mounts, Policy, lint};
use proptest::prelude::*;

fn table() -> Mounts {
    let known = [
        ("secret/", "kv-v2"),
        ("old/", "kv"),
        ("ca/", "pki"),
        ("sys/", "system"),
        ("identity/", "identity"),
        ("cubbyhole/", "cubbyhole"),
        ("auth/token/", "token"),
        ("auth/people/", "userpass"),
    ];
    Mounts::new(known.iter().map(|(p, k)| ((*p).to_owned(), (*k).to_owned())).collect(), true)
}

fn rules(found: &[Finding]) -> Vec<&'static str> {
    found.iter().map(|f| f.rule).collect()
}

#[test]
fn each_rule_and_its_suggestion() {
    for (path, capabilities, rule, suggestion) in [
        ("secret/foo", "read", "kv-v2-path", "secret/data/foo"),
        ("secret/app/*", "read", "kv-v2-path", "secret/data/app/*"),
        ("secret/app/*", "list", "kv-v2-path", "secret/metadata/app/*"),
        ("secret/data/app/*", "list", "kv-v2-list", "secret/metadata/app/*"),
        ("old/foo", "raed", "unknown-capability", "read"),
        ("old/foo", "frobnicate", "unknown-capability", ""),
        ("old/*/foo", "read", "glob-in-the-middle", "old/+/foo"),
        ("old/a*b", "read", "glob-in-the-middle", ""),
        ("old/foo+", "read", "plus-in-a-segment", ""),
        ("/old/foo", "read", "leading-slash", "old/foo"),
        ("v1/old/foo", "read", "api-prefix", "old/foo"),
        ("sys/audit", "read", "sudo-missing", ""),
        ("sys/auth/*", "update", "sudo-missing", ""),
        ("auth/token/accessors/", "list", "sudo-missing", ""),
        ("ca/root", "delete", "sudo-missing", ""),
        ("old/foo", "sudo", "sudo-alone", ""),
        ("old/foo", "list", "list-without-slash", "old/foo/"),
        ("nowhere/foo", "read", "no-mount", ""),
        ("auth/nobody/*", "read", "no-mount", ""),
        ("old/../foo", "read", "unreachable", ""),
    ] {
        let text = format!("# one\npath {path:?} {{\n  capabilities = [{capabilities:?}]\n}}\n");
        let found = lint(&text, &table());
        let hit = found.iter().find(|f| f.rule == rule).unwrap_or_else(|| panic!("{path} {capabilities}: {found:?}"));
        assert_eq!(hit.suggestion, suggestion, "{path}");
        assert_eq!(hit.line, if rule == "unknown-capability" { 3 } else { 2 });
        assert_eq!(hit.path, path);
        assert_eq!(hit.level == Level::Error, rule == "unknown-capability");
    }
}

#[test]
fn what_is_fine_is_not_remarked_on() {
    for (path, capabilities) in [
        ("secret/data/foo", r#""read""#),
        ("secret/metadata/", r#""list""#),
        ("secret/*", r#""read", "list""#),
        ("secret/+/foo", r#""read""#),
        ("secret/da*", r#""read""#),
        ("secret/config", r#""read""#),
        ("old/foo", r#""read", "list""#),
        ("+/x", r#""read""#),
        ("*", r#""read""#),
        ("secret*", r#""read""#),
        ("sys/audit", r#""read", "sudo""#),
        ("sys/audit", r#""deny""#),
        ("sys/mounts", r#""read""#),
        ("identity/entity/id/{{identity.entity.id}}", r#""read""#),
        ("auth/people/users/*", r#""create", "update""#),
    ] {
        let found = lint(&format!("path {path:?} {{ capabilities = [{capabilities}] }}"), &table());
        assert_eq!(found, [], "{path}");
    }
    for text in [policy::DEFAULT_POLICY, policy::RESPONSE_WRAPPING_POLICY] {
        assert_eq!(lint(text, &table()), []);
    }
}

#[test]
fn texts_that_do_not_parse_are_named_with_their_line() {
    for (text, rule, line) in [
        ("path \"a\" {\n  capabilities = [\"read\"\n}", "syntax", 3),
        ("\npath = 3", "syntax", 2),
        ("path \"a\" { capabilities = [\"read\"] }\npaths \"b\" {}", "unknown-key", 2),
        ("path \"a\" {\n  capabilites = [\"read\"]\n}", "unknown-key", 2),
        ("path \"a\" {\n  policy = \"writ\"\n}", "unknown-capability", 2),
        ("path \"a+*\" { capabilities = [\"read\"] }", "syntax", 1),
        ("path \"a/{{x\" { capabilities = [\"read\"] }", "syntax", 1),
        ("path \"a\" {\n  capabilities = [\"read\"]\n  capabilities = [\"list\"]\n}", "syntax", 3),
        ("{\"path\": 1}", "syntax", 1),
    ] {
        let found = lint(text, &Mounts::unknown());
        let hit = found.iter().find(|f| f.level == Level::Error);
        assert!(hit.is_some_and(|f| f.rule == rule), "{text}: {found:?}");
        assert!(hit.is_some_and(|f| f.line == line) || rule == "syntax", "{text}: {found:?}");
        assert!(Policy::parse("x", text).is_err(), "{text}");
    }
    assert_eq!(rules(&lint("# nothing\n", &Mounts::unknown())), ["empty"]);
}

#[test]
fn two_stanzas_together() {
    for (text, expected) in [
        ("path \"a/*\" { capabilities = [\"read\"] }\npath \"a/+/*\" { capabilities = [\"list\"] }", vec!["unreachable"]),
        ("path \"a/x\" { capabilities = [\"read\"] }\npath \"a/x\" { capabilities = [\"deny\"] }", vec!["unreachable"]),
        ("path \"a/x\" { capabilities = [\"update\"] }\npath \"a/*\" { capabilities = [\"read\"] }", vec!["not-added-up"]),
        ("path \"a/x\" { capabilities = [\"deny\"] }\npath \"a/*\" { capabilities = [\"read\"] }", vec![]),
        ("path \"a/x\" { capabilities = [\"read\"] }\npath \"a/*\" { capabilities = [\"read\"] }", vec![]),
        ("path \"a/+/c\" { capabilities = [\"read\"] }\npath \"a/*\" { capabilities = [\"read\"] }", vec![]),
        ("path \"a\" { capabilities = [\"read\", \"deny\"] }", vec!["deny-mixed"]),
        ("path \"a\" { }", vec!["no-capabilities"]),
        ("path \"a\" { policy = \"write\" }", vec!["old-style"]),
        ("path \"kv/data/a\" { capabilities = [\"read\"] }\npath \"kv/b\" { capabilities = [\"read\"] }", vec!["kv-v2-path"]),
    ] {
        assert_eq!(rules(&lint(text, &Mounts::unknown())), expected, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A stanza that is called unreachable decides about no path.
    #[test]
    fn unreachable_is_true(
        patterns in prop::collection::vec(
            (prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "+", ""]), 1..4), any::<bool>())
                .prop_map(|(s, star)| s.join("/") + if star { "*" } else { "" })
                .prop_filter("refused when written", |p| !p.contains("+*") && !p.starts_with('/')),
            2..6,
        ),
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abc", ""]), 1..5), 24),
    ) {
        let text: String = patterns.iter().map(|p| format!("path {p:?} {{ capabilities = [\"update\"] }}\n")).collect();
        let list = acl(&[&text]);
        let dead: Vec<String> = lint(&text, &Mounts::unknown()).into_iter().filter(|f| f.rule == "unreachable").map(|f| f.path).collect();
        for path in paths.iter().map(|p| p.join("/")) {
            // No stanza has `read`, so every denial names the pattern that decided.
            for operation in [Operation::Read, Operation::List] {
                if let Err(denial) = common::ask(&list, operation, &path, &serde_json::Value::Null, None, false) {
                    prop_assert!(!denial.pattern.is_some_and(|p| dead.contains(&p)), "{}", path);
                }
            }
        }
    }

    /// Whatever is written: no panic, and an error is found exactly if the server refuses the text.
    #[test]
    fn errors_are_the_servers(text in "(path \"[a-c/+*{}]{0,6}\" \\{ (capabilities|policy|polcy) = (\\[\"(read|raed|deny)\"\\]|\"write\"|3) \\}\n){0,3}") {
        let found = lint(&text, &Mounts::unknown());
        prop_assert_eq!(found.iter().any(|f| f.level == Level::Error), Policy::parse("x", &text).is_err(), "{}\n{:?}", text, found);
    }
}
