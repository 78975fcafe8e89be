use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api_types::Operation::{Read, Update};
use serde_json::{Value, json};
use server_core::{CoreConfig, LogControl};

use crate::common::{Server, registry};
use crate::{ask, delete, get, list, post, token_with};

#[tokio::test]
async fn cross_origin_settings() {
    let s = Server::start().await;
    let path = "sys/config/cors";
    assert_eq!(get(&s, path).await.data(), &json!({ "enabled": false }));
    assert!(s.core.open().unwrap().cors().unwrap().is_none());
    for (body, text) in [
        (json!({}), "at least one origin or the wildcard must be provided"),
        (json!({ "allowed_origins": "" }), "at least one origin or the wildcard must be provided"),
        (json!({ "allowed_origins": ["*", "a"] }), "to allow all origins the '*' must be the only value for allowed_origins"),
    ] {
        let seen = post(&s, path, body.clone()).await;
        assert_eq!((seen.status, seen.error()), (500, format!("1 error occurred:\n\t* {text}\n\n").as_str()), "{body}");
    }
    let body = json!({ "allowed_origins": "https://a, https://b", "allowed_headers": ["X-Own"] });
    assert_eq!(post(&s, path, body).await.status, 204);
    let seen = get(&s, path).await;
    assert_eq!(seen.data()["allowed_origins"], json!(["https://a", "https://b"]));
    let headers = seen.data()["allowed_headers"].as_array().unwrap();
    assert!(headers.contains(&json!("X-Vault-Token")) && headers.last() == Some(&json!("X-Own")));
    assert_eq!(seen.body["enabled"], true, "old paths show the keys twice");
    let cors = s.core.open().unwrap().cors().unwrap();
    assert_eq!(cors.as_ref().as_ref().unwrap().allowed_origins.len(), 2, "the edge sees the change");
    assert_eq!(delete(&s, path).await.status, 204);
    assert_eq!(get(&s, path).await.data(), &json!({ "enabled": false }));
    let plain = token_with(&s, "plain", r#"path "sys/config/*" { capabilities = ["read", "update"] }"#).await;
    assert_eq!(ask(&s, Read, path, Value::Null, &plain).await.status, 403, "needs sudo");
}

#[tokio::test]
async fn headers_of_the_web_ui() {
    let s = Server::start().await;
    let path = "sys/config/ui/headers";
    assert_eq!(list(&s, path).await.status, 404);
    let seen = post(&s, &format!("{path}/X-Frame"), json!({ "values": ["DENY", "b"] })).await;
    assert_eq!((seen.status, &seen.body["data"], &seen.body["warnings"]), (200, &Value::Null, &Value::Null));
    assert_eq!(get(&s, &format!("{path}/X-Frame")).await.data(), &json!({ "value": "DENY" }));
    let seen = ask(&s, Read, &format!("{path}/X-Frame"), json!({ "multivalue": "true" }), &s.root).await;
    assert_eq!(seen.data(), &json!({ "values": ["DENY", "b"] }));
    assert_eq!(list(&s, path).await.data()["keys"], json!(["X-Frame"]));
    for (name, body, text) in [
        ("X-Vault-Thing", json!({ "values": ["x"] }), "X-Vault headers cannot be set"),
        ("x-vault-thing", json!({ "values": ["x"] }), "X-Vault headers cannot be set"),
        ("X-None", json!({}), "header and values must be specified"),
        ("X-Split", json!({ "values": ["a\r\nSet-Cookie: b"] }), "header values must not contain control characters"),
    ] {
        let seen = post(&s, &format!("{path}/{name}"), body).await;
        assert_eq!((seen.status, seen.error()), (400, text), "{name}");
    }
    let seen = post(&s, &format!("{path}/Content-Security-Policy"), json!({ "values": "default-src" })).await;
    assert_eq!(seen.body["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(delete(&s, &format!("{path}/X-Frame")).await.status, 204);
    assert_eq!(get(&s, &format!("{path}/X-Frame")).await.status, 404);
}

#[tokio::test]
async fn what_is_fixed_and_what_is_not_there() {
    let sanitized = json!({ "storage": { "type": "raft" }, "max_lease_ttl": 0 });
    let config = CoreConfig { sanitized: sanitized.clone(), ..CoreConfig::default() };
    let s = Server::start_with(registry(), config).await;
    assert_eq!(get(&s, "sys/config/state/sanitized").await.data(), &sanitized);
    let want = json!({ "available": ["events.alpha1", "core.audit.events.alpha1", "secrets.import.alpha1"], "enabled": [] });
    assert_eq!(get(&s, "sys/experiments").await.data(), &want);
    let body = json!({ "group_policy_application_mode": "any" });
    for seen in [
        get(&s, "sys/config/group-policy-application").await,
        post(&s, "sys/config/group-policy-application", body).await,
        get(&s, "sys/license/status").await,
        get(&s, "sys/replication/dr/status").await,
        ask(&s, Read, "sys/replication/performance/status", Value::Null, "").await,
    ] {
        assert_eq!((seen.status, seen.error()), (404, "enterprise-only feature"));
    }
    assert_eq!(post(&s, "sys/config/reload/log_level", json!({})).await.status, 404);
    assert_eq!(ask(&s, Read, "sys/license/status", Value::Null, "").await.status, 403);
}

#[derive(Default)]
struct Levels(Mutex<BTreeMap<String, String>>);

impl LogControl for Levels {
    fn levels(&self) -> BTreeMap<String, String> {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, logger: Option<&str>, level: &str) -> bool {
        let mut levels = self.0.lock().unwrap();
        match logger {
            None => levels.values_mut().for_each(|l| level.clone_into(l)),
            Some(name) => match levels.get_mut(name) {
                Some(l) => level.clone_into(l),
                None => return false,
            },
        }
        true
    }

    fn reset(&self, logger: Option<&str>) -> bool {
        self.set(logger, "info")
    }
}

#[tokio::test]
async fn verbosity_of_the_log() {
    let levels = Levels(Mutex::new(BTreeMap::from([("core".into(), "info".into()), ("audit".into(), "info".into())])));
    let config = CoreConfig { log_control: Some(Arc::new(levels)), ..CoreConfig::default() };
    let s = Server::start_with(registry(), config).await;
    assert_eq!(get(&s, "sys/loggers").await.data(), &json!({ "core": "info", "audit": "info" }));
    assert_eq!(post(&s, "sys/loggers/core", json!({ "level": "DEBUG" })).await.status, 204);
    assert_eq!(get(&s, "sys/loggers/core").await.data(), &json!({ "core": "debug" }));
    assert_eq!(post(&s, "sys/loggers", json!({ "level": "err" })).await.status, 204);
    assert_eq!(get(&s, "sys/loggers").await.data(), &json!({ "core": "error", "audit": "error" }));
    assert_eq!(delete(&s, "sys/loggers/core").await.status, 204);
    for (path, body, text) in [
        ("sys/loggers", json!({}), "level is required"),
        ("sys/loggers", json!({ "level": "" }), "level is empty"),
        ("sys/loggers", json!({ "level": "loud" }), "invalid level provided: unknown log level: loud"),
        ("sys/loggers/none", json!({ "level": "info" }), "logger \"none\" not found"),
    ] {
        let seen = post(&s, path, body).await;
        assert_eq!((seen.status, seen.error()), (400, text), "{path}");
    }
    assert_eq!(ask(&s, Update, "sys/loggers", json!({ "level": "info" }), "").await.status, 403);
    let without = Server::start().await;
    assert_eq!(post(&without, "sys/loggers", json!({ "level": "info" })).await.status, 400);
}
