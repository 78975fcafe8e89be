//! Policy text: what is accepted, what is refused and in which words (contract §4.1), and the policies that every server has.

mod common;

use api_types::Operation;
use common::{acl, plain};
use policy::{CONTROL_GROUP_POLICY, DEFAULT_POLICY, Policy, RESPONSE_WRAPPING_POLICY};

#[test]
fn accepts_hcl_and_json() {
    for text in [
        "",
        "# nothing",
        "name = \"x\"",
        "path \"a\" {}",
        "path \"a\" { capabilities = [\"read\"] policy = \"read\" comment = \"c\" }",
        "path \"a\" { capabilities = [\"read\"] mfa_methods = [\"m\"] control_group = { ttl = \"1h\" } subscribe_event_types = [\"*\"] }",
        "{\"path\": {\"secret/foo\": {\"capabilities\": [\"read\"]}}}",
        "path = { \"a\" = { capabilities = [\"read\"] } }",
        "path \"a\" { capabilities = [\"subscribe\", \"recover\", \"patch\", \"sudo\"] }",
        "path \"a\" { allowed_parameters { \"x\" = [] } }",
        "path \"a\" {}\npath \"a\" {}",
        "path \"a\" { min_wrapping_ttl = 5 max_wrapping_ttl = \"5s\" }",
        "path \"a/{{identity.entity.id}}/+/x*\" {}",
        "path \"a/{{unknown.thing}}\" {}",
    ] {
        let policy = Policy::parse("n", text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((policy.name(), policy.text()), ("n", text));
        assert_eq!(policy.is_templated(), text.contains("{{"));
    }
}

#[test]
fn refuses_with_vaults_words() {
    for (text, want) in [
        ("path \"x\" { capabilities = [\"y\"] }", "failed to parse policy: path \"x\": invalid capability \"y\""),
        ("path \"x\" { capabilities = [\"Read\"] }", "failed to parse policy: path \"x\": invalid capability \"Read\""),
        ("path \"x\" { capabilities = [\"scans\"] }", "failed to parse policy: path \"x\": invalid capability \"scans\""),
        ("path \"x\" { policy = \"y\" }", "failed to parse policy: path \"x\": invalid policy \"y\""),
        ("path \"x/+*\" {}", "failed to parse policy: path \"x/+*\": invalid use of wildcards ('+*' is forbidden)"),
        (
            "path \"x\" { min_wrapping_ttl = \"2m\" max_wrapping_ttl = \"1m\" }",
            "failed to parse policy: path \"x\": max_wrapping_ttl cannot be less than min_wrapping_ttl",
        ),
        ("path \"x\" {\n  capabilites = []\n}", "failed to parse policy: path \"x\": invalid key \"capabilites\" on line 2"),
        ("paths \"x\" {}", "failed to parse policy: invalid key \"paths\" on line 1"),
        (
            "path \"x/{{identity.entity.id\" {}",
            "failed to parse policy: path \"x/{{identity.entity.id\": unbalanced templating characters",
        ),
        ("path \"x/id}}\" {}", "failed to parse policy: path \"x/id}}\": unbalanced templating characters"),
        ("path \"x/{{}}\" {}", "failed to parse policy: path \"x/{{}}\": unbalanced templating characters"),
        ("path \"x/{{a{{b}}\" {}", "failed to parse policy: path \"x/{{a{{b}}\": unbalanced templating characters"),
        (
            "path \"x\" { capabilities = \"read\" }",
            "failed to parse policy: path \"x\": \"capabilities\" on line 1 must be a list of strings",
        ),
        (
            "path \"x\" { capabilities = [1] }",
            "failed to parse policy: path \"x\": \"capabilities\" on line 1 must be a list of strings",
        ),
        ("path \"x\" { policy = [\"read\"] }", "failed to parse policy: path \"x\": \"policy\" on line 1 must be a string"),
        (
            "path \"x\" { allowed_parameters = { a = \"b\" } }",
            "failed to parse policy: path \"x\": \"allowed_parameters\" on line 1 must be an object of lists",
        ),
        (
            "path \"x\" { denied_parameters = [\"b\"] }",
            "failed to parse policy: path \"x\": \"denied_parameters\" on line 1 must be an object of lists",
        ),
        (
            "path \"x\" { required_parameters = \"b\" }",
            "failed to parse policy: path \"x\": \"required_parameters\" on line 1 must be a list of strings",
        ),
        (
            "path \"x\" { max_wrapping_ttl = \"soon\" }",
            "failed to parse policy: path \"x\": \"max_wrapping_ttl\" on line 1 must be a duration",
        ),
        (
            "path \"x\" { max_wrapping_ttl = \"-5s\" }",
            "failed to parse policy: path \"x\": \"max_wrapping_ttl\" on line 1 must be a duration",
        ),
        ("path \"x\" {", "failed to parse policy: object not closed: expected '}' at line 1, column 10"),
        (
            "path \"x\" { capabilities = [\"read\"] capabilities = [\"deny\"] }",
            "failed to parse policy: the attribute \"capabilities\" was already set; each can only be set once, at line 1, column 36",
        ),
        ("path \"x\" \"y\" {}", "failed to parse policy: \"path\" must be a block with fewer labels at line 1, column 1"),
        ("path = \"x\"", "failed to parse policy: \"path\" must be a block at line 1, column 1"),
        ("{\"path\": 1}", "failed to parse policy: \"path\" must be a block at line 1, column 2"),
        ("not a policy", "failed to parse policy: expected '=' or '{' after a key at line 1, column 13"),
    ] {
        assert_eq!(Policy::parse("n", text).map(|_| ()).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn duplicates_can_be_allowed_for_old_policies() {
    let relaxed = hcl1::Options { allow_duplicate_attributes: true };
    assert!(Policy::parse_with("n", "path \"x\" { capabilities = [\"read\"] capabilities = [\"deny\"] }", relaxed).is_ok());
}

#[test]
fn every_server_has_its_policies() {
    let default = Policy::parse("default", DEFAULT_POLICY).unwrap();
    assert!(default.is_templated());
    let acl_default = acl(&[DEFAULT_POLICY]);
    for (op, path, want) in [
        (Operation::Read, "auth/token/lookup-self", true),
        (Operation::Update, "auth/token/renew-self", true),
        (Operation::Update, "auth/token/revoke-self", true),
        (Operation::Update, "sys/capabilities-self", true),
        (Operation::Read, "sys/internal/ui/resultant-acl", true),
        (Operation::Update, "sys/renew", true),
        (Operation::Update, "sys/leases/renew", true),
        (Operation::Update, "sys/leases/lookup", true),
        (Operation::List, "cubbyhole/", true),
        (Operation::Delete, "cubbyhole/a/b", true),
        (Operation::Update, "sys/wrapping/wrap", true),
        (Operation::Update, "sys/wrapping/lookup", true),
        (Operation::Update, "sys/wrapping/unwrap", true),
        (Operation::Update, "sys/tools/hash", true),
        (Operation::Update, "sys/tools/hash/sha2-256", true),
        (Operation::Update, "sys/control-group/request", true),
        (Operation::Read, "identity/oidc/provider/p/authorize", true),
        (Operation::Update, "auth/token/lookup-self", false),
        (Operation::Update, "auth/token/create", false),
        (Operation::Update, "auth/token/lookup", false),
        (Operation::Update, "sys/capabilities", false),
        (Operation::Update, "sys/leases/revoke", false),
        (Operation::Update, "sys/leases/lookup/x", false),
        (Operation::Read, "sys/mounts", false),
        (Operation::Read, "secret/data/x", false),
        (Operation::Patch, "cubbyhole/a", false),
        (Operation::Update, "sys/wrapping/rewrap", false),
        (Operation::Update, "sys/tools/random", false),
        (Operation::Read, "identity/oidc/provider/p/q/authorize", false),
        (Operation::Read, "identity/entity/id/", false),
        (Operation::Read, "identity/entity/name/", false),
    ] {
        assert_eq!(plain(&acl_default, op, path).is_ok(), want, "{op} {path}");
    }
    let wrapping = acl(&[RESPONSE_WRAPPING_POLICY]);
    assert_eq!(wrapping.capabilities("cubbyhole/response"), ["create", "read"]);
    assert_eq!(wrapping.capabilities("sys/wrapping/unwrap"), ["update"]);
    assert_eq!(wrapping.capabilities("cubbyhole/wrapinfo"), ["deny"]);
    assert_eq!(acl(&[CONTROL_GROUP_POLICY]).capabilities("cubbyhole/control-group"), ["create", "read", "update"]);
}
