//! Which rule wins, and what it allows: contract §4.2. Denials outnumber grants.

mod common;

use api_types::{Map, Operation};
use common::{acl, ask, operation, plain};
use policy::{Acl, Ask, DenialReason, GrantKind};
use serde_json::{Value, json};

const RULES: &str = r#"
path "exact"          { capabilities = ["read", "update"] }
path "pre/*"          { capabilities = ["read"] }
path "prefix*"        { capabilities = ["create", "update"] }
path "pre/secret"     { capabilities = ["deny"] }
path "pre/deep/*"     { capabilities = ["create", "list"] }
path "any/+"          { capabilities = ["read"] }
path "any/two"        { capabilities = ["update"] }
path "seg/+/x/*"      { capabilities = ["read"] }
path "seg/lit/+/b"    { capabilities = ["update"] }
path "dir"            { capabilities = ["list"] }
path "dir2/"          { capabilities = ["list"] }
path "both"           { capabilities = ["read"] }
path "both/"          { capabilities = ["list"] }
path "none"           {}
path "half*way"       { capabilities = ["read"] }
path "foo+/x"         { capabilities = ["read"] }
path "/slash"         { capabilities = ["read"] }
path "tie/+/b"        { capabilities = ["read"] }
path "tie/*"          { capabilities = ["update"] }
path "tie/a/*"        { capabilities = ["delete"] }
path "few/+/b/*"      { capabilities = ["read"] }
path "few/+/+/c"      { capabilities = ["update"] }
path "plus/+/+/c*"    { capabilities = ["read"] }
path "plus/+/b/c*"    { capabilities = ["update"] }
path "long/+/ab*"     { capabilities = ["read"] }
path "long/+/a*"      { capabilities = ["update"] }
path "lex/+/a/+"      { capabilities = ["read"] }
path "lex/+/+/b"      { capabilities = ["update"] }
path "old"            { policy = "write" }
path "olddeny"        { policy = "deny" capabilities = ["read"] }
path "oldread"        { policy = "read" }
path "+/root"         { capabilities = ["read"] }
"#;

#[test]
fn one_rule_decides() {
    let acl = acl(&[RULES]);
    let table = [
        // exact
        ("read", "exact", true),
        ("update", "exact", true),
        ("delete", "exact", false),
        ("list", "exact/", false),
        ("create", "exact", false),
        ("read", "exact/more", false),
        ("read", "exac", false),
        ("read", "exact/", false),
        ("read", "Exact", false),
        ("read", "/exact", false),
        ("patch", "exact", false),
        // prefix
        ("read", "pre/a", true),
        ("read", "pre/", true),
        ("read", "pre/a/b", true),
        ("read", "pre", false),
        ("update", "pre/a", false),
        ("list", "pre/", false),
        ("create", "prefix-any", true),
        ("update", "prefix", true),
        ("read", "prefix-any", false),
        ("create", "prefi", false),
        ("delete", "prefix-any", false),
        ("read", "pre/secret", false),
        ("delete", "pre/secret", false),
        ("read", "pre/secret2", true),
        ("create", "pre/deep/x", true),
        ("read", "pre/deep/x", false),
        ("update", "pre/deep/x", false),
        ("read", "pre/deep", true),
        // segments
        ("read", "any/one", true),
        ("read", "any/two", false),
        ("update", "any/two", true),
        ("update", "any/one", false),
        ("read", "any/deeper/one", false),
        ("read", "any", false),
        ("read", "seg/a/x/b", true),
        ("read", "seg/a/x/b/c", true),
        ("read", "seg/a/y/b", false),
        ("read", "seg/a/x", false),
        ("update", "seg/a/x/b", false),
        // a later wildcard wins
        ("update", "seg/lit/x/b", true),
        ("read", "seg/lit/x/b", false),
        ("read", "seg/lit/x/c", true),
        ("delete", "tie/a/b", true),
        ("read", "tie/a/b", false),
        ("update", "tie/a/b", false),
        // no closing star, then fewer pluses, then longer, then greater
        ("read", "tie/z/b", true),
        ("update", "tie/z/b", false),
        ("update", "tie/z/c", true),
        ("read", "tie/z/c", false),
        ("update", "few/a/b/c", true),
        ("read", "few/a/b/c", false),
        ("read", "few/a/b/d", true),
        ("update", "plus/a/b/c", true),
        ("read", "plus/a/b/c", false),
        ("read", "plus/a/z/c", true),
        ("read", "long/x/abc", true),
        ("update", "long/x/abc", false),
        ("update", "long/x/acc", true),
        ("read", "lex/x/a/b", true),
        ("update", "lex/x/a/b", false),
        // literal stars and pluses
        ("read", "halfway", false),
        ("read", "half*way", true),
        ("read", "half-x-way", false),
        ("read", "foo+/x", true),
        ("read", "food/x", false),
        ("read", "fooo/x", false),
        // list
        ("list", "dir/", true),
        ("list", "dir", true),
        ("read", "dir", false),
        ("read", "dir/", false),
        ("list", "dir2/", true),
        ("list", "dir2", false),
        ("read", "dir2", false),
        ("list", "both/", true),
        ("read", "both", true),
        ("read", "both/", false),
        ("list", "both", false),
        ("list", "dir/sub/", false),
        // The bare path goes first, and `pre/*` has it: Vault denies this too.
        ("list", "pre/deep/", false),
        ("list", "pre/deep/er/", true),
        // empty and absent
        ("read", "none", false),
        ("list", "none/", false),
        ("read", "", false),
        ("read", "nowhere/x", false),
        ("read", "slash", true),
        ("read", "/slash", false),
        // old notation
        ("create", "old", true),
        ("read", "old", true),
        ("update", "old", true),
        ("delete", "old", true),
        ("list", "old", true),
        ("patch", "old", false),
        ("read", "olddeny", false),
        ("read", "oldread", true),
        ("list", "oldread", true),
        ("update", "oldread", false),
        // first wildcard at the very start
        ("read", "x/root", true),
        ("read", "x/y/root", false),
        ("read", "root", false),
    ];
    let wrong: Vec<_> = table.into_iter().filter(|(op, path, want)| plain(&acl, operation(op), path).is_ok() != *want).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(table.iter().filter(|t| !t.2).count() > table.iter().filter(|t| t.2).count());
}

#[test]
fn operations_need_their_own_capability() {
    let needs = [
        ("create", "create"),
        ("read", "read"),
        ("update", "update"),
        ("delete", "delete"),
        ("list", "list"),
        ("patch", "patch"),
        ("renew", "update"),
        ("revoke", "update"),
    ];
    let capabilities = ["create", "read", "update", "delete", "list", "patch", "sudo", "subscribe", "recover"];
    for (op, need) in needs {
        for capability in capabilities {
            let acl = acl(&[&format!("path \"a\" {{ capabilities = [\"{capability}\"] }}")]);
            assert_eq!(plain(&acl, operation(op), "a").is_ok(), capability == need, "{op} with {capability}");
        }
    }
    let all =
        acl(&["path \"a\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"patch\", \"sudo\"] }"]);
    assert_eq!(plain(&all, Operation::Header, "a"), Err(DenialReason::MissingCapability));
    assert!(plain(&acl(&[]), Operation::Help, "anything").is_ok());
}

#[test]
fn reasons_patterns_and_granting_policies_are_told() {
    let acl = acl(&[
        "path \"a/*\" { capabilities = [\"read\"] }\npath \"d/+\" { capabilities = [\"deny\"] }",
        "path \"a/*\" { capabilities = [\"update\"] }",
        "path \"a/*\" { capabilities = [\"read\", \"sudo\"] }\npath \"a/*\" { capabilities = [\"list\"] }",
    ]);
    let grant = ask(&acl, Operation::Read, "a/x", &Value::Null, None, true).unwrap();
    assert_eq!(grant.granting_policies().collect::<Vec<_>>(), ["p0", "p2"]);
    assert!(grant.sudo());
    assert_eq!(grant.kind(), GrantKind::Rule);
    let refused = |op, path: &str| ask(&acl, op, path, &Value::Null, None, false).map_err(|d| (d.reason, d.pattern)).unwrap_err();
    assert_eq!(refused(Operation::Delete, "a/x"), (DenialReason::MissingCapability, Some("a/*".to_owned())));
    assert_eq!(refused(Operation::Read, "d/x"), (DenialReason::ExplicitDeny, Some("d/+".to_owned())));
    assert_eq!(refused(Operation::Read, "b"), (DenialReason::NoRule, None));
}

#[test]
fn sudo_adds_to_the_capability_and_never_replaces_it() {
    let acl = acl(&[
        "path \"sys/audit\" { capabilities = [\"sudo\"] }\npath \"sys/remount\" { capabilities = [\"update\", \"sudo\"] }\npath \"sys/seal\" { capabilities = [\"update\"] }\npath \"*\" { capabilities = [\"update\", \"sudo\"] }",
    ]);
    let reason = |op, path: &str| ask(&acl, op, path, &Value::Null, None, true).map_err(|d| d.reason);
    assert_eq!(reason(Operation::Read, "sys/audit"), Err(DenialReason::MissingCapability));
    assert_eq!(reason(Operation::Update, "sys/audit"), Err(DenialReason::MissingCapability));
    assert_eq!(reason(Operation::Update, "sys/seal"), Err(DenialReason::MissingSudo));
    assert!(reason(Operation::Update, "sys/remount").is_ok());
    assert!(!plain(&acl, Operation::Update, "sys/seal").unwrap().sudo());
}

#[test]
fn deny_in_one_policy_beats_all_others() {
    let allow = "path \"a\" { capabilities = [\"read\", \"sudo\"] allowed_parameters = { x = [] } }\npath \"b/*\" { capabilities = [\"read\"] }\npath \"c/+\" { capabilities = [\"read\"] }";
    let deny = "path \"a\" { capabilities = [\"deny\", \"read\"] }\npath \"b/*\" { policy = \"deny\" }\npath \"c/+\" { capabilities = [\"deny\"] }";
    for acl in [acl(&[allow, deny]), acl(&[deny, allow]), acl(&[allow, deny, allow]), acl(&[&format!("{allow}\n{deny}")])] {
        for path in ["a", "b/x", "c/x"] {
            assert_eq!(plain(&acl, Operation::Read, path), Err(DenialReason::ExplicitDeny), "{path}");
            assert_eq!(acl.capabilities(path), ["deny"]);
        }
        assert_eq!(acl.resultant()["exact_paths"]["a"], json!({"capabilities": ["deny"]}));
    }
}

/// CVE class A (GHSA-xp3c-3jw3-4vcr): a list must not slip past a deny because the rule for the bare path is tried first.
#[test]
fn class_a_list_does_not_skip_deny() {
    let rules = acl(&[
        "path \"foo/metadata/*\" { capabilities = [\"list\", \"read\"] }\npath \"foo/metadata/private/*\" { capabilities = [\"deny\"] }\npath \"q/+\" { capabilities = [\"list\"] }\npath \"q/x/*\" { capabilities = [\"deny\"] }",
    ]);
    for path in ["foo/metadata/private/", "foo/metadata/private/app/", "q/x/"] {
        assert_eq!(plain(&rules, Operation::List, path), Err(DenialReason::ExplicitDeny), "{path}");
    }
    assert_eq!(plain(&rules, Operation::Read, "foo/metadata/private/app"), Err(DenialReason::ExplicitDeny));
    assert!(plain(&rules, Operation::List, "foo/metadata/").is_ok());
    assert!(plain(&rules, Operation::List, "foo/metadata/public/").is_ok());
    assert!(plain(&rules, Operation::List, "q/y/").is_ok());
    // A rule for exactly this path is no accident, with or without its slash.
    let exact = acl(&["path \"a/b\" { capabilities = [\"list\"] }\npath \"a/b/*\" { capabilities = [\"deny\"] }"]);
    assert!(plain(&exact, Operation::List, "a/b/").is_ok());
}

/// CVE class A (CVE-2026-3605): the decision is about the bytes the router sees; what could be read in two ways has no rule.
#[test]
fn class_a_path_normalisation() {
    let acl = acl(&[
        "path \"secret/data/open/*\" { capabilities = [\"read\", \"list\", \"delete\"] }\npath \"secret/data/é\" { capabilities = [\"read\"] }\npath \"s/+/x\" { capabilities = [\"read\"] }",
    ]);
    for path in [
        "secret/data/open/../closed",
        "secret/data/open/./x",
        "secret/data/open/..",
        "secret/data/open/.",
        "../secret/data/open/x",
        "s/../x",
        "s/./x",
        "/secret/data/open/x",
        "secret//data/open/x",
        "secret/data//open/x",
        "Secret/data/open/x",
        "secret/data/OPEN/x",
        "secret%2fdata/open/x",
        "secret/data/open",
        "secret/data/ｏpen/x",
        "secret/data/e\u{301}",
        "secret\\data\\open\\x",
        " secret/data/open/x",
    ] {
        for op in [Operation::Read, Operation::List, Operation::Delete] {
            assert!(plain(&acl, op, path).is_err(), "{op} {path}");
        }
        assert_eq!(acl.capabilities(path), ["deny"], "{path}");
    }
    for path in ["secret/data/open/.hidden", "secret/data/open/a..b", "secret/data/open/...", "secret/data/é", "s/.x/x"] {
        assert!(plain(&acl, Operation::Read, path).is_ok(), "{path}");
    }
}

#[test]
fn root_may_everything_and_only_root() {
    let root = Acl::root();
    assert!(root.is_root() && root.touches("secret/"));
    let grant = ask(&root, Operation::Header, "sys/raw/x", &Value::Null, None, true).unwrap();
    assert_eq!(
        (grant.kind(), grant.sudo(), grant.granting_policies().collect::<Vec<_>>()),
        (GrantKind::Root, true, vec!["root"])
    );
    assert_eq!(root.capabilities("x"), ["root"]);
    assert_eq!(Value::Object(root.resultant()), json!({"root": true}));
    // The name alone is nothing.
    let fake = std::sync::Arc::new(policy::Policy::parse("root", "").unwrap());
    let fake = Acl::compile(&[fake], None);
    assert!(!fake.is_root());
    assert!(
        fake.decide(&Ask { operation: Operation::Read, path: "a", data: &Map::new(), wrap_ttl: None, needs_sudo: false })
            .is_err()
    );
}

#[test]
fn capabilities_are_sorted_and_looked_up_like_lists() {
    let acl = acl(&[RULES]);
    for (path, want) in [
        ("exact", vec!["read", "update"]),
        ("old", vec!["create", "delete", "list", "read", "update"]),
        ("pre/secret", vec!["deny"]),
        ("none", vec!["deny"]),
        ("nothing", vec!["deny"]),
        ("dir", vec!["list"]),
        ("dir/", vec!["list"]),
        ("dir2/", vec!["list"]),
        ("dir2", vec!["deny"]),
        ("exact/", vec!["read", "update"]),
        ("any/two", vec!["update"]),
    ] {
        assert_eq!(acl.capabilities(path), want, "{path}");
    }
}

#[test]
fn touches_tells_which_mounts_to_show() {
    let rules = acl(&[
        "path \"secret/data/x\" { capabilities = [\"read\"] }\npath \"kv/*\" { capabilities = [\"read\"] }\npath \"deep/a/b/*\" { capabilities = [\"read\"] }\npath \"seg/+/x\" { capabilities = [\"read\"] }\npath \"off/*\" { capabilities = [\"deny\"] }\npath \"empty/x\" {}\npath \"bare\" { capabilities = [\"list\"] }\npath \"+/data/*\" { capabilities = [\"read\"] }\npath \"tea*\" { capabilities = [\"read\"] }",
    ]);
    for (prefix, want) in [
        ("secret/", true),
        ("kv/", true),
        ("deep/", true),
        ("deep/a/", true),
        ("seg/", true),
        ("bare/", true),
        ("team/", true),
        ("any/", true),
        ("any/data/", true),
        ("seg/q/", true),
        ("off/", false),
        ("secret2/x/", false),
        ("deep/c/", false),
        ("any/meta/", false),
        ("seg/q/y/", false),
        ("off/data/", false),
        ("tee/x/", false),
    ] {
        assert_eq!(rules.touches(prefix), want, "{prefix}");
    }
    let broad = acl(&[
        "path \"*\" { capabilities = [\"read\"] }\npath \"off/*\" { capabilities = [\"deny\"] }\npath \"off/but/*\" { capabilities = [\"read\"] }",
    ]);
    assert!(broad.touches("on/") && broad.touches("off/") && broad.touches("off/but/") && !broad.touches("off/not/"));
    assert!(acl(&["path \"+\" { capabilities = [\"list\"] }"]).touches("secret/"));
    assert!(!acl(&["path \"+\" { capabilities = [\"deny\"] }"]).touches("secret/"));
    assert!(!acl(&[]).touches("secret/"));
    assert!(!acl(&["path \"empty/x\" {}"]).touches("empty/"));
}
