//! `sys/policies/explain`: who may ask about whom, that refusals tell nothing, and that the story is the server's decision.

mod common;

use api_types::{Operation, multi_error};
use common::{Reply, Server};
use serde_json::{Value, json};
use server_core::FailureKind;

const PATH: &str = "sys/policies/explain";
const KV: &str =
    "path \"kv/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n\npath \"kv/no\" {\n  capabilities = [\"deny\"]\n}\n";

async fn ready() -> Server {
    let s = Server::start().await;
    s.quietly("sys/mounts/kv", json!({"type": "kv"})).await;
    s.quietly("sys/policies/acl/reader", json!({"policy": KV})).await;
    s
}

fn refused(reply: &Reply) -> bool {
    (reply.failure, reply.error()) == (Some(FailureKind::Denied), multi_error(&["permission denied"]).as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_told_about_itself() {
    let s = ready().await;
    let t = s.token(&["reader"]).await;
    let ask =
        |operation: &str, path: &str| s.ask(Operation::Update, PATH, json!({"operation": operation, "path": path}), &t.token);
    let read = ask("read", "kv/a").await.ok();
    assert_eq!((&read["allowed"], &read["pattern"], &read["missing_grant"]), (&json!(true), &json!("kv/*"), &Value::Null));
    assert_eq!(
        read["stanzas"],
        json!([{"policy": "reader", "path": "kv/*", "line": 1, "capabilities": ["list", "read"], "decides": true, "beaten_by": null}])
    );
    assert_eq!(read["silent_policies"], json!(["default"]));
    let delete = ask("delete", "/kv/a").await.ok();
    assert_eq!(delete["allowed"], json!(false));
    assert_eq!(delete["missing_grant"], "path \"kv/a\" {\n  capabilities = [\"delete\", \"list\", \"read\"]\n}\n");
    let deny = ask("read", "kv/no").await.ok();
    assert_eq!((&deny["allowed"], &deny["missing_grant"]), (&json!(false), &Value::Null));
    assert!(deny["advice"].as_str().unwrap().contains("policy \"reader\", line 5"), "{deny}");
    // A list is asked with its slash, whether it was written or not, and a mount's name is its root.
    assert_eq!(ask("list", "kv/a").await.ok()["path"], "kv/a/");
    assert_eq!(ask("read", "kv").await.ok()["path"], "kv/");
    let sudo = ask("read", "sys/audit").await.ok();
    assert_eq!(sudo["missing_grant"], "path \"sys/audit\" {\n  capabilities = [\"read\", \"sudo\"]\n}\n");
    // What it says to add is what is missing.
    s.quietly("sys/policies/acl/reader", json!({"policy": format!("{KV}{}", delete["missing_grant"].as_str().unwrap())})).await;
    assert!(s.ask(Operation::Delete, "kv/a", json!({}), &t.token).await.failure.is_none());
    let root = s.post(PATH, json!({"operation": "delete", "path": "sys/mounts/kv"})).await.ok();
    assert_eq!((&root["allowed"], &root["capabilities"]), (&json!(true), &json!(["root"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn class_a_the_story_is_the_decision() {
    let s = ready().await;
    let t = s.token(&["reader"]).await;
    for path in
        ["kv/a", "kv/no", "kv/no/x", "kv/", "kv", "sys/mounts", "sys/audit", "cubbyhole/x", "nowhere/x", "auth/token/lookup-self"]
    {
        for (word, operation) in [("read", Operation::Read), ("list", Operation::List), ("delete", Operation::Delete)] {
            let sent = if operation == Operation::List { format!("{}/", path.trim_end_matches('/')) } else { path.to_owned() };
            let story = s.ask(Operation::Update, PATH, json!({"operation": word, "path": sent}), &t.token).await.ok();
            let real = s.ask(operation, &sent, json!({}), &t.token).await;
            assert_eq!(story["allowed"] == json!(true), real.failure != Some(FailureKind::Denied), "{word} {sent} {story}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn class_oracle_others_need_sudo_and_refusals_are_all_alike() {
    let s = ready().await;
    let other = s.token(&["reader"]).await;
    // May ask about itself, by default and by name.
    let plain = s.token(&["default"]).await;
    s.quietly("sys/policies/acl/asker", json!({"policy": "path \"sys/policies/explain\" { capabilities = [\"update\"] }"})).await;
    let asker = s.token(&["asker"]).await;
    let body = |more: Value| {
        let mut body = json!({"operation": "read", "path": "kv/a"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for token in [&plain, &asker] {
        for about in [
            json!({"token": other.token}),
            json!({"token": "hvs.nonsense"}),
            json!({"accessor": other.accessor}),
            json!({"accessor": "nonsense"}),
            json!({"policies": "reader"}),
            json!({"policies": "nonsense"}),
            json!({"policies": ["default", "reader"]}),
            json!({"token": s.root}),
        ] {
            let reply = s.ask(Operation::Update, PATH, body(about.clone()), &token.token).await;
            assert!(refused(&reply), "{about}: {}", reply.error());
        }
        for about in
            [json!({}), json!({"token": token.token}), json!({"accessor": token.accessor}), json!({"policies": "default"})]
        {
            let told = s.ask(Operation::Update, PATH, body(about.clone()), &token.token).await.ok();
            assert_eq!(told["allowed"], json!(false), "{about}");
        }
    }
    // Where nothing of theirs reaches, they are not told what is mounted.
    let pki = s.ask(Operation::Update, PATH, json!({"operation": "read", "path": "kv"}), &plain.token).await.ok();
    assert_eq!(pki["path"], "kv");
    // With sudo: all of them, and then unknown is said.
    s.quietly(
        "sys/policies/acl/boss",
        json!({"policy": "path \"sys/policies/explain\" { capabilities = [\"update\", \"sudo\"] }"}),
    )
    .await;
    let boss = s.token(&["boss"]).await;
    for (about, allowed) in [
        (json!({"token": other.token}), true),
        (json!({"accessor": other.accessor}), true),
        (json!({"policies": "reader,nonsense"}), true),
        (json!({"policies": ["nonsense"]}), false),
        (json!({}), false),
    ] {
        let told = s.ask(Operation::Update, PATH, body(about.clone()), &boss.token).await.ok();
        assert_eq!(told["allowed"], json!(allowed), "{about} {told}");
    }
    let unknown = s.ask(Operation::Update, PATH, body(json!({"token": "hvs.nonsense"})), &boss.token).await;
    assert_eq!(unknown.error(), multi_error(&["invalid token"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_on_the_endpoint_stands_and_sudo_elsewhere_is_not_sudo_here() {
    let s = ready().await;
    let other = s.token(&["reader"]).await;
    s.quietly("sys/policies/acl/shut", json!({"policy": "path \"sys/policies/explain\" { capabilities = [\"deny\"] }"})).await;
    let shut = s.token(&["shut"]).await;
    let own = json!({"operation": "read", "path": "kv/a"});
    assert!(refused(&s.ask(Operation::Update, PATH, own.clone(), &shut.token).await));
    s.quietly("sys/policies/acl/else", json!({"policy": "path \"sys/internal/ui/*\" { capabilities = [\"read\", \"sudo\"] }\npath \"sys/internal/ui/resultant-acl\" { capabilities = [\"read\", \"sudo\"] }"})).await;
    let elsewhere = s.token(&["else"]).await;
    assert!(s.ask(Operation::Update, PATH, own.clone(), &elsewhere.token).await.failure.is_none());
    let about = json!({"operation": "read", "path": "kv/a", "accessor": other.accessor});
    assert!(refused(&s.ask(Operation::Update, PATH, about, &elsewhere.token).await));
    let nobody = s.ask(Operation::Update, PATH, own, "").await;
    assert_eq!((nobody.failure, nobody.error()), (Some(FailureKind::Denied), "permission denied"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_questions() {
    let s = ready().await;
    for (body, want) in [
        (json!({"path": "kv/a"}), "operation must be one of create, read, update, patch, delete and list"),
        (json!({"operation": "fly", "path": "kv/a"}), "operation must be one of create, read, update, patch, delete and list"),
        (json!({"operation": "read"}), "path must be supplied"),
        (json!({"operation": "read", "path": "/"}), "path must be supplied"),
        (
            json!({"operation": "read", "path": "a", "token": "x", "accessor": "y"}),
            "only one of token, accessor and policies may be given",
        ),
    ] {
        let reply = s.post(PATH, body.clone()).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Invalid), want), "{body}");
    }
    assert_eq!(s.get(PATH).await.failure, Some(FailureKind::UnsupportedOperation));
    let wrap =
        "path \"kv/w\" {\n  capabilities = [\"update\"]\n  max_wrapping_ttl = \"1m\"\n  denied_parameters = { \"x\" = [] }\n}";
    s.quietly("sys/policies/acl/w", json!({"policy": wrap})).await;
    for (more, allowed) in [
        (json!({}), false),
        (json!({"wrap_ttl": "30s"}), true),
        (json!({"wrap_ttl": "2m"}), false),
        (json!({"wrap_ttl": "30s", "parameters": {"X": "secret-value"}}), false),
    ] {
        let mut body = json!({"operation": "update", "path": "kv/w", "policies": "w"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = s.post(PATH, body).await.ok();
        assert_eq!(told["allowed"], json!(allowed), "{more}");
        assert!(!told.to_string().contains("secret-value"));
    }
}
