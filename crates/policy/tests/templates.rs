//! Templated paths (contract §4.6) and CVE class B: an identity's values never widen a rule.

mod common;

use std::collections::BTreeMap;

use api_types::Operation;
use common::{acl_for, plain};
use policy::{AliasFacts, GroupFacts, Identity};
use proptest::prelude::*;

const TEMPLATES: &str = r#"
path "kv/id/{{identity.entity.id}}"                              { capabilities = ["read"] }
path "kv/name/{{ identity.entity.name }}/*"                      { capabilities = ["create", "update", "read"] }
path "kv/meta/{{identity.entity.metadata.team}}"                 { capabilities = ["read"] }
path "kv/miss/{{identity.entity.metadata.nope}}"                 { capabilities = ["read"] }
path "kv/none{{identity.entity.metadata.empty}}"                 { capabilities = ["read"] }
path "kv/alias/{{identity.entity.aliases.acc1.name}}"            { capabilities = ["read"] }
path "kv/aliasid/{{identity.entity.aliases.acc1.id}}"            { capabilities = ["read"] }
path "kv/aliasm/{{identity.entity.aliases.acc1.metadata.k.x}}"   { capabilities = ["read"] }
path "kv/aliasc/{{identity.entity.aliases.acc1.custom_metadata.c}}" { capabilities = ["read"] }
path "kv/other/{{identity.entity.aliases.acc9.name}}"            { capabilities = ["read"] }
path "kv/two/{{identity.entity.aliases.acc2.name}}"              { capabilities = ["read"] }
path "kv/gn/{{identity.groups.names.ops-x.metadata.env}}"        { capabilities = ["read"] }
path "kv/gnid/{{identity.groups.names.ops-x.id}}"                { capabilities = ["read"] }
path "kv/gi/{{identity.groups.ids.g1.name}}"                     { capabilities = ["read"] }
path "kv/gx/{{identity.groups.names.unknown.id}}"                { capabilities = ["read"] }
path "kv/bad/{{identity.entity.secret}}"                         { capabilities = ["read"] }
path "kv/time/{{time.now}}"                                      { capabilities = ["read"] }
path "kv/plus{{identity.entity.metadata.empty}}/+/x"             { capabilities = ["read"] }
path "kv/made/+{{identity.entity.metadata.empty}}/x"             { capabilities = ["read"] }
path "kv/{{identity.entity.metadata.team}}/{{identity.entity.id}}" { capabilities = ["update"] }
"#;

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn alias(accessor: &str, name: &str) -> AliasFacts {
    AliasFacts {
        mount_accessor: accessor.into(),
        id: format!("id-{name}"),
        name: name.into(),
        metadata: metadata(&[("k.x", "v")]),
        custom_metadata: metadata(&[("c", "w")]),
    }
}

fn ann() -> Identity {
    Identity {
        id: "e1".into(),
        name: "ann".into(),
        metadata: metadata(&[("team", "red"), ("empty", "")]),
        aliases: vec![alias("acc1", "ann1"), alias("acc2", "one"), alias("acc2", "two")],
        groups: vec![GroupFacts { id: "g1".into(), name: "ops-x".into(), metadata: metadata(&[("env", "prod")]) }],
    }
}

#[test]
fn values_are_filled_in_and_what_is_missing_drops_the_rule() {
    let acl = acl_for(&[TEMPLATES], Some(&ann()));
    let allowed = [
        "kv/id/e1",
        "kv/name/ann/a",
        "kv/meta/red",
        "kv/none",
        "kv/alias/ann1",
        "kv/aliasid/id-ann1",
        "kv/aliasm/v",
        "kv/aliasc/w",
        "kv/gn/prod",
        "kv/gnid/g1",
        "kv/gi/ops-x",
        "kv/plus/a/x",
    ];
    let denied = [
        "kv/id/x",
        "kv/id/",
        "kv/id",
        "kv/name/other/a",
        "kv/name//a",
        "kv/name/ann",
        "kv/meta/blue",
        "kv/meta/",
        "kv/miss/",
        "kv/miss",
        "kv/none/x",
        "kv/alias/ann",
        "kv/other/ann1",
        "kv/other/",
        "kv/two/one",
        "kv/two/two",
        "kv/two/",
        "kv/gx/",
        "kv/gx",
        "kv/bad/",
        "kv/time/",
        "kv/made/a/x",
        "kv/made/+/x",
        "kv/red/e1",
        "kv/id/{{identity.entity.id}}",
    ];
    for path in allowed {
        assert!(plain(&acl, Operation::Read, path).is_ok(), "{path}");
    }
    for path in denied {
        assert!(plain(&acl, Operation::Read, path).is_err(), "{path}");
    }
    assert!(plain(&acl, Operation::Update, "kv/red/e1").is_ok());
    let nobody = acl_for(&[TEMPLATES], None);
    for path in allowed.iter().chain(&denied) {
        assert_eq!(nobody.capabilities(path), ["deny"], "{path}");
    }
    assert_eq!(acl_for(&[TEMPLATES], Some(&Identity::default())).capabilities("kv/id/"), ["deny"]);
}

/// CVE class B (GHSA-59w7-v8rr-pr4p): values that would reach other paths drop the rule.
#[test]
fn class_b_template_values_cannot_inject() {
    for value in ["a/b", "/", "../x", "..", ".", "+", "a+b", "*", "a*", "a,b", "a\nb", "a\0b", "a\u{7f}b", "a\u{85}b", "ann/*"] {
        let identity =
            Identity { name: value.into(), metadata: metadata(&[("team", value)]), aliases: vec![alias("acc1", value)], ..ann() };
        let acl = acl_for(&[TEMPLATES], Some(&identity));
        for path in [
            format!("kv/name/{value}/x"),
            format!("kv/meta/{value}"),
            format!("kv/alias/{value}"),
            "kv/name/x/y".into(),
            "kv/meta/x".into(),
            "kv/alias/x".into(),
        ] {
            assert_eq!(acl.capabilities(&path), ["deny"], "{value:?} {path}");
        }
        assert_eq!(acl.capabilities("kv/id/e1"), ["read"]);
    }
}

/// CVE class B (CVE-2021-43998): with two aliases on one mount neither is taken.
#[test]
fn class_b_ambiguous_alias_is_not_guessed() {
    for aliases in [vec![alias("acc2", "one"), alias("acc2", "two")], vec![alias("acc2", "two"), alias("acc2", "one")]] {
        let acl = acl_for(&[TEMPLATES], Some(&Identity { aliases, ..ann() }));
        assert_eq!(acl.capabilities("kv/two/one"), ["deny"]);
        assert_eq!(acl.capabilities("kv/two/two"), ["deny"]);
    }
    let single = acl_for(&[TEMPLATES], Some(&Identity { aliases: vec![alias("acc2", "two")], ..ann() }));
    assert_eq!(single.capabilities("kv/two/two"), ["read"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// CVE class B: whatever the value is, the rule matches its own path or nothing.
    #[test]
    fn class_b_rendered_rule_matches_one_path(value in "[a-c/+*,.{} ]{0,4}", probe in "[a-c/+*,.{} ]{0,5}") {
        let identity = Identity { metadata: metadata(&[("v", &value)]), ..ann() };
        let acl = acl_for(&["path \"kv/{{identity.entity.metadata.v}}\" { capabilities = [\"read\"] }"], Some(&identity));
        let path = format!("kv/{probe}");
        if plain(&acl, Operation::Read, &path).is_ok() {
            prop_assert_eq!(&probe, &value);
            prop_assert_eq!(path.matches('/').count(), 1);
        }
        let rules = acl.resultant();
        prop_assert_eq!(rules["glob_paths"].as_object().map(serde_json::Map::len), Some(0));
    }
}
