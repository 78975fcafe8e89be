//! Logins: what they give, what they refuse, and what a refusal tells.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use api_types::Operation::{Delete, Read, Update};
use auth_approle::Approle;
use engine::testing::Harness;
use engine::{Auth, EngineError, Request};
use lockout::{Lockout, Rule};
use serde_json::{Value, json};

async fn with_role(data: Value) -> Harness<Approle> {
    with_role_and(&Arc::default(), data).await
}

async fn with_role_and(lockout: &Arc<Lockout>, data: Value) -> Harness<Approle> {
    let mut h = Harness::new(Approle::with_lockout(Arc::clone(lockout)));
    h.mount.accessor = "auth_approle_1".into();
    h.call(Update, "role/web", data).await.unwrap();
    h
}

async fn secret_id(h: &mut Harness<Approle>, data: Value) -> String {
    h.data(Update, "role/web/secret-id", data).await.unwrap()["secret_id"].as_str().unwrap().to_owned()
}

async fn login_from(h: &mut Harness<Approle>, addr: &str, data: Value) -> Result<Auth, EngineError> {
    let mut request = Request::new(Update, "auth/approle/login");
    request.data = data.as_object().unwrap().clone();
    request.connection.remote_addr = addr.parse().ok();
    Ok(*h.send(request, "login").await?.unwrap().auth.unwrap())
}

async fn login(h: &mut Harness<Approle>, role_id: &str, secret_id: &str) -> Result<Auth, EngineError> {
    login_from(h, "127.0.0.1", json!({"role_id": role_id, "secret_id": secret_id})).await
}

#[tokio::test]
async fn a_login_gives_what_the_role_says() {
    let mut h = with_role(json!({
        "role_id": "Web-1", "token_policies": "p1,p2", "token_ttl": 600, "token_max_ttl": 1200, "token_num_uses": 3,
        "token_type": "service", "token_bound_cidrs": "127.0.0.0/8"}))
    .await;
    let plain = secret_id(&mut h, json!({})).await;
    let own = secret_id(
        &mut h,
        json!({"metadata": "{\"host\": \"n1\", \"role_name\": \"admin\"}", "token_bound_cidrs": "127.0.0.1/32"}),
    )
    .await;
    let auth = login(&mut h, "wEB-1", &plain).await.unwrap();
    assert_eq!(auth.policies, ["p1", "p2"]);
    assert_eq!((auth.ttl, auth.max_ttl, auth.num_uses), (Duration::from_secs(600), Duration::from_secs(1200), 3));
    assert_eq!(auth.alias.as_ref().unwrap().name, "Web-1", "the role id as written, not as sent");
    assert_eq!(auth.metadata.get("role_name").map(String::as_str), Some("web"));
    assert_eq!((auth.renewable, auth.display_name.as_str()), (true, ""));
    assert_eq!(auth.bound_cidrs, ["127.0.0.0/8"]);
    let auth = login(&mut h, "web-1", &own).await.unwrap();
    assert_eq!(auth.metadata.get("host").map(String::as_str), Some("n1"));
    assert_eq!(auth.metadata.get("role_name").map(String::as_str), Some("web"), "a secret id cannot claim another role");
    assert_eq!(auth.bound_cidrs, ["127.0.0.1/32"]);
}

/// Class M: one answer for a wrong role id and a wrong secret id, with and without a secret id.
#[tokio::test]
async fn class_m_a_refusal_does_not_tell_which_half_was_wrong() {
    let mut h = with_role(json!({"role_id": "web"})).await;
    let good = secret_id(&mut h, json!({})).await;
    let wrong = "invalid role or secret ID";
    for (data, text) in [
        (json!({}), "missing role_id"),
        (json!({"secret_id": good}), "missing role_id"),
        (json!({"role_id": "web"}), "missing secret_id"),
        (json!({"role_id": "nobody"}), "missing secret_id"),
        (json!({"role_id": "web", "secret_id": "bad"}), wrong),
        (json!({"role_id": "nobody", "secret_id": "bad"}), wrong),
        (json!({"role_id": "nobody", "secret_id": good}), wrong),
        (json!({"role_id": "web", "secret_id": good.to_uppercase()}), wrong),
        (json!({"role_id": "web", "secret_id": format!("{good} ")}), wrong),
        (json!({"role_id": "web", "secret_id": "x".repeat(9000)}), wrong),
    ] {
        let e = login_from(&mut h, "127.0.0.1", data.clone()).await.unwrap_err();
        assert!(matches!(e, EngineError::Invalid(_)), "{data}");
        assert_eq!(e.to_string(), text, "{data}");
    }
    let mut empty = Harness::new(Approle::new());
    assert_eq!(login(&mut empty, "web", "x").await.unwrap_err().to_string(), wrong, "a mount without roles");
}

/// Class I: spellings share one counter; the lock holds against the right secret id and tells nothing.
#[tokio::test]
async fn class_i_guessing_locks_every_spelling() {
    let lockout = Arc::default();
    let mut h = with_role_and(&lockout, json!({"role_id": "web"})).await;
    let good = secret_id(&mut h, json!({})).await;
    for id in ["web", "Web", "WEB", "wEb"] {
        login(&mut h, id, "bad").await.unwrap_err();
    }
    login(&mut h, "web", &good).await.unwrap();
    for (known, role_id) in [(true, "web"), (false, "nobody")] {
        for i in 0..5 {
            let id = if i % 2 == 0 { role_id.to_owned() } else { role_id.to_uppercase() };
            assert_eq!(login(&mut h, &id, "bad").await.unwrap_err().to_string(), "invalid role or secret ID");
        }
        for secret in [good.as_str(), "bad"] {
            let e = login(&mut h, role_id, secret).await.unwrap_err();
            assert!(matches!(&e, EngineError::Denied(t) if t == "permission denied"), "{known} {e}");
        }
    }
    let locked = lockout.locked(h.now, |_| Some(h.mount.lockout));
    assert_eq!(locked.iter().map(|l| l.alias.as_str()).collect::<Vec<_>>(), ["web"], "invented role ids are not shown");
    lockout.unlock("auth_approle_1", "WEB");
    login(&mut h, "web", &good).await.unwrap();
    for _ in 0..5 {
        login(&mut h, "web", "bad").await.unwrap_err();
    }
    h.now = h.now.plus(Duration::from_secs(899));
    login(&mut h, "web", &good).await.unwrap_err();
    h.now = h.now.plus(Duration::from_secs(1));
    login(&mut h, "web", &good).await.unwrap();
}

#[tokio::test]
async fn networks_bind_logins() {
    let mut h = with_role(json!({"role_id": "web", "secret_id_bound_cidrs": "10.0.0.0/8"})).await;
    let (free, bound) = (secret_id(&mut h, json!({})).await, secret_id(&mut h, json!({"cidr_list": "10.1.0.0/16"})).await);
    let tokens = secret_id(&mut h, json!({"token_bound_cidrs": "10.2.0.0/16"})).await;
    let role = "by CIDR restrictions on the role";
    let own = "through CIDR restrictions on the secret ID";
    for (addr, secret, refusal) in [
        ("10.9.0.1", &free, None),
        ("::ffff:10.9.0.1", &free, None),
        ("11.0.0.1", &free, Some(format!("source address \"11.0.0.1\" unauthorized {role}"))),
        ("unknown", &free, Some(format!("source address \"\" unauthorized {role}"))),
        ("10.1.0.1", &bound, None),
        ("10.9.0.1", &bound, Some(format!("source address \"10.9.0.1\" unauthorized {own}"))),
        ("10.2.0.1", &tokens, None),
        ("10.9.0.1", &tokens, Some("permission denied".into())),
    ] {
        let answer = login_from(&mut h, addr, json!({"role_id": "web", "secret_id": secret})).await;
        assert_eq!(answer.err().map(|e| e.to_string()), refusal, "{addr}");
    }
    h.call(Update, "role/web", json!({"secret_id_bound_cidrs": "10.9.0.0/16"})).await.unwrap();
    let answer = login_from(&mut h, "10.1.0.1", json!({"role_id": "web", "secret_id": bound})).await;
    assert!(answer.unwrap_err().to_string().contains("should be a subset"), "a role that was narrowed narrows its secret ids");
}

#[tokio::test]
async fn a_refused_login_spends_nothing() {
    let mut h = with_role(json!({"role_id": "web", "secret_id_num_uses": 1, "secret_id_bound_cidrs": "10.0.0.0/8"})).await;
    let secret = secret_id(&mut h, json!({})).await;
    for _ in 0..3 {
        login_from(&mut h, "11.0.0.1", json!({"role_id": "web", "secret_id": secret})).await.unwrap_err();
    }
    login_from(&mut h, "10.0.0.1", json!({"role_id": "web", "secret_id": secret})).await.unwrap();
    login_from(&mut h, "10.0.0.1", json!({"role_id": "web", "secret_id": secret})).await.unwrap_err();
}

#[tokio::test]
async fn a_role_without_secret_ids_is_bound_by_networks() {
    let mut h = with_role(json!({"role_id": "web", "bind_secret_id": false, "token_bound_cidrs": "10.0.0.0/8"})).await;
    login_from(&mut h, "10.0.0.1", json!({"role_id": "web"})).await.unwrap();
    login_from(&mut h, "10.0.0.1", json!({"role_id": "web", "secret_id": "anything"})).await.unwrap();
    let e = login_from(&mut h, "127.0.0.1", json!({"role_id": "web"})).await.unwrap_err();
    assert!(matches!(e, EngineError::Denied(_)));
}

#[tokio::test]
async fn renewal_looks_at_the_role_again() {
    let mut h = with_role(json!({"role_id": "web", "token_ttl": 600})).await;
    let secret = secret_id(&mut h, json!({})).await;
    let mut auth = login(&mut h, "web", &secret).await.unwrap();
    h.call(Update, "role/web", json!({"token_ttl": 60, "token_max_ttl": 90, "token_period": 30})).await.unwrap();
    h.renew(&mut auth).unwrap();
    let secs = Duration::from_secs;
    assert_eq!((auth.ttl, auth.max_ttl, auth.period), (secs(60), secs(90), secs(30)));
    h.call(Delete, "role/web", json!({})).await.unwrap();
    assert_eq!(h.renew(&mut auth).unwrap_err().to_string(), "role \"web\" does not exist during renewal");
    assert_eq!(h.renew(&mut Auth::default()).unwrap_err().to_string(), "failed to fetch role_name during renewal");
}

/// Class K: what was sent as a secret is in no refusal.
#[tokio::test]
async fn no_answer_holds_a_secret_id() {
    let mut h = with_role(json!({"role_id": "web"})).await;
    let canary = "canary-5e1f";
    h.call(Update, "role/web/custom-secret-id", json!({"secret_id": canary})).await.unwrap();
    for (path, data) in [
        ("login", json!({"role_id": "nobody", "secret_id": canary})),
        ("login", json!({"role_id": "web", "secret_id": {"x": canary}})),
        ("login", json!({"role_id": "web", "secret_id": format!("{canary}{canary}")})),
        ("role/web/custom-secret-id", json!({"secret_id": canary})),
        ("role/web/custom-secret-id", json!({"secret_id": canary.repeat(500)})),
        ("role/none/secret-id/lookup", json!({"secret_id": canary})),
        ("role/none/secret-id/destroy", json!({"secret_id": [canary]})),
    ] {
        let text = h.error(Update, path, data).await;
        assert!(!text.contains(canary) && !text.starts_with("no error"), "{path}: {text}");
    }
    let shown = h.data(Update, "role/web/secret-id/lookup", json!({"secret_id": canary})).await.unwrap();
    assert!(!Value::Object(shown).to_string().contains(canary));
    assert!(h.call(Read, "role/web/secret-id/lookup", json!({})).await.is_err());
}

#[tokio::test]
async fn the_mounts_own_rule_counts() {
    let mut h = with_role(json!({"role_id": "web"})).await;
    let good = secret_id(&mut h, json!({})).await;
    h.mount.lockout = Rule { threshold: 2, duration: Duration::from_secs(10), ..Rule::default() };
    for want in ["invalid role or secret ID", "invalid role or secret ID", "permission denied"] {
        assert_eq!(login(&mut h, "web", "bad").await.unwrap_err().to_string(), want);
    }
    h.now = h.now.plus(Duration::from_secs(9));
    assert_eq!(login(&mut h, "WEB", &good).await.unwrap_err().to_string(), "permission denied");
    h.now = h.now.plus(Duration::from_secs(1));
    login(&mut h, "web", &good).await.unwrap();
    h.mount.lockout.disabled = true;
    for _ in 0..10 {
        assert_eq!(login(&mut h, "web", "bad").await.unwrap_err().to_string(), "invalid role or secret ID");
    }
    login(&mut h, "web", &good).await.unwrap();
}
