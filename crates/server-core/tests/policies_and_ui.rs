//! `sys/policies`, `sys/policy`, `sys/capabilities*`, `sys/internal/ui`.

mod common;

use api_types::{Operation, multi_error};
use common::Server;
use serde_json::{Value, json};
use server_core::FailureKind;

const READ_X: &str = "path \"x\" { capabilities = [\"read\"] }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_kept_as_written_under_lower_case_names() {
    let s = Server::start().await;
    assert_eq!(s.list("sys/policies/acl").await.keys(), ["default", "root"]);
    s.quietly("sys/policies/acl/one", json!({"policy": READ_X})).await;
    assert_eq!(s.get("sys/policies/acl/one").await.ok(), json!({"name": "one", "policy": READ_X}));
    assert_eq!(s.get("sys/policy/one").await.ok(), json!({"name": "one", "rules": READ_X}));
    let upper = s.post("sys/policies/acl/Zulu", json!({"policy": READ_X})).await;
    assert_eq!(upper.warnings, ["policy name was converted to zulu"]);
    assert_eq!(s.get("sys/policies/acl/ZULU").await.ok()["name"], "zulu");
    let old = s.post("sys/policy/old", json!({"rules": READ_X})).await;
    assert_eq!(old.warnings, ["'rules' is deprecated, please use 'policy' instead"]);
    s.quietly("sys/policies/acl/b64", json!({"policy": "cGF0aCAiYSIgeyBjYXBhYmlsaXRpZXMgPSBbInJlYWQiXSB9"})).await;
    assert_eq!(s.get("sys/policies/acl/b64").await.ok()["policy"], "path \"a\" { capabilities = [\"read\"] }");
    s.quietly("sys/policies/acl/team/a", json!({"policy": READ_X})).await;
    assert_eq!(s.list("sys/policies/acl").await.keys(), ["b64", "default", "old", "one", "team/a", "zulu", "root"]);
    let twice = s.get("sys/policy").await;
    assert!(twice.injected && twice.data["keys"] == twice.data["policies"] && twice.data["keys"].as_array().unwrap().len() == 7);
    let page = s.ask(Operation::List, "sys/policies/acl", json!({"after": "old", "limit": "2"}), &s.root).await;
    assert_eq!(page.keys(), ["one", "team/a"]);
    let last = s.ask(Operation::List, "sys/policies/acl", json!({"after": "team/a", "limit": "9"}), &s.root).await;
    assert_eq!(last.keys(), ["zulu", "root"]);
    assert!(s.ask(Operation::List, "sys/policies/acl", json!({"after": "root"}), &s.root).await.keys().is_empty());
    assert!(s.delete("sys/policies/acl/one").await.is_empty() && s.delete("sys/policies/acl/one").await.is_empty());
    assert!(s.get("sys/policies/acl/one").await.data.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protected_and_broken_policies_are_refused_in_words() {
    let s = Server::start().await;
    for (operation, path, body, want) in [
        (Operation::Update, "acl/root", json!({"policy": READ_X}), "cannot update \"root\" policy"),
        (Operation::Update, "acl/Root", json!({"policy": READ_X}), "cannot update \"root\" policy"),
        (Operation::Update, "acl/response-wrapping", json!({"policy": READ_X}), "cannot update \"response-wrapping\" policy"),
        (Operation::Update, "acl/control-group", json!({"policy": READ_X}), "cannot update \"control-group\" policy"),
        (Operation::Update, "acl/x", json!({}), "'policy' parameter not supplied or empty"),
        (Operation::Update, "acl/x", json!({"policy": ""}), "'policy' parameter not supplied or empty"),
        (Operation::Update, "acl/x", json!({"rules": ""}), "'policy' parameter not supplied or empty"),
        (Operation::Update, "acl/a//b", json!({"policy": READ_X}), "policy name must be provided in the URL"),
        (Operation::Update, "acl/../mounts", json!({"policy": READ_X}), "policy name must be provided in the URL"),
        (
            Operation::Update,
            "acl/x",
            json!({"policy": "path \"a\" { capabilities = [\"fly\"] }"}),
            "failed to parse policy: path \"a\": invalid capability \"fly\"",
        ),
        (Operation::Delete, "acl/root", json!({}), "cannot delete \"root\" policy"),
        (Operation::Delete, "acl/default", json!({}), "cannot delete default policy"),
        (Operation::Delete, "acl/response-wrapping", json!({}), "cannot delete \"response-wrapping\" policy"),
        (Operation::Delete, "acl/control-group", json!({}), "cannot delete \"control-group\" policy"),
    ] {
        let reply = s.ask(operation, &format!("sys/policies/{path}"), body.clone(), &s.root).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Invalid), want), "{operation} {path} {body}");
    }
    assert!(s.post("sys/policies/acl/x", json!({"policy": "path {"})).await.error().starts_with("failed to parse policy: "));
    assert_eq!(s.get("sys/policies/acl/root").await.ok(), json!({"name": "root", "policy": ""}));
    for name in ["response-wrapping", "control-group"] {
        assert!(
            s.get(&format!("sys/policies/acl/{name}")).await.ok()["policy"].as_str().unwrap().contains("sys/wrapping/unwrap")
        );
    }
    assert!(s.get("sys/policies/acl/a//b").await.data.is_null());
    assert_eq!(s.get("sys/policies").await.error(), multi_error(&["unsupported path"]));
    assert_eq!(s.get("sys/policies/acl").await.failure, Some(FailureKind::UnsupportedOperation));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_policy_holds_from_the_next_request_on() {
    let s = Server::start().await;
    s.quietly("sys/mounts/kv", json!({"type": "kv"})).await;
    s.quietly("kv/a", json!({"v": 1})).await;
    s.quietly("sys/policies/acl/p", json!({"policy": "path \"kv/a\" { capabilities = [\"read\"] }"})).await;
    let t = s.token(&["p"]).await.token;
    assert!(s.get_as(&t, "kv/a").await.failure.is_none());
    s.quietly("sys/policies/acl/p", json!({"policy": "path \"kv/a\" { capabilities = [\"list\"] }"})).await;
    assert_eq!(s.get_as(&t, "kv/a").await.failure, Some(FailureKind::Denied));
    s.quietly("sys/policies/acl/p", json!({"policy": "path \"kv/*\" { capabilities = [\"read\"] }"})).await;
    assert!(s.get_as(&t, "kv/a").await.failure.is_none());
    s.delete("sys/policies/acl/p").await;
    assert_eq!(s.get_as(&t, "kv/a").await.failure, Some(FailureKind::Denied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_policies_make_passwords() {
    let s = Server::start().await;
    let text = "length = 12\nrule \"charset\" { charset = \"abc\" }\nrule \"charset\" { charset = \"789\" min-chars = 2 }";
    assert!(s.list("sys/policies/password").await.keys().is_empty());
    s.quietly("sys/policies/password/pw", json!({"policy": text})).await;
    assert_eq!(s.list("sys/policies/password").await.keys(), ["pw"]);
    assert_eq!(s.get("sys/policies/password/pw").await.ok(), json!({"policy": text}));
    let made = s.get("sys/policies/password/pw/generate").await.ok()["password"].as_str().unwrap().to_owned();
    assert!(made.len() == 12 && made.chars().all(|c| "abc789".contains(c)), "{made}");
    for (body, want) in [
        (json!({}), "missing policy"),
        (json!({"policy": "length = 2"}), "passwords must be between 4 and 100 characters"),
        (json!({"policy": text, "entropy_source": "seal"}), "unsupported entropy source \"seal\""),
    ] {
        assert_eq!(s.post("sys/policies/password/bad", body).await.error(), multi_error(&[want]));
    }
    assert!(s.delete("sys/policies/password/pw").await.is_empty());
    assert!(
        s.get("sys/policies/password/pw").await.data.is_null() && s.get("sys/policies/password/pw/generate").await.data.is_null()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capabilities_of_others_and_of_oneself() {
    let s = Server::start().await;
    s.quietly("sys/policies/acl/p", json!({"policy": "path \"kv/*\" { capabilities = [\"read\", \"create\"] }\npath \"kv/no\" { capabilities = [\"deny\"] }"})).await;
    let t = s.token(&["p"]).await;
    let two = s.post("sys/capabilities", json!({"token": t.token, "paths": ["kv/a", "kv/no", "elsewhere"]})).await;
    assert!(two.injected);
    assert_eq!(two.ok(), json!({"kv/a": ["create", "read"], "kv/no": ["deny"], "elsewhere": ["deny"]}));
    let one = s.post("sys/capabilities-accessor", json!({"accessor": t.accessor, "path": "kv/a"})).await;
    assert_eq!(one.ok(), json!({"kv/a": ["create", "read"], "capabilities": ["create", "read"]}));
    let own = s.ask(Operation::Update, "sys/capabilities-self", json!({"paths": "kv/a,kv/b"}), &t.token).await;
    assert_eq!(own.ok(), json!({"kv/a": ["create", "read"], "kv/b": ["create", "read"]}));
    assert_eq!(s.post("sys/capabilities-self", json!({"paths": ["sys/raw/x"]})).await.ok()["capabilities"], json!(["root"]));
    assert_eq!(s.post("sys/capabilities", json!({"token": s.root, "paths": ["a", "b"]})).await.ok()["b"], json!(["root"]));
    let framed = |text: &str| multi_error(&[text]);
    for (path, body, kind, want) in [
        ("capabilities", json!({"token": t.token}), FailureKind::Invalid, "paths must be supplied".to_owned()),
        ("capabilities", json!({"token": t.token, "paths": []}), FailureKind::Invalid, "paths must be supplied".to_owned()),
        ("capabilities", json!({"paths": ["x"]}), FailureKind::Internal, framed("no token found")),
        ("capabilities", json!({"token": "nonsense", "paths": ["x"]}), FailureKind::Invalid, framed("invalid token")),
        (
            "capabilities-accessor",
            json!({"accessor": "nonsense", "paths": ["x"]}),
            FailureKind::Invalid,
            framed("invalid accessor"),
        ),
        ("capabilities-accessor", json!({"paths": ["x"]}), FailureKind::Invalid, "missing accessor".to_owned()),
        ("capabilities-self", json!({}), FailureKind::Invalid, "paths must be supplied".to_owned()),
    ] {
        let reply = s.post(&format!("sys/{path}"), body.clone()).await;
        assert_eq!((reply.failure, reply.error()), (Some(kind), want.as_str()), "{path} {body}");
    }
    let nobody = s.ask(Operation::Update, "sys/capabilities-self", json!({"paths": ["x"]}), "").await;
    assert_eq!((nobody.failure, nobody.error()), (Some(FailureKind::Denied), "permission denied"));
    let denied = s.ask(Operation::Update, "sys/capabilities", json!({"token": t.token, "paths": ["x"]}), &t.token).await;
    assert_eq!((denied.failure, denied.error()), (Some(FailureKind::Denied), framed("permission denied").as_str()));
    assert_eq!(s.get("sys/capabilities-self").await.failure, Some(FailureKind::UnsupportedOperation));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_entity_has_no_capabilities() {
    let s = Server::start().await;
    s.quietly("sys/policies/acl/p", json!({"policy": "path \"own/{{identity.entity.name}}\" { capabilities = [\"read\"] }"}))
        .await;
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    s.quietly("auth/up/users/ann", json!({"password": "p", "token_policies": "p"})).await;
    let login = s.post("auth/up/login/ann", json!({"password": "p"})).await;
    let id = s.get_as(&login.token, "auth/token/lookup-self").await.ok()["entity_id"].as_str().unwrap().to_owned();
    assert!(s.post(&format!("identity/entity/id/{id}"), json!({"name": "ann"})).await.failure.is_none());
    let ask = json!({"token": login.token, "paths": ["own/ann", "own/bob"]});
    assert_eq!(s.post("sys/capabilities", ask.clone()).await.ok(), json!({"own/ann": ["read"], "own/bob": ["deny"]}));
    assert!(s.post(&format!("identity/entity/id/{id}"), json!({"disabled": true})).await.failure.is_none());
    assert_eq!(s.post("sys/capabilities", ask).await.ok(), json!({"own/ann": ["deny"], "own/bob": ["deny"]}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ui_shows_each_caller_its_own_mounts() {
    let s = Server::start().await;
    s.quietly(
        "sys/mounts/seen",
        json!({"type": "kv", "description": "d", "options": {"version": "2"}, "config": {"listing_visibility": "unauth"}}),
    )
    .await;
    s.quietly("sys/mounts/team", json!({"type": "kv"})).await;
    s.quietly("sys/mounts/secret", json!({"type": "kv"})).await;
    s.quietly("sys/auth/up", json!({"type": "userpass", "config": {"listing_visibility": "unauth"}})).await;
    s.quietly("sys/policies/acl/p", json!({"policy": "path \"team/some/deep/*\" { capabilities = [\"read\"] }"})).await;
    let t = s.token(&["p"]).await.token;
    let names = |v: &Value, table: &str| v[table].as_object().unwrap().keys().cloned().collect::<Vec<_>>();

    let nobody = s.get_as("", "sys/internal/ui/mounts").await.ok();
    assert_eq!(
        nobody,
        json!({
        "secret": {"seen/": {"type": "kv", "description": "d", "options": {"version": "2"}}},
        "auth": {"up/": {"type": "userpass", "description": "", "options": {}}}})
    );
    assert_eq!(s.get_as("nonsense", "sys/internal/ui/mounts").await.ok(), nobody, "a bad token is no token here");
    let mine = s.get_as(&t, "sys/internal/ui/mounts").await.ok();
    assert!(
        names(&mine, "secret").contains(&"team/".to_owned()) && !names(&mine, "secret").contains(&"secret/".to_owned()),
        "{mine}"
    );
    assert_eq!(mine["secret"]["team/"]["config"]["max_lease_ttl"], 2_764_800, "effective TTLs");
    assert!(mine["secret"]["seen/"]["accessor"].is_string());
    assert_eq!(
        names(&s.get("sys/internal/ui/mounts").await.ok(), "secret"),
        ["cubbyhole/", "identity/", "secret/", "seen/", "sys/", "team/"]
    );

    let one = s.get_as(&t, "sys/internal/ui/mounts/team/x/y").await.ok();
    assert_eq!((&one["path"], &one["options"], &one["type"]), (&json!("team/"), &json!({}), &json!("kv")));
    assert_eq!(s.get("sys/internal/ui/mounts/auth/up").await.ok()["path"], "auth/up/");
    for (token, path, want) in [
        ("", "seen", "permission denied".to_owned()),
        ("nonsense", "team", "permission denied".to_owned()),
        (t.as_str(), "secret/x", preflight("secret/x/")),
        (t.as_str(), "none", preflight("none/")),
        (t.as_str(), "te", preflight("te/")),
        (s.root.as_str(), "none", preflight("none/")),
    ] {
        let reply = s.get_as(token, &format!("sys/internal/ui/mounts/{path}")).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Denied), want.as_str()), "{path}");
    }
}

fn preflight(path: &str) -> String {
    format!("preflight capability check returned 403, please ensure client's policies grant access to path {path:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_web_interface_asks_first() {
    let s = Server::start().await;
    assert_eq!(s.get("sys/internal/ui/resultant-acl").await.ok(), json!({"root": true, "chroot_namespace": ""}));
    let t = s.token(&["default"]).await.token;
    let acl = s.get_as(&t, "sys/internal/ui/resultant-acl").await.ok();
    assert_eq!(acl["exact_paths"]["auth/token/lookup-self"], json!({"capabilities": ["read"]}));
    assert_eq!(acl["root"], false);
    assert_eq!(s.get_as("", "sys/internal/ui/resultant-acl").await.failure, Some(FailureKind::Denied));
    assert_eq!(s.get_as("", "sys/internal/ui/feature-flags").await.bare, Some(json!({"feature_flags": null})));
    assert_eq!(s.get_as(&t, "sys/internal/ui/namespaces").await.ok(), json!({"keys": [""]}));
    for path in ["authenticated-messages", "unauthenticated-messages"] {
        assert_eq!(s.get_as("", &format!("sys/internal/ui/{path}")).await.ok()["keys"], json!([]));
    }
    assert_eq!(s.get("sys/internal/ui/version").await.ok()["version"], api_types::API_VERSION);
}
