use api_types::Operation::Update;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::common::Server;
use crate::{ask, post};

#[tokio::test]
async fn random_bytes_by_path_and_body() {
    let s = Server::start().await;
    for (path, body, bytes) in [
        ("sys/tools/random", json!({}), 32),
        ("sys/tools/random/8", json!({}), 8),
        ("sys/tools/random/all/20", json!({}), 20),
        ("sys/tools/random/platform", json!({ "bytes": 5 }), 5),
        ("sys/tools/random/seal/6", json!({}), 6),
        ("sys/tools/random", json!({ "bytes": "64" }), 64),
        ("sys/tools/random/-1", json!({}), 32),
        ("sys/tools/random", json!({ "bytes": 131_072 }), 131_072),
    ] {
        let seen = post(&s, path, body.clone()).await;
        let text = seen.data()["random_bytes"].as_str().unwrap();
        assert_eq!(BASE64_STANDARD.decode(text).unwrap().len(), bytes, "{path} {body}");
    }
    let seen = post(&s, "sys/tools/random/8", json!({ "format": "hex" })).await;
    assert_eq!(seen.data()["random_bytes"].as_str().unwrap().len(), 16);
    let seen = post(&s, "sys/tools/random", json!({ "source": "dice" })).await;
    let warning = "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [source]";
    assert_eq!(seen.body["warnings"], json!([warning]));
    let seen = post(&s, "sys/tools/random/seal", json!({})).await;
    assert_eq!(seen.body["warnings"], json!(["no seal/entropy augmentation available, using platform entropy source"]));
    for (path, body, text) in [
        ("sys/tools/random", json!({ "bytes": 131_073 }), "\"bytes\" should be less than 131072"),
        ("sys/tools/random", json!({ "bytes": 0 }), "\"bytes\" cannot be less than 1"),
        ("sys/tools/random", json!({ "bytes": -5 }), "\"bytes\" cannot be less than 1"),
        ("sys/tools/random/0", json!({}), "\"bytes\" cannot be less than 1"),
        ("sys/tools/random", json!({ "format": "x" }), "unsupported encoding format \"x\"; must be \"hex\" or \"base64\""),
        (
            "sys/tools/random/dice/8",
            json!({}),
            "unsupported entropy source \"dice\"; must be \"platform\" or \"seal\", or \"all\"",
        ),
    ] {
        let seen = post(&s, path, body.clone()).await;
        assert_eq!((seen.status, seen.error()), (400, text), "{path} {body}");
    }
    for path in ["sys/tools/random/zero", "sys/tools/random/all/x", "sys/tools/random/99999999999999999999"] {
        let seen = post(&s, path, json!({})).await;
        assert!(seen.status == 400 && seen.error().starts_with("error parsing url-set byte count: "), "{path} {seen:?}");
    }
}

#[tokio::test]
async fn hashes_of_known_answers() {
    let s = Server::start().await;
    let hello = "aGVsbG8=";
    for (path, body, sum) in [
        ("sys/tools/hash", json!({}), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
        ("sys/tools/hash/sha2-224", json!({}), "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193"),
        (
            "sys/tools/hash/sha2-224",
            json!({ "algorithm": "sha2-512" }),
            "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193",
        ),
        (
            "sys/tools/hash",
            json!({ "algorithm": "sha3-256" }),
            "3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392",
        ),
        ("sys/tools/hash", json!({ "format": "base64" }), "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
    ] {
        let mut body = body;
        body["input"] = hello.into();
        assert_eq!(post(&s, path, body.clone()).await.data()["sum"], sum, "{path} {body}");
    }
    for (body, text) in [
        (json!({ "input": "!" }), "unable to decode input as base64: "),
        (json!({ "input": hello, "format": "x" }), "unsupported encoding format x"),
        (json!({ "input": hello, "algorithm": "md5" }), "unsupported algorithm md5"),
    ] {
        let seen = post(&s, "sys/tools/hash", body.clone()).await;
        assert!(seen.status == 400 && seen.error().starts_with(text), "{body} {seen:?}");
    }
    assert_eq!(ask(&s, Update, "sys/tools/hash", json!({ "input": hello }), "").await.status, 403);
}

#[tokio::test]
async fn decoding_a_token_needs_no_token() {
    let s = Server::start().await;
    for (body, status, text) in [
        (json!({ "encoded_token": "!!", "otp": "abc" }), 500, "error decoding base64'd token: "),
        (json!({}), 500, "error xoring token: decoded first base64 value is nil or empty"),
        (json!({ "encoded_token": "AAAA" }), 500, "error xoring token: decoded second base64 value is nil or empty"),
        (
            json!({ "encoded_token": "AAAA", "otp": "abcd" }),
            500,
            "error xoring token: length of byte slices is not equivalent: 3 != 4",
        ),
    ] {
        for token in ["", s.root.as_str()] {
            let seen = ask(&s, Update, "sys/decode-token", body.clone(), token).await;
            assert!(seen.status == status && seen.error().starts_with(text), "{body} {seen:?}");
        }
    }
    let seen = ask(&s, Update, "sys/decode-token", json!({ "encoded_token": "AAAA", "otp": "abc" }), "").await;
    assert_eq!(seen.data(), &json!({ "token": "abc" }));
    assert_eq!(seen.body["mount_type"], "");
    assert_eq!(seen.body["auth"], Value::Null);
}
