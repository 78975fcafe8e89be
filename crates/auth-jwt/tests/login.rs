//! Logins with signed tokens (class H): refusals outnumber grants.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod scene;

use api_types::Operation::Update;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::EngineError;
use scene::*;
use secret::Time;
use serde_json::{Value, json};
use std::time::Duration;

const NO_KEY: &str =
    "error validating token: error verifying token signature: no known key successfully validated the token signature";
const NOT_SIGNED: &str = "error validating token: error verifying token signature: failed to verify id token signature";
const AUDIENCE: &str =
    "error validating token: invalid audience (aud) claim: audience claim does not match any expected audience";

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn class_h_claims_that_are_dropped_or_altered_are_refused() {
    let (mut h, _) = scene();
    let key = Key::new("k1");
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem], "bound_issuer": ISSUER})).await;
    role(&mut h, json!({"bound_subject": "alice"})).await;
    let fine = login(&mut h, &key.sign(&claims())).await.unwrap();
    assert_eq!((fine.display_name.as_str(), fine.policies.as_slice()), ("alice", ["dev".to_owned()].as_slice()));
    let invalid = |text: &str| format!("error validating token: {text}");
    for (change, want) in [
        (json!({"iss": null}), invalid("invalid issuer (iss) claim")),
        (json!({"iss": "https://idp.example/"}), invalid("invalid issuer (iss) claim")),
        (json!({"iss": [ISSUER]}), invalid("claim \"iss\" is malformed")),
        (json!({"sub": "bob"}), invalid("invalid subject (sub) claim")),
        (json!({"sub": null}), invalid("invalid subject (sub) claim")),
        (json!({"aud": null}), AUDIENCE.to_owned()),
        (json!({"aud": []}), AUDIENCE.to_owned()),
        (json!({"aud": "STRONG"}), AUDIENCE.to_owned()),
        (json!({"aud": ["weak"]}), AUDIENCE.to_owned()),
        (json!({"aud": {"strong": 1}}), invalid("claim \"aud\" is malformed")),
        (json!({"aud": ["strong", 1]}), invalid("claim \"aud\" is malformed")),
        (json!({"exp": NOW - 61}), invalid("invalid expiration time (exp) claim: token is expired")),
        (json!({"exp": "4102444800"}), invalid("claim \"exp\" is malformed")),
        (json!({"nbf": NOW + 61}), invalid("invalid not before (nbf) claim: token not yet valid")),
        (json!({"nbf": "0"}), invalid("claim \"nbf\" is malformed")),
        (json!({"iat": NOW + 61}), invalid("invalid issued at (iat) claim: token issued in the future")),
        (
            json!({"exp": null, "nbf": null, "iat": null}),
            invalid("no issued at (iat), not before (nbf), or expiration time (exp) claims in token"),
        ),
        (json!({"nbf": null, "iat": null, "exp": NOW + 211}), invalid("invalid not before (nbf) claim: token not yet valid")),
        (
            json!({"exp": null, "nbf": NOW - 211, "iat": NOW - 211}),
            invalid("invalid expiration time (exp) claim: token is expired"),
        ),
    ] {
        let got = login(&mut h, &key.sign(&claims_with(change.clone()))).await.map(|a| a.display_name);
        assert_eq!(got, Err(want), "{change}");
    }
    for change in [
        json!({"aud": "strong"}),
        json!({"exp": NOW - 59}),
        json!({"nbf": null, "iat": null, "exp": NOW + 210}),
        json!({"exp": null}),
    ] {
        assert!(login(&mut h, &key.sign(&claims_with(change.clone()))).await.is_ok(), "{change}");
    }
}

#[tokio::test]
async fn class_h_signatures_that_no_configured_key_made_are_refused() {
    let (mut h, _) = scene();
    let (key, other) = (Key::new("k1"), Key::new("k1"));
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem]})).await;
    role(&mut h, json!({})).await;
    let good = key.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let payload = encode(&claims_with(json!({"sub": "root"})));
    let header = |alg: &str| encode(&json!({"alg": alg, "kid": "k1"}));
    for (token, want) in [
        (other.sign(&claims()), NO_KEY),
        (format!("{}.{payload}.{}", parts[0], parts[2]), NO_KEY),
        (format!("{}.{}.{}", header("none"), parts[1], parts[2]), NO_KEY),
        (format!("{}.{}.", header("none"), parts[1]), NO_KEY),
        (format!("{}.{}.", header("None"), parts[1]), NO_KEY),
        (format!("{}.{}.{}", header("HS256"), parts[1], parts[2]), NO_KEY),
        (format!("{}.{}.{}", header("RS256"), parts[1], parts[2]), NO_KEY),
        (format!("{}.{}.{}", header("ES384"), parts[1], parts[2]), NO_KEY),
        (format!("{}.{}.{}", header("es256"), parts[1], parts[2]), NO_KEY),
        (format!("{}.{}.{}", encode(&json!({"alg": "ES256", "jwk": other.jwk()})), parts[1], parts[2]), NO_KEY),
        (format!("{}.{}.{}", encode(&json!({"alg": "ES256", "crit": ["x"]})), parts[1], parts[2]), NO_KEY),
        (
            format!("{}.{}", parts[0], parts[1]),
            "error validating token: error verifying token signature: go-jose/go-jose: compact JWS format must have three parts",
        ),
        (
            format!("{good}."),
            "error validating token: error verifying token signature: go-jose/go-jose: compact JWS format must have three parts",
        ),
        ("a.b.c".to_owned(), "error validating token: error verifying token signature: illegal base64 data at input byte 0"),
        (String::new(), "missing token"),
    ] {
        assert_eq!(login(&mut h, &token).await.map(|a| a.display_name), Err(want.to_owned()), "{token}");
    }
    assert!(login(&mut h, &format!(" {good}\n")).await.is_ok());
}

#[tokio::test]
async fn class_h_a_token_with_an_audience_needs_a_role_with_one() {
    let (mut h, _) = scene();
    let key = Key::new("k1");
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem]})).await;
    role(&mut h, json!({"bound_audiences": [], "bound_subject": "alice"})).await;
    let refusal = Err("audience claim found in JWT but no audiences bound to the role".to_owned());
    for aud in [json!("strong"), json!(["strong"]), json!([""])] {
        assert_eq!(login(&mut h, &key.sign(&claims_with(json!({"aud": aud})))).await.map(|a| a.display_name), refusal);
    }
    assert!(login(&mut h, &key.sign(&claims_with(json!({"aud": null})))).await.is_ok());
}

#[tokio::test]
async fn class_h_an_empty_binding_is_no_binding() {
    let (mut h, _) = scene();
    const UNBOUND: &str = "must have at least one bound constraint when creating/updating a role";
    for change in [
        json!({}),
        json!({"bound_audiences": []}),
        json!({"bound_audiences": ""}),
        json!({"bound_audiences": [""]}),
        json!({"bound_audiences": ["", ""]}),
        json!({"bound_claims": {}}),
        json!({"bound_subject": ""}),
        json!({"token_bound_cidrs": []}),
    ] {
        let mut data = json!({"role_type": "jwt", "user_claim": "sub"});
        data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(h.error(Update, "role/e", data).await, UNBOUND, "{change}");
    }
    role(&mut h, json!({})).await;
    let emptied = h.error(Update, "role/r", json!({"role_type": "jwt", "bound_audiences": []})).await;
    assert_eq!(emptied, UNBOUND);
    assert_eq!(read(&mut h, "role/r").await["bound_audiences"], json!(["strong"]));
}

#[tokio::test]
async fn a_role_is_needed_and_the_right_kind_of_it() {
    let (mut h, _) = scene();
    let key = Key::new("k1");
    let jwt = key.sign(&claims());
    let ask = |role: &str| json!({"role": role, "jwt": jwt});
    assert_eq!(h.error(Update, "login", ask("r")).await, "could not load configuration");
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem]})).await;
    assert_eq!(h.error(Update, "login", ask("")).await, "missing role");
    for name in ["r", "../config", "r/", "role/r"] {
        assert_eq!(h.error(Update, "login", ask(name)).await, format!("role {name:?} could not be found"));
    }
    write(&mut h, "role/o", json!({"user_claim": "sub", "allowed_redirect_uris": [REDIRECT]})).await;
    assert_eq!(h.error(Update, "login", ask("o")).await, "role with oidc role_type is not allowed");
    role(&mut h, json!({"token_bound_cidrs": ["10.0.0.0/8"]})).await;
    assert!(matches!(h.call(Update, "login", ask("r")).await, Err(EngineError::Denied(_))));
    role(&mut h, json!({})).await;
    assert!(h.call(Update, "login", ask("R")).await.is_ok(), "names of roles are lower-cased");
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem], "default_role": "R"})).await;
    assert!(h.call(Update, "login", json!({"jwt": jwt})).await.is_ok());
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem], "jwt_supported_algs": "RS256"})).await;
    assert_eq!(
        h.error(Update, "login", ask("r")).await,
        "error validating token: invalid algorithm (alg) header parameter: token signed with unexpected algorithm"
    );
}

#[tokio::test]
async fn unknown_keys_bring_fresh_ones_but_not_without_limit() {
    let (mut h, table) = scene();
    let (old, new) = (Key::new("k1"), Key::new("k2"));
    let url = "https://keys.example/jwks";
    table.keys(url, &[&old]);
    write(&mut h, "config", json!({"jwks_url": url})).await;
    role(&mut h, json!({})).await;
    assert!(login(&mut h, &old.sign(&claims())).await.is_ok());
    assert_eq!(table.count(url), 1, "the check's own keys are used");
    table.keys(url, &[&old, &new]);
    assert!(login(&mut h, &new.sign(&claims())).await.is_ok());
    assert!(login(&mut h, &old.sign_without_id(&claims())).await.is_ok());
    assert_eq!(table.count(url), 2);
    // Anybody can send tokens of unknown keys.
    for n in 0..100 {
        let stranger = Key { id: n.to_string(), ..Key::new("") };
        assert_eq!(login(&mut h, &stranger.sign(&claims())).await.map(|a| a.display_name), Err(NOT_SIGNED.to_owned()));
    }
    let flooded = table.count(url);
    assert!(flooded <= 2 + 4, "{flooded}");
    assert!(login(&mut h, &new.sign(&claims())).await.is_ok());
    // The limit passes.
    let third = Key::new("k3");
    table.keys(url, &[&third]);
    assert!(login(&mut h, &third.sign(&claims())).await.is_err());
    h.now = h.now.plus(Duration::from_secs(10));
    assert!(login(&mut h, &third.sign(&claims())).await.is_ok());
    assert_eq!(login(&mut h, &old.sign(&claims())).await.map(|a| a.display_name), Err(NOT_SIGNED.to_owned()));
}

#[tokio::test]
async fn an_outage_costs_nothing_at_first_and_a_key_that_is_taken_back_stops_to_work() {
    let (mut h, table) = scene();
    let (key, other) = (Key::new("k1"), Key::new("k2"));
    let url = "https://keys.example/jwks";
    let token = |k: &Key| k.sign(&claims_with(json!({"exp": NOW + 1_000_000})));
    table.keys(url, &[&key]);
    write(&mut h, "config", json!({"jwks_url": url})).await;
    role(&mut h, json!({})).await;
    table.fail(url, 503);
    h.now = h.now.plus(Duration::from_secs(3600));
    assert!(login(&mut h, &token(&key)).await.is_ok());
    table.out(url);
    assert!(login(&mut h, &token(&key)).await.is_ok());
    h.now = h.now.plus(Duration::from_secs(25 * 3600));
    let failed = login(&mut h, &token(&key)).await.map(|a| a.display_name).unwrap_err();
    assert!(failed.ends_with("fetching keys failed"), "{failed}");
    h.now = h.now.plus(Duration::from_secs(60));
    table.keys(url, &[&key, &other]);
    assert!(login(&mut h, &token(&key)).await.is_ok());
    table.keys(url, &[&other]);
    h.now = h.now.plus(Duration::from_secs(601));
    assert_eq!(login(&mut h, &token(&key)).await.map(|a| a.display_name), Err(NOT_SIGNED.to_owned()));
}

#[tokio::test]
async fn class_h_keys_of_another_address_are_not_this_mounts() {
    let (mut h, table) = scene();
    let (mine, theirs, second) = (Key::new("k1"), Key::new("k1"), Key::new("k2"));
    for (url, key) in
        [("https://a.example/jwks", &mine), ("https://b.example/jwks", &theirs), ("https://c.example/jwks", &second)]
    {
        table.keys(url, &[key]);
    }
    write(&mut h, "config", json!({"jwks_url": "https://b.example/jwks"})).await;
    role(&mut h, json!({})).await;
    assert!(login(&mut h, &theirs.sign(&claims())).await.is_ok());
    write(&mut h, "config", json!({"jwks_url": "https://a.example/jwks"})).await;
    assert!(login(&mut h, &theirs.sign(&claims())).await.is_err());
    assert!(login(&mut h, &mine.sign(&claims())).await.is_ok());
    let pairs = json!([{"jwks_url": "https://a.example/jwks"}, {"jwks_url": "https://c.example/jwks", "jwks_ca_pem": ""}]);
    write(&mut h, "config", json!({"jwks_pairs": pairs})).await;
    assert!(login(&mut h, &mine.sign(&claims())).await.is_ok() && login(&mut h, &second.sign(&claims())).await.is_ok());
    assert!(login(&mut h, &theirs.sign(&claims())).await.is_err());
    assert_eq!(
        login(&mut h, &format!("{}.e30.AAAA", encode(&json!({"alg": "none"})))).await.map(|a| a.display_name).unwrap_err(),
        "error validating token: error verifying token signature: oidc: malformed jwt: unexpected signature algorithm \"none\"; \
         expected [\"RS256\" \"RS384\" \"RS512\" \"ES256\" \"ES384\" \"ES512\" \"PS256\" \"PS384\" \"PS512\" \"EdDSA\"]"
    );
}

#[tokio::test]
async fn renewal_needs_the_role_and_takes_its_times() {
    let (mut h, _) = scene();
    let key = Key::new("k1");
    write(&mut h, "config", json!({"jwt_validation_pubkeys": [key.pem]})).await;
    role(&mut h, json!({"token_ttl": 60, "groups_claim": "groups", "claim_mappings": {"mail": "email"}})).await;
    let auth = login(&mut h, &key.sign(&claims())).await.unwrap();
    assert_eq!(
        (auth.ttl, auth.group_aliases.as_slice()),
        (Duration::from_secs(60), ["dev".to_owned(), "ops".to_owned()].as_slice())
    );
    assert_eq!(auth.metadata.get("email").map(String::as_str), Some("alice@example.test"));
    assert_eq!(auth.internal.get("role"), Some(&json!("r")));
    assert_eq!(h.now, Time::from_unix(NOW));
}
