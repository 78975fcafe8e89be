//! `login` against an API server that is a table: what is granted, the order and the exact texts of refusals, whose token goes
//! where, and the attacks of class H.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod scene;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_types::Operation::{Delete, Read, Update};
use auth_kubernetes::Trust;
use engine::{Auth, EngineError, Request, TokenType};
use serde_json::{Value, json};

use scene::{NOW, REVIEWS, Scene, bare, claims, claims_with, ready, token};

/// `403 text`, `400 text` or `500 text`.
fn refusal(result: Result<Auth, EngineError>) -> String {
    match result {
        Err(EngineError::Denied(text)) => format!("403 {text}"),
        Err(EngineError::Invalid(text)) => format!("400 {text}"),
        Err(EngineError::Internal(text)) => format!("500 {text}"),
        other => panic!("{other:?}"),
    }
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[tokio::test]
async fn a_login_carries_what_the_role_and_the_account_say() {
    let mut s = ready().await;
    s.write("role/app", json!({"token_ttl": "20m", "token_max_ttl": "1h", "token_type": "batch"})).await;
    let auth = s.login("APP", &token(&claims())).await.unwrap();
    let four = [
        ("service_account_uid", "u-1"),
        ("service_account_name", "app"),
        ("service_account_namespace", "apps"),
        ("service_account_secret_name", ""),
    ];
    let alias = auth.alias.unwrap();
    assert_eq!((alias.name.as_str(), &alias.metadata), ("u-1", &pairs(&four)));
    let mut metadata = pairs(&four);
    metadata.insert("role".into(), "APP".into());
    assert_eq!((auth.display_name.as_str(), auth.metadata), ("apps-app", metadata));
    assert_eq!(
        (auth.policies, auth.ttl, auth.max_ttl),
        (vec!["p".to_owned()], Duration::from_secs(1200), Duration::from_secs(3600))
    );
    assert_eq!((auth.token_type, auth.renewable, auth.internal["role"].as_str()), (TokenType::Batch, true, Some("APP")));
    assert!(auth.client_token.is_empty(), "the core issues the token");
}

#[tokio::test]
async fn a_review_is_asked_as_the_reviewer_for_the_right_audience() {
    let mut s = ready().await;
    let jwt = token(&claims());
    s.login("app", &jwt).await.unwrap();
    let asked = s.server.asked();
    assert_eq!((asked.len(), asked[0].path.as_str(), asked[0].bearer.as_str()), (1, REVIEWS, "rev.iew.er"));
    assert_eq!((asked[0].host.as_str(), &asked[0].trust), ("https://api:6443/", &Trust::System));
    assert_eq!(asked[0].body["spec"], json!({"token": jwt, "audiences": ["api"]}));
    s.write("role/app", json!({"audience": "vault"})).await;
    s.server.vouch("apps", "app", "u-1", &["vault"]);
    s.login("app", &token(&claims_with(json!({"aud": ["api", "vault"]})))).await.unwrap();
    assert_eq!(s.server.asked()[0].body["spec"]["audiences"], json!(["vault"]));
    // A server that vouches for another audience than the role's vouches for nothing.
    s.server.vouch("apps", "app", "u-1", &["api"]);
    assert_eq!(refusal(s.login("app", &token(&claims_with(json!({"aud": ["api", "vault"]})))).await), "403 permission denied");
}

#[tokio::test]
async fn the_bearer_is_the_configured_one_then_the_pods_then_the_clients() {
    let mut s = ready().await;
    let jwt = token(&claims());
    let ca = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
    std::fs::write(s.pod.path().join("token"), "pod.to.ken\n").unwrap();
    std::fs::write(s.pod.path().join("ca.crt"), &ca).unwrap();
    let host = "https://api";
    for (config, bearer, local_ca) in [
        (json!({"kubernetes_host": host, "token_reviewer_jwt": "rev.iew.er"}), "rev.iew.er", true),
        (json!({"kubernetes_host": host}), "pod.to.ken\n", true),
        (json!({"kubernetes_host": host, "disable_local_ca_jwt": true}), jwt.as_str(), false),
        (json!({"kubernetes_host": host, "token_reviewer_jwt": " \n", "disable_local_ca_jwt": true}), jwt.as_str(), false),
    ] {
        s.write("config", config.clone()).await;
        s.login("app", &jwt).await.unwrap();
        let asked = s.server.asked();
        let trust = if local_ca { Trust::Pem(ca.as_str().into()) } else { Trust::System };
        assert_eq!((asked[0].bearer.as_str(), &asked[0].trust), (bearer, &trust), "{config}");
    }
    // Without the pod's token the client's own is used; without the pod's CA nothing works.
    s.write("config", json!({"kubernetes_host": host})).await;
    std::fs::remove_file(s.pod.path().join("token")).unwrap();
    s.harness.now = s.harness.now.plus(Duration::from_secs(61));
    s.login("app", &jwt).await.unwrap();
    assert_eq!(s.server.asked()[0].bearer, jwt);
    std::fs::remove_file(s.pod.path().join("ca.crt")).unwrap();
    s.harness.now = s.harness.now.plus(Duration::from_secs(3600));
    let want = format!("500 open {}: no such file or directory", s.pod.path().join("ca.crt").display());
    assert_eq!(refusal(s.login("app", "even for a bad token").await), want);
}

#[tokio::test]
async fn refusals_before_the_token_is_read_come_in_order() {
    let mut s = bare();
    let jwt = token(&claims());
    for (data, text) in
        [(json!({}), "missing role"), (json!({"jwt": jwt}), "missing role"), (json!({"role": "app"}), "missing jwt")]
    {
        assert!(matches!(s.harness.call(Update, "login", data).await, Err(EngineError::Invalid(t)) if t == text));
    }
    assert_eq!(refusal(s.login("app", "bad").await), "400 invalid role name \"app\"");
    let role = json!({"bound_service_account_names": "app", "bound_service_account_namespaces": "apps", "token_bound_cidrs": "10.0.0.0/8"});
    s.write("role/app", role).await;
    assert_eq!(refusal(s.login("app", "bad").await), "403 permission denied", "no address is inside no network");
    s.write("role/app", json!({"token_bound_cidrs": ""})).await;
    assert_eq!(refusal(s.login("app", "bad").await), "500 could not load backend configuration");
    assert!(matches!(s.harness.call(Read, "login", json!({})).await, Err(EngineError::UnsupportedOperation)));
    assert!(s.server.asked().is_empty());
}

#[tokio::test]
async fn class_m_odd_role_names_are_just_unknown() {
    let mut s = ready().await;
    for role in ["nobody", "app/", "../config", "a/b", "-", "app ", "ä", "app\u{0}", &"x".repeat(5000)] {
        for jwt in [token(&claims()), "bad".to_owned()] {
            assert_eq!(refusal(s.login(role, &jwt).await), format!("400 invalid role name {role:?}"));
        }
    }
    assert!(s.server.asked().is_empty());
}

#[tokio::test]
async fn bound_addresses_hold_for_the_login_itself() {
    let mut s = ready().await;
    s.write("role/app", json!({"token_bound_cidrs": ["10.0.0.0/8", "127.0.0.1"]})).await;
    for (addr, allowed) in
        [(Some("10.9.8.7"), true), (Some("127.0.0.1"), true), (Some("11.0.0.1"), false), (Some("::1"), false), (None, false)]
    {
        let mut request = Request::new(Update, "auth/kubernetes/login");
        request.data = json!({"role": "app", "jwt": token(&claims())}).as_object().unwrap().clone();
        request.connection.remote_addr = addr.map(|a| a.parse().unwrap());
        let result = s.harness.send(request, "login").await;
        assert_eq!(result.is_ok(), allowed, "{addr:?}");
    }
}

#[tokio::test]
async fn class_h_claims_are_checked_before_the_api_server_is_asked() {
    let mut s = ready().await;
    s.write("role/app", json!({"audience": "vault"})).await;
    s.write(
        "config",
        json!({"kubernetes_host": "h", "disable_local_ca_jwt": true, "disable_iss_validation": false, "issuer": "me"}),
    )
    .await;
    let good = json!({"iss": "me", "aud": ["vault"]});
    let aud = "403 invalid audience (aud) claim: audience claim does not match any expected audience";
    let account = |ns: &str, name: &str| json!({"namespace": ns, "serviceaccount": {"name": name, "uid": "u-1"}});
    for (change, want) in [
        (json!({"iss": "you"}), "403 invalid issuer (iss) claim"),
        (json!({"iss": null}), "403 invalid issuer (iss) claim"),
        (json!({"aud": ["api"]}), aud),
        (json!({"aud": []}), aud),
        (json!({"aud": null}), aud),
        (json!({"aud": "vault"}), "500 1 error(s) decoding:\n\n* 'aud': source data must be an array or slice, got string"),
        (json!({"nbf": NOW + 61}), "403 invalid not before (nbf) claim: token not yet valid"),
        (json!({"exp": NOW - 61}), "403 invalid expiration time (exp) claim: token is expired"),
        (json!({"iat": NOW + 61}), "403 invalid issued at (iat) claim: token issued in the future"),
        (json!({"exp": "9999999999"}), "403 permission denied"),
        (json!({"nbf": "0"}), "403 permission denied"),
        (json!({"kubernetes.io": account("apps", "other")}), "403 service account name not authorized"),
        (json!({"kubernetes.io": account("apps", "app2")}), "403 service account name not authorized"),
        (json!({"kubernetes.io": account("apps", "*")}), "403 service account name not authorized"),
        (json!({"kubernetes.io": account("prod", "app")}), "403 namespace not authorized"),
        (json!({"kubernetes.io": account("", "")}), "403 service account name not authorized"),
        (
            json!({"kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "app"}}}),
            "500 could not parse UID from claims",
        ),
        (json!({"kubernetes.io": "apps"}), "403 permission denied"),
        (json!({"kubernetes.io": null}), "403 service account name not authorized"),
    ] {
        let mut all = good.clone();
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(refusal(s.login("app", &token(&claims_with(all))).await), want, "{change}");
    }
    assert!(s.server.asked().is_empty(), "nothing was sent for any of them");
    s.server.vouch("apps", "app", "u-1", &["vault"]);
    s.login("app", &token(&claims_with(good))).await.unwrap();
}

#[tokio::test]
async fn class_h_a_signature_is_checked_where_keys_are_configured() {
    let mut s = ready().await;
    let certificate = rcgen::generate_simple_self_signed(["sa".to_owned()]).unwrap().cert.pem();
    let config = json!({"kubernetes_host": "h", "pem_keys": certificate, "disable_local_ca_jwt": true});
    s.write("config", config).await;
    let [head, body, sig] = token(&claims()).split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    for jwt in [
        format!("{head}.{body}.{sig}"),
        format!("{head}.{body}."),
        format!("eyJhbGciOiJub25lIn0.{body}."),
        format!("eyJhbGciOiJub25lIn0.{body}.{sig}"),
        "not-a-jwt".into(),
    ] {
        assert_eq!(refusal(s.login("app", &jwt).await), "403 permission denied", "{jwt}");
    }
    assert!(s.server.asked().is_empty());
    // Without keys an unsigned token is refused all the same, before any review.
    s.write("config", json!({"kubernetes_host": "h", "disable_local_ca_jwt": true})).await;
    assert_eq!(refusal(s.login("app", &format!("eyJhbGciOiJub25lIn0.{body}.")).await), "403 permission denied");
    assert!(s.server.asked().is_empty());
}

#[tokio::test]
async fn every_failed_review_looks_the_same_to_the_client() {
    let mut s = ready().await;
    let jwt = token(&claims());
    let review = |status: Value| json!({ "status": status });
    let user = |name: &str, uid: &str| json!({"username": name, "uid": uid});
    for (status, body) in [
        (201, review(json!({"authenticated": false}))),
        (
            201,
            review(
                json!({"authenticated": true, "error": "x", "user": user("system:serviceaccount:apps:app", "u-1"), "audiences": ["api"]}),
            ),
        ),
        (201, review(json!({"authenticated": true, "user": user("system:serviceaccount:apps:app", "u-1")}))),
        (
            201,
            review(json!({"authenticated": true, "user": user("system:serviceaccount:apps:app", "u-2"), "audiences": ["api"]})),
        ),
        (
            201,
            review(json!({"authenticated": true, "user": user("system:serviceaccount:apps:other", "u-1"), "audiences": ["api"]})),
        ),
        (
            201,
            review(json!({"authenticated": true, "user": user("system:serviceaccount:prod:app", "u-1"), "audiences": ["api"]})),
        ),
        (401, json!({})),
        (403, json!({"kind": "Status", "message": "forbidden"})),
        (302, json!({})),
        (500, json!({})),
        (201, json!([])),
    ] {
        s.server.answer(REVIEWS, status, body.clone());
        assert_eq!(refusal(s.login("app", &jwt).await), "403 permission denied", "{body}");
    }
    s.server.fail(REVIEWS, "connection refused");
    assert_eq!(refusal(s.login("app", &jwt).await), "403 permission denied");
}

#[tokio::test]
async fn legacy_tokens_and_names_as_aliases_work() {
    let mut s = ready().await;
    s.write("role/any", json!({"bound_service_account_names": "*", "bound_service_account_namespaces": "*", "alias_name_source": "serviceaccount_name"})).await;
    let flat = "kubernetes.io/serviceaccount/";
    let legacy = json!({"iss": "kubernetes/serviceaccount", format!("{flat}namespace"): "apps", format!("{flat}secret.name"): "app-token",
                        format!("{flat}service-account.name"): "app", format!("{flat}service-account.uid"): "u-1"});
    s.server.answer(
        REVIEWS,
        201,
        json!({"status": {"authenticated": true, "user": {"username": "system:serviceaccount:apps:app", "uid": "u-1"}}}),
    );
    let auth = s.login("any", &token(&legacy)).await.unwrap();
    assert_eq!(
        (auth.alias.unwrap().name.as_str(), auth.metadata["service_account_secret_name"].as_str()),
        ("apps/app", "app-token")
    );
    assert_eq!(s.server.asked()[0].body["spec"].get("audiences"), None);
    let nameless = token(&claims_with(json!({"kubernetes.io": {"namespace": "apps", "serviceaccount": {"uid": "u-1"}}})));
    assert_eq!(refusal(s.login("any", &nameless).await), "500 service account namespace and name must be set");
}

async fn selecting() -> Scene {
    let mut s = ready().await;
    let selector = "matchLabels:\n  team: alpha\n";
    s.write(
        "role/app",
        json!({"bound_service_account_namespaces": "other*", "bound_service_account_namespace_selector": selector}),
    )
    .await;
    s
}

#[tokio::test]
async fn a_selector_admits_namespaces_by_label_asked_as_the_reviewer() {
    let mut s = selecting().await;
    let jwt = token(&claims());
    let path = "/api/v1/namespaces/apps";
    s.server.answer(path, 200, json!({"metadata": {"labels": {"team": "alpha", "x": "y"}}}));
    s.login("app", &jwt).await.unwrap();
    let asked = s.server.asked();
    assert_eq!((asked[0].path.as_str(), asked[0].bearer.as_str(), asked[1].path.as_str()), (path, "rev.iew.er", REVIEWS));
    for (status, body, want) in [
        (200, json!({"metadata": {"labels": {"team": "beta"}}}), "403 namespace not authorized"),
        (200, json!({"metadata": {}}), "403 namespace not authorized"),
        (
            404,
            json!({"kind": "Status", "message": "namespaces \"apps\" not found"}),
            "403 namespace not authorized err=failed to get namespace (code 404 status namespaces \"apps\" not found)",
        ),
        (200, json!("x"), "403 namespace not authorized err=failed to read namespace"),
    ] {
        s.server.answer(path, status, body.clone());
        assert_eq!(refusal(s.login("app", &jwt).await), want, "{body}");
    }
    s.server.fail(path, "tls: canary");
    assert_eq!(
        refusal(s.login("app", &jwt).await),
        "403 namespace not authorized err=namespace lookup failed: no answer from the API server"
    );
    // The client's own token is never used for this.
    s.server.asked();
    s.write("config", json!({"kubernetes_host": "h", "disable_local_ca_jwt": true})).await;
    assert_eq!(
        refusal(s.login("app", &jwt).await),
        "403 namespace not authorized err=namespace lookup failed: TokenReviewer JWT needs to be configured to use namespace selectors"
    );
    assert!(s.server.asked().is_empty());
}

#[tokio::test]
async fn a_forged_namespace_never_becomes_part_of_a_url() {
    let mut s = selecting().await;
    for namespace in
        ["../../apis", "apps/configmaps/mine", "apps?x=y", "apps#", "%2e%2e", "Apps", "", ".", "apps\n", "a b", &"a".repeat(64)]
    {
        let forged = token(&claims_with(
            json!({"kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": "app", "uid": "u-1"}}}),
        ));
        assert_eq!(refusal(s.login("app", &forged).await), "403 namespace not authorized", "{namespace:?}");
    }
    assert!(s.server.asked().is_empty());
}

#[tokio::test]
async fn annotations_become_alias_metadata_if_asked_for() {
    let mut s = ready().await;
    let config = json!({"kubernetes_host": "h", "disable_local_ca_jwt": true, "use_annotations_as_alias_metadata": true});
    s.write("config", config).await;
    let (jwt, path, key) =
        (token(&claims()), "/api/v1/namespaces/apps/serviceaccounts/app", "vault.hashicorp.com/alias-metadata-");
    s.server.answer(path, 200, json!({"metadata": {"annotations": {format!("{key}env"): "prod", "other": "x"}}}));
    let auth = s.login("app", &jwt).await.unwrap();
    let asked = s.server.asked();
    assert_eq!((asked[0].path.as_str(), asked[1].path.as_str(), asked[1].bearer.as_str()), (REVIEWS, path, jwt.as_str()));
    let metadata = auth.alias.unwrap().metadata;
    assert_eq!((metadata["env"].as_str(), metadata["service_account_uid"].as_str(), metadata.len()), ("prod", "u-1", 5));
    assert!(!auth.metadata.contains_key("env"), "only the alias has them");
    s.server.answer(path, 200, json!({"metadata": {"annotations": {format!("{key}service_account_name"): "root"}}}));
    assert_eq!(
        refusal(s.login("app", &jwt).await),
        "400 entity alias metadata keys for only internal use found from the client token's associated service account annotations: \
         keys=[\"service_account_name\"]"
    );
    s.server.answer(path, 403, json!({"kind": "Status", "message": "no"}));
    assert_eq!(refusal(s.login("app", &jwt).await), "500 failed to get service account (code 403 status no)");
    s.server.fail(path, "gone");
    assert_eq!(refusal(s.login("app", &jwt).await), "500 service account lookup failed");
}

/// What was logged, as bytes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn class_k_the_log_has_the_reason_and_no_token() {
    let mut s = ready().await;
    let jwt = token(&claims());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let body = json!({"kind": "Status", "message": format!("no\nentry for {jwt} and rev.iew.er")});
    s.server.answer(REVIEWS, 403, body);
    for _ in 0..50 {
        assert_eq!(refusal(s.login("app", &jwt).await), "403 permission denied");
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 20, "a flood is cut: {text}");
    assert!(text.contains("WARN") && text.contains("the API server answered 403: no entry for <token> and <token>"), "{text}");
    assert!(!text.contains(&jwt) && !text.contains("rev.iew.er"), "{text}");
}

#[tokio::test]
async fn no_answer_holds_a_token() {
    let mut s = ready().await;
    let jwt = token(&claims_with(json!({"canary": "canary-9d1f"})));
    for answer in [json!({"status": {"error": format!("bad token {jwt}")}}), json!({"kind": "Status", "message": jwt})] {
        s.server.answer(REVIEWS, 201, answer);
        assert_eq!(refusal(s.login("app", &jwt).await), "403 permission denied");
    }
    for bad in [json!({"role": "app", "jwt": [jwt]}), json!({"role": "app", "jwt": {"x": jwt}})] {
        let text = s.harness.error(Update, "login", bad).await;
        assert!(!text.contains(&jwt) && !text.starts_with("no error"), "{text}");
    }
}

#[tokio::test]
async fn renewal_looks_at_the_role_and_not_at_the_cluster() {
    let mut s = ready().await;
    let mut auth = s.login("App", &token(&claims())).await.unwrap();
    s.server.asked();
    s.write("role/app", json!({"token_ttl": 60, "token_max_ttl": 90, "token_period": 30})).await;
    s.harness.renew(&mut auth).unwrap();
    assert_eq!(
        (auth.ttl, auth.max_ttl, auth.period),
        (Duration::from_secs(60), Duration::from_secs(90), Duration::from_secs(30))
    );
    assert!(s.server.asked().is_empty());
    s.harness.call(Delete, "role/app", json!({})).await.unwrap();
    let e = s.harness.renew(&mut auth).unwrap_err();
    assert!(matches!(&e, EngineError::Internal(t) if t == "role App does not exist during renewal"), "{e}");
    auth.internal.clear();
    assert!(matches!(s.harness.renew(&mut auth), Err(EngineError::Internal(_))));
}
