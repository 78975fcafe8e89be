//! The whole method against a real kube-apiserver. Not part of the ordinary run; start one and ask for it:
//!
//! `eval "$(tests/kube/up.sh)" && cargo test -p auth-kubernetes --test real_apiserver -- --ignored`
//!
//! Asked for without a server it fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use std::process::Command;
use std::sync::Arc;

use api_types::Operation::Update;
use auth_kubernetes::{HttpReviewer, Kubernetes, LocalPaths};
use engine::testing::Harness;
use engine::{Auth, EngineError};
use secret::{Clock, SystemClock};
use serde_json::{Value, json};

const NOT_RUN: &str = "needs a kube-apiserver: eval \"$(tests/kube/up.sh)\", then --ignored";

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; {NOT_RUN}"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(env(name)).unwrap()
}

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn create(namespace: &str, account: &str, more: &[&str]) -> String {
    run(&env("KUBECTL"), &[&["-n", namespace, "create", "token", account], more].concat())
}

fn mint(args: &[&str]) -> String {
    run(&env("KUBE_MINT"), args)
}

struct Cluster {
    harness: Harness<Kubernetes>,
}

/// A mount that uses the rig's reviewer, with `changes` made to the configuration.
async fn mount(changes: Value) -> Cluster {
    let pod = LocalPaths { token: "/nonexistent/token".into(), ca: "/nonexistent/ca.crt".into() };
    let mut harness = Harness::new(Kubernetes::new(Arc::new(HttpReviewer::default()), pod));
    harness.now = SystemClock.now();
    let mut config = json!({"kubernetes_host": env("KUBE_API"), "kubernetes_ca_cert": file("KUBE_CA"),
                            "token_reviewer_jwt": file("KUBE_REVIEWER_JWT_FILE"), "disable_local_ca_jwt": true});
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    harness.call(Update, "config", config).await.unwrap();
    let mut cluster = Cluster { harness };
    let app = json!({"bound_service_account_names": "app-sa", "bound_service_account_namespaces": "production"});
    cluster.role("app", app, json!({})).await;
    cluster
}

impl Cluster {
    async fn role(&mut self, name: &str, mut role: Value, more: Value) {
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.harness.call(Update, &format!("role/{name}"), role).await.unwrap();
    }

    async fn login(&mut self, role: &str, jwt: &str) -> Result<Auth, EngineError> {
        // Tokens may have been made a moment ago.
        self.harness.now = SystemClock.now();
        let answer = self.harness.call(Update, "login", json!({"role": role, "jwt": jwt})).await?;
        Ok(*answer.unwrap().auth.unwrap())
    }

    async fn refused(&mut self, role: &str, jwt: &str) -> String {
        match self.login(role, jwt).await {
            Err(EngineError::Denied(text)) => text,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: tests/kube/up.sh"]
async fn accounts_get_in_and_strangers_do_not() {
    let mut c = mount(json!({})).await;
    let auth = c.login("app", &create("production", "app-sa", &[])).await.unwrap();
    assert_eq!(auth.display_name, "production-app-sa");
    let uid = run(&env("KUBECTL"), &["-n", "production", "get", "sa", "app-sa", "-o", "jsonpath={.metadata.uid}"]);
    assert_eq!(auth.alias.unwrap().name, uid);
    for (jwt, text) in [
        (create("production", "other-sa", &[]), "service account name not authorized"),
        (create("staging", "app-sa", &[]), "namespace not authorized"),
        (mint(&["production", "app-sa", "key=new"]), "permission denied"),
        (mint(&["production", "app-sa", "uid=00000000-0000-4000-8000-000000000000"]), "permission denied"),
        (mint(&["production", "app-sa", "iss=https://elsewhere.example"]), "permission denied"),
        (
            mint(&["production", "app-sa", "exp=-300", "iat=-3900", "nbf=-3900"]),
            "invalid expiration time (exp) claim: token is expired",
        ),
        (mint(&["production", "app-sa", "nbf=300"]), "invalid not before (nbf) claim: token not yet valid"),
        (mint(&["production", "app-sa", "iat=300"]), "invalid issued at (iat) claim: token issued in the future"),
    ] {
        assert_eq!(c.refused("app", &jwt).await, text);
    }
    c.login("app", &mint(&["production", "app-sa", "exp=-5", "iat=-3660", "nbf=-3660"])).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: tests/kube/up.sh"]
async fn a_deleted_account_is_nobody_and_a_new_one_is_somebody_else() {
    let mut c = mount(json!({})).await;
    let kubectl = env("KUBECTL");
    c.role("any", json!({"bound_service_account_names": "*", "bound_service_account_namespaces": "*"}), json!({})).await;
    run(&kubectl, &["-n", "staging", "delete", "sa", "doomed", "--ignore-not-found"]);
    run(&kubectl, &["-n", "staging", "create", "sa", "doomed"]);
    let jwt = create("staging", "doomed", &[]);
    run(&kubectl, &["-n", "staging", "delete", "sa", "doomed"]);
    assert_eq!(c.refused("any", &jwt).await, "permission denied");
    run(&kubectl, &["-n", "staging", "create", "sa", "doomed"]);
    assert_eq!(c.refused("any", &jwt).await, "permission denied");
    c.login("any", &create("staging", "doomed", &[])).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: tests/kube/up.sh"]
async fn audiences_selectors_and_annotations_work() {
    let mut c = mount(json!({"use_annotations_as_alias_metadata": true, "pem_keys": [file("KUBE_SA_PUB")]})).await;
    let app = json!({"bound_service_account_names": "app-sa", "bound_service_account_namespaces": "production"});
    c.role("aud", app, json!({"audience": "vault"})).await;
    assert_eq!(
        c.refused("aud", &create("production", "app-sa", &[])).await,
        "invalid audience (aud) claim: audience claim does not match any expected audience"
    );
    let alias = c.login("aud", &create("production", "app-sa", &["--audience=vault"])).await.unwrap().alias.unwrap();
    assert_eq!((alias.metadata.get("env").map(String::as_str), alias.metadata.len()), (Some("production"), 5));

    let names = json!({"bound_service_account_names": "*"});
    c.role("alpha", names.clone(), json!({"bound_service_account_namespace_selector": r#"{"matchLabels":{"team":"alpha"}}"#}))
        .await;
    c.login("alpha", &create("production", "app-sa", &[])).await.unwrap();
    assert_eq!(c.refused("alpha", &create("staging", "app-sa", &[])).await, "namespace not authorized");
    let forged = mint(&["nowhere", "app-sa", "uid=x"]);
    assert_eq!(
        c.refused("alpha", &forged).await,
        "namespace not authorized err=failed to get namespace (code 404 status namespaces \"nowhere\" not found)"
    );
    // An account whose annotations claim to be the token's own data.
    let e = c.login("alpha", &create("production", "other-sa", &[])).await.unwrap_err();
    assert!(matches!(&e, EngineError::Invalid(t) if t.ends_with("keys=[\"service_account_uid\"]")), "{e}");
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: tests/kube/up.sh"]
async fn a_token_kept_in_a_secret_works() {
    let mut c = mount(json!({})).await;
    let auth = c.login("app", &mint(&["production", "app-sa", "legacy=1"])).await.unwrap();
    assert_eq!(auth.metadata.get("service_account_secret_name").map(String::as_str), Some("app-sa-token"));
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: tests/kube/up.sh"]
async fn every_wrong_configuration_denies() {
    let jwt = create("production", "app-sa", &[]);
    let stranger = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
    for changes in [
        json!({"kubernetes_ca_cert": stranger}),
        json!({"kubernetes_ca_cert": ""}),
        json!({"kubernetes_host": "https://127.0.0.1:1"}),
        json!({"token_reviewer_jwt": create("vault", "no-review", &[])}),
        json!({"token_reviewer_jwt": mint(&["vault", "vault-auth", "exp=-900", "iat=-3600", "nbf=-3600"])}),
        json!({"token_reviewer_jwt": "not a token"}),
        // The client's own account may not review.
        json!({"token_reviewer_jwt": ""}),
        json!({"pem_keys": [stranger]}),
    ] {
        let mut c = mount(changes.clone()).await;
        assert_eq!(c.refused("app", &jwt).await, "permission denied", "{changes}");
    }
    let mut c = mount(json!({"disable_iss_validation": false, "issuer": "https://elsewhere.example"})).await;
    assert_eq!(c.refused("app", &jwt).await, "invalid issuer (iss) claim");
}
