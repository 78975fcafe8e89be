//! Parameter rules and wrapping limits (contract §4.3); the policies are those of the golden `acl_params`.

mod common;

use api_types::Operation;
use common::{acl, ask, plain};
use policy::DenialReason;
use serde_json::{Value, json};

const ONE: &str = r#"
path "allow"  { capabilities = ["create", "update", "read", "list", "delete", "patch"] allowed_parameters = { "Color" = ["red", "blu*"] "size" = [] } }
path "star"   { capabilities = ["create", "update"] allowed_parameters = { "zip" = ["1"] "*" = [] } }
path "starv"  { capabilities = ["create", "update"] allowed_parameters = { "*" = ["ok", "fine"] } }
path "deny"   { capabilities = ["create", "update"] denied_parameters = { "bad" = [] "level" = ["root", "*min"] "port" = ["5", 6] } }
path "denyall" { capabilities = ["create", "update"] denied_parameters = { "*" = [] } }
path "both"   { capabilities = ["create", "update"] allowed_parameters = { "a" = [] } denied_parameters = { "a" = ["x"] } }
path "req"    { capabilities = ["create", "update"] required_parameters = ["Owner", "team"] }
path "reqall" { capabilities = ["create", "update"] required_parameters = ["owner"] allowed_parameters = { "owner" = ["me"] "n" = [] } }
path "typed"  { capabilities = ["update"] allowed_parameters = { "b" = [true] "n" = [5, "5"] "l" = [["a", "b"]] "e" = [""] "s" = ["x,y", "p"] } }
path "wmin"   { capabilities = ["read", "list"] min_wrapping_ttl = "1m" max_wrapping_ttl = "5m" }
path "wmax"   { capabilities = ["read"] max_wrapping_ttl = 90 }
path "wonly"  { capabilities = ["read"] min_wrapping_ttl = "1s" }
"#;

const TWO: &str = r#"
path "allow" { capabilities = ["create", "update"] allowed_parameters = { "color" = ["green"] "weight" = ["1"] } }
path "deny"  { capabilities = ["create", "update"] }
path "req"   { capabilities = ["create", "update"] required_parameters = ["third", "team"] }
path "star"  { capabilities = ["update"] allowed_parameters = { "zip" = [] } }
path "wmin"  { capabilities = ["read"] min_wrapping_ttl = "30s" max_wrapping_ttl = "10m" }
path "wmax"  { capabilities = ["read"] }
"#;

fn check(texts: &[&str], table: &[(&str, Value, bool)]) {
    let acl = acl(texts);
    let wrong: Vec<_> = table
        .iter()
        .filter(|(path, data, want)| ask(&acl, Operation::Update, path, data, None, false).is_ok() != *want)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn values_keys_and_lists() {
    check(
        &[ONE],
        &[
            ("allow", json!({"color": "red"}), true),
            ("allow", json!({"color": "blue"}), true),
            ("allow", json!({"COLOR": "red"}), true),
            ("allow", json!({"size": "anything"}), true),
            ("allow", json!({"size": 3, "color": "bluish"}), true),
            ("allow", json!({"color": ["red", "blue"]}), true),
            ("allow", json!({"color": "red,blue"}), true),
            ("allow", json!({"color": "red, blue"}), true),
            ("allow", json!({"color": []}), true),
            ("allow", json!({}), true),
            ("allow", Value::Null, true),
            ("allow", json!({"color": "green"}), false),
            ("allow", json!({"color": "RED"}), false),
            ("allow", json!({"color": "xblue"}), false),
            ("allow", json!({"other": "x"}), false),
            ("allow", json!({"color": "red", "other": "x"}), false),
            ("allow", json!({"color": ["red", "green"]}), false),
            ("allow", json!({"color": [["red"]]}), false),
            ("allow", json!({"color": "red,green"}), false),
            ("allow", json!({"color": "blue,admin"}), false),
            ("allow", json!({"color": "red,"}), false),
            ("allow", json!({"color": null}), false),
            ("allow", json!({"color": 1}), false),
            ("allow", json!({"color": {"red": 1}}), false),
            ("allow", json!({"color": "red", "Color": "green"}), false),
            ("star", json!({"zip": "1", "x": "y"}), true),
            ("star", json!({"zip": "2"}), false),
            ("starv", json!({"k": "ok"}), true),
            ("starv", json!({"k": "no"}), true),
            ("deny", json!({"good": "1"}), true),
            ("deny", json!({"level": "user"}), true),
            ("deny", json!({"bad": "1"}), false),
            ("deny", json!({"BAD": null}), false),
            ("deny", json!({"level": "root"}), false),
            ("deny", json!({"level": "admin"}), false),
            ("deny", json!({"level": ["user", "root"]}), false),
            ("deny", json!({"level": [["root"]]}), false),
            ("deny", json!({"level": "user,root"}), false),
            ("deny", json!({"level": "user, root "}), false),
            ("deny", json!({"port": "5"}), false),
            ("deny", json!({"port": 5}), false),
            ("deny", json!({"port": 6}), false),
            ("deny", json!({"port": 7}), true),
            ("denyall", json!({"x": 1}), false),
            ("denyall", json!({}), true),
            ("both", json!({"a": "y"}), true),
            ("both", json!({"a": "x"}), false),
            ("both", json!({"b": "y"}), false),
            ("req", json!({"owner": "a", "team": "b"}), true),
            ("req", json!({"OWNER": "a", "Team": null, "x": 1}), true),
            ("req", json!({"owner": "a"}), false),
            ("req", json!({}), false),
            ("reqall", json!({"owner": "me"}), true),
            ("reqall", json!({"owner": "you"}), false),
            ("reqall", json!({"n": 1}), false),
            ("reqall", json!({"owner": "me", "z": 1}), false),
            ("typed", json!({"b": true}), true),
            ("typed", json!({"b": false}), false),
            ("typed", json!({"b": "true"}), false),
            ("typed", json!({"n": "5"}), true),
            ("typed", json!({"n": 5}), false),
            ("typed", json!({"l": ["a", "b"]}), true),
            ("typed", json!({"l": ["b", "a"]}), false),
            ("typed", json!({"e": ""}), true),
            ("typed", json!({"e": "x"}), false),
            ("typed", json!({"s": "x,y"}), true),
            ("typed", json!({"s": "x"}), false),
            ("typed", json!({"s": "p,p"}), true),
        ],
    );
}

#[test]
fn the_same_pattern_in_two_policies_merges() {
    check(
        &[ONE, TWO],
        &[
            ("allow", json!({"color": "green"}), true),
            ("allow", json!({"color": "red", "weight": "1"}), true),
            ("allow", json!({"weight": "2"}), false),
            ("deny", json!({"bad": "1"}), false),
            ("deny", json!({"fine": "1"}), true),
            ("req", json!({"owner": "a", "team": "b"}), false),
            ("req", json!({"owner": "a", "team": "b", "third": "c"}), true),
            ("star", json!({"zip": "2"}), true),
        ],
    );
}

#[test]
fn parameters_count_for_reads_and_writes_only_and_are_named() {
    let acl = acl(&[ONE]);
    let data = json!({"other": "s3cret"});
    for (op, want) in [
        (Operation::Create, false),
        (Operation::Read, false),
        (Operation::Update, false),
        (Operation::Patch, false),
        (Operation::List, true),
        (Operation::Delete, true),
    ] {
        assert_eq!(ask(&acl, op, "allow", &data, None, false).is_ok(), want, "{op}");
    }
    let denial = ask(&acl, Operation::Update, "allow", &data, None, false).unwrap_err();
    assert_eq!(denial.reason, DenialReason::Parameter("other".to_owned()));
    assert!(!format!("{denial:?}").contains("s3cret"));
    assert_eq!(
        ask(&acl, Operation::Update, "req", &json!({"team": 1}), None, false).unwrap_err().reason,
        DenialReason::Parameter("owner".to_owned())
    );
}

#[test]
fn wrapping_must_keep_its_limits() {
    let table = [
        (&[ONE][..], "wmin", None, false),
        (&[ONE], "wmin", Some(0), false),
        (&[ONE], "wmin", Some(59), false),
        (&[ONE], "wmin", Some(60), true),
        (&[ONE], "wmin", Some(300), true),
        (&[ONE], "wmin", Some(301), false),
        (&[ONE], "wmax", None, false),
        (&[ONE], "wmax", Some(90), true),
        (&[ONE], "wmax", Some(91), false),
        (&[ONE], "wonly", None, false),
        (&[ONE], "wonly", Some(1), true),
        (&[ONE], "wonly", Some(99999), true),
        (&[ONE], "allow", Some(7), true),
        (&[ONE], "allow", None, true),
        // The smallest of each counts; a policy without limits does not lift them.
        (&[ONE, TWO], "wmin", Some(30), true),
        (&[ONE, TWO], "wmin", Some(29), false),
        (&[ONE, TWO], "wmin", Some(301), false),
        (&[ONE, TWO], "wmax", None, false),
    ];
    for (texts, path, wrap, want) in table {
        assert_eq!(ask(&acl(texts), Operation::Read, path, &Value::Null, wrap, false).is_ok(), want, "{path} {wrap:?}");
    }
    assert_eq!(plain(&acl(&[ONE]), Operation::Read, "wmin"), Err(DenialReason::Wrapping));
    assert_eq!(plain(&acl(&[ONE]), Operation::List, "wmin/"), Err(DenialReason::Wrapping));
}

/// The golden's answer to `sys/internal/ui/resultant-acl`, without the rules of `default`.
#[test]
fn resultant_is_what_the_ui_reads() {
    let one = r#"
path "allow"  { capabilities = ["create", "update", "read"] allowed_parameters = { "color" = ["red", "blu*"] "size" = [] } }
path "req"    { capabilities = ["create", "update"] required_parameters = ["owner", "team"] }
path "wmin"   { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "5m" }
path "deny"   { capabilities = ["create", "update"] denied_parameters = { "bad" = [] "level" = ["root", "*min"] } }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }
path "no/*" { capabilities = ["deny"] }"#;
    let two = r#"
path "allow" { capabilities = ["create", "update"] allowed_parameters = { "color" = ["green"] "weight" = ["1"] } }
path "req"   { capabilities = ["create", "update"] required_parameters = ["third"] }"#;
    assert_eq!(
        Value::Object(acl(&[one, two]).resultant()),
        json!({
            "root": false,
            "exact_paths": {
                "allow": {"allowed_parameters": {"color": ["green", "red", "blu*"], "size": [], "weight": ["1"]}, "capabilities": ["create", "read", "update"]},
                "req": {"capabilities": ["create", "update"], "required_parameters": ["owner", "team", "third"]},
                "wmin": {"capabilities": ["read"], "max_wrapping_ttl": 300, "min_wrapping_ttl": 60},
                "deny": {"capabilities": ["create", "update"], "denied_parameters": {"bad": [], "level": ["root", "*min"]}},
            },
            "glob_paths": {
                "cubbyhole/": {"capabilities": ["create", "delete", "list", "read", "update"]},
                "identity/oidc/provider/+/authorize": {"capabilities": ["read", "update"]},
                "no/": {"capabilities": ["deny"]},
            },
        })
    );
}
