//! The engine as the core sees it: answers, texts, and the rule that a code is good once.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::time::Duration;

use api_types::Operation::{Delete, List, Read, Update};
use engine::EngineError;
use engine::testing::Harness;
use engine_totp::Totp;
use serde_json::{Value, json};

fn scene() -> Harness<Totp> {
    Harness::new(Totp::new())
}

async fn code(h: &mut Harness<Totp>, name: &str) -> String {
    h.data(Read, &format!("code/{name}"), json!({})).await.unwrap().get("code").and_then(Value::as_str).unwrap().to_owned()
}

async fn check(h: &mut Harness<Totp>, name: &str, code: &str) -> Result<bool, String> {
    let answer = h.data(Update, &format!("code/{name}"), json!({ "code": code })).await;
    answer.map(|d| d.get("valid").and_then(Value::as_bool).unwrap()).map_err(|e| e.to_string())
}

#[tokio::test]
async fn a_made_key_is_shown_once_and_its_url_makes_the_same_codes() {
    let mut h = scene();
    let made = h.data(Update, "keys/a", json!({"generate": true, "issuer": "E", "account_name": "ann@e.test"})).await.unwrap();
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("otpauth://totp/E:ann@e.test?algorithm=SHA1&digits=6&issuer=E&period=30&secret="), "{url}");
    assert!(made["barcode"].as_str().unwrap().starts_with("iVBORw0KGgo"));
    let shown = h.data(Read, "keys/a", json!({})).await.unwrap();
    let want = json!({"account_name": "ann@e.test", "algorithm": "SHA1", "digits": 6, "issuer": "E", "period": 30});
    assert_eq!(Value::Object(shown), want);
    assert!(h.call(Update, "keys/b@x", json!({"url": url})).await.unwrap().is_none());
    assert_eq!(Value::Object(h.data(Read, "keys/b@x", json!({})).await.unwrap()), want);
    assert_eq!(code(&mut h, "a").await, code(&mut h, "b@x").await);
    assert_eq!(h.data(List, "keys", json!({})).await.unwrap()["keys"], json!(["a", "b@x"]));
    assert!(h.call(Delete, "keys/a", json!({})).await.unwrap().is_none());
    assert!(h.call(Read, "keys/a", json!({})).await.unwrap().is_none());
    let mut quiet = json!({"generate": true, "issuer": "E", "account_name": "a", "qr_size": 0});
    assert_eq!(h.data(Update, "keys/c", quiet.clone()).await.unwrap().keys().collect::<Vec<_>>(), ["url"]);
    quiet["exported"] = json!(false);
    assert!(h.call(Update, "keys/c", quiet).await.unwrap().is_none());
}

#[tokio::test]
async fn writes_are_refused_in_vaults_words() {
    let mut h = scene();
    let made = |more: Value| {
        let mut all = json!({"generate": true, "issuer": "I", "account_name": "a"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let given = |more: Value| {
        let mut all = json!({"key": "ABCDEFGH"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let url = |text: &str| json!({"url": format!("otpauth://totp/a?{text}")});
    for (data, text) in [
        (json!({}), "the key value is required"),
        (json!({"generate": true}), "the account_name value is required for generated keys"),
        (json!({"generate": true, "issuer": "x"}), "the account_name value is required for generated keys"),
        (json!({"generate": true, "account_name": "x"}), "the issuer value is required for generated keys"),
        (made(json!({"key": "AB"})), "a key should not be passed if generate is true"),
        (made(json!({"url": "x"})), "a url should not be passed if generate is true"),
        (made(json!({"key_size": 0})), "the key_size value must be greater than zero"),
        (made(json!({"key_size": -1})), "the key_size value must be greater than zero"),
        (made(json!({"key_size": 1_000_000_000})), "the key_size value must not be greater than 256"),
        (made(json!({"qr_size": -1})), "the qr_size value must be greater than or equal to zero"),
        (made(json!({"qr_size": 10})), "failed to generate QR code image: can not scale barcode to an image smaller than 41x41"),
        (
            made(json!({"qr_size": 1_000_000_000_000_i64})),
            "failed to generate QR code image: can not scale barcode to an image larger than 2048x2048",
        ),
        (given(json!({"digits": 7})), "the digits value can only be 6 or 8"),
        (given(json!({"period": 0})), "the period value must be greater than zero"),
        (given(json!({"skew": 2})), "the skew value must be 0 or 1"),
        (given(json!({"skew": -1})), "the skew value must be 0 or 1"),
        (given(json!({"algorithm": "sha256"})), "the algorithm value is not valid"),
        (given(json!({"algorithm": ""})), "the algorithm value is not valid"),
        (json!({"key": "A CDEFGH"}), "invalid key value: illegal base32 data at input byte 1"),
        (json!({"key": "A".repeat(5000)}), "invalid key value: too long"),
        (json!({"url": "x"}), "the key value is required"),
        (json!({"url": "%zz"}), "an error occurred while parsing url string"),
        (url("digits=6"), "the key value is required"),
        (url("secret=AB&digits=5"), "the digits value can only be 6 or 8"),
        (url("secret=AB&digits=x"), "an error occurred while parsing digits value in url"),
        (url("secret=AB&period=1m"), "an error occurred while parsing period value in url"),
        (url("secret=AB&period=-3"), "the period value must be greater than zero"),
        (url("secret=AB&algorithm=MD5"), "the algorithm value is not valid"),
    ] {
        let got = h.error(Update, "keys/k", data.clone()).await;
        assert_eq!(got, text, "{data}");
        assert!(h.call(Read, "keys/k", json!({})).await.unwrap().is_none(), "{data} left something");
    }
    for bad in ["keys/-a", "keys/a.", "keys/a b", "code/@a", "keys/a/b"] {
        assert!(matches!(h.call(Read, bad, json!({})).await, Err(EngineError::UnsupportedPath)), "{bad}");
    }
    assert_eq!(h.error(Read, "code/none", json!({})).await, "unknown key: none");
    assert_eq!(h.error(Update, "code/none", json!({"code": "123456"})).await, "unknown key: none");
    assert_eq!(h.error(Update, "code/none", json!({})).await, "the code value is required");
}

#[tokio::test]
async fn cve_class_i_a_code_is_good_once_and_overwriting_the_key_does_not_help() {
    let mut h = scene();
    let key = json!({"key": "JBSWY3DPEHPK3PXP", "account_name": "a"});
    h.call(Update, "keys/k", key.clone()).await.unwrap();
    let right = code(&mut h, "k").await;
    assert_eq!(check(&mut h, "k", "12").await, Ok(false));
    assert_eq!(check(&mut h, "k", &right).await, Ok(true));
    let used = Err("code already used; wait until the next time period".to_owned());
    for again in [right.clone(), format!(" {right}"), format!("{right} ")] {
        assert_eq!(check(&mut h, "k", &again).await, used, "{again:?}");
    }
    h.call(Update, "keys/k", key).await.unwrap();
    assert_eq!(check(&mut h, "k", &right).await, used, "the same key, written again");
    h.now = h.now.plus(Duration::from_secs(30));
    assert_eq!(check(&mut h, "k", &right).await, used, "still within the skew");
    let next = code(&mut h, "k").await;
    assert_eq!(check(&mut h, "k", &next).await, Ok(true));
    h.now = h.now.plus(Duration::from_secs(90));
    assert_eq!(check(&mut h, "k", &next).await, Ok(false));
}
