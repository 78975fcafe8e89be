//! What may be written to `config` and `role/`, and what is shown of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod scene;

use api_types::Operation::{Create, Update};
use scene::*;
use serde_json::{Value, json};

#[tokio::test]
async fn configurations_are_refused_in_vaults_words() {
    let (mut h, table) = scene();
    let key = Key::new("k1");
    table.provider(&[&key]);
    table.fail("https://keys.example/out", 500);
    table.put("https://keys.example/odd", &json!({"nokeys": 1}));
    const ONE: &str = "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set";
    const PAIRS: &str = "error parsing 'jwks_pairs': a list of objects with 'jwks_url' and 'jwks_ca_pem' is expected";
    let own = |change: Value| {
        let mut config = json!({"jwt_validation_pubkeys": key.pem});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        config
    };
    for (data, want) in [
        (json!({}), ONE),
        (json!({"jwks_pairs": []}), ONE),
        (own(json!({"jwks_url": "https://keys.example/jwks"})), ONE),
        (own(json!({"oidc_discovery_url": ISSUER})), ONE),
        (json!({"jwt_validation_pubkeys": "garbage"}), "error parsing public key: data does not contain any valid public keys"),
        (
            json!({"jwt_validation_pubkeys": [key.pem, "x"]}),
            "error parsing public key: data does not contain any valid public keys",
        ),
        (own(json!({"oidc_client_id": "x"})), "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"),
        (own(json!({"oidc_client_secret": "x"})), "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"),
        (own(json!({"oidc_client_id": "x", "oidc_client_secret": "y"})), "'oidc_discovery_url' must be set for OIDC"),
        (own(json!({"jwt_supported_algs": "HS256"})), "invalid jwt_supported_algs: unsupported signing algorithm \"HS256\""),
        (
            own(json!({"jwt_supported_algs": ["RS256", "none"]})),
            "invalid jwt_supported_algs: unsupported signing algorithm \"none\"",
        ),
        (own(json!({"oidc_response_types": "code,x"})), "invalid response_types [code x]. 'code' and 'id_token' are allowed"),
        (own(json!({"oidc_response_types": "id_token"})), "query response_mode may not be used with an id_token response_type"),
        (own(json!({"oidc_response_mode": "weird"})), "invalid response_mode: \"weird\""),
        (own(json!({"provider_config": {"a": 1}})), "invalid provider_config: 'provider' field not found in provider_config"),
        (
            own(json!({"provider_config": {"provider": "x"}})),
            "invalid provider_config: provider \"x\" not found in custom providers",
        ),
        (json!({"jwks_url": "https://keys.example/out"}), "error checking jwks URL https://keys.example/out"),
        (json!({"jwks_url": "https://keys.example/odd"}), "error checking jwks URL https://keys.example/odd"),
        (json!({"jwks_url": "https://keys.example/none"}), "error checking jwks URL https://keys.example/none"),
        (json!({"jwks_url": format!("{ISSUER}/jwks"), "jwks_ca_pem": "x"}), "error checking jwks_ca_pem"),
        (json!({"jwks_pairs": "x"}), PAIRS),
        (json!({"jwks_pairs": ["x"]}), PAIRS),
        (json!({"jwks_pairs": [{"jwks_ca_pem": "x"}]}), PAIRS),
        (json!({"jwks_pairs": [{"jwks_url": "https://keys.example/out"}]}), "error checking jwks URL https://keys.example/out"),
        (json!({"oidc_discovery_url": format!("{ISSUER}/")}), "error checking oidc discovery URL"),
        (json!({"oidc_discovery_url": "https://other.example"}), "error checking oidc discovery URL"),
        (json!({"oidc_discovery_url": ISSUER, "oidc_discovery_ca_pem": "x"}), "error checking oidc discovery URL"),
    ] {
        assert_eq!(h.error(Update, "config", data.clone()).await, want, "{data}");
    }
    assert!(h.call(api_types::Operation::Read, "config", json!({})).await.unwrap().is_none());
}

#[tokio::test]
async fn class_k_the_clients_secret_never_comes_out_and_a_write_replaces() {
    let (mut h, table) = scene();
    let key = Key::new("k1");
    table.provider(&[&key]);
    write(&mut h, "config", json!({"oidc_discovery_url": ISSUER, "oidc_client_id": "cid", "oidc_client_secret": "canary"})).await;
    let shown = read(&mut h, "config").await;
    assert!(!Value::Object(shown.clone()).to_string().contains("canary") && !shown.contains_key("oidc_client_secret"));
    assert_eq!((&shown["oidc_client_id"], &shown["namespace_in_state"]), (&json!("cid"), &json!(true)));
    write(&mut h, "config", json!({"jwt_validation_pubkeys": key.pem, "namespace_in_state": false})).await;
    let shown = read(&mut h, "config").await;
    assert_eq!(
        (&shown["oidc_client_id"], &shown["oidc_discovery_url"], &shown["namespace_in_state"]),
        (&json!(""), &json!(""), &json!(false))
    );
}

#[tokio::test]
async fn roles_are_refused_in_vaults_words() {
    let (mut h, _) = scene();
    for (change, want) in [
        (json!({"user_claim": ""}), "a user claim must be defined on the role"),
        (json!({"role_type": "saml"}), "invalid 'role_type': saml"),
        (json!({"role_type": ""}), "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified."),
        (
            json!({"role_type": "oidc", "allowed_redirect_uris": [""]}),
            "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
        ),
        (json!({"bound_audiences": []}), "must have at least one bound constraint when creating/updating a role"),
        (json!({"bound_claims_type": "regex"}), "invalid 'bound_claims_type': regex"),
        (json!({"bound_claims_type": ""}), "invalid 'bound_claims_type': "),
        (json!({"bound_claims_type": "glob", "bound_claims": {"a": 3}}), "claim is not a string: 3"),
        (json!({"bound_claims_type": "glob", "bound_claims": {"a": ["x", true]}}), "claim is not a string: true"),
        (json!({"bound_claims_type": "glob", "bound_claims": {"a": {"b": 1}}}), "claim is not a string or list: map[b:1]"),
        (json!({"claim_mappings": {"a": "x", "b": "x"}}), "multiple keys are mapped to metadata key \"x\""),
        (json!({"claim_mappings": {"a": "role"}}), "metadata key \"role\" is reserved and may not be a mapping destination"),
        (json!({"token_ttl": "2h", "token_max_ttl": "1h"}), "'token_ttl' cannot be greater than 'token_max_ttl'"),
        (
            json!({"token_period": "9000h"}),
            "'period' of '\"9000h0m0s\"' is greater than the backend's maximum lease TTL of '\"768h0m0s\"'",
        ),
    ] {
        let mut data = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"]});
        data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(h.error(Create, "role/x", data).await, want, "{change}");
    }
    assert_eq!(h.data(api_types::Operation::List, "role", json!({})).await.unwrap().len(), 0);
}

#[tokio::test]
async fn roles_keep_what_was_not_sent_and_show_twins_that_were() {
    let (mut h, _) = scene();
    write(
        &mut h,
        "role/UP",
        json!({
            "role_type": "jwt", "user_claim": "sub", "bound_subject": "a", "expiration_leeway": -1, "not_before_leeway": "-1s",
            "clock_skew_leeway": "2m", "max_age": "5m", "policies": "p", "ttl": "1h"
        }),
    )
    .await;
    let shown = read(&mut h, "role/up").await;
    for (name, want) in [
        ("expiration_leeway", json!(-1)),
        ("not_before_leeway", json!(-1)),
        ("clock_skew_leeway", json!(120)),
        ("max_age", json!(300)),
        ("policies", json!(["p"])),
        ("token_policies", json!(["p"])),
        ("ttl", json!(3600)),
        ("token_ttl", json!(3600)),
        ("bound_audiences", Value::Null),
    ] {
        assert_eq!(shown[name], want, "{name}");
    }
    let answer =
        h.call(Update, "role/up", json!({"role_type": "jwt", "verbose_oidc_logging": true, "token_max_ttl": "9000h"})).await;
    assert_eq!(answer.unwrap().unwrap().warnings.len(), 2);
    assert_eq!(read(&mut h, "role/up").await["bound_subject"], json!("a"));
}
