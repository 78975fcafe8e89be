//! Signing in through a provider: what is sent, what is believed of what comes back (class H).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod scene;

use api_types::Operation::{Read, Update};
use auth_jwt::Jwt;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::testing::Harness;
use engine::{Kind, Request};
use scene::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

const MISSING: &str = "Vault login failed. Expired or missing OAuth state.";

fn configuration(change: Value) -> Value {
    let mut config = json!({"oidc_discovery_url": ISSUER, "oidc_client_id": "cid", "oidc_client_secret": "s+c ret"});
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    config
}

async fn ready(change: Value) -> (Harness<Jwt>, Arc<Table>, Key) {
    let (mut h, table) = scene();
    let key = Key::new("k1");
    table.provider(&[&key]);
    write(&mut h, "config", configuration(change)).await;
    write(&mut h, "role/o", json!({"user_claim": "sub", "allowed_redirect_uris": [REDIRECT], "oidc_scopes": "profile"})).await;
    (h, table, key)
}

async fn address(h: &mut Harness<Jwt>, change: Value) -> String {
    let mut data = json!({"role": "o", "redirect_uri": REDIRECT});
    data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    h.data(Update, "oidc/auth_url", data).await.unwrap()["auth_url"].as_str().unwrap().to_owned()
}

async fn begin(h: &mut Harness<Jwt>, change: Value) -> BTreeMap<String, String> {
    Url::parse(&address(h, change).await).unwrap().query_pairs().into_owned().collect()
}

/// What the provider answers for a sign-in.
fn answer(table: &Table, key: &Key, sent: &BTreeMap<String, String>, change: Value) {
    let mut all = json!({"aud": "cid", "nonce": sent["nonce"]});
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let token = key.sign(&claims_with(all));
    table.put(&format!("{ISSUER}/token"), &json!({"id_token": token, "access_token": "at", "token_type": "Bearer"}));
}

fn callback(sent: &BTreeMap<String, String>) -> Value {
    json!({"state": sent["state"], "code": "c0de"})
}

async fn outcome(h: &mut Harness<Jwt>, data: Value) -> Result<String, String> {
    match h.call(Read, "oidc/callback", data).await {
        Ok(answer) => Ok(answer.unwrap().auth.unwrap().display_name),
        Err(e) => Err(e.to_string()),
    }
}

#[tokio::test]
async fn the_whole_way_with_pkce_nonce_and_user_information() {
    let (mut h, table, key) = ready(json!({})).await;
    write(&mut h, "role/o", json!({"user_claim": "sub", "groups_claim": "teams", "claim_mappings": {"sub": "who"}})).await;
    let sent = begin(&mut h, json!({"client_nonce": "mine"})).await;
    assert_eq!((sent["response_type"].as_str(), sent["scope"].as_str()), ("code", "openid profile"));
    answer(&table, &key, &sent, json!({}));
    table.put(&format!("{ISSUER}/me"), &json!({"sub": "alice", "teams": ["blue"], "iss": "evil", "aud": "evil"}));
    let mut data = callback(&sent);
    data["client_nonce"] = json!("mine");
    let auth = h.call(Read, "oidc/callback", data.clone()).await.unwrap().unwrap().auth.unwrap();
    assert_eq!((auth.display_name.as_str(), auth.group_aliases.as_slice()), ("alice", ["blue".to_owned()].as_slice()));
    let asked = table.asked.lock().unwrap().clone();
    let (_, credentials, form) = asked.iter().find(|(url, ..)| url.ends_with("/token")).unwrap();
    assert_eq!(credentials, "basic cid:s%2Bc+ret");
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    assert_eq!((challenge.as_str(), sent["code_challenge_method"].as_str()), (sent["code_challenge"].as_str(), "S256"));
    assert_eq!((form["code"].as_str(), form["redirect_uri"].as_str()), ("c0de", REDIRECT));
    assert!(asked.iter().any(|(url, who, _)| url.ends_with("/me") && who == "bearer at"));
    assert_eq!(outcome(&mut h, data).await, Err(MISSING.to_owned()), "a state works once");
}

#[tokio::test]
async fn class_h_id_tokens_that_are_not_for_this_sign_in_are_refused() {
    let (mut h, table, key) = ready(json!({})).await;
    let stranger = Key::new("k1");
    let failed = |why: &str| Err(format!("Token verification failed. {why}"));
    for (change, want) in [
        (json!({"nonce": null}), failed("invalid id_token nonce")),
        (json!({"nonce": "n_other"}), failed("invalid id_token nonce")),
        (json!({"iss": "https://evil.example"}), failed("id token issued by a different provider")),
        (json!({"iss": null}), failed("id token issued by a different provider")),
        (json!({"aud": "strong"}), failed("the id_token is not for this client")),
        (json!({"aud": null}), failed("the id_token is not for this client")),
        (json!({"aud": ["cid", "x"], "azp": "x"}), failed("the id_token is for another authorized party")),
        (json!({"sub": null}), failed("the id_token has no subject")),
        (json!({"sub": ""}), failed("the id_token has no subject")),
        (json!({"exp": null}), failed("no expiration time (exp) claim in token")),
        (json!({"exp": NOW - 61}), failed("invalid expiration time (exp) claim: token is expired")),
        (json!({"nbf": NOW + 61}), failed("invalid not before (nbf) claim: token not yet valid")),
        (json!({"at_hash": "AAAA"}), failed("the id_token does not belong to the access token")),
        (json!({"aud": ["x", "cid"]}), Ok("alice".to_owned())),
        (json!({"aud": ["x", "cid"], "azp": "cid"}), Ok("alice".to_owned())),
    ] {
        let sent = begin(&mut h, json!({})).await;
        answer(&table, &key, &sent, change.clone());
        assert_eq!(outcome(&mut h, callback(&sent)).await, want, "{change}");
    }
    let sent = begin(&mut h, json!({})).await;
    answer(&table, &stranger, &sent, json!({}));
    assert_eq!(outcome(&mut h, callback(&sent)).await, failed("the id_token's signature could not be verified"));
    let sent = begin(&mut h, json!({})).await;
    table.fail(&format!("{ISSUER}/token"), 400);
    assert_eq!(outcome(&mut h, callback(&sent)).await, Err("Vault login failed. Error exchanging oidc code.".to_owned()));
}

#[tokio::test]
async fn what_the_role_demands_holds_for_sign_ins_too() {
    let (mut h, table, key) = ready(json!({})).await;
    for (change, claims, good) in [
        (json!({"bound_claims": {"mail": "alice@example.test"}}), json!({}), true),
        (json!({"bound_claims": {"mail": "bob@example.test"}}), json!({}), false),
        (json!({"bound_claims": {}, "bound_subject": "bob"}), json!({}), false),
        (json!({"bound_subject": "", "bound_audiences": "team"}), json!({}), false),
        (json!({"bound_audiences": "team"}), json!({"aud": ["team"]}), false),
        (json!({"bound_audiences": "team"}), json!({"aud": ["cid", "team"]}), true),
        (json!({"bound_audiences": [], "max_age": 60}), json!({}), false),
        (json!({"max_age": 60}), json!({"auth_time": NOW - 200}), false),
        (json!({"max_age": 60}), json!({"auth_time": NOW - 50}), true),
    ] {
        write(&mut h, "role/o", change.clone()).await;
        let sent = begin(&mut h, json!({})).await;
        answer(&table, &key, &sent, claims);
        assert_eq!(outcome(&mut h, callback(&sent)).await.is_ok(), good, "{change}");
    }
    table.put(&format!("{ISSUER}/me"), &json!({"sub": "bob", "mail": "bob@example.test"}));
    write(&mut h, "role/o", json!({"max_age": 0, "bound_claims": {"mail": "bob@example.test"}})).await;
    let sent = begin(&mut h, json!({})).await;
    answer(&table, &key, &sent, json!({}));
    assert!(outcome(&mut h, callback(&sent)).await.is_err(), "user information about somebody else");
}

#[tokio::test]
async fn states_and_nonces_of_others_are_refused() {
    let (mut h, table, key) = ready(json!({})).await;
    for data in [json!({}), json!({"state": "", "code": "c"}), json!({"state": "st_x", "code": "c"}), json!({"code": "c"})] {
        assert_eq!(outcome(&mut h, data).await, Err(MISSING.to_owned()));
    }
    for nonce in [json!({}), json!({"client_nonce": ""}), json!({"client_nonce": "MINE"})] {
        let sent = begin(&mut h, json!({"client_nonce": "mine"})).await;
        answer(&table, &key, &sent, json!({}));
        let mut data = callback(&sent);
        data.as_object_mut().unwrap().extend(nonce.as_object().unwrap().clone());
        assert_eq!(outcome(&mut h, data).await, Err("invalid client_nonce".to_owned()));
    }
    // Another mount, a later time, another client of the provider.
    let sent = begin(&mut h, json!({})).await;
    h.mount.uuid = "11111111-0000-4000-8000-000000000000".into();
    assert_eq!(outcome(&mut h, callback(&sent)).await, Err(MISSING.to_owned()));
    h.mount.uuid = "00000000-0000-4000-8000-000000000000".into();
    h.now = h.now.plus(Duration::from_secs(600));
    assert_eq!(outcome(&mut h, callback(&sent)).await, Err(MISSING.to_owned()));
    let sent = begin(&mut h, json!({})).await;
    write(&mut h, "config", configuration(json!({"oidc_client_id": "other"}))).await;
    assert_eq!(outcome(&mut h, callback(&sent)).await, Err(MISSING.to_owned()));
    assert_eq!(table.count(&format!("{ISSUER}/token")), 0);
}

#[tokio::test]
async fn addresses_are_given_for_the_roles_own_redirects_only() {
    let (mut h, table, _) = ready(json!({})).await;
    for (change, want) in [
        (json!({"role": ""}), "missing role"),
        (json!({"redirect_uri": ""}), "missing redirect_uri"),
        (json!({"role": "none"}), "role \"none\" could not be found"),
    ] {
        let mut data = json!({"role": "o", "redirect_uri": REDIRECT});
        data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(h.error(Update, "oidc/auth_url", data).await, want);
    }
    for redirect in ["http://evil.example/", "https://localhost:8250/oidc/callback", "http://127.0.0.1:8250/oidc/callback"] {
        assert_eq!(address(&mut h, json!({"redirect_uri": redirect})).await, "");
    }
    role(&mut h, json!({})).await;
    assert_eq!(address(&mut h, json!({"role": "r"})).await, "");
    let moved = address(&mut h, json!({"redirect_uri": format!("{REDIRECT}?namespace=a")})).await;
    assert!(moved.ends_with("%2Cns%3Da") && !moved.contains("namespace"), "{moved}");
    table.put(&format!("{ISSUER}/jwks"), &json!({"keys": []}));
    write(&mut h, "config", json!({"jwks_url": format!("{ISSUER}/jwks")})).await;
    let error = h.error(Update, "oidc/auth_url", json!({"role": "o", "redirect_uri": REDIRECT})).await;
    assert_eq!(error, "OIDC login is not configured for this mount");
}

#[tokio::test]
async fn a_form_post_waits_for_the_client() {
    let (mut h, _, key) = ready(json!({"oidc_response_mode": "form_post", "oidc_response_types": "id_token"})).await;
    let sent = begin(&mut h, json!({"client_nonce": "mine"})).await;
    assert_eq!((sent["response_mode"].as_str(), sent["response_type"].as_str()), ("form_post", "id_token"));
    assert!(!sent.contains_key("code_challenge"));
    let token = key.sign(&claims_with(json!({"aud": "cid", "nonce": sent["nonce"]})));
    let form = json!({"state": sent["state"], "id_token": token});
    for (data, want) in [(json!({"state": "st_x", "id_token": token}), 400), (json!({}), 400), (form.clone(), 200), (form, 400)] {
        let page = h.call(Update, "oidc/callback", data).await.unwrap().unwrap();
        let Kind::Bare { content_type, body, status } = page.kind else { panic!("a page") };
        assert_eq!((status, content_type.as_str()), (want, "text/html; charset=utf-8"));
        assert!(page.auth.is_none() && !String::from_utf8(body).unwrap().contains(&token));
    }
    let data = json!({"state": sent["state"], "code": "no_code", "client_nonce": "mine"});
    assert_eq!(outcome(&mut h, data).await, Ok("alice".to_owned()));
    let sent = begin(&mut h, json!({})).await;
    let nothing = json!({"state": sent["state"], "code": "no_code"});
    assert_eq!(outcome(&mut h, nothing).await, Err("Vault login failed. No code or id_token received.".to_owned()));
}

#[tokio::test]
async fn a_transaction_that_runs_again_does_not_exchange_twice() {
    let (mut h, table, key) = ready(json!({})).await;
    let sent = begin(&mut h, json!({})).await;
    answer(&table, &key, &sent, json!({}));
    let Value::Object(data) = callback(&sent) else { panic!("an object") };
    let request = |id: &str| Request { id: id.to_owned(), data: data.clone(), ..Request::new(Read, "auth/oidc/oidc/callback") };
    for _ in 0..2 {
        let auth = h.send(request("one"), "oidc/callback").await.unwrap().unwrap().auth.unwrap();
        assert_eq!(auth.display_name, "alice");
    }
    assert_eq!(table.count(&format!("{ISSUER}/token")), 1);
    assert_eq!(h.send(request("two"), "oidc/callback").await.map(|_| ()).unwrap_err().to_string(), MISSING);
}
