//! Identity tokens: keys, roles, tokens, introspection, rotation.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use api_types::Operation::{Delete, Read, Update};
use common::{ADDRESS, Scene, claims};
use serde_json::{Value, json};

async fn scene() -> Scene {
    let mut s = Scene::new();
    s.write(
        "oidc/key/k",
        json!({"algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "2h", "allowed_client_ids": "*"}),
    )
    .await;
    s.write("oidc/role/r", json!({"key": "k", "ttl": "30m", "template": r#"{"name": {{identity.entity.name}} }"#})).await;
    s.person("ann").await;
    s
}

async fn token(s: &mut Scene) -> String {
    s.read("oidc/token/r").await["token"].as_str().unwrap().to_owned()
}

async fn kids(s: &mut Scene) -> Vec<String> {
    let set = s.bare(Read, "oidc/.well-known/keys", json!({})).await.body;
    let mut ids: Vec<String> = set["keys"].as_array().unwrap().iter().map(|k| k["kid"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn active(s: &mut Scene, token: &str) -> Value {
    s.bare(Update, "oidc/introspect", json!({ "token": token })).await.body
}

#[tokio::test]
async fn a_token_says_who_asks_and_verifies_with_the_published_keys() {
    let mut s = scene().await;
    let data = s.read("oidc/token/r").await;
    let token = data["token"].as_str().unwrap().to_owned();
    let now = s.h.now.unix();
    assert_eq!(
        claims(&token),
        json!({"iss": format!("{ADDRESS}/v1/identity/oidc"), "sub": s.h.caller.entity_id, "aud": data["client_id"],
               "iat": now, "exp": now + 1800, "namespace": "root", "name": "ann"})
    );
    assert_eq!((data["ttl"].as_u64(), data["client_id"].as_str().unwrap().len()), (Some(1800), 26));
    let set = s.bare(Read, "oidc/.well-known/keys", json!({})).await.body.to_string();
    let set = jose::JwkSet::parse(set.as_bytes()).unwrap();
    assert!(set.verify(&jose::Jws::parse(&token).unwrap()).is_ok());
    let discovery = s.bare(Read, "oidc/.well-known/openid-configuration", json!({})).await;
    assert_eq!(discovery.headers["cache-control"], ["max-age=3600"]);
    assert_eq!(discovery.body["issuer"], format!("{ADDRESS}/v1/identity/oidc"));
    s.write("oidc/config", json!({"issuer": "https://other"})).await;
    assert_eq!(claims(s.read("oidc/token/r").await["token"].as_str().unwrap())["iss"], "https://other/v1/identity/oidc");
}

#[tokio::test]
async fn keys_rotate_when_they_are_used_and_stay_published_until_their_tokens_end() {
    let mut s = scene().await;
    let first = token(&mut s).await;
    let at_start = kids(&mut s).await;
    assert_eq!(at_start.len(), 2, "the key that signs and its successor");
    s.later(3599);
    token(&mut s).await;
    assert_eq!(kids(&mut s).await, at_start);
    s.later(1);
    let second = token(&mut s).await;
    let kid = |t: &str| jose::Jws::parse(t).unwrap().key_id().unwrap().to_owned();
    assert_ne!(kid(&first), kid(&second));
    assert!(at_start.contains(&kid(&second)), "the successor was published ahead");
    let now = kids(&mut s).await;
    assert!(now.len() == 3 && now.contains(&kid(&first)));
    s.later(2 * 3600 - 1);
    assert!(kids(&mut s).await.contains(&kid(&first)));
    s.later(1);
    assert!(!kids(&mut s).await.contains(&kid(&first)), "verification_ttl is over");
    assert_eq!(active(&mut s, &first).await["active"], false);
    // By hand, with an end of its own.
    let before = kids(&mut s).await;
    s.write("oidc/key/k/rotate", json!({"verification_ttl": "0"})).await;
    let after = kids(&mut s).await;
    assert!(before.iter().any(|k| !after.contains(k)), "gone at once");
    s.refuses(Update, "oidc/key/none/rotate", json!({}), "no named key found at \"none\"").await;
    // Another algorithm is in force at once; what was signed before still verifies.
    let old = token(&mut s).await;
    s.write("oidc/key/k", json!({"algorithm": "EdDSA"})).await;
    assert_eq!(jose::Jws::parse(&token(&mut s).await).unwrap().algorithm(), jose::Algorithm::EdDSA);
    assert_eq!(active(&mut s, &old).await["active"], true);
}

#[tokio::test]
async fn introspection_grants_little_and_refuses_much() {
    let mut s = scene().await;
    let good = token(&mut s).await;
    assert_eq!(active(&mut s, &good).await, json!({"active": true}));
    let parts: Vec<&str> = good.split('.').collect();
    let none = "eyJhbGciOiJub25lIn0";
    for bad in [
        String::new(),
        "garbage".to_owned(),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.AAAA", parts[0], parts[1]),
        format!("{}.e30.{}", parts[0], parts[2]),
    ] {
        assert_eq!(active(&mut s, &bad).await["active"], false, "{bad}");
    }
    let with = |id: &str| json!({"token": good, "client_id": id});
    let aud = claims(&good)["aud"].as_str().unwrap().to_owned();
    assert_eq!(s.bare(Update, "oidc/introspect", with(&aud)).await.body["active"], true);
    assert_eq!(s.bare(Update, "oidc/introspect", with("other")).await.body["active"], false);
    s.write("oidc/config", json!({"issuer": "https://other"})).await;
    assert_eq!(active(&mut s, &good).await["active"], false, "another issuer");
    s.write("oidc/config", json!({"issuer": ""})).await;
    s.write("entity", json!({"name": "ann", "disabled": true})).await;
    assert_eq!(active(&mut s, &good).await, json!({"active": false, "error": "entity is disabled"}));
    s.write("entity", json!({"name": "ann", "disabled": false})).await;
    s.later(1800);
    assert_eq!(active(&mut s, &good).await["active"], false, "expired");
    s.h.call(Delete, "entity/name/ann", json!({})).await.unwrap();
    s.h.now = secret::Time::from_unix(s.h.now.unix() - 1800);
    assert_eq!(active(&mut s, &good).await, json!({"active": false, "error": "entity was not found"}));
}

#[tokio::test]
async fn tokens_are_refused_in_vaults_words() {
    let mut s = scene().await;
    s.refuses(Read, "oidc/token/none", json!({}), "role \"none\" not found").await;
    s.write("oidc/key/k", json!({"allowed_client_ids": ""})).await;
    let text = "the key \"k\" does not list the client ID of the role \"r\" as an allowed client ID";
    s.refuses(Read, "oidc/token/r", json!({}), text).await;
    s.write("oidc/key/k", json!({"allowed_client_ids": "*"})).await;
    s.write("entity", json!({"name": "ann", "disabled": true})).await;
    s.refuses(Read, "oidc/token/r", json!({}), "permission denied").await;
    s.h.caller.entity_id.clear();
    s.refuses(Read, "oidc/token/r", json!({}), "no entity associated with the request's token").await;
}

#[tokio::test]
async fn keys_are_checked_and_counted() {
    let mut s = scene().await;
    for (data, want) in [
        (json!({"algorithm": "HS256"}), "unknown signing algorithm \"HS256\""),
        (json!({"algorithm": "none"}), "unknown signing algorithm \"none\""),
        (json!({"algorithm": "PS256"}), "unknown signing algorithm \"PS256\""),
        (json!({"rotation_period": "59s"}), "rotation_period must be at least one minute"),
        (json!({"rotation_period": 0}), "rotation_period must be at least one minute"),
        (
            json!({"rotation_period": "1h", "verification_ttl": "11h"}),
            "verification_ttl cannot be longer than 10x rotation_period",
        ),
    ] {
        s.refuses(Update, "oidc/key/x", data, want).await;
    }
    assert_eq!(s.list("oidc/key").await, json!(["default", "k"]));
    assert_eq!(
        s.read("oidc/key/default").await,
        json!({"algorithm": "RS256", "allowed_client_ids": ["*"], "rotation_period": 86400, "verification_ttl": 86400})
    );
    s.refuses(Delete, "oidc/key/default", json!({}), "deletion of key \"default\" not allowed").await;
    let roles = "unable to delete key \"k\" because it is currently referenced by these roles: r";
    s.refuses(Delete, "oidc/key/k", json!({}), roles).await;
    let shorter = "unable to update key \"k\" because it is currently referenced by one or more roles with a token ttl greater than 60 \
                   seconds";
    s.refuses(Update, "oidc/key/k", json!({"verification_ttl": 60}), shorter).await;
    s.h.call(Delete, "oidc/role/r", json!({})).await.unwrap();
    let client = s.client("c", json!({"key": "k", "id_token_ttl": "1h"})).await;
    assert_eq!(client["key"], "k");
    let clients = "unable to delete key \"k\" because it is currently referenced by these clients: c";
    s.refuses(Delete, "oidc/key/k", json!({}), clients).await;
    s.h.call(Delete, "oidc/client/c", json!({})).await.unwrap();
    s.h.call(Delete, "oidc/key/k", json!({})).await.unwrap();
    assert_eq!(s.read("oidc/key/k").await, json!({}));
    assert_eq!(kids(&mut s).await, Vec::<String>::new(), "nothing is published that no role uses");
}

#[tokio::test]
async fn roles_are_checked_in_vaults_order() {
    let mut s = scene().await;
    for (data, want) in [
        (json!({}), "the key parameter is required"),
        (json!({"template": "{bad"}), "the key parameter is required"),
        (json!({"key": "none"}), "cannot find key \"none\""),
        (json!({"key": "none", "template": "{bad"}), "error parsing template JSON: invalid JSON at line 1, column 2"),
        (
            json!({"key": "k", "ttl": "3h"}),
            "a role's token ttl cannot be longer than the verification_ttl of the key it references",
        ),
        (json!({"key": "k"}), "a role's token ttl cannot be longer than the verification_ttl of the key it references"),
    ] {
        s.refuses(Update, "oidc/role/x", data, want).await;
    }
    s.write("oidc/role/x", json!({"key": "k", "ttl": "1h", "client_id": "foo"})).await;
    s.write("oidc/role/x", json!({"template": "eyJhIjoxfQ=="})).await;
    assert_eq!(s.read("oidc/role/x").await, json!({"client_id": "foo", "key": "k", "template": "{\"a\":1}", "ttl": 3600}));
    assert_eq!(s.list("oidc/role").await, json!(["r", "x"]));
}

#[tokio::test]
async fn an_issuer_is_scheme_host_and_port() {
    let mut s = Scene::new();
    let want = "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)";
    for bad in [
        "x.y",
        "https://x.y/",
        "https://x.y/a",
        "https://x.y?a=1",
        "https://x.y#a",
        "ftp://x.y",
        "https://",
        "https://u@x",
        "https://a b",
        "https://x:99999",
    ] {
        s.refuses(Update, "oidc/config", json!({ "issuer": bad }), want).await;
        s.refuses(Update, "oidc/provider/p", json!({ "issuer": bad }), want).await;
    }
    for good in ["https://x.y", "http://127.0.0.1:8200", "https://[::1]:8200", ""] {
        s.write("oidc/config", json!({ "issuer": good })).await;
        assert_eq!(s.read("oidc/config").await, json!({ "issuer": good }));
    }
}
