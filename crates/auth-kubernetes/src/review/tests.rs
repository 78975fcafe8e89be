//! What API servers answer, good and bad, against what may be believed of it.

use super::*;
use serde_json::{Value, json};

fn account() -> ServiceAccount {
    ServiceAccount {
        name: "app".into(),
        namespace: "apps".into(),
        uid: "u-1".into(),
        secret_name: String::new(),
        audiences: vec!["vault".into(), "api".into()],
    }
}

fn answer(status: u16, body: Value) -> Answer {
    Answer { status, body: body.to_string().into_bytes() }
}

fn review(status: Value) -> Answer {
    answer(201, json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status }))
}

fn good() -> Value {
    json!({"authenticated": true, "user": {"username": "system:serviceaccount:apps:app", "uid": "u-1"}, "audiences": ["vault"]})
}

fn with(key: &str, value: Value) -> Value {
    let mut status = good();
    status[key] = value;
    status
}

#[test]
fn only_the_very_account_is_accepted() {
    let wanted = account().audiences;
    for status in [200, 201, 202, 206] {
        let body = json!({ "status": good() });
        assert!(judge(&answer(status, body), &wanted, &account()).is_ok(), "{status}");
    }
    let user = |name: &str, uid: &str| with("user", json!({"username": name, "uid": uid}));
    for (status, reason) in [
        (with("authenticated", json!(false)), "jwt not valid"),
        (json!({"authenticated": true}), "audience"),
        (json!({}), "jwt not valid"),
        (with("error", json!("token unknown")), "token unknown"),
        (with("audiences", json!([])), "audience"),
        (with("audiences", json!(null)), "audience"),
        (with("audiences", json!(["vaults"])), "audience"),
        (with("audiences", json!("vault")), "not a TokenReview"),
        (user("system:serviceaccount:apps:other", "u-1"), "service account name"),
        (user("system:serviceaccount:apps:app", "u-2"), "uid"),
        (user("system:serviceaccount:apps:app", ""), "uid"),
        (user("system:serviceaccount:prod:app", "u-1"), "namespace"),
        (user("system:serviceaccount:apps:app:x", "u-1"), "username format"),
        (user("system:serviceaccount:apps", "u-1"), "username format"),
        (user("system:node:apps:app", "u-1"), "username format"),
        (user("evil:serviceaccount:apps:app", "u-1"), "username format"),
        (user("", "u-1"), "username format"),
        (with("authenticated", json!("true")), "not a TokenReview"),
    ] {
        let e = judge(&review(status.clone()), &wanted, &account()).unwrap_err().to_string();
        assert!(e.contains(reason), "{status}: {e}");
    }
}

#[test]
fn without_wanted_audiences_none_are_needed() {
    assert!(judge(&review(with("audiences", json!(null))), &[], &account()).is_ok());
    let mut nobody = account();
    nobody.uid = String::new();
    let e = judge(&review(with("user", json!({"username": "system:serviceaccount:apps:app"}))), &[], &nobody);
    assert!(e.is_err(), "an account without a uid is nobody");
}

#[test]
fn refusals_keep_their_reason_for_the_log() {
    let forbidden = json!({"kind": "Status", "status": "Failure", "message": "tokenreviews is forbidden", "code": 403});
    for (given, reason) in [
        (answer(401, json!({})), "deleted or recreated"),
        (answer(403, forbidden.clone()), "403: tokenreviews is forbidden"),
        (answer(201, forbidden), "tokenreviews is forbidden"),
        (answer(302, json!({ "status": good() })), "302"),
        (answer(199, json!({ "status": good() })), "199"),
        (answer(207, json!({ "status": good() })), "207"),
        (answer(500, json!("oops")), "500"),
        (Answer { status: 200, body: b"<html>".to_vec() }, "not a TokenReview"),
        (Answer { status: 200, body: Vec::new() }, "not a TokenReview"),
    ] {
        let e = judge(&given, &[], &account()).unwrap_err().to_string();
        assert!(e.contains(reason), "{e}");
    }
}

#[test]
fn questions_say_what_is_needed_and_no_more() {
    let token = SecretString::from("t.t.t");
    let body = |audiences: Vec<String>| {
        let question = Question::TokenReview { token: token.clone(), audiences };
        assert_eq!((question.method(), question.path().as_str()), ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"));
        serde_json::from_slice::<Value>(&question.body().unwrap()).unwrap()["spec"].clone()
    };
    assert_eq!(body(vec!["vault".into()]), json!({"token": "t.t.t", "audiences": ["vault"]}));
    assert_eq!(body(Vec::new()), json!({"token": "t.t.t"}));
    let account = Question::ServiceAccount { namespace: "a".into(), name: "b".into() };
    assert_eq!(
        (account.method(), account.path().as_str(), account.body()),
        ("GET", "/api/v1/namespaces/a/serviceaccounts/b", None)
    );
}

#[test]
fn objects_are_read_or_refused_in_the_words_clients_know() {
    let found = answer(200, json!({"metadata": {"labels": {"team": "alpha"}}}));
    assert_eq!(labels(&found).unwrap()["team"], "alpha");
    assert!(labels(&answer(200, json!({"metadata": {"labels": null}}))).unwrap().is_empty());
    let missing = answer(404, json!({"kind": "Status", "message": "namespaces \"x\" not found"}));
    assert_eq!(labels(&missing).unwrap_err().to_string(), "failed to get namespace (code 404 status namespaces \"x\" not found)");
    assert!(labels(&answer(201, json!({"metadata": {"labels": {"team": "alpha"}}}))).is_err());
    assert!(labels(&answer(200, json!({"metadata": {"labels": {"team": 1}}}))).is_err());
}

#[test]
fn annotations_cannot_overwrite_what_the_token_says() {
    let of = |annotations: Value| alias_metadata(&answer(200, json!({"metadata": {"annotations": annotations}})));
    let got =
        of(json!({"vault.hashicorp.com/alias-metadata-env": "prod", "vault.hashicorp.com/role": "x", "other": "y"})).unwrap();
    assert_eq!(got, BTreeMap::from([("env".to_owned(), "prod".to_owned())]));
    assert!(of(json!(null)).unwrap().is_empty());
    let e = of(json!({"vault.hashicorp.com/alias-metadata-service_account_uid": "x",
                      "vault.hashicorp.com/alias-metadata-service_account_name": "y",
                      "vault.hashicorp.com/alias-metadata-env": "prod"}));
    assert_eq!(
        e.unwrap_err().to_string(),
        "entity alias metadata keys for only internal use found from the client token's associated service account annotations: \
         keys=[\"service_account_name\" \"service_account_uid\"]"
    );
}
