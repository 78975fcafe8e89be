//! `sys/mounts`, `sys/auth`, `…/tune`, `sys/remount`: tables, errors in Vault's words, and what goes with a mount.

mod common;

use std::time::Duration;

use api_types::Operation;
use common::Server;
use serde_json::{Value, json};
use server_core::FailureKind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untouched_server_shows_its_own_mounts() {
    let s = Server::start().await;
    let reply = s.get("sys/mounts").await;
    assert!(reply.injected, "old paths show data twice");
    let table = reply.ok();
    assert_eq!(table.as_object().unwrap().keys().collect::<Vec<_>>(), ["cubbyhole/", "identity/", "sys/"]);
    let sys = &table["sys/"];
    assert_eq!(
        sys["config"],
        json!({"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false, "passthrough_request_headers": ["Accept"]})
    );
    assert_eq!((&sys["options"], &sys["seal_wrap"], sys.get("deprecation_status")), (&Value::Null, &json!(true), None));
    let auth = s.get("sys/auth").await.ok();
    assert_eq!(auth["token/"]["config"]["token_type"], "default-service");
    assert_eq!(auth["token/"], s.get("sys/auth/token").await.ok());
    let list = s.list("sys/mounts").await;
    assert_eq!((list.failure, list.error()), (Some(FailureKind::NotFound), "1 error occurred:\n\t* unsupported path\n\n"));
    let patch = s.ask(Operation::Patch, "sys/mounts", Value::Null, &s.root).await;
    assert_eq!(patch.failure, Some(FailureKind::UnsupportedOperation));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_is_shown_as_it_was_asked_for() {
    let s = Server::start().await;
    s.quietly(
        "sys/mounts/one",
        json!({"type": "kv", "description": "first", "config": {"default_lease_ttl": "1h", "max_lease_ttl": "2h"}}),
    )
    .await;
    let mut one = s.get("sys/mounts/one").await.ok();
    let object = one.as_object_mut().unwrap();
    let accessor = object.remove("accessor").unwrap();
    assert!(accessor.as_str().unwrap().starts_with("kv_") && accessor.as_str().unwrap().len() == 11);
    assert_eq!(object.remove("uuid").unwrap().as_str().unwrap().len(), 36);
    assert_eq!(
        one,
        json!({"type": "kv", "description": "first", "local": false, "seal_wrap": false, "external_entropy_access": false, "options": {},
            "plugin_version": "", "running_plugin_version": "v0.25.0+builtin", "running_sha256": "", "deprecation_status": "supported",
            "config": {"default_lease_ttl": 3600, "max_lease_ttl": 7200, "force_no_cache": false}})
    );
    let all = json!({"type": "kv-v2", "local": true, "config": {"force_no_cache": true, "listing_visibility": "unauth",
        "audit_non_hmac_request_keys": ["a"], "audit_non_hmac_response_keys": "b,c", "passthrough_request_headers": ["X-A"],
        "allowed_response_headers": ["X-B"], "default_lease_ttl": 60}});
    s.quietly("sys/mounts/a/b/c", all).await;
    let tune = s.get("sys/mounts/a/b/c/tune").await.ok();
    assert_eq!(
        tune,
        json!({"description": "", "default_lease_ttl": 60, "max_lease_ttl": 2_764_800, "force_no_cache": true, "listing_visibility": "unauth",
            "audit_non_hmac_request_keys": ["a"], "audit_non_hmac_response_keys": ["b", "c"], "passthrough_request_headers": ["X-A"],
            "allowed_response_headers": ["X-B"], "options": {"version": "2"}})
    );
    assert!(s.post("a/b/c/data/k", json!({"data": {"x": 1}})).await.ok()["version"] == 1, "version 2 serves");
    s.quietly("sys/auth/up", json!({"type": "userpass", "config": {"token_type": "batch"}})).await;
    assert_eq!(s.get("sys/auth/up").await.ok()["config"]["token_type"], "batch");
    assert!(s.get("sys/auth/up").await.ok()["accessor"].as_str().unwrap().starts_with("auth_userpass_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mounted_is_refused_in_words() {
    let s = Server::start().await;
    s.quietly("sys/mounts/here", json!({"type": "kv"})).await;
    s.quietly("sys/mounts/a/b/c", json!({"type": "kv"})).await;
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    let kv = |config: Value| json!({"type": "kv", "config": config});
    for (path, body, want) in [
        ("mounts/here", json!({"type": "kv"}), "path is already in use at here/"),
        ("mounts/here/below", json!({"type": "kv"}), "path is already in use at here/"),
        ("mounts/a", json!({"type": "kv"}), "path is already in use at a/b/c/"),
        ("mounts/x", json!({"type": "nothing"}), "plugin not found in the catalog: nothing"),
        ("mounts/x", json!({"type": "transit"}), "plugin not found in the catalog: transit"),
        ("mounts/x", json!({"type": "userpass"}), "plugin not found in the catalog: userpass"),
        ("mounts/x", json!({}), "backend type must be specified as a string"),
        ("mounts/x", json!({"type": "plugin"}), "plugin_name must be provided for plugin backend"),
        ("mounts/x", json!({"type": "plugin", "plugin_name": "mine"}), "plugin not found in the catalog: mine"),
        ("mounts/x", json!({"type": "system"}), "mount type of \"system\" is not mountable"),
        ("mounts/x", json!({"type": "cubbyhole"}), "mount type of \"cubbyhole\" is not mountable"),
        ("mounts/x", json!({"type": "identity"}), "mount type of \"identity\" is not mountable"),
        ("mounts/x", json!({"type": "kv", "options": {"version": "3"}}), "invalid version provided: 3"),
        (
            "mounts/x",
            kv(json!({"default_lease_ttl": "2h", "max_lease_ttl": "1h"})),
            "given default lease TTL greater than given max lease TTL",
        ),
        (
            "mounts/x",
            kv(json!({"default_lease_ttl": "99999h"})),
            "given default lease TTL greater than system max lease TTL of 2764800",
        ),
        (
            "mounts/x",
            kv(json!({"default_lease_ttl": "soon"})),
            "unable to parse default TTL of soon: time: invalid duration \"soon\"",
        ),
        ("mounts/x", kv(json!({"max_lease_ttl": "-1h"})), "unable to parse max TTL of -1h: cannot be negative"),
        ("mounts/x", kv(json!({"listing_visibility": "loud"})), "invalid listing_visibility loud"),
        ("mounts/x", kv(json!({"force_no_cache": "maybe"})), "unable to convert given mount config information"),
        ("mounts/x", kv(json!({"plugin_version": "v9.9.9"})), "plugin not found in the catalog: kv"),
        ("mounts/sys", json!({"type": "kv"}), "cannot mount \"sys/\""),
        ("mounts/sys/x", json!({"type": "kv"}), "cannot mount \"sys/x/\""),
        ("mounts/auth/x", json!({"type": "kv"}), "cannot mount \"auth/x/\""),
        ("mounts/identity/x", json!({"type": "kv"}), "cannot mount \"identity/x/\""),
        ("mounts/cubbyhole", json!({"type": "kv"}), "cannot mount \"cubbyhole/\""),
        ("mounts/x/../y", json!({"type": "kv"}), "cannot mount \"x/../y/\""),
        ("auth/up/x", json!({"type": "userpass"}), "path is already in use at up/"),
        ("auth/token", json!({"type": "userpass"}), "path is already in use at token/"),
        ("auth/x", json!({"type": "token"}), "token credential backend cannot be instantiated"),
        ("auth/x", json!({"type": "kv"}), "plugin not found in the catalog: kv"),
        ("auth/x", json!({"type": "unheard-of"}), "plugin not found in the catalog: unheard-of"),
        ("auth/x", json!({}), "backend type must be specified as a string"),
        ("auth/x", json!({"type": "userpass", "config": {"token_type": "odd"}}), "invalid value for 'token_type'"),
        (
            "auth/x",
            json!({"type": "userpass", "config": {"default_lease_ttl": "5h", "max_lease_ttl": "1h"}}),
            "given default lease TTL greater than given max lease TTL",
        ),
    ] {
        let reply = s.post(&format!("sys/{path}"), body.clone()).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Invalid), want), "{path} {body}");
    }
    let text = s.post("sys/mounts/x", json!({"type": "kv", "config": "text"})).await;
    assert!(text.error().starts_with("Field validation failed: error converting input for field \"config\": "), "{text:?}");
    for (path, want) in [
        ("sys/mounts/none", "No secret engine mount at none/"),
        ("sys/mounts/a", "No secret engine mount at a/"),
        ("sys/auth/none", "No auth engine at none/"),
        ("sys/mounts/none/nothing/tune", "cannot fetch sysview for path \"none/nothing/\""),
        ("sys/auth/none/tune", "cannot fetch sysview for path \"auth/none/\""),
    ] {
        let reply = s.get(path).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Invalid), want), "{path}");
    }
    for (path, want) in [
        ("sys/mounts/sys", "cannot unmount \"sys/\""),
        ("sys/mounts/cubbyhole", "cannot unmount \"cubbyhole/\""),
        ("sys/mounts/identity", "cannot unmount \"identity/\""),
        ("sys/mounts/auth/up", "cannot unmount \"auth/up/\""),
        ("sys/auth/token", "token credential backend cannot be disabled"),
        ("sys/mounts/none", ""),
        ("sys/mounts/here/below", ""),
        ("sys/auth/none", ""),
    ] {
        assert_eq!(s.delete(path).await.error(), want, "{path}");
    }
    assert_eq!(s.get("sys/mounts").await.ok().as_object().unwrap().len(), 5, "nothing came or went");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuning_changes_what_is_sent_and_nothing_else() {
    let s = Server::start().await;
    s.quietly("sys/auth/up", json!({"type": "userpass", "description": "d"})).await;
    s.quietly(
        "sys/auth/up/tune",
        json!({"default_lease_ttl": "15m", "max_lease_ttl": "1h", "token_type": "default-batch", "listing_visibility": "unauth"}),
    )
    .await;
    s.quietly(
        "sys/mounts/auth/up/tune",
        json!({"token_type": "service", "audit_non_hmac_request_keys": ["k"], "default_lease_ttl": ""}),
    )
    .await;
    s.quietly("sys/auth/up/tune", json!({"user_lockout_config": {"lockout_threshold": "7", "lockout_duration": "10m", "lockout_counter_reset_duration": "5m", "lockout_disable": false}})).await;
    let shown = s.get("sys/auth/up/tune").await.ok();
    assert_eq!(
        shown,
        json!({"description": "d", "default_lease_ttl": 900, "max_lease_ttl": 3600, "force_no_cache": false, "token_type": "service",
            "listing_visibility": "unauth", "audit_non_hmac_request_keys": ["k"], "user_lockout_threshold": 7,
            "user_lockout_duration": 600, "user_lockout_counter_reset_duration": 300, "user_lockout_disable": false})
    );
    assert_eq!(shown, s.get("sys/mounts/auth/up/tune").await.ok());
    s.quietly("sys/auth/up/tune", json!({"user_lockout_config": {"lockout_disable": true}})).await;
    assert_eq!(
        s.get("sys/auth/up").await.ok()["config"]["user_lockout_config"],
        json!({"user_lockout_threshold": 7, "user_lockout_duration": 600, "user_lockout_counter_reset_duration": 300, "user_lockout_disable": true})
    );
    s.quietly("sys/auth/up/tune", json!({"default_lease_ttl": "system", "max_lease_ttl": "system", "audit_non_hmac_request_keys": "", "listing_visibility": "", "description": ""})).await;
    let config = s.get("sys/auth/up").await.ok()["config"].clone();
    assert_eq!((&config["default_lease_ttl"], &config["max_lease_ttl"]), (&json!(0), &json!(0)));
    assert!(config.get("audit_non_hmac_request_keys").is_none() && config.get("listing_visibility").is_none());
    for (path, body, want) in [
        ("auth/up/tune", json!({"token_type": "wrong"}), "invalid value for 'token_type'"),
        ("auth/up/tune", json!({"default_lease_ttl": "soon"}), "time: invalid duration \"soon\""),
        (
            "auth/up/tune",
            json!({"default_lease_ttl": "2h", "max_lease_ttl": "1h"}),
            "backend max lease TTL of 3600 would be less than backend default lease TTL of 7200",
        ),
        ("auth/up/tune", json!({"listing_visibility": "loud"}), "invalid listing_visibility loud"),
        (
            "auth/token/tune",
            json!({"user_lockout_config": {"lockout_threshold": "3"}}),
            "tuning of user lockout configuration for auth type \"token\" not allowed",
        ),
        ("auth/token/tune", json!({"token_type": "batch"}), "'token_type' cannot be set for 'token' or 'ns_token' auth mounts"),
        ("auth/none/tune", json!({"description": "x"}), "tune of path \"auth/none/\" failed: no mount entry found"),
        ("mounts/none/tune", json!({"description": "x"}), "tune of path \"none/\" failed: no mount entry found"),
        ("mounts/sys/tune", json!({"description": "x"}), "cannot tune \"sys/\""),
        ("mounts/cubbyhole/tune", json!({"default_lease_ttl": "1h"}), "cannot tune \"cubbyhole/\""),
        ("mounts/identity/tune", json!({"token_type": "batch"}), "'token_type' can only be modified on auth mounts"),
    ] {
        let reply = s.post(&format!("sys/{path}"), body.clone()).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Invalid), want), "{path} {body}");
    }
    assert_eq!(s.get("sys/auth/up").await.ok()["config"], config, "a refused change changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kv_goes_up_to_version_2_with_its_data_and_not_down() {
    let s = Server::start().await;
    s.quietly("sys/mounts/kv", json!({"type": "kv"})).await;
    for i in 0..150 {
        assert!(s.post(&format!("kv/folder{}/k{i}", i % 3), json!({"n": i})).await.is_empty());
    }
    let reply = s.post("sys/mounts/kv/tune", json!({"options": {"version": "2"}})).await;
    assert_eq!(
        reply.warnings,
        [
            "Upgrading mount from version 0 to version 2. This mount will be unavailable for a brief period and will resume service shortly."
        ]
    );
    s.tidy_mounts().await;
    for i in [0, 77, 149] {
        let read = s.get(&format!("kv/data/folder{}/k{i}", i % 3)).await.ok();
        assert_eq!((&read["data"]["n"], &read["metadata"]["version"]), (&json!(i), &json!(1)), "{i}");
    }
    for (version, want) in [
        ("1", "cannot downgrade mount from version 2"),
        ("3", "invalid version provided: 3"),
        ("x", "invalid version provided: x"),
    ] {
        assert_eq!(s.post("sys/mounts/kv/tune", json!({"options": {"version": version}})).await.error(), want);
    }
    s.quietly("sys/mounts/kv/tune", json!({"options": {"version": "2"}})).await;
    assert_eq!(s.get("sys/mounts/kv/tune").await.ok()["options"], json!({"version": "2"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_mounts_at_one_path_exactly_one_comes_to_be() {
    let s = std::sync::Arc::new(Server::start().await);
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let s = std::sync::Arc::clone(&s);
            // Half of them nest: that is a conflict as well.
            let path = if i % 2 == 0 { "sys/mounts/same".to_owned() } else { format!("sys/mounts/same/below{i}") };
            tokio::spawn(async move { s.post(&path, json!({"type": "kv"})).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        let reply = task.await.unwrap();
        if reply.is_empty() {
            made.push(reply);
        } else {
            assert!(reply.error().starts_with("path is already in use at same/"), "{reply:?}");
        }
    }
    let table = s.get("sys/mounts").await.ok();
    let there = table.as_object().unwrap().keys().filter(|p| p.starts_with("same/")).count();
    assert!(made.len() == there && there >= 1, "{} made, {there} there", made.len());
    assert!(there == 1 || !table.as_object().unwrap().contains_key("same/"), "mounts nest: {table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_equal_mounts_give_one() {
    let s = std::sync::Arc::new(Server::start().await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let s = std::sync::Arc::clone(&s);
            tokio::spawn(async move { s.post("sys/auth/same", json!({"type": "userpass"})).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        let reply = task.await.unwrap();
        made += usize::from(reply.is_empty());
        assert!(reply.is_empty() || reply.error() == "path is already in use at same/", "{reply:?}");
    }
    assert_eq!(made, 1);
}

async fn login(s: &Server, mount: &str) -> common::Reply {
    s.post(&format!("auth/{mount}/login/ann"), json!({"password": "p"})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_auth_method_takes_its_tokens_along() {
    let s = Server::start().await;
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    s.quietly("auth/up/users/ann", json!({"password": "p"})).await;
    let accessor = s.get("sys/auth/up").await.ok()["accessor"].clone();
    let (first, other) = (login(&s, "up").await, s.token(&["default"]).await);
    assert!(s.get_as(&first.token, "auth/token/lookup-self").await.failure.is_none());
    let entity = s.get_as(&first.token, "auth/token/lookup-self").await.ok()["entity_id"].as_str().unwrap().to_owned();
    assert!(s.delete("sys/auth/up").await.is_empty());
    assert_eq!(s.get_as(&first.token, "auth/token/lookup-self").await.failure, Some(FailureKind::Denied));
    assert!(s.get_as(&other.token, "auth/token/lookup-self").await.failure.is_none(), "tokens of others stay");
    assert_eq!(
        s.get(&format!("identity/entity/id/{entity}")).await.ok()["aliases"],
        json!([]),
        "the entity stays, its alias goes"
    );
    assert_eq!(login(&s, "up").await.error(), "no handler for route \"auth/up/login/ann\". route entry not found.");
    // The path is free at once, and the new mount is another one: no users, another accessor.
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    assert_ne!(s.get("sys/auth/up").await.ok()["accessor"], accessor);
    assert_eq!(login(&s, "up").await.failure, Some(FailureKind::Invalid));
    s.quietly("auth/up/users/ann", json!({"password": "p"})).await;
    let second = login(&s, "up").await;
    // What the worker still does for the old mount does not touch the new one.
    s.advance(Duration::from_secs(10));
    s.tidy_mounts().await;
    assert!(s.get_as(&second.token, "auth/token/lookup-self").await.failure.is_none());
    assert!(login(&s, "up").await.failure.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_mount_and_a_new_one_at_its_path_share_nothing() {
    let s = Server::start().await;
    s.quietly("sys/mounts/kv", json!({"type": "kv"})).await;
    s.quietly("kv/a", json!({"v": "old"})).await;
    assert!(s.delete("sys/mounts/kv").await.is_empty());
    assert_eq!(s.get("kv/a").await.failure, Some(FailureKind::NotFound));
    s.quietly("sys/mounts/kv", json!({"type": "kv"})).await;
    assert!(s.get("kv/a").await.data.is_null());
    s.quietly("kv/a", json!({"v": "new"})).await;
    s.advance(Duration::from_secs(10));
    s.tidy_mounts().await;
    assert_eq!(s.get("kv/a").await.ok(), json!({"v": "new"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_mount_keeps_its_data_and_takes_back_what_it_gave() {
    let s = Server::start().await;
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    s.quietly("auth/up/users/ann", json!({"password": "p"})).await;
    let token = login(&s, "up").await.token;
    let before = s.get("sys/auth/up").await.ok();
    let reply = s.post("sys/remount", json!({"from": "auth/up", "to": "auth/moved"})).await;
    assert!(reply.injected);
    assert_eq!(
        reply.warnings,
        ["Mount move has been queued. Progress will be reported in Vault's server log, tagged with the returned migration_id"]
    );
    let id = reply.ok()["migration_id"].as_str().unwrap().to_owned();
    assert_eq!(
        s.get(&format!("sys/remount/status/{id}")).await.ok(),
        json!({"migration_id": id, "migration_info": {"source_mount": "auth/up/", "target_mount": "auth/moved/", "status": "success"}})
    );
    assert!(s.get("sys/remount/status/unknown").await.data.is_null());
    assert_eq!(
        s.get_as(&token, "auth/token/lookup-self").await.failure,
        Some(FailureKind::Denied),
        "handed out below the old path"
    );
    assert_eq!(s.get("sys/auth/moved").await.ok(), before, "uuid, accessor and settings stay");
    let kept = login(&s, "moved").await.token;
    // And back again, before the worker is done with the old path.
    assert!(s.post("sys/remount", json!({"from": "auth/moved", "to": "auth/up"})).await.failure.is_none());
    assert_eq!(s.get_as(&kept, "auth/token/lookup-self").await.failure, Some(FailureKind::Denied));
    let again = login(&s, "up").await.token;
    s.advance(Duration::from_secs(10));
    s.tidy_mounts().await;
    assert!(s.get_as(&again, "auth/token/lookup-self").await.failure.is_none());
    assert!(login(&s, "up").await.failure.is_none(), "the data was never buried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_moved_is_refused_in_words() {
    let s = Server::start().await;
    s.quietly("sys/mounts/kv", json!({"type": "kv"})).await;
    s.quietly("sys/mounts/other", json!({"type": "kv"})).await;
    s.quietly("sys/auth/up", json!({"type": "userpass"})).await;
    for (from, to, want) in [
        ("", "", "both 'from' and 'to' path must be specified as a string"),
        ("kv", "", "both 'from' and 'to' path must be specified as a string"),
        ("none", "x", "no matching mount at \"none/\""),
        ("kv/below", "x", "no matching mount at \"kv/below/\""),
        ("sys", "x", "cannot remount \"sys/\""),
        ("cubbyhole", "x", "cannot remount \"cubbyhole/\""),
        ("identity", "x", "cannot remount \"identity/\""),
        ("kv", "sys", "cannot remount to destination sys/"),
        ("none", "cubbyhole", "cannot remount to destination cubbyhole/"),
        ("kv", "auth/x", "cannot remount to destination auth/x/"),
        ("kv", "auth", "cannot remount to destination auth/"),
        ("kv", "a/../b", "cannot remount to destination a/../b/"),
        ("kv", "other", "path already in use at \"other/\""),
        ("kv", "other/below", "path already in use at \"other/\""),
        ("kv", "kv", "path already in use at \"kv/\""),
        ("auth/up", "x", "cannot remount auth mount to non-auth mount \"x/\""),
        ("auth/up", "auth/token/x", "cannot remount to destination auth/token/x/"),
        ("auth/up", "auth/up", "path already in use at \"auth/up/\""),
        ("auth/token", "auth/tok", "cannot remount \"auth/token/\""),
        ("auth/none", "auth/x", "no matching mount at \"auth/none/\""),
        (" kv", "x", "'from' path cannot contain trailing whitespace"),
        ("kv", "x ", "'to' path cannot contain trailing whitespace"),
    ] {
        let reply = s.post("sys/remount", json!({"from": from, "to": to})).await;
        assert_eq!((reply.failure, reply.error()), (Some(FailureKind::Invalid), want), "{from} to {to}");
    }
    assert_eq!(s.get("sys/remount").await.failure, Some(FailureKind::UnsupportedOperation));
}
