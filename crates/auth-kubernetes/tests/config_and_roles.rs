//! `config` and `role/…` as operators see them: answers, exact texts, what is kept and what is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod scene;

use api_types::Operation::{Delete, List, Read, Update};
use engine::EngineError;
use serde_json::{Value, json};

use scene::bare;

fn ca() -> String {
    rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem()
}

#[tokio::test]
async fn a_configuration_is_replaced_as_a_whole_and_never_shows_the_reviewer() {
    let mut s = bare();
    assert!(s.harness.call(Read, "config", json!({})).await.unwrap().is_none());
    let (ca, canary) = (ca(), "canary-7c2e");
    let written = json!({"kubernetes_host": "https://api", "kubernetes_ca_cert": ca, "token_reviewer_jwt": canary, "pem_keys": [ca],
                         "issuer": "https://x", "disable_iss_validation": false, "use_annotations_as_alias_metadata": true});
    assert!(s.write("config", written).await.is_none());
    let shown = Value::Object(s.harness.data(Read, "config", json!({})).await.unwrap());
    assert_eq!(
        shown,
        json!({"kubernetes_host": "https://api", "kubernetes_ca_cert": ca, "pem_keys": [ca.trim()], "issuer": "https://x",
               "disable_iss_validation": false, "disable_local_ca_jwt": false, "token_reviewer_jwt_set": true,
               "use_annotations_as_alias_metadata": true})
    );
    assert!(!shown.to_string().contains(canary));
    s.write("config", json!({"kubernetes_host": "https://other", "disable_local_ca_jwt": true})).await;
    assert_eq!(
        Value::Object(s.harness.data(Read, "config", json!({})).await.unwrap()),
        json!({"kubernetes_host": "https://other", "kubernetes_ca_cert": "", "pem_keys": [], "issuer": "",
               "disable_iss_validation": true, "disable_local_ca_jwt": true, "token_reviewer_jwt_set": false,
               "use_annotations_as_alias_metadata": false})
    );
    assert!(matches!(s.harness.call(Delete, "config", json!({})).await, Err(EngineError::UnsupportedOperation)));
}

#[tokio::test]
async fn configurations_are_refused_in_vaults_words() {
    let mut s = bare();
    let local = s.pod.path().join("ca.crt");
    let missing = format!("open {}: no such file or directory", local.display());
    let host = "https://api";
    let bad_key = "data does not contain any valid RSA or ECDSA public keys";
    for (data, text) in [
        (json!({}), "no host provided"),
        (json!({"kubernetes_host": "", "kubernetes_ca_cert": "nope"}), "no host provided"),
        (
            json!({"kubernetes_host": host, "kubernetes_ca_cert": "nope"}),
            "The provided CA PEM data contains no valid certificates",
        ),
        (json!({"kubernetes_host": host}), missing.as_str()),
        (json!({"kubernetes_host": host, "pem_keys": "nope", "disable_local_ca_jwt": true}), bad_key),
        (json!({"kubernetes_host": host, "pem_keys": [ca(), "nope"], "disable_local_ca_jwt": true}), bad_key),
    ] {
        match s.harness.call(Update, "config", data.clone()).await {
            Err(EngineError::Invalid(got)) => assert_eq!(got, text, "{data}"),
            other => panic!("{data}: {other:?}"),
        }
    }
    assert!(s.harness.call(Read, "config", json!({})).await.unwrap().is_none(), "nothing was written");
    std::fs::write(&local, ca()).unwrap();
    assert!(s.write("config", json!({"kubernetes_host": host})).await.is_none(), "in a pod the CA is there");
}

const WARNING: &str = "Role full does not have an audience configured. While audiences are not required, consider specifying one if \
                       your use case would benefit from additional JWT claim verification.";

#[tokio::test]
async fn a_role_is_shown_as_it_was_written() {
    let mut s = bare();
    assert!(s.harness.call(Read, "role/none", json!({})).await.unwrap().is_none());
    assert!(s.harness.call(Delete, "role/none", json!({})).await.unwrap().is_none());
    let full = json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"], "audience": "vault",
                      "alias_name_source": "serviceaccount_name", "policies": "x,y", "period": "10m", "num_uses": 3,
                      "bound_cidrs": ["127.0.0.0/8"], "token_type": "service", "token_explicit_max_ttl": "4h",
                      "token_no_default_policy": true});
    assert!(s.write("role/Full", full).await.is_none());
    let want = json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"],
                      "bound_service_account_namespace_selector": "", "audience": "vault", "alias_name_source": "serviceaccount_name",
                      "policies": ["x", "y"], "period": 600, "num_uses": 3, "bound_cidrs": ["127.0.0.0/8"],
                      "token_bound_cidrs": ["127.0.0.0/8"], "token_explicit_max_ttl": 14400, "token_max_ttl": 0,
                      "token_no_default_policy": true, "token_num_uses": 3, "token_period": 600, "token_policies": ["x", "y"],
                      "token_ttl": 0, "token_type": "service"});
    assert_eq!(Value::Object(s.harness.data(Read, "role/fULL", json!({})).await.unwrap()), want);
    assert_eq!(s.harness.data(List, "role", json!({})).await.unwrap()["keys"], json!(["full"]));

    // A part is changed, the rest stays; a modern field makes its twin forgotten.
    let answer = s.write("role/full", json!({"token_policies": "z", "audience": ""})).await.unwrap();
    assert_eq!(answer.warnings, [WARNING]);
    let shown = s.harness.data(Read, "role/full", json!({})).await.unwrap();
    assert_eq!((&shown["token_policies"], shown.get("policies"), shown.get("audience")), (&json!(["z"]), None, None));
    assert_eq!((&shown["num_uses"], &shown["alias_name_source"]), (&json!(3), &json!("serviceaccount_name")));
    assert!(s.harness.call(Delete, "role/FULL", json!({})).await.unwrap().is_none());
    assert!(s.harness.call(Read, "role/full", json!({})).await.unwrap().is_none());
}

#[tokio::test]
async fn a_selector_does_not_outlive_a_write_that_leaves_it_out() {
    let mut s = bare();
    let selector = r#"{"matchLabels": {"a": "b"}}"#;
    s.write("role/x", json!({"bound_service_account_names": "a", "bound_service_account_namespace_selector": selector})).await;
    let shown = s.harness.data(Read, "role/x", json!({})).await.unwrap();
    assert_eq!(shown["bound_service_account_namespace_selector"], selector);
    assert_eq!(shown["bound_service_account_namespaces"], Value::Null);
    let e = s.harness.error(Update, "role/x", json!({"audience": "v"})).await;
    assert_eq!(
        e,
        "\"bound_service_account_namespaces\" can not be empty if \"bound_service_account_namespace_selector\" is not set"
    );
    s.write("role/x", json!({"bound_service_account_namespaces": "n"})).await;
    let shown = s.harness.data(Read, "role/x", json!({})).await.unwrap();
    assert_eq!(shown["bound_service_account_namespace_selector"], "");
}

#[tokio::test]
async fn roles_are_refused_in_vaults_words() {
    let mut s = bare();
    let no_namespace =
        "\"bound_service_account_namespaces\" can not be empty if \"bound_service_account_namespace_selector\" is not set";
    let no_name = "\"bound_service_account_names\" can not be empty";
    let bad_selector = "invalid \"bound_service_account_namespace_selector\" configured";
    let bad_source = "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name";
    let bound = |more: Value| {
        let mut role = json!({"bound_service_account_names": "a", "bound_service_account_namespaces": "b"});
        for (k, v) in more.as_object().unwrap() {
            role[k] = v.clone();
        }
        role
    };
    let selected = |text: &str| json!({"bound_service_account_names": "a", "bound_service_account_namespace_selector": text});
    for (data, text) in [
        (json!({}), no_name),
        (json!({"bound_service_account_namespaces": "a"}), no_name),
        // Class H: a binding that binds nothing.
        (bound(json!({"bound_service_account_names": ""})), no_name),
        (bound(json!({"bound_service_account_names": []})), no_name),
        (bound(json!({"bound_service_account_names": [""]})), no_name),
        (bound(json!({"bound_service_account_namespaces": [""]})), no_namespace),
        (json!({"bound_service_account_names": "a"}), no_namespace),
        (bound(json!({"bound_service_account_names": "*,b"})), "can not mix \"*\" with values"),
        (bound(json!({"bound_service_account_namespaces": "*,b"})), "can not mix \"*\" with values"),
        (bound(json!({"alias_name_source": "odd"})), bad_source),
        (bound(json!({"token_ttl": "2h", "token_max_ttl": "1h"})), "'token_ttl' cannot be greater than 'token_max_ttl'"),
        (bound(json!({"ttl": "2h", "max_ttl": "1h"})), "token ttl should not be greater than token max ttl"),
        (
            bound(json!({"token_period": "769h"})),
            "token period of '\"769h0m0s\"' is greater than the backend's maximum lease TTL of '\"768h0m0s\"'",
        ),
        (bound(json!({"token_type": "weird"})), "invalid 'token_type' value \"weird\""),
        (selected("not json"), bad_selector),
        (selected("{}"), bad_selector),
        (selected(r#"{"matchExpressions": [{"key": "a", "operator": "Exists"}]}"#), bad_selector),
    ] {
        match s.harness.call(Update, "role/x", data.clone()).await {
            Err(EngineError::Invalid(got)) => assert_eq!(got, text, "{data}"),
            other => panic!("{data}: {other:?}"),
        }
    }
    assert!(s.harness.call(Read, "role/x", json!({})).await.unwrap().is_none(), "nothing was written");
    for path in ["role/-x", "role/x-", "role/a/b", "role/a b"] {
        assert!(matches!(s.harness.call(Update, path, bound(json!({}))).await, Err(EngineError::UnsupportedPath)), "{path}");
    }
}

#[tokio::test]
async fn an_empty_alias_source_is_the_default_only_for_a_new_role() {
    let mut s = bare();
    let role = json!({"bound_service_account_names": "a", "bound_service_account_namespaces": "b", "alias_name_source": "",
                      "token_max_ttl": "800h"});
    let warnings = s.write("role/x", role).await.unwrap().warnings;
    assert!(warnings[0].starts_with("max_ttl is greater than the system or backend mount's maximum TTL value"), "{warnings:?}");
    assert_eq!(s.harness.data(Read, "role/x", json!({})).await.unwrap()["alias_name_source"], "serviceaccount_uid");
    let e = s.harness.error(Update, "role/x", json!({"alias_name_source": ""})).await;
    assert!(e.starts_with("invalid alias_name_source"), "{e}");
}
