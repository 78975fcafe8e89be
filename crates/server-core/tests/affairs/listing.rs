use api_types::Operation::{List, Scan};
use serde_json::{Value, json};

use crate::common::Server;
use crate::{Seen, ask, list, post, token_with};

async fn with_secrets(names: &[&str]) -> Server {
    let s = Server::start().await;
    post(&s, "sys/mounts/v2", json!({ "type": "kv", "options": { "version": "2" } })).await;
    post(&s, "sys/mounts/v1", json!({ "type": "kv" })).await;
    for name in names {
        assert_eq!(post(&s, &format!("v2/data/{name}"), json!({ "data": { "a": 1 } })).await.status, 200);
        assert_eq!(post(&s, &format!("v1/{name}"), json!({ "a": 1 })).await.status, 204);
    }
    s
}

fn keys(seen: &Seen) -> Vec<String> {
    let keys = seen.data()["keys"].as_array().cloned().unwrap_or_default();
    let mut keys: Vec<String> = keys.iter().map(|k| k.as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn a_scan_names_what_is_below() {
    let s = with_secrets(&["a", "b/c", "b/d/e", "b/d/f", "g/h"]).await;
    for root in ["v2/metadata", "v1"] {
        let seen = ask(&s, Scan, root, Value::Null, &s.root).await;
        assert_eq!(keys(&seen), ["a", "b/c", "b/d/e", "b/d/f", "g/h"], "{root}");
        assert_eq!(keys(&ask(&s, Scan, &format!("{root}/b/"), Value::Null, &s.root).await), ["c", "d/e", "d/f"]);
        assert_eq!(ask(&s, Scan, &format!("{root}/nothing"), Value::Null, &s.root).await.status, 404);
        let seen = ask(&s, Scan, root, json!({ "limit": 2 }), &s.root).await;
        assert_eq!((keys(&seen).len(), seen.body["warnings"].as_array().map(Vec::len)), (2, Some(1)), "{root}");
    }
    assert_eq!(ask(&s, Scan, "v2/data/a", Value::Null, &s.root).await.status, 404, "there is nothing to list");
    assert_eq!(ask(&s, Scan, "nowhere/", Value::Null, &s.root).await.status, 404);
}

#[tokio::test]
async fn cve_class_a_a_scan_needs_its_capability_and_stops_at_deny() {
    let s = with_secrets(&["a", "b/c", "secret", "team/x", "team/deep/y", "other/z"]).await;
    let lister = token_with(&s, "lister", r#"path "v2/metadata/*" { capabilities = ["list", "read"] }"#).await;
    assert_eq!(ask(&s, Scan, "v2/metadata/", Value::Null, &lister).await.status, 403, "list is not scan");
    let scanner = token_with(&s, "scanner", r#"path "v2/metadata/*" { capabilities = ["scan"] }"#).await;
    assert_eq!(ask(&s, List, "v2/metadata/", Value::Null, &scanner).await.status, 403, "scan is not list");
    assert_eq!(keys(&ask(&s, Scan, "v2/metadata/", Value::Null, &scanner).await).len(), 6);
    let rules = r#"
        path "v2/metadata/*" { capabilities = ["scan", "list", "read"] }
        path "v2/metadata/team/*" { capabilities = ["deny"] }
        path "v2/metadata/secret" { capabilities = ["deny"] }
        path "v2/metadata/other*" { capabilities = ["list"] }
    "#;
    let barred = token_with(&s, "barred", rules).await;
    assert_eq!(keys(&ask(&s, Scan, "v2/metadata/", Value::Null, &barred).await), ["a", "b/c"]);
    for (operation, path) in [
        (List, "v2/metadata/team"),
        (List, "v2/metadata/team/"),
        (Scan, "v2/metadata/team"),
        (Scan, "v2/metadata/team/deep/"),
        (Scan, "v2/metadata/other"),
    ] {
        assert_eq!(ask(&s, operation, path, Value::Null, &barred).await.status, 403, "{operation} {path}");
    }
    assert_eq!(ask(&s, Scan, "v2/metadata/", Value::Null, "").await.status, 403);
}

#[tokio::test]
async fn a_filtered_listing_shows_what_the_token_may_reach() {
    let s = with_secrets(&["a", "b", "team/x", "theirs/y"]).await;
    let rules = r#"
        path "v2/metadata/" { capabilities = ["list"] }
        path "v2/data/a" { capabilities = ["read"] }
        path "v2/data/team/*" { capabilities = ["read"] }
        path "v2/data/theirs/*" { capabilities = ["deny"] }
        path "v1/" { capabilities = ["list"] }
        path "v1/b" { capabilities = ["read"] }
    "#;
    let token = token_with(&s, "some", rules).await;
    let filter = json!({ "filter": "permitted" });
    assert_eq!(keys(&ask(&s, List, "v2/metadata/", Value::Null, &token).await), ["a", "b", "team/", "theirs/"]);
    assert_eq!(keys(&ask(&s, List, "v2/metadata/", filter.clone(), &token).await), ["a", "team/"]);
    assert_eq!(keys(&ask(&s, List, "v1/", filter.clone(), &token).await), ["b"]);
    assert_eq!(keys(&ask(&s, List, "v1/", filter.clone(), &s.root).await).len(), 4, "root sees all");
    assert_eq!(ask(&s, List, "v2/metadata/", filter, "").await.status, 403);
    // A page that loses names says where the next one begins.
    let seen = ask(&s, List, "v2/metadata/", json!({ "filter": "permitted", "limit": 2 }), &token).await;
    assert_eq!((keys(&seen), &seen.data()["next_after"]), (vec!["a".to_owned()], &json!("b")));
}

#[tokio::test]
async fn pages_make_up_the_whole() {
    let names: Vec<String> = (0..57).map(|n| format!("k{n:02}")).chain(["folder/x".into()]).collect();
    let s = with_secrets(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for root in ["v2/metadata/", "v1/"] {
        let whole = keys(&list(&s, root).await);
        assert_eq!(whole.len(), 58);
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = ask(&s, List, root, json!({ "limit": "10", "after": after }), &s.root).await;
            if page.status == 404 {
                break;
            }
            let page = keys(&page);
            assert!(page.len() <= 10);
            after = page.last().unwrap().clone();
            seen.extend(page);
        }
        assert_eq!(seen, whole, "{root}");
        assert_eq!(
            keys(&ask(&s, List, root, json!({ "limit": 1, "after": "k10x" }), &s.root).await),
            ["k11"],
            "after what is not there"
        );
    }
}
