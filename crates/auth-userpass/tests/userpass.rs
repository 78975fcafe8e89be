//! The method as the core sees it: answers, texts, timing class, lockout.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use api_types::Operation::{Delete, List, Read, Update};
use auth_userpass::Userpass;
use engine::testing::Harness;
use engine::{Auth, EngineError, Request};
use lockout::{Lockout, Rule};
use serde_json::{Value, json};

fn scene() -> Harness<Userpass> {
    scene_with(&Arc::default())
}

fn scene_with(lockout: &Arc<Lockout>) -> Harness<Userpass> {
    let mut h = Harness::new(Userpass::with_lockout(Arc::clone(lockout)));
    h.mount.accessor = "auth_userpass_1".into();
    h
}

async fn with_user(name: &str, data: Value) -> Harness<Userpass> {
    let mut h = scene();
    assert!(h.call(Update, &format!("users/{name}"), data).await.unwrap().is_none());
    h
}

async fn login(h: &mut Harness<Userpass>, name: &str, password: &str) -> Result<Auth, EngineError> {
    let answer = h.call(Update, &format!("login/{name}"), json!({ "password": password })).await?;
    Ok(*answer.unwrap().auth.unwrap())
}

fn cheap_hash() -> &'static str {
    // Cost 4, so that the lockout tests are quick; the password is "right".
    static HASH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    HASH.get_or_init(|| bcrypt::hash("right", 4).unwrap())
}

#[tokio::test]
async fn a_user_is_shown_as_it_was_written_without_the_hash() {
    let mut h = with_user(
        "Bob",
        json!({"password": "pw", "policies": "x,y", "ttl": "5m", "max_ttl": "6m", "token_bound_cidrs": ["127.0.0.1/32"],
               "token_num_uses": 3, "token_period": "2m", "token_type": "service", "token_explicit_max_ttl": "3h",
               "token_no_default_policy": true}),
    )
    .await;
    let shown = h.data(Read, "users/BOB", json!({})).await.unwrap();
    assert_eq!(
        Value::Object(shown),
        json!({"max_ttl": 360, "policies": ["x", "y"], "token_bound_cidrs": ["127.0.0.1"], "token_explicit_max_ttl": 10800,
               "token_max_ttl": 360, "token_no_default_policy": true, "token_num_uses": 3, "token_period": 120,
               "token_policies": ["x", "y"], "token_ttl": 300, "token_type": "service", "ttl": 300})
    );
    h.call(Update, "users/bob/policies", json!({"token_policies": "z"})).await.unwrap();
    let shown = h.data(Read, "users/bob", json!({})).await.unwrap();
    assert_eq!((shown.get("policies"), &shown["token_policies"]), (None, &json!(["z"])));
    assert_eq!(h.data(List, "users", json!({})).await.unwrap()["keys"], json!(["bob"]));
    assert!(h.call(Delete, "users/bob", json!({})).await.unwrap().is_none());
    assert!(h.call(Read, "users/bob", json!({})).await.unwrap().is_none());
}

#[tokio::test]
async fn writes_are_refused_in_vaults_words() {
    let mut h = with_user("ann", json!({"password": "p"})).await;
    let good = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    for (path, data, text) in [
        ("users/new", json!({"token_policies": ["x"]}), "\"password\" or \"password_hash\" must be supplied"),
        ("users/ann/password", json!({}), "\"password\" or \"password_hash\" must be supplied"),
        ("users/none/password", json!({"password": "p"}), "username does not exist"),
        ("users/none/policies", json!({"token_policies": "p"}), "username does not exist"),
        ("users/x", json!({"password": "p", "token_type": "weird"}), "invalid 'token_type' value \"weird\""),
        (
            "users/x",
            json!({"password": "p", "password_hash": good}),
            "\"password\" and \"password_hash\" cannot be supplied together",
        ),
        ("users/x", json!({"password_hash": "plain"}), "password hash has incorrect length"),
        ("users/x", json!({"password": "p", "ttl": "2h", "max_ttl": "1h"}), "'token_ttl' cannot be greater than 'token_max_ttl'"),
        ("login/ann", json!({}), "invalid credentials"),
        ("login/ann", json!({"password": "wrong"}), "invalid username or password"),
        ("login/nobody", json!({"password": "p"}), "invalid username or password"),
    ] {
        assert_eq!(h.error(Update, path, data).await, text, "{path}");
    }
    assert!(h.call(Read, "users/x", json!({})).await.unwrap().is_none(), "nothing was written");
    assert!(matches!(h.call(Read, "login/ann", json!({})).await, Err(EngineError::UnsupportedOperation)));
}

#[tokio::test]
async fn a_login_carries_what_the_user_has() {
    let mut h = with_user("ann", json!({"password_hash": cheap_hash(), "token_policies": ["p1", "P2"], "token_ttl": 600})).await;
    let auth = login(&mut h, "ANN", "right").await.unwrap();
    assert_eq!((auth.display_name.as_str(), auth.alias.unwrap().name.as_str()), ("ann", "ann"));
    assert_eq!((auth.policies, auth.ttl), (vec!["p1".to_owned(), "P2".to_owned()], Duration::from_secs(600)));
    assert_eq!(auth.metadata["username"], "ann");
    // A change of something else leaves the password.
    h.call(Update, "users/ann", json!({"token_policies": "p3"})).await.unwrap();
    assert!(login(&mut h, "ann", "right").await.is_ok());
    h.call(Update, "users/ann/password", json!({"password": "new"})).await.unwrap();
    assert!(login(&mut h, "ann", "right").await.is_err());
    assert!(login(&mut h, "ann", "new").await.is_ok());
}

#[tokio::test]
async fn bound_addresses_hold_for_the_login_itself() {
    let mut h = with_user("ann", json!({"password_hash": cheap_hash(), "token_bound_cidrs": "10.0.0.0/8"})).await;
    for (addr, allowed) in [(Some("10.1.2.3"), true), (Some("11.1.2.3"), false), (None, false)] {
        let mut request = Request::new(Update, "test/login/ann");
        request.data = json!({"password": "right"}).as_object().unwrap().clone();
        request.connection.remote_addr = addr.map(|a| a.parse().unwrap());
        match h.send(request, "login/ann").await {
            Ok(_) => assert!(allowed, "{addr:?}"),
            Err(e) => assert!(!allowed && matches!(e, EngineError::Denied(_)), "{addr:?}: {e}"),
        }
    }
}

#[tokio::test]
async fn class_i_five_failures_lock_a_name_known_or_not() {
    let lockout = Arc::default();
    let mut h = scene_with(&lockout);
    h.call(Update, "users/ann", json!({"password_hash": cheap_hash()})).await.unwrap();
    for name in ["ann", "nobody"] {
        for variant in [name.to_owned(), name.to_uppercase(), name.to_owned(), name.to_uppercase(), name.to_owned()] {
            let e = login(&mut h, &variant, "wrong").await.unwrap_err();
            assert_eq!(e.to_string(), "invalid username or password");
        }
        for password in ["right", "wrong"] {
            let e = login(&mut h, name, password).await.unwrap_err();
            assert!(matches!(&e, EngineError::Denied(t) if t == "permission denied"), "{name}: {e}");
        }
    }
    let locked = lockout.locked(h.now, |_| Some(h.mount.lockout));
    assert_eq!(locked.iter().map(|l| l.alias.as_str()).collect::<Vec<_>>(), ["ann"]);
    h.now = h.now.plus(Duration::from_secs(15 * 60));
    assert!(login(&mut h, "ann", "right").await.is_ok(), "the lock ends by itself");
    for _ in 0..5 {
        login(&mut h, "ann", "wrong").await.unwrap_err();
    }
    lockout.unlock("auth_userpass_1", "ANN");
    assert!(login(&mut h, "ann", "right").await.is_ok(), "an operator can end it");
}

#[tokio::test]
async fn a_success_or_a_quarter_of_an_hour_resets_the_count() {
    let mut h = with_user("ann", json!({"password_hash": cheap_hash()})).await;
    for round in 0..3 {
        for _ in 0..4 {
            login(&mut h, "ann", "wrong").await.unwrap_err();
        }
        if round == 1 {
            h.now = h.now.plus(Duration::from_secs(15 * 60));
        } else {
            assert!(login(&mut h, "ann", "right").await.is_ok(), "round {round}");
        }
    }
    // Another mount has counters of its own.
    for _ in 0..5 {
        login(&mut h, "ann", "wrong").await.unwrap_err();
    }
    assert!(login(&mut h, "ann", "right").await.is_err());
    h.mount.accessor = "auth_userpass_2".into();
    assert!(login(&mut h, "ann", "right").await.is_ok());
}

#[tokio::test]
async fn renewal_looks_at_the_user_again() {
    let mut h = with_user("ann", json!({"password_hash": cheap_hash(), "token_policies": "p1,P2", "token_ttl": 600})).await;
    let mut auth = login(&mut h, "ann", "right").await.unwrap();
    auth.token_policies = vec!["default".into(), "p1".into(), "p2".into()];
    h.renew(&mut auth).unwrap();
    h.call(Update, "users/ann", json!({"token_ttl": 60, "token_period": 30})).await.unwrap();
    h.renew(&mut auth).unwrap();
    assert_eq!((auth.ttl, auth.period), (Duration::from_secs(60), Duration::from_secs(30)));
    h.call(Update, "users/ann", json!({"token_policies": "p1"})).await.unwrap();
    assert_eq!(h.renew(&mut auth).unwrap_err().to_string(), "policies have changed, not renewing");
    h.call(Delete, "users/ann", json!({})).await.unwrap();
    assert_eq!(h.renew(&mut auth).unwrap_err().to_string(), "username does not exist");
}

#[tokio::test]
async fn no_answer_holds_the_password() {
    let mut h = scene();
    let canary = "canary-5e1f";
    for (path, data) in [
        ("users/a", json!({"password": canary, "password_hash": canary})),
        ("users/a", json!({"password_hash": canary})),
        ("users/a", json!({"password": canary.repeat(10)})),
        ("users/a", json!({"password": [canary]})),
        ("users/none/password", json!({"password": canary})),
        ("login/a", json!({"password": canary})),
        ("login/a", json!({"password": {"x": canary}})),
    ] {
        let text = h.error(Update, path, data).await;
        assert!(!text.contains(canary) && !text.starts_with("no error"), "{path}: {text}");
    }
}

#[tokio::test]
async fn the_mounts_own_rule_counts() {
    let mut h = with_user("ann", json!({"password_hash": cheap_hash()})).await;
    h.mount.lockout = Rule { threshold: 2, duration: Duration::from_secs(10), ..Rule::default() };
    for want in ["invalid username or password", "invalid username or password", "permission denied"] {
        assert_eq!(login(&mut h, "ann", "wrong").await.unwrap_err().to_string(), want);
    }
    h.now = h.now.plus(Duration::from_secs(9));
    assert_eq!(login(&mut h, "Ann", "right").await.unwrap_err().to_string(), "permission denied");
    h.now = h.now.plus(Duration::from_secs(1));
    assert!(login(&mut h, "ann", "right").await.is_ok());
    h.mount.lockout.disabled = true;
    for _ in 0..10 {
        assert_eq!(login(&mut h, "ann", "wrong").await.unwrap_err().to_string(), "invalid username or password");
    }
    assert!(login(&mut h, "ann", "right").await.is_ok());
}
