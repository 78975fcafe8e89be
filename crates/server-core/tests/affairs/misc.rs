use std::sync::Arc;

use api_types::Operation::{List, Read};
use serde_json::{Value, json};
use server_core::CoreConfig;

use crate::common::{Server, registry};
use crate::{ask, get, list, post, request, send, token_with};

#[tokio::test]
async fn odds_and_ends() {
    let s = Server::start().await;
    let seen = ask(&s, Read, "sys/replication/status", Value::Null, "").await;
    assert_eq!((seen.data(), &seen.body["mount_type"]), (&json!({ "mode": "disabled" }), &json!("")));
    assert_eq!(get(&s, "sys/mfa/method").await.error(), "1 error occurred:\n\t* unsupported operation\n\n");
    assert_eq!(list(&s, "sys/mfa/method").await.status, 404);
    let seen = get(&s, "sys/internal/counters/requests").await;
    assert_eq!((seen.status, seen.error()), (404, "The functionality has been removed on this path"));
    assert_eq!(get(&s, "sys/internal/counters/activity").await.status, 204);
    assert_eq!(get(&s, "sys/internal/counters/entities").await.data(), &json!({ "counters": { "entities": { "total": 0 } } }));
    s.token(&["default"]).await;
    let seen = get(&s, "sys/internal/counters/tokens").await;
    assert_eq!(seen.data()["counters"]["service_tokens"]["total"], 2);
    let path = "sys/internal/counters/config";
    assert_eq!(get(&s, path).await.data()["enabled"], "default-disabled");
    assert_eq!(post(&s, path, json!({ "enabled": "enable", "retention_months": 50 })).await.status, 204);
    let seen = get(&s, path).await;
    assert_eq!((&seen.data()["enabled"], &seen.data()["retention_months"]), (&json!("enable"), &json!(50)));
    for body in [json!({ "retention_months": 47 }), json!({ "retention_months": 61 }), json!({ "enabled": "on" })] {
        assert_eq!(post(&s, path, body.clone()).await.status, 400, "{body}");
    }
    for path in ["sys/nothing-here", "sys/internal/nothing"] {
        assert_eq!(get(&s, path).await.error(), "1 error occurred:\n\t* unsupported path\n\n");
    }
}

#[tokio::test]
async fn versions_that_ran_here() {
    let s = Server::start().await;
    let seen = get(&s, "sys/version-history").await;
    assert_eq!((seen.status, seen.error()), (405, "1 error occurred:\n\t* unsupported operation\n\n"));
    let seen = ask(&s, List, "sys/version-history", Value::Null, &s.root).await;
    let version = api_types::API_VERSION;
    assert_eq!(seen.data()["keys"], json!([version]));
    let want = json!({ "timestamp_installed": "2026-09-21T14:13:20Z", "build_date": "", "previous_version": null });
    assert_eq!(seen.data()["key_info"][version], want);
}

#[tokio::test]
async fn the_machine_and_its_requests() {
    let s = Server::start().await;
    let seen = get(&s, "sys/host-info").await;
    assert!(seen.data()["host"]["hostname"].is_string());
    assert_eq!(seen.data()["timestamp"], "2026-09-21T14:13:20Z");
    let asked = request(Read, "sys/in-flight-req", Value::Null, &s.root);
    let id = asked.id.clone();
    let seen = send(&s, asked).await;
    assert_eq!(seen.body[&id]["request_path"], "/v1/sys/in-flight-req");
    assert_eq!(s.core.in_flight(), 0, "it is gone now");
    for path in ["sys/host-info", "sys/in-flight-req", "sys/metrics"] {
        assert_eq!(ask(&s, Read, path, Value::Null, "").await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn the_router_from_inside_only_if_configured() {
    let s = Server::start().await;
    let text = "The Vault configuration must set \"introspection_endpoint\" to true to enable this endpoint";
    let seen = get(&s, "sys/internal/inspect/router/root").await;
    assert_eq!((seen.status, seen.error()), (400, text));
    let s = Server::start_with(registry(), CoreConfig { introspection_endpoint: true, ..CoreConfig::default() }).await;
    assert_eq!(get(&s, "sys/internal/inspect/router/root").await.data()["root"]["sys/"]["mount_type"], "system");
    assert_eq!(get(&s, "sys/internal/inspect/router/accessor").await.data()["accessor"].as_object().unwrap().len(), 4);
    assert_eq!(get(&s, "sys/internal/inspect/router/x").await.status, 400);
    let plain = token_with(&s, "plain", r#"path "sys/internal/*" { capabilities = ["read"] }"#).await;
    assert_eq!(ask(&s, Read, "sys/internal/inspect/router/root", Value::Null, &plain).await.status, 403, "needs sudo");
}

#[tokio::test]
async fn metrics_come_from_the_recorder() {
    let s = Server::start().await;
    let seen = get(&s, "sys/metrics").await;
    assert_eq!((seen.status, seen.body), (400, json!("prometheus is not enabled")));
    let text = "# TYPE vault_core_unsealed gauge\nvault_core_unsealed 1\n";
    let config = CoreConfig { metrics: Some(Arc::new(move || text.to_owned())), ..CoreConfig::default() };
    let s = Server::start_with(registry(), config).await;
    let with = async |format: &str, accept: &str| {
        let mut asked = request(Read, "sys/metrics", json!({ "format": format }), &s.root);
        asked.headers.insert("accept".into(), vec![accept.into()]);
        send(&s, asked).await
    };
    assert_eq!(with("prometheus", "").await.bytes, text.as_bytes());
    assert_eq!(with("", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await.bytes, text.as_bytes());
    assert_eq!(with("", "*/*").await.body["Gauges"][0]["Name"], "vault_core_unsealed");
    assert_eq!(with("xml", "").await.status, 400);
}

#[tokio::test]
async fn the_catalogue_is_what_is_built_in() {
    let s = Server::start().await;
    let seen = get(&s, "sys/plugins/catalog").await;
    assert_eq!(
        (&seen.data()["auth"], &seen.data()["secret"], &seen.data()["database"]),
        (&json!(["userpass"]), &json!(["kv"]), &json!([]))
    );
    assert_eq!(seen.data()["detailed"].as_array().unwrap().len(), 2);
    assert_eq!(list(&s, "sys/plugins/catalog/auth").await.data()["keys"], json!(["userpass"]));
    assert_eq!(list(&s, "sys/plugins/catalog/database").await.status, 404);
    let seen = get(&s, "sys/plugins/catalog/auth/userpass").await;
    let data = seen.data();
    assert_eq!((&data["builtin"], &data["command"], &data["args"]), (&json!(true), &json!(""), &Value::Null));
    assert_eq!(get(&s, "sys/plugins/catalog/secret/none").await.status, 404);
    assert_eq!(get(&s, "sys/plugins/catalog/secret/system").await.status, 404);
    let seen = get(&s, "sys/plugins/catalog/kv").await;
    let warning = "Deprecated API endpoint, cannot read plugin information from catalog for \"kv\"";
    assert_eq!(seen.body["warnings"], json!([warning]));
    let seen = post(&s, "sys/plugins/catalog/secret/own", json!({ "sha256": "aa", "command": "x" })).await;
    assert_eq!(seen.status, 400);
}

#[tokio::test]
async fn the_document_shows_what_the_token_reaches() {
    let s = Server::start().await;
    assert_eq!(post(&s, "sys/mounts/my-kv", json!({ "type": "kv" })).await.status, 204);
    let path = "sys/internal/specs/openapi";
    let paths = |seen: &crate::Seen| -> Vec<String> {
        assert_eq!((seen.status, &seen.body["openapi"]), (200, &json!("3.0.2")));
        seen.body["paths"].as_object().unwrap().keys().cloned().collect()
    };
    let all = paths(&get(&s, path).await);
    assert!(all.iter().any(|p| p.starts_with("/my-kv/")) && all.contains(&"/sys/seal".to_owned()));
    let nobody = paths(&ask(&s, Read, path, Value::Null, "").await);
    assert!(!nobody.iter().any(|p| p.starts_with("/my-kv/")) && nobody.contains(&"/sys/seal".to_owned()));
    let reader = token_with(&s, "reader", r#"path "my-kv/team/*" { capabilities = ["read"] }"#).await;
    assert!(paths(&ask(&s, Read, path, Value::Null, &reader).await).iter().any(|p| p.starts_with("/my-kv/")));
    let other = s.token(&["default"]).await.token;
    assert!(!paths(&ask(&s, Read, path, Value::Null, &other).await).iter().any(|p| p.starts_with("/my-kv/")));
    let generic = ask(&s, Read, path, json!({ "generic_mount_paths": "true" }), &s.root).await;
    assert!(paths(&generic).iter().any(|p| p.starts_with("/{my_kv_mount_path}/")));
}

/// What an engine never sees it cannot give away: headers carry credentials meant for others.
#[tokio::test]
async fn an_engine_sees_the_headers_that_its_mount_lets_through() {
    let mut registry = registry();
    registry.secrets.insert("lessor", Arc::new(|_| Arc::new(crate::lessor::Lessor::new(Arc::default()))));
    let s = Server::start_with(registry, CoreConfig::default()).await;
    assert_eq!(post(&s, "sys/mounts/echo", json!({ "type": "lessor" })).await.status, 204);
    let headers = async || {
        let mut asked = request(Read, "echo/headers", Value::Null, &s.root);
        for name in ["authorization", "x-custom", "cookie"] {
            asked.headers.insert(name.into(), vec![format!("{name} 1"), format!("{name} 2")]);
        }
        send(&s, asked).await.data().clone()
    };
    assert_eq!(headers().await, json!({}));
    let tune = json!({ "passthrough_request_headers": ["X-Custom", "Absent"] });
    assert_eq!(post(&s, "sys/mounts/echo/tune", tune).await.status, 204);
    assert_eq!(headers().await, json!({ "x-custom": ["x-custom 1", "x-custom 2"] }));
}
