use std::net::IpAddr;
use std::time::Duration;

use api_types::Operation::{self, Delete, List, Read, Update};
use serde_json::{Value, json};
use server_core::{Admission, FailureKind};

use crate::common::Server;
use crate::{ask, delete, get, list, post, request, token_with};

const ONE: &str = "10.0.0.1";

/// Whether a request of an address may come in.
fn admitted(s: &Server, operation: Operation, path: &str, from: &str) -> bool {
    match s.core.admit(path, operation, Some(from.parse::<IpAddr>().unwrap())) {
        Admission::Admitted(_) => true,
        Admission::Refused { failure, .. } => {
            assert_eq!(failure.kind, FailureKind::Limited);
            assert_eq!(failure.errors, [format!("request path {path:?}: rate limit quota exceeded")]);
            false
        }
        Admission::ByRole => panic!("{path} asks for a role"),
    }
}

async fn limit(s: &Server, name: &str, body: Value) {
    let seen = post(s, &format!("sys/quotas/rate-limit/{name}"), body).await;
    assert_eq!(seen.status, 204, "{seen:?}");
}

#[tokio::test]
async fn a_quota_is_kept_as_it_was_sent() {
    let s = Server::start().await;
    assert_eq!(list(&s, "sys/quotas/rate-limit").await.status, 404);
    post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await;
    limit(&s, "all", json!({ "rate": 5000 })).await;
    limit(&s, "kv", json!({ "rate": "100.5", "path": "/kv/", "interval": "2m", "block_interval": "30s" })).await;
    let seen = get(&s, "sys/quotas/rate-limit/kv").await;
    assert_eq!(
        seen.data(),
        &json!({ "type": "rate-limit", "name": "kv", "path": "kv/", "role": "", "rate": 100.5, "interval": 120, "block_interval": 30,
                 "inheritable": false, "group_by": "ip", "secondary_rate": 0 })
    );
    assert!(seen.bytes.is_empty());
    limit(&s, "kv", json!({ "rate": 50, "path": "kv/team" })).await;
    let seen = get(&s, "sys/quotas/rate-limit/kv").await;
    assert_eq!(
        (&seen.data()["path"], &seen.data()["interval"], &seen.data()["block_interval"]),
        (&json!("kv/team"), &json!(1), &json!(0))
    );
    assert_eq!(get(&s, "sys/quotas/rate-limit/all").await.data()["inheritable"], true);
    assert_eq!(list(&s, "sys/quotas/rate-limit/").await.data()["keys"], json!(["all", "kv"]));
    for _ in 0..2 {
        assert_eq!(delete(&s, "sys/quotas/rate-limit/all").await.status, 204);
    }
    assert_eq!(get(&s, "sys/quotas/rate-limit/all").await.status, 404);
}

#[tokio::test]
async fn what_is_no_quota_is_refused() {
    let s = Server::start().await;
    post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await;
    limit(&s, "all", json!({ "rate": 1000 })).await;
    for (body, text) in [
        (json!({}), "'rate' is invalid"),
        (json!({ "rate": 0 }), "'rate' is invalid"),
        (json!({ "rate": -1, "path": "nowhere" }), "'rate' is invalid"),
        (json!({ "rate": "" }), "'rate' is invalid"),
        (json!({ "rate": null }), "'rate' is invalid"),
        (json!({ "rate": 1, "path": "nowhere" }), "invalid mount path \"nowhere/\""),
        (json!({ "rate": 1, "path": "auth" }), "invalid mount path \"auth/\""),
        (json!({ "rate": 1, "path": "nowhere/x*" }), "invalid mount path \"nowhere/x*/\""),
        (json!({ "rate": 1 }), "quota rule with similar properties exists under the name \"all\""),
        (json!({ "rate": 1, "path": "/" }), "quota rule with similar properties exists under the name \"all\""),
        (
            json!({ "rate": 1, "path": "kv", "role": "r" }),
            "Mount path \"kv/\" is not a valid auth method and therefore unsuitable for use with role-based quotas",
        ),
        (
            json!({ "rate": 1, "role": "r" }),
            "Mount path \"\" is not a valid auth method and therefore unsuitable for use with role-based quotas",
        ),
        (
            json!({ "rate": 1, "path": "auth/token", "role": "r" }),
            "Mount path \"auth/token/\" does not support use with role-based quotas",
        ),
        (
            json!({ "rate": 1, "path": "kv/x", "role": "r" }),
            "Quotas cannot contain both a path suffix and a role. If a role is provided, path must be a valid auth mount with a concept of roles",
        ),
        (json!({ "rate": 1, "group_by": "none" }), "grouping mode \"none\" is only available in Vault Enterprise"),
        (json!({ "rate": 1, "group_by": "x" }), "grouping mode \"x\" is only available in Vault Enterprise"),
    ] {
        let seen = post(&s, "sys/quotas/rate-limit/x", body.clone()).await;
        assert_eq!((seen.status, seen.error()), (400, text), "{body}");
    }
    for body in [
        json!({ "rate": "fast" }),
        json!({ "rate": [1] }),
        json!({ "rate": 1, "interval": "soon" }),
        json!({ "rate": 1, "block_interval": "-1s" }),
    ] {
        let seen = post(&s, "sys/quotas/rate-limit/x", body.clone()).await;
        assert_eq!(seen.status, 400, "{body}");
        assert!(seen.error().starts_with("Field validation failed: error converting input for field"), "{seen:?}");
    }
    assert_eq!(get(&s, "sys/quotas/rate-limit/x").await.status, 404);
    for (operation, path, status) in [
        (Read, "sys/quotas", 404),
        (List, "sys/quotas", 404),
        (Read, "sys/quotas/rate-limit", 405),
        (Update, "sys/quotas/rate-limit", 405),
        (Delete, "sys/quotas/config", 405),
    ] {
        assert_eq!(ask(&s, operation, path, json!({}), &s.root).await.status, status, "{operation} {path}");
    }
    let plain = token_with(&s, "plain", r#"path "kv/*" { capabilities = ["read"] }"#).await;
    assert_eq!(ask(&s, Update, "sys/quotas/rate-limit/x", json!({ "rate": 1, "path": "kv" }), &plain).await.status, 403);
}

#[tokio::test]
async fn the_settings_are_replaced_as_a_whole() {
    let s = Server::start().await;
    let seen = get(&s, "sys/quotas/config").await;
    assert_eq!(seen.data()["rate_limit_exempt_paths"].as_array().unwrap().len(), 7);
    assert_eq!(seen.data()["enable_rate_limit_audit_logging"], false);
    let body = json!({ "enable_rate_limit_response_headers": true, "rate_limit_exempt_paths": ["kv/open"] });
    assert_eq!(post(&s, "sys/quotas/config", body).await.status, 204);
    assert_eq!(get(&s, "sys/quotas/config").await.data()["rate_limit_exempt_paths"], json!(["kv/open"]));
    assert_eq!(post(&s, "sys/quotas/config", json!({ "enable_rate_limit_audit_logging": true })).await.status, 204);
    assert_eq!(
        get(&s, "sys/quotas/config").await.data(),
        &json!({ "rate_limit_exempt_paths": [], "absolute_rate_limit_exempt_paths": [], "enable_rate_limit_audit_logging": true,
                 "enable_rate_limit_response_headers": false })
    );
}

#[tokio::test]
async fn the_closest_rule_counts_each_address_for_itself() {
    let s = Server::start().await;
    assert!((0..100).all(|_| admitted(&s, Read, "kv/a", ONE)), "without a rule there is no limit");
    post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await;
    limit(&s, "all", json!({ "rate": 3, "interval": 10 })).await;
    limit(&s, "kv", json!({ "rate": 1, "interval": 10, "path": "kv/a", "block_interval": 60 })).await;
    assert!(admitted(&s, Read, "kv/a", ONE) && !admitted(&s, Read, "kv/a", ONE));
    assert!(admitted(&s, Read, "kv/a", "10.0.0.2"), "another address");
    for _ in 0..3 {
        assert!(admitted(&s, Read, "kv/b", ONE), "another path, the rule for everything");
    }
    assert!(!admitted(&s, Read, "nowhere/at/all", ONE), "what is not mounted counts as well");
    assert!(!admitted(&s, Update, "sys/mounts/x", ONE));
    assert!(admitted(&s, Read, "sys/health", ONE) && admitted(&s, Update, "sys/unseal", ONE), "exempt");
    s.clock.advance(Duration::from_secs(10));
    assert!(admitted(&s, Read, "kv/b", ONE), "the interval is over");
    assert!(!admitted(&s, Read, "kv/a", ONE), "the block is not");
    s.clock.advance(Duration::from_secs(50));
    assert!(admitted(&s, Read, "kv/a", ONE));
}

#[tokio::test]
async fn a_quota_follows_its_mount_and_ends_with_it() {
    let s = Server::start().await;
    post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await;
    limit(&s, "kv", json!({ "rate": 1, "interval": 10, "path": "kv/a*" })).await;
    assert_eq!(post(&s, "sys/remount", json!({ "from": "kv", "to": "moved" })).await.status, 200);
    assert_eq!(get(&s, "sys/quotas/rate-limit/kv").await.data()["path"], "moved/a*");
    assert!(admitted(&s, Read, "moved/ab", ONE) && !admitted(&s, Read, "moved/ac", ONE));
    assert_eq!(delete(&s, "sys/mounts/moved").await.status, 204);
    assert_eq!(get(&s, "sys/quotas/rate-limit/kv").await.status, 404);
    assert_eq!(list(&s, "sys/quotas/rate-limit").await.status, 404);
    post(&s, "sys/mounts/moved", json!({ "type": "kv" })).await;
    assert!((0..5).all(|_| admitted(&s, Read, "moved/ab", ONE)), "a new mount there has no quota");
}

#[tokio::test]
async fn quotas_apply_right_after_unsealing_and_while_sealed_nothing_is_asked() {
    let s = Server::start().await;
    limit(&s, "all", json!({ "rate": 1, "interval": 10 })).await;
    s.core.seal().await;
    assert!((0..5).all(|_| admitted(&s, Read, "kv/b", ONE)));
    s.core.unseal(secret::SecretBytes::new(s.share.clone()), false).await.unwrap();
    assert!(admitted(&s, Read, "kv/b", ONE) && !admitted(&s, Read, "kv/b", ONE));
}

#[tokio::test]
async fn a_refused_request_is_audited_where_the_operator_wants_it() {
    let s = Server::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let body = json!({ "type": "file", "options": { "file_path": file.path() } });
    assert_eq!(post(&s, "sys/audit/file", body).await.status, 204);
    limit(&s, "all", json!({ "rate": 1, "interval": 10 })).await;
    let Admission::Admitted(None) = s.core.admit("kv/a", Read, None) else { panic!("no figures unless asked for") };
    let Admission::Refused { audited: false, shown: None, .. } = s.core.admit("kv/a", Read, None) else { panic!("not refused") };
    let body = json!({ "enable_rate_limit_audit_logging": true, "enable_rate_limit_response_headers": true });
    assert_eq!(post(&s, "sys/quotas/config", body).await.status, 204);
    let Admission::Refused { audited: true, shown: Some(shown), failure } = s.core.admit("kv/a", Read, None) else {
        panic!("not refused")
    };
    assert_eq!((shown.limit, shown.remaining, shown.reset), (1, 0, Duration::from_secs(10)));
    let asked = request(Read, "kv/canary-path", Value::Null, "hvs.canary-token");
    let logged = s.core.refuse_limited(&asked, failure).await;
    assert!(matches!(logged.get(), server_core::Answer::Failure(f) if f.kind == FailureKind::Limited));
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.contains("kv/canary-path") && text.contains("rate limit quota exceeded"));
    assert!(!text.contains("hvs.canary-token"), "CVE class K");
}

#[tokio::test]
async fn lease_counts_stop_new_leases_and_let_them_in_again() {
    let s = Server::start().await;
    let path = "sys/quotas/lease-count";
    assert_eq!(list(&s, path).await.status, 404);
    for (body, text) in [
        (json!({}), "'max_leases' is invalid"),
        (json!({ "max_leases": 0 }), "'max_leases' is invalid"),
        (json!({ "max_leases": -3 }), "'max_leases' is invalid"),
        (json!({ "max_leases": 3, "path": "nowhere" }), "invalid mount path \"nowhere/\""),
    ] {
        let seen = post(&s, &format!("{path}/all"), body.clone()).await;
        assert_eq!((seen.status, seen.error()), (400, text), "{body}");
    }
    assert_eq!(post(&s, &format!("{path}/tokens"), json!({ "max_leases": 2, "path": "auth/token" })).await.status, 204);
    let create = || post(&s, "auth/token/create", json!({ "policies": ["default"] }));
    let first = create().await;
    assert_eq!((first.status, create().await.status), (200, 200));
    let seen = get(&s, &format!("{path}/tokens")).await;
    assert_eq!(
        (&seen.data()["counter"], &seen.data()["max_leases"], &seen.data()["type"]),
        (&json!(2), &json!(2), &json!("lease-count"))
    );
    let seen = create().await;
    assert_eq!((seen.status, seen.error()), (429, "request path \"auth/token/create\": lease count quota exceeded"));
    let token = first.body["auth"]["client_token"].as_str().unwrap().to_owned();
    // Renewing makes no lease, and a root token may always be made.
    assert_eq!(post(&s, "auth/token/renew", json!({ "token": token })).await.status, 200);
    assert_eq!(post(&s, "auth/token/create", json!({})).await.status, 200);
    assert_eq!(post(&s, "auth/token/revoke", json!({ "token": token })).await.status, 204);
    assert_eq!(create().await.status, 200, "one has ended");
    assert_eq!(create().await.status, 429);
    assert_eq!(delete(&s, &format!("{path}/tokens")).await.status, 204);
    assert_eq!(create().await.status, 200);
}

#[tokio::test]
async fn a_refused_login_leaves_nothing_behind() {
    let s = Server::start().await;
    post(&s, "sys/auth/userpass", json!({ "type": "userpass" })).await;
    post(&s, "auth/userpass/users/u", json!({ "password": "p" })).await;
    let login = || ask(&s, Update, "auth/userpass/login/u", json!({ "password": "p" }), "");
    assert_eq!(login().await.status, 200);
    let kept = s.records();
    assert_eq!(post(&s, "sys/quotas/lease-count/all", json!({ "max_leases": 1 })).await.status, 204);
    for _ in 0..3 {
        assert_eq!(login().await.status, 429);
    }
    assert_eq!(s.records(), kept + 1, "only the quota's row is new");
}
