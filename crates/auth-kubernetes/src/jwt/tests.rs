//! Real signatures of every algorithm, and the classic ways around them (class H of the CVE list).

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RsaEncoding, RsaKeyPair};

use super::*;

enum Signer {
    Rsa(&'static dyn RsaEncoding),
    Ec,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn rsa() -> &'static RsaKeyPair {
    static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    &KEY
}

fn rsa_pem() -> String {
    pem("PUBLIC KEY", rsa().public_key().as_der().unwrap().as_ref())
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> (EcdsaKeyPair, String) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let public = pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref());
    (pair, public)
}

fn token(header: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header), b64(r#"{"iss":"me"}"#));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

fn sign_rsa(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; rsa().public_modulus_len()];
    rsa().sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn verify(token: &str, keys: &[&str]) -> Result<(), JwtError> {
    let keys: Vec<_> = keys.iter().map(|k| VerifyingKey::from_pem(k).unwrap()).collect();
    Jwt::parse(token)?.verify(&keys)
}

#[test]
fn every_allowed_algorithm_verifies_with_its_own_key_only() {
    let (p256, p256_pem) = ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING);
    let (p384, p384_pem) = ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING);
    let (p521, p521_pem) = ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING);
    let rsa_pem = rsa_pem();
    let all = [rsa_pem.as_str(), &p256_pem, &p384_pem, &p521_pem];
    let cases: [(&str, usize, Signer, Option<&EcdsaKeyPair>); 9] = [
        ("RS256", 0, Signer::Rsa(&sig::RSA_PKCS1_SHA256), None),
        ("RS384", 0, Signer::Rsa(&sig::RSA_PKCS1_SHA384), None),
        ("RS512", 0, Signer::Rsa(&sig::RSA_PKCS1_SHA512), None),
        ("PS256", 0, Signer::Rsa(&sig::RSA_PSS_SHA256), None),
        ("PS384", 0, Signer::Rsa(&sig::RSA_PSS_SHA384), None),
        ("PS512", 0, Signer::Rsa(&sig::RSA_PSS_SHA512), None),
        ("ES256", 1, Signer::Ec, Some(&p256)),
        ("ES384", 2, Signer::Ec, Some(&p384)),
        ("ES512", 3, Signer::Ec, Some(&p521)),
    ];
    for (name, own, signer, pair) in cases {
        let token = token(&format!(r#"{{"alg":"{name}","kid":"x"}}"#), |m| match signer {
            Signer::Rsa(encoding) => sign_rsa(encoding, m),
            Signer::Ec => pair.unwrap().sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec(),
        });
        assert_eq!(verify(&token, &all), Ok(()), "{name}");
        let others: Vec<&str> = all.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, k)| *k).collect();
        assert_eq!(verify(&token, &others), Err(JwtError::Signature), "{name} without its key");
        assert_eq!(verify(&token, &[]), Err(JwtError::Signature), "{name} without any key");
        // The same signature under another name of the algorithm.
        for other in ["RS256", "RS384", "PS256", "ES256", "ES384", "ES512"].iter().filter(|o| **o != name) {
            let (_, rest) = token.split_once('.').unwrap();
            let renamed = format!("{}.{rest}", b64(format!(r#"{{"alg":"{other}"}}"#)));
            assert_eq!(verify(&renamed, &all), Err(JwtError::Signature), "{name} as {other}");
        }
    }
}

#[test]
fn class_h_unsigned_and_hmac_tokens_are_refused() {
    let public = rsa_pem();
    let hmac = |m: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
        aws_lc_rs::hmac::sign(&key, m).as_ref().to_vec()
    };
    for alg in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "rs256", "RS256 ", "EdDSA", "ES256K", "dir"] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        assert_eq!(verify(&token(&header, hmac), &[&public]), Err(JwtError::Algorithm), "{alg:?}");
    }
    let unsigned = token(r#"{"alg":"RS256"}"#, |_| Vec::new());
    assert_eq!(verify(&unsigned, &[&public]), Err(JwtError::NotCompact));
    assert_eq!(verify(&token(r#"{"alg":"RS256"}"#, hmac), &[&public]), Err(JwtError::Signature));
}

#[test]
fn class_h_headers_cannot_bring_a_key_or_switch_a_check_off() {
    let public = rsa_pem();
    let good = |m: &[u8]| sign_rsa(&sig::RSA_PKCS1_SHA256, m);
    for header in [
        r#"{"alg":"RS256","kid":"../../../../dev/null"}"#,
        r#"{"alg":"RS256","kid":"' OR 1=1 --"}"#,
        r#"{"alg":"RS256","jku":"https://evil.example/jwks"}"#,
        r#"{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}"#,
        r#"{"alg":"RS256","x5c":["AA"]}"#,
    ] {
        assert_eq!(verify(&token(header, good), &[&public]), Ok(()), "{header}");
        assert_eq!(verify(&token(header, |_| vec![0; 256]), &[&public]), Err(JwtError::Signature), "{header}");
    }
    for (header, want) in [
        (r#"{"alg":"RS256","crit":["exp"]}"#, JwtError::Extension),
        (r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, JwtError::Extension),
        (r#"{"alg":"RS256","alg":"none"}"#, JwtError::Header),
        (r#"{"alg":["RS256"]}"#, JwtError::Header),
        (r#"{"typ":"JWT"}"#, JwtError::Header),
        (r#"[]"#, JwtError::Header),
        (r#"not json"#, JwtError::Header),
    ] {
        assert_eq!(verify(&token(header, good), &[&public]), Err(want), "{header}");
    }
}

#[test]
fn every_changed_part_breaks_the_signature() {
    let public = rsa_pem();
    let good = token(r#"{"alg":"RS256"}"#, |m| sign_rsa(&sig::RSA_PKCS1_SHA256, m));
    assert_eq!(verify(&good, &[&public]), Ok(()));
    let parts: Vec<&str> = good.split('.').collect();
    let other = b64(r#"{"iss":"you"}"#);
    for bad in [
        format!("{}.{}.{}", parts[0], other, parts[2]),
        format!("{}.{}.{}", b64(r#"{"alg":"RS256" }"#), parts[1], parts[2]),
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
        assert!(verify(&bad, &[&public]).is_err(), "{bad}");
    }
    let long = "a".repeat(JWT_MAX_BYTES + 1);
    assert_eq!(Jwt::parse(&long).err(), Some(JwtError::TooLong));
}

#[test]
fn keys_come_from_public_keys_and_certificates() {
    let certificate = rcgen::generate_simple_self_signed(["sa".to_owned()]).unwrap();
    assert!(VerifyingKey::from_pem(&certificate.cert.pem()).is_ok_and(|k| k.kind == KeyKind::P256));
    assert!(VerifyingKey::from_pem(&rsa_pem()).is_ok_and(|k| k.kind == KeyKind::Rsa));
    let small = pem("PUBLIC KEY", &base64::engine::general_purpose::STANDARD.decode(RSA_1024_SPKI).unwrap());
    for (text, want) in [
        ("nope".to_owned(), KeyError::NoKey),
        (String::new(), KeyError::NoKey),
        (small, KeyError::NoKey),
        (pem("PUBLIC KEY", b"garbage"), KeyError::NoKey),
        (pem("CERTIFICATE", b"garbage"), KeyError::Certificate),
        (certificate.signing_key.serialize_pem(), KeyError::NoKey),
        ("-----BEGIN PUBLIC KEY-----\n%%%\n-----END PUBLIC KEY-----\n".to_owned(), KeyError::NoKey),
    ] {
        assert_eq!(VerifyingKey::from_pem(&text).err(), Some(want), "{text}");
    }
}

const RSA_1024_SPKI: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDbuQwQDDi5ZRUKltFxCOvuiIVkJQ+Yzutmdm9tpxB93TU8xN+zOjbdRL3xbOfp\
    e4rMrHEhCYjbK7sxTT6Er4cHm96C8hCev5nrnFCKXijgzR09NHP6xImWMRaTFipuPfSZLqCTJ6Upmgu+Cv8XIj54rt3Af5ZD1E5JWBd0mlvb7wIDAQAB";
