//! Wrapping tokens in the form of a JWT (`X-Vault-Wrap-Format: jwt`, contract §7.3): the token itself is the claim `jti`, and
//! the signature shows which server made it.
//!
//! The key is made with the first such token. The signature proves where a token comes from, not that it is still good: the
//! token store alone decides that.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use engine::EngineError;
use secret::{SecretBytes, SecretString};
use serde::{Deserialize, Serialize};
use storage::View;
use tokens::WrapInfo;

/// PKCS#8 of the signing key, P-521.
const KEY_ROW: &str = "core/wrapping/jwtkey";
const TYPE: &str = "wrapping";

#[derive(Serialize, Deserialize, PartialEq)]
struct Header {
    alg: String,
    typ: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    accessor: String,
    /// The server's API address.
    addr: String,
    exp: i64,
    iat: i64,
    jti: String,
    nbf: i64,
    #[serde(rename = "type")]
    kind: String,
}

/// Whether a token is to be read as a JWT. No token of the store begins like one.
pub(crate) fn is_jwt(token: &str) -> bool {
    token.starts_with("ey") && token.split('.').count() == 3
}

/// The wrapping token as a JWT; makes the key if there is none.
pub(crate) fn sign(view: &mut View<'_>, wrap: &WrapInfo, addr: &str) -> Result<SecretString, EngineError> {
    let pair = match load(view)? {
        Some(pair) => pair,
        None => make(view)?,
    };
    let iat = wrap.creation_time.unix();
    let header = Header { alg: "ES512".into(), typ: "JWT".into() };
    let claims = Claims {
        accessor: String::new(),
        addr: addr.to_owned(),
        exp: wrap.creation_time.plus(wrap.ttl).unix(),
        iat,
        jti: wrap.token.expose().to_owned(),
        nbf: iat,
        kind: TYPE.into(),
    };
    let text = format!("{}.{}", encode(&header)?, encode(&claims)?);
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| broken("signing"))?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into())
}

/// The wrapping token inside a JWT that this server signed; `None` for any other.
pub(crate) fn inner(view: &mut View<'_>, jwt: &str) -> Result<Option<SecretString>, EngineError> {
    let Some(pair) = load(view)? else { return Ok(None) };
    Ok(verified(&pair, jwt))
}

fn verified(pair: &EcdsaKeyPair, jwt: &str) -> Option<SecretString> {
    let (text, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = text.split_once('.')?;
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    if header.alg != "ES512" {
        return None;
    }
    let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, pair.public_key());
    key.verify(text.as_bytes(), &decode(signature)?).ok()?;
    let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
    (claims.kind == TYPE).then(|| claims.jti.into())
}

fn load(view: &mut View<'_>) -> Result<Option<EcdsaKeyPair>, EngineError> {
    let Some(record) = view.get(KEY_ROW)? else { return Ok(None) };
    EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, record.bytes()).map(Some).map_err(|_| broken("reading"))
}

/// The library draws the key from the system's own source; it takes no other.
fn make(view: &mut View<'_>) -> Result<EcdsaKeyPair, EngineError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).map_err(|_| broken("making"))?;
    let document = pair.to_pkcs8v1().map_err(|_| broken("storing"))?;
    view.put(KEY_ROW, SecretBytes::new(document.as_ref().to_vec()))?;
    Ok(pair)
}

fn broken(what: &'static str) -> EngineError {
    tracing::error!(what, "the signing key of wrapping tokens fails");
    EngineError::internal("internal error")
}

fn encode<T: Serialize>(part: &T) -> Result<String, EngineError> {
    let bytes = serde_json::to_vec(part).map_err(|_| EngineError::internal("internal error"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secret::Time;
    use storage::MemoryTransaction;

    use super::*;

    fn info(token: &str) -> WrapInfo {
        WrapInfo {
            token: token.into(),
            accessor: String::new(),
            ttl: Duration::from_secs(60),
            creation_time: Time::from_unix(1000),
            creation_path: "kv/a".into(),
            wrapped_accessor: String::new(),
        }
    }

    #[test]
    fn only_what_was_signed_here_is_opened() {
        let (mut txn, mut other) = (MemoryTransaction::default(), MemoryTransaction::default());
        let mut view = View::new(&mut txn, "");
        let jwt = sign(&mut view, &info("hvs.inner"), "http://a").unwrap();
        let jwt = jwt.expose();
        assert!(is_jwt(jwt));
        assert!(!is_jwt("hvs.abc.def") && !is_jwt("eyabc") && !is_jwt(""));
        assert_eq!(inner(&mut view, jwt).unwrap().unwrap().expose(), "hvs.inner");
        let again = sign(&mut view, &info("hvs.two"), "http://a").unwrap();
        assert_eq!(inner(&mut view, again.expose()).unwrap().unwrap().expose(), "hvs.two", "the key stays");
        let parts: Vec<&str> = jwt.split('.').collect();
        let claims = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert!(claims.contains(r#""exp":1060,"iat":1000"#) && claims.contains(r#""type":"wrapping""#), "{claims}");
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let changed = BASE64_URL_SAFE_NO_PAD.encode(claims.replace("hvs.inner", "hvs.other"));
        let there = sign(&mut View::new(&mut other, ""), &info("hvs.inner"), "http://a").unwrap();
        for bad in [
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{changed}.{}", parts[0], parts[2]),
            format!("{}.{}.AAAA", parts[0], parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            "ey..".to_owned(),
            "eyJ.x.y".to_owned(),
            there.expose().to_owned(),
        ] {
            assert!(inner(&mut view, &bad).unwrap().is_none(), "{bad}");
        }
        assert!(inner(&mut View::new(&mut MemoryTransaction::default(), ""), jwt).unwrap().is_none(), "no key, no trust");
    }
}
