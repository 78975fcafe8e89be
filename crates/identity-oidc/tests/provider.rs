//! The OpenID Connect provider: the whole code flow, and the many ways in which it says no.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use api_types::Operation::{Delete, List, Read, Update};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use common::{ADDRESS, Bare, Scene, claims};
use engine::Request;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::{Page, View};

const AUTHORIZE: &str = "oidc/provider/default/authorize";
const TOKEN: &str = "oidc/provider/default/token";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn id(client: &Value) -> &str {
    client["client_id"].as_str().unwrap()
}

fn with(base: Value, more: Value) -> Value {
    let mut base = base;
    for (k, v) in more.as_object().unwrap() {
        if v.is_null() {
            base.as_object_mut().unwrap().remove(k);
        } else {
            base[k] = v.clone();
        }
    }
    base
}

async fn authorize(s: &mut Scene, client: &Value, more: Value) -> Bare {
    let data = json!({"scope": "openid", "response_type": "code", "client_id": id(client), "redirect_uri": "https://app/cb",
                      "state": "st", "nonce": "n-1"});
    s.bare(Read, AUTHORIZE, with(data, more)).await
}

async fn code(s: &mut Scene, client: &Value, more: Value) -> String {
    let answer = authorize(s, client, more).await;
    assert_eq!((answer.status, answer.text("state").as_str()), (200, "st"), "{answer:?}");
    answer.text("code")
}

async fn redeem(s: &mut Scene, client: &Value, code: &str, more: Value) -> Bare {
    let data = json!({"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app/cb",
                      "client_id": id(client), "client_secret": client["client_secret"]});
    s.bare(Update, TOKEN, with(data, more)).await
}

fn says(answer: &Bare, status: u16, error: &str, text: &str) {
    assert_eq!((answer.status, answer.error(), answer.text("error_description").as_str()), (status, error, text), "{answer:?}");
}

#[tokio::test]
async fn the_whole_flow_with_pkce() {
    let mut s = Scene::new();
    let ann = s.person("ann").await;
    s.write("oidc/scope/profile", json!({"template": r#"{"name": {{identity.entity.name}} }"#})).await;
    s.write("oidc/scope/unasked", json!({"template": r#"{"secret": "x"}"#})).await;
    s.write("oidc/provider/default", json!({"scopes_supported": ["profile", "unasked"]})).await;
    let client = s.client("c", json!({})).await;
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let pkce =
        json!({"code_challenge": challenge, "code_challenge_method": "S256", "scope": "openid profile nothing", "max_age": 60});
    s.later(5);
    let code = code(&mut s, &client, pkce).await;
    let answer = redeem(&mut s, &client, &code, json!({ "code_verifier": VERIFIER })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (answer.headers["cache-control"].as_slice(), answer.headers["pragma"].as_slice()),
        (&["no-store".to_owned()][..], &["no-cache".to_owned()][..])
    );
    let access = answer.text("access_token");
    let told = claims(&answer.text("id_token"));
    let half = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16]);
    let now = s.h.now.unix();
    assert_eq!(
        told,
        json!({"iss": format!("{ADDRESS}/v1/identity/oidc/provider/default"), "sub": ann, "aud": id(&client), "iat": now,
               "exp": now + 86400, "namespace": "root", "nonce": "n-1", "auth_time": now - 5, "name": "ann",
               "at_hash": half(&access), "c_hash": half(&code)})
    );
    let set = s.bare(Read, "oidc/provider/default/.well-known/keys", json!({})).await.body.to_string();
    let set = jose::JwkSet::parse(set.as_bytes()).unwrap();
    assert!(set.verify(&jose::Jws::parse(&answer.text("id_token")).unwrap()).is_ok());
    assert!(set.verify(&jose::Jws::parse(&access).unwrap()).is_err(), "an access token is no ID token");
    assert_eq!(s.userinfo("default", &access).await.body, json!({"sub": ann, "name": "ann"}));
}

#[tokio::test]
async fn a_code_is_good_once_and_for_five_minutes() {
    let mut s = Scene::new();
    s.person("ann").await;
    let client = s.client("c", json!({})).await;
    let replayed = code(&mut s, &client, json!({})).await;
    assert_eq!(redeem(&mut s, &client, &replayed, json!({})).await.status, 200);
    let gone = "authorization grant is invalid or expired";
    says(&redeem(&mut s, &client, &replayed, json!({})).await, 400, "invalid_grant", gone);
    let late = code(&mut s, &client, json!({})).await;
    s.later(300);
    says(&redeem(&mut s, &client, &late, json!({})).await, 400, "invalid_grant", gone);
    let late = code(&mut s, &client, json!({})).await;
    s.later(299);
    assert_eq!(redeem(&mut s, &client, &late, json!({})).await.status, 200);
    for unknown in ["zz", "../key/es", "", " "] {
        assert_eq!(redeem(&mut s, &client, unknown, json!({})).await.status, 400, "{unknown:?}");
    }
}

#[tokio::test]
async fn codes_nobody_redeems_are_cleared_away_and_live_ones_stay() {
    let mut s = Scene::new();
    s.person("ann").await;
    let client = s.client("c", json!({})).await;
    for _ in 0..5 {
        code(&mut s, &client, json!({})).await;
    }
    s.later(400);
    let live = code(&mut s, &client, json!({})).await;
    let count = |s: &mut Scene| View::new(&mut s.h.txn, "").list("identity-oidc/code/", &Page::default()).unwrap().len();
    let sweep = |s: &mut Scene, limit| identity_oidc::sweep(&mut View::new(&mut s.h.txn, ""), s.h.now, limit).unwrap();
    sweep(&mut s, 2);
    assert_eq!(count(&mut s), 4, "no more than it may");
    sweep(&mut s, 100);
    assert_eq!(count(&mut s), 1);
    assert_eq!(redeem(&mut s, &client, &live, json!({})).await.status, 200);
    assert_eq!(View::new(&mut s.h.txn, "").list("identity-oidc/code-due/", &Page::default()).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn clients_show_who_they_are() {
    let mut s = Scene::new();
    s.person("ann").await;
    let (client, other) = (s.client("c", json!({})).await, s.client("d", json!({})).await);
    let code1 = code(&mut s, &client, json!({})).await;
    let failed = "client failed to authenticate";
    let wrong = redeem(&mut s, &client, &code1, json!({"client_secret": "hvo_secret_x"})).await;
    says(&wrong, 401, "invalid_client", failed);
    assert_eq!(wrong.headers["www-authenticate"], ["Basic"]);
    says(&redeem(&mut s, &client, &code1, json!({ "client_secret": null })).await, 401, "invalid_client", failed);
    says(
        &redeem(&mut s, &client, &code1, json!({ "client_secret": other["client_secret"] })).await,
        401,
        "invalid_client",
        failed,
    );
    // Names hidden: an unknown client reads like a wrong secret.
    let unknown = redeem(&mut s, &client, &code1, json!({"client_id": "nobody"})).await;
    assert_eq!((unknown.status, &unknown.body, &unknown.headers), (wrong.status, &wrong.body, &wrong.headers));
    says(
        &redeem(&mut s, &client, &code1, json!({ "client_id": null })).await,
        400,
        "invalid_request",
        "client_id parameter is required",
    );
    // Nobody burned the code; HTTP Basic redeems it.
    let mut request = Request::new(Update, format!("identity/{TOKEN}"));
    request.data = json!({"grant_type": "authorization_code", "code": code1, "redirect_uri": "https://app/cb"})
        .as_object()
        .cloned()
        .unwrap();
    let pair = format!("{}:{}", id(&client), client["client_secret"].as_str().unwrap());
    request.headers.insert("authorization".into(), vec![format!("Basic {}", BASE64_STANDARD.encode(pair))]);
    assert_eq!(s.send(request, TOKEN).await.status, 200);
    // A code of one client is nothing to another, and gone.
    let code2 = code(&mut s, &client, json!({})).await;
    let text = "authorization code was not issued to the client";
    says(&redeem(&mut s, &other, &code2, json!({})).await, 400, "invalid_grant", text);
    assert_eq!(redeem(&mut s, &client, &code2, json!({})).await.error(), "invalid_grant");
}

#[tokio::test]
async fn redeeming_is_refused_in_the_words_of_rfc_6749() {
    let mut s = Scene::new();
    s.person("ann").await;
    let client = s.client("c", json!({})).await;
    s.write("oidc/provider/p2", json!({"allowed_client_ids": "*"})).await;
    for (asked, sent, error, text) in [
        (
            json!({}),
            json!({"grant_type": "password"}),
            "unsupported_grant_type",
            "unsupported grant_type or parameter is empty value",
        ),
        (json!({}), json!({"grant_type": null}), "unsupported_grant_type", "unsupported grant_type or parameter is empty value"),
        (json!({}), json!({"code": ""}), "invalid_request", "code parameter is required"),
        (json!({}), json!({"redirect_uri": null}), "invalid_request", "redirect_uri parameter is required"),
        (
            json!({}),
            json!({"redirect_uri": "https://app/cb/"}),
            "invalid_grant",
            "redirect_uri does not match the redirect_uri used in the authorization request",
        ),
        (json!({}), json!({"code_verifier": VERIFIER}), "invalid_request", "unexpected code_verifier for token exchange"),
        (json!({"code_challenge": VERIFIER}), json!({}), "invalid_request", "expected code_verifier for token exchange"),
        (
            json!({"code_challenge": VERIFIER}),
            json!({"code_verifier": "x"}),
            "invalid_grant",
            "invalid code_verifier for token exchange",
        ),
        // A hashed challenge is not its own verifier, and a plain one is not hashed.
        (
            json!({"code_challenge": VERIFIER, "code_challenge_method": "S256"}),
            json!({"code_verifier": VERIFIER}),
            "invalid_grant",
            "invalid code_verifier for token exchange",
        ),
    ] {
        let code = code(&mut s, &client, asked.clone()).await;
        says(&redeem(&mut s, &client, &code, sent).await, 400, error, text);
    }
    let code1 = code(&mut s, &client, json!({"code_challenge": VERIFIER})).await;
    assert_eq!(redeem(&mut s, &client, &code1, json!({"code_verifier": VERIFIER})).await.status, 200, "plain");
    let code2 = code(&mut s, &client, json!({})).await;
    let data = json!({"grant_type": "authorization_code", "code": code2, "redirect_uri": "https://app/cb",
                      "client_id": id(&client), "client_secret": client["client_secret"]});
    let answer = s.bare(Update, "oidc/provider/p2/token", data.clone()).await;
    says(&answer, 400, "invalid_grant", "authorization code was not issued by the provider");
    says(&s.bare(Update, "oidc/provider/none/token", data).await, 400, "invalid_request", "provider not found");
    s.write("oidc/provider/default", json!({"allowed_client_ids": "other"})).await;
    says(&redeem(&mut s, &client, "x", json!({})).await, 401, "invalid_client", "client is not authorized to use the provider");
    s.write("oidc/provider/default", json!({"allowed_client_ids": "*"})).await;
    s.write("oidc/key/es", json!({"allowed_client_ids": "other"})).await;
    says(&redeem(&mut s, &client, "x", json!({})).await, 401, "invalid_client", "client is not authorized to use the key");
}

#[tokio::test]
async fn authorization_is_refused_before_anything_leaves() {
    let mut s = Scene::new();
    s.person("ann").await;
    let client = s.client("c", json!({})).await;
    let public = s.client("pub", json!({"client_type": "public"})).await;
    let short = "x".repeat(42);
    for (more, error, text) in [
        (json!({"scope": "profile"}), "invalid_request", "scope parameter must contain the \"openid\" value"),
        (json!({"scope": null}), "invalid_request", "scope parameter must contain the \"openid\" value"),
        (json!({"scope": "openidx"}), "invalid_request", "scope parameter must contain the \"openid\" value"),
        (json!({"response_type": null}), "invalid_request", "response_type parameter is required"),
        (json!({"response_type": "token"}), "unsupported_response_type", "unsupported response_type value"),
        (json!({"client_id": ""}), "invalid_client_id", "client_id parameter is required"),
        (json!({"client_id": "zz"}), "invalid_client_id", "client with client_id not found"),
        (json!({"client_id": "../client/c"}), "invalid_client_id", "client with client_id not found"),
        (json!({"redirect_uri": null}), "invalid_request", "redirect_uri parameter is required"),
        (json!({"redirect_uri": "https://app/cb/"}), "invalid_redirect_uri", "redirect_uri is not allowed for the client"),
        (json!({"redirect_uri": "https://app/cb?x"}), "invalid_redirect_uri", "redirect_uri is not allowed for the client"),
        (json!({"redirect_uri": "https://evil/cb"}), "invalid_redirect_uri", "redirect_uri is not allowed for the client"),
        (json!({"request": "x"}), "request_not_supported", "request parameter is not supported"),
        (json!({"request_uri": "x"}), "request_uri_not_supported", "request_uri parameter is not supported"),
        (json!({"max_age": 0}), "invalid_request", "max_age must be greater than zero"),
        (json!({"max_age": -1}), "invalid_request", "max_age must be greater than zero"),
        (json!({"code_challenge": short}), "invalid_request", "invalid code_challenge"),
        (json!({"code_challenge": "x".repeat(129)}), "invalid_request", "invalid code_challenge"),
        (
            json!({"code_challenge": VERIFIER, "code_challenge_method": "s256"}),
            "invalid_request",
            "invalid code_challenge_method",
        ),
        (json!({"client_id": id(&public)}), "invalid_request", "PKCE is required for public clients"),
    ] {
        let answer = authorize(&mut s, &client, more).await;
        says(&answer, 400, error, text);
        assert_eq!(answer.text("state"), "st");
    }
    s.later(60);
    let text = "active re-authentication is required by max_age";
    says(&authorize(&mut s, &client, json!({"max_age": 60})).await, 400, "max_age_violation", text);
    assert_eq!(authorize(&mut s, &client, json!({"max_age": 61})).await.status, 200);
    s.write("oidc/provider/default", json!({"allowed_client_ids": "other"})).await;
    let text = "client is not authorized to use the provider";
    says(&authorize(&mut s, &client, json!({})).await, 400, "unauthorized_client", text);
    s.write("oidc/provider/default", json!({"allowed_client_ids": "*"})).await;
    s.h.caller.entity_id.clear();
    let text = "identity entity must be associated with the request";
    says(&authorize(&mut s, &client, json!({})).await, 400, "access_denied", text);
    let nowhere = s.bare(Update, "oidc/provider/none/authorize", json!({"state": "st"})).await;
    says(&nowhere, 400, "invalid_request", "provider not found");
}

#[tokio::test]
async fn assignments_and_entities_count_at_each_step() {
    let mut s = Scene::new();
    let ann = s.person("ann").await;
    s.write("oidc/assignment/a", json!({"entity_ids": "other"})).await;
    let client = s.client("c", json!({"assignments": "a"})).await;
    let text = "identity entity not authorized by client assignment";
    says(&authorize(&mut s, &client, json!({})).await, 400, "access_denied", text);
    s.write("group", json!({"name": "dev", "member_entity_ids": [ann]})).await;
    let group = s.read("group/name/dev").await["id"].as_str().unwrap().to_owned();
    s.write("oidc/assignment/a", json!({ "group_ids": group })).await;
    let code1 = code(&mut s, &client, json!({})).await;
    s.write("oidc/assignment/a", json!({"group_ids": "other"})).await;
    says(&redeem(&mut s, &client, &code1, json!({})).await, 400, "access_denied", text);
    s.write("oidc/assignment/a", json!({ "entity_ids": ann })).await;
    let code2 = code(&mut s, &client, json!({})).await;
    let disabled = code(&mut s, &client, json!({})).await;
    let access = redeem(&mut s, &client, &code2, json!({})).await.text("access_token");
    assert_eq!(s.userinfo("default", &access).await.status, 200);
    s.write("entity", json!({"name": "ann", "disabled": true})).await;
    assert_eq!(redeem(&mut s, &client, &disabled, json!({})).await.error(), "access_denied", "a disabled entity gets nothing");
    assert_eq!(s.userinfo("default", &access).await.status, 403);
    assert_eq!(authorize(&mut s, &client, json!({})).await.error(), "access_denied");
}

#[tokio::test]
async fn userinfo_takes_its_own_tokens_only() {
    let mut s = Scene::new();
    s.person("ann").await;
    s.write("oidc/provider/p2", json!({"allowed_client_ids": "*"})).await;
    let denied = |answer: &Bare| {
        says(answer, 401, "invalid_token", "permission denied");
        assert_eq!(answer.headers["www-authenticate"], [r#"Bearer error="invalid_token",error_description="permission denied""#]);
    };
    denied(&s.userinfo("default", "before any was made").await);
    let client = s.client("c", json!({"access_token_ttl": "10m"})).await;
    let code = code(&mut s, &client, json!({})).await;
    let answer = redeem(&mut s, &client, &code, json!({})).await;
    let access = answer.text("access_token");
    assert_eq!(answer.body["expires_in"], 600);
    let parts: Vec<&str> = access.split('.').collect();
    for bad in [
        String::new(),
        "hvs.CAESI".to_owned(),
        answer.text("id_token"),
        format!("{}.{}.AAAA", parts[0], parts[1]),
        format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.{}", parts[1], parts[2]),
    ] {
        denied(&s.userinfo("default", &bad).await);
    }
    denied(&s.userinfo("p2", &access).await);
    denied(&s.userinfo("none", &access).await);
    assert_eq!(s.userinfo("default", &access).await.status, 200);
    s.write("oidc/provider/default", json!({"allowed_client_ids": "other"})).await;
    assert_eq!(s.userinfo("default", &access).await.status, 403);
    s.write("oidc/provider/default", json!({"allowed_client_ids": "*"})).await;
    s.later(600);
    denied(&s.userinfo("default", &access).await);
}

#[tokio::test]
async fn class_b_scopes_cannot_forge_claims() {
    let mut s = Scene::new();
    let eve = s.person("x\", \"sub\": \"root").await;
    s.write("oidc/scope/n", json!({"template": r#"{"name": {{identity.entity.name}} }"#})).await;
    s.write("oidc/scope/m", json!({"template": "{{identity.entity.metadata}}"})).await;
    s.write(&format!("entity/id/{eve}"), json!({"metadata": {"iss": "evil", "aud": "evil", "at_hash": "x", "ok": "1"}})).await;
    s.write("oidc/provider/default", json!({"scopes_supported": ["n", "m"]})).await;
    let client = s.client("c", json!({})).await;
    let code = code(&mut s, &client, json!({"scope": "openid n m"})).await;
    let answer = redeem(&mut s, &client, &code, json!({})).await;
    let told = claims(&answer.text("id_token"));
    assert_eq!((&told["sub"], &told["aud"]), (&json!(eve), &json!(id(&client))));
    assert_eq!(told["iss"], format!("{ADDRESS}/v1/identity/oidc/provider/default"));
    assert_eq!((&told["name"], &told["ok"]), (&json!("x\", \"sub\": \"root"), &json!("1")));
    let info = s.userinfo("default", &answer.text("access_token")).await.body;
    assert_eq!(info, json!({"sub": eve, "name": "x\", \"sub\": \"root", "ok": "1"}));
}

#[tokio::test]
async fn parties_are_kept_checked_and_counted() {
    let mut s = Scene::new();
    s.refuses(Update, "oidc/assignment/allow_all", json!({}), "modification of assignment \"allow_all\" not allowed").await;
    s.refuses(Delete, "oidc/assignment/allow_all", json!({}), "deletion of assignment \"allow_all\" not allowed").await;
    s.refuses(Delete, "oidc/provider/default", json!({}), "deletion of OIDC provider \"default\" not allowed").await;
    s.refuses(Update, "oidc/scope/openid", json!({}), "the \"openid\" scope name is reserved").await;
    s.refuses(Update, "oidc/provider/p", json!({"scopes_supported": "openid"}), "scope \"openid\" does not exist").await;
    assert_eq!(s.read("oidc/assignment/allow_all").await, json!({"entity_ids": ["*"], "group_ids": ["*"]}));
    s.write("oidc/assignment/a", json!({"entity_ids": "b,a,b"})).await;
    assert_eq!(s.read("oidc/assignment/a").await, json!({"entity_ids": ["a", "b"], "group_ids": []}));
    for (data, want) in [
        (json!({"key": "none"}), "key \"none\" does not exist"),
        (json!({"assignments": ["none"]}), "assignment \"none\" does not exist"),
        (json!({"client_type": "x"}), "invalid client_type \"x\""),
        (
            json!({"id_token_ttl": "48h"}),
            "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references",
        ),
    ] {
        s.refuses(Update, "oidc/client/c", data, want).await;
    }
    let client = s.client("c", json!({"assignments": "a"})).await;
    let secret = client["client_secret"].as_str().unwrap();
    assert!(secret.starts_with("hvo_secret_") && secret.len() == 75 && id(&client).len() == 32);
    s.refuses(Update, "oidc/client/c", json!({"client_type": "public"}), "client_type modification is not allowed").await;
    s.refuses(Update, "oidc/client/c", json!({"key": "default"}), "key modification is not allowed").await;
    s.write("oidc/client/c", json!({"access_token_ttl": "1h"})).await;
    assert_eq!(s.read("oidc/client/c").await["client_secret"], secret, "a change keeps id and secret");
    let public = s.client("d", json!({"client_type": "public"})).await;
    assert_eq!(public.get("client_secret"), None);
    let listed = s.h.data(List, "oidc/client", json!({})).await.unwrap();
    assert_eq!(listed["keys"], json!(["c", "d"]));
    assert!(!serde_json::to_string(&listed).unwrap().contains("hvo_secret"), "listings hold no secret");
    let used = "unable to delete assignment \"a\" because it is currently referenced by these clients: c";
    s.refuses(Delete, "oidc/assignment/a", json!({}), used).await;
    s.write("oidc/scope/s", json!({"template": r#"{"u": 1}"#, "description": "d"})).await;
    s.write("oidc/provider/p", json!({"scopes_supported": "s", "allowed_client_ids": id(&client), "issuer": "https://h"})).await;
    let used = "unable to delete scope \"s\" because it is currently referenced by these providers: p";
    s.refuses(Delete, "oidc/scope/s", json!({}), used).await;
    let shown = json!({"allowed_client_ids": [id(&client)], "issuer": "https://h/v1/identity/oidc/provider/p", "scopes_supported": ["s"]});
    assert_eq!(s.read("oidc/provider/p").await, shown);
    let narrowed = s.h.data(List, "oidc/provider", json!({"allowed_client_id": "nobody"})).await.unwrap();
    assert_eq!(narrowed["keys"], json!(["default"]));
    let both = s.h.data(List, "oidc/provider", json!({"allowed_client_id": id(&client)})).await.unwrap();
    assert_eq!((&both["keys"], &both["key_info"]["p"]), (&json!(["default", "p"]), &shown));
    s.h.call(Delete, "oidc/client/c", json!({})).await.unwrap();
    s.person("ann").await;
    assert_eq!(authorize(&mut s, &client, json!({})).await.error(), "invalid_client_id", "its id is gone with it");
}
