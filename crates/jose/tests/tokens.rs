//! Real signatures of every algorithm, and the classic ways around them (class H of the CVE list).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jose::{Algorithm, Jwk, JwkError, JwkSet, Jws, JwsError, PrivateKey, PublicKey, PublicKeyError};
use serde_json::{Value, json};

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::from_pkcs8(algorithm, PrivateKey::generate(algorithm).unwrap().expose()).unwrap()
}

/// One key for all RSA algorithms; making one takes a moment.
static RSA: LazyLock<secret::SecretBytes> = LazyLock::new(|| PrivateKey::generate(Algorithm::RS256).unwrap());

fn rsa(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::from_pkcs8(algorithm, RSA.expose()).unwrap()
}

fn keys() -> Vec<PrivateKey> {
    Algorithm::ALL.into_iter().map(|a| if a.name().starts_with(['R', 'P']) { rsa(a) } else { key(a) }).collect()
}

fn signed(key: &PrivateKey) -> String {
    key.sign(Some("k1"), Some("JWT"), &json!({"iss": "me"})).unwrap().expose().to_owned()
}

/// The token with another header.
fn with_header(token: &str, header: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", b64(header))
}

fn verify(token: &str, keys: &[&PublicKey]) -> Result<(), JwsError> {
    Jws::parse(token)?.verify(keys.iter().copied()).map(|_| ())
}

#[test]
fn every_algorithm_verifies_with_its_own_key_only() {
    let keys = keys();
    for own in &keys {
        let token = signed(own);
        let parsed = Jws::parse(&token).unwrap();
        assert_eq!((parsed.algorithm(), parsed.key_id(), parsed.typ()), (own.algorithm(), Some("k1"), Some("JWT")));
        assert_eq!(parsed.verify([own.public_key()]).unwrap().text("iss"), Ok(Some("me")), "{own:?}");
        assert_eq!(verify(&token, &[]), Err(JwsError::Signature), "{own:?} without any key");
        let others: Vec<&PublicKey> = keys.iter().map(PrivateKey::public_key).filter(|k| *k != own.public_key()).collect();
        assert_eq!(verify(&token, &others), Err(JwsError::Signature), "{own:?} with others' keys");
        let all: Vec<&PublicKey> = keys.iter().map(PrivateKey::public_key).collect();
        for other in Algorithm::ALL.into_iter().filter(|a| *a != own.algorithm()) {
            let renamed = with_header(&token, &format!(r#"{{"alg":"{other}"}}"#));
            assert_eq!(verify(&renamed, &all), Err(JwsError::Signature), "{own:?} as {other}");
        }
    }
}

#[test]
fn class_h_unsigned_and_hmac_tokens_are_refused() {
    let key = rsa(Algorithm::RS256);
    let token = signed(&key);
    let (signing_input, _) = token.rsplit_once('.').unwrap();
    for alg in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "rs256", "RS256 ", "eddsa", "ES256K", "dir", "RSA-OAEP"] {
        let renamed = with_header(&token, &format!(r#"{{"alg":"{alg}"}}"#));
        assert_eq!(verify(&renamed, &[key.public_key()]), Err(JwsError::Algorithm), "{alg:?}");
    }
    // HMAC with the public key's own bytes as secret, under an RSA name.
    let public = aws_lc_rs_hmac(key.public_key().thumbprint().as_bytes(), signing_input.as_bytes());
    assert_eq!(verify(&format!("{signing_input}.{}", b64(public)), &[key.public_key()]), Err(JwsError::Signature));
    assert_eq!(verify(&format!("{signing_input}."), &[key.public_key()]), Err(JwsError::NotCompact), "no signature");
}

fn aws_lc_rs_hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}

#[test]
fn class_h_headers_cannot_bring_a_key_or_switch_a_check_off() {
    let key = key(Algorithm::ES256);
    let token = signed(&key);
    for (header, want) in [
        (r#"{"alg":"ES256","crit":["exp"]}"#, JwsError::Extension),
        (r#"{"alg":"ES256","crit":[]}"#, JwsError::Extension),
        (r#"{"alg":"ES256","crit":null}"#, JwsError::Extension),
        (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, JwsError::Extension),
        (r#"{"alg":"ES256","b64":true}"#, JwsError::Extension),
        (r#"{"alg":"ES256","alg":"none"}"#, JwsError::Header),
        (r#"{"alg":["ES256"]}"#, JwsError::Header),
        (r#"{"alg":"ES256","kid":7}"#, JwsError::Header),
        (r#"{"typ":"JWT"}"#, JwsError::Header),
        (r#"["ES256",null,null,false,false]"#, JwsError::Header),
        (r#""ES256""#, JwsError::Header),
        ("not json", JwsError::Header),
        ("", JwsError::Header),
        // Changes the signed text.
        (r#"{"alg":"ES256","jku":"https://evil.example/jwks"}"#, JwsError::Signature),
        (r#"{"alg":"ES256","jwk":{"kty":"oct","k":"AA"}}"#, JwsError::Signature),
    ] {
        assert_eq!(verify(&with_header(&token, header), &[key.public_key()]), Err(want), "{header}");
    }
}

#[test]
fn every_changed_part_breaks_the_token() {
    let key = key(Algorithm::EdDSA);
    let good = signed(&key);
    assert_eq!(verify(&good, &[key.public_key()]), Ok(()));
    let parts: Vec<&str> = good.split('.').collect();
    for bad in [
        format!("{}.{}.{}", parts[0], b64(r#"{"iss":"you"}"#), parts[2]),
        format!("{}.{}.{}", b64(r#"{"alg":"EdDSA" }"#), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], b64([0; 64])),
        format!("{}.{}.{}", parts[0], parts[1], b64([1; 63])),
        format!("{good}="),
        format!("{good}.x"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{}.{}", parts[0], parts[1]),
        parts[1].to_owned(),
        String::new(),
        "..".to_owned(),
        "not-a-jwt".to_owned(),
        "é.é.é".to_owned(),
        format!("{{\"payload\":\"{}\",\"protected\":\"{}\",\"signature\":\"{}\"}}", parts[1], parts[0], parts[2]),
    ] {
        assert!(verify(&bad, &[key.public_key()]).is_err(), "{bad}");
    }
    assert_eq!(Jws::parse(&"a".repeat(jose::JWS_MAX_BYTES + 1)).err(), Some(JwsError::TooLong));
    for claims in [json!([1]), json!("text"), json!(7), Value::Null] {
        let token = key.sign(None, None, &claims).unwrap();
        assert_eq!(verify(token.expose(), &[key.public_key()]), Err(JwsError::Payload), "{claims}");
    }
}

#[test]
fn a_set_asks_the_key_that_the_token_names_and_no_other() {
    let (a, b) = (key(Algorithm::ES256), key(Algorithm::ES256));
    let jwk = |k: &PrivateKey, id: &str| Jwk::signing(k.public_key().clone(), id.to_owned(), k.algorithm());
    let set = JwkSet { keys: vec![jwk(&a, "a"), jwk(&b, "b")] };
    let token = |k: &PrivateKey, id: Option<&str>| k.sign(id, None, &json!({})).unwrap().expose().to_owned();
    let check = |token: &str| set.verify(&Jws::parse(token).unwrap()).map(|_| ());
    assert_eq!(check(&token(&a, Some("a"))), Ok(()));
    assert_eq!(check(&token(&b, None)), Ok(()), "without kid every key is tried");
    assert_eq!(check(&token(&a, Some("b"))), Err(JwsError::Signature), "kid of another key");
    assert_eq!(check(&token(&a, Some("c"))), Err(JwsError::UnknownKey));
    assert_eq!(check(&token(&a, Some(""))), Err(JwsError::UnknownKey));
    assert_eq!(check(&token(&key(Algorithm::ES256), None)), Err(JwsError::Signature));
    assert_eq!(check(&token(&key(Algorithm::ES384), Some("a"))), Err(JwsError::UnknownKey), "another algorithm");
    let mut encryption = jwk(&a, "a");
    encryption.usage = Some("enc".to_owned());
    let other = JwkSet { keys: vec![encryption] };
    assert_eq!(other.verify(&Jws::parse(&token(&a, Some("a"))).unwrap()).err(), Some(JwsError::UnknownKey));
}

#[test]
fn keys_read_back_from_json() {
    for key in keys() {
        let jwk = Jwk::signing(key.public_key().clone(), "id".into(), key.algorithm());
        let value = jwk.to_json();
        assert_eq!(Jwk::from_json(&value).unwrap(), jwk, "{value}");
        assert!(value.get("d").is_none());
        let set = JwkSet { keys: vec![jwk] };
        assert_eq!(JwkSet::parse(set.to_json().to_string().as_bytes()).unwrap(), set);
    }
}

#[test]
fn thumbprint_of_the_rfc() {
    // RFC 7638 §3.1.
    let value = json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
              tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn\
              1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
    });
    assert_eq!(Jwk::from_json(&value).unwrap().key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // RFC 8037 §A.3.
    let value = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(Jwk::from_json(&value).unwrap().key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn what_is_no_key_is_refused() {
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    assert!(Jwk::from_json(&json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})).is_ok());
    let small = b64([0xc1; 128]);
    let even = b64([0xc2; 256]);
    let modulus = b64([0xc1; 256]);
    let point = JwkError::Key(PublicKeyError::NotOnCurve);
    let size = JwkError::Key(PublicKeyError::RsaSize);
    for (value, want) in [
        (json!({"kty": "EC", "crv": "P-256", "x": y, "y": x}), point),
        (json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}), point),
        (json!({"kty": "EC", "crv": "P-256", "x": b64([0; 32]), "y": b64([0; 32])}), point),
        (json!({"kty": "EC", "crv": "P-256", "x": b64([1; 31]), "y": b64([1; 33])}), point),
        (json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": y}), JwkError::Kind),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES384"}), JwkError::Kind),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ECDH-ES"}), JwkError::Kind),
        (json!({"kty": "EC", "crv": "P-256", "x": x}), JwkError::Unreadable),
        (json!({"kty": "EC", "x": x, "y": y}), JwkError::Unreadable),
        (json!({"kty": "EC", "crv": "P-256", "x": format!("{x}="), "y": y}), JwkError::Unreadable),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": 7}), JwkError::Unreadable),
        (json!({"kty": "oct", "k": "AAAA"}), JwkError::Kind),
        (json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32])}), JwkError::Kind),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": b64([9; 31])}), point),
        (json!({"kty": "RSA", "n": small, "e": "AQAB"}), size),
        (json!({"kty": "RSA", "n": even, "e": "AQAB"}), size),
        (json!({"kty": "RSA", "n": modulus, "e": "AQ"}), size),
        (json!({"kty": "RSA", "n": modulus, "e": ""}), size),
        (json!({"kty": "RSA", "n": modulus, "e": b64([1; 6])}), size),
        (json!({"kty": "RSA", "n": b64([0xc1; 2000]), "e": "AQAB"}), size),
        (json!({"kty": "RSA", "n": modulus}), JwkError::Unreadable),
        (json!({}), JwkError::Unreadable),
        (json!([]), JwkError::Unreadable),
    ] {
        assert_eq!(Jwk::from_json(&value), Err(want), "{value}");
    }
    for (text, want) in [
        (&b""[..], JwkError::Unreadable),
        (b"[]", JwkError::Unreadable),
        (b"{\"keys\":{}}", JwkError::Unreadable),
        (&vec![b' '; jose::JWKS_MAX_BYTES + 1], JwkError::TooLarge),
        (json!({"keys": vec![json!({}); jose::SET_MAX_KEYS + 1]}).to_string().as_bytes(), JwkError::TooLarge),
    ] {
        assert_eq!(JwkSet::parse(text), Err(want));
    }
    let mixed = json!({"keys": [{"kty": "oct", "k": "AA"}, {"kty": "EC", "crv": "P-256", "x": x, "y": y}, 7]});
    assert_eq!(JwkSet::parse(mixed.to_string().as_bytes()).unwrap().keys.len(), 1, "unknown kinds are left out");
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn keys_come_from_public_keys_and_certificates() {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
    let certificate = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    assert!(PublicKey::from_pem(&certificate.cert.pem()).unwrap().works_with(Algorithm::ES256));
    let pair = RsaKeyPair::from_pkcs8(RSA.expose()).unwrap();
    let spki = pair.public_key().as_der().unwrap();
    let ours = rsa(Algorithm::PS384);
    assert_eq!(&PublicKey::from_pem(&pem("PUBLIC KEY", spki.as_ref())).unwrap(), ours.public_key());
    assert_eq!(&PublicKey::from_pem(&pem("RSA PUBLIC KEY", pair.public_key().as_ref())).unwrap(), ours.public_key());
    let ed = Ed25519KeyPair::generate().unwrap();
    let read = PublicKey::from_pem(&pem("PUBLIC KEY", ed.public_key().as_der().unwrap().as_ref())).unwrap();
    assert!(read.works_with(Algorithm::EdDSA) && !read.works_with(Algorithm::ES256));
    for (text, want) in [
        ("nope".to_owned(), PublicKeyError::NoKey),
        (String::new(), PublicKeyError::NoKey),
        (pem("PUBLIC KEY", &STANDARD.decode(RSA_1024_SPKI).unwrap()), PublicKeyError::RsaSize),
        (pem("PUBLIC KEY", b"garbage"), PublicKeyError::NoKey),
        (pem("RSA PUBLIC KEY", spki.as_ref()), PublicKeyError::NoKey),
        (pem("CERTIFICATE", b"garbage"), PublicKeyError::Certificate),
        (certificate.signing_key.serialize_pem(), PublicKeyError::NoKey),
        ("-----BEGIN PUBLIC KEY-----\n%%%\n-----END PUBLIC KEY-----\n".to_owned(), PublicKeyError::NoKey),
    ] {
        assert_eq!(PublicKey::from_pem(&text).err(), Some(want), "{text}");
    }
    for algorithm in Algorithm::ALL {
        assert!(PrivateKey::from_pkcs8(algorithm, b"garbage").is_err(), "{algorithm}");
    }
    assert!(PrivateKey::from_pkcs8(Algorithm::ES384, PrivateKey::generate(Algorithm::ES256).unwrap().expose()).is_err());
    let shown = format!("{:?} {:?}", ours, ours.public_key());
    assert_eq!(shown, "PrivateKey(PS384) PublicKey(Rsa)");
}

const RSA_1024_SPKI: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDbuQwQDDi5ZRUKltFxCOvuiIVkJQ+Yzutmdm9tpxB93TU8xN+zOjbdRL3xbOfp\
    e4rMrHEhCYjbK7sxTT6Er4cHm96C8hCev5nrnFCKXijgzR09NHP6xImWMRaTFipuPfSZLqCTJ6Upmgu+Cv8XIj54rt3Af5ZD1E5JWBd0mlvb7wIDAQAB";
