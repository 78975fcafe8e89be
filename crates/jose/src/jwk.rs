//! Public keys as JSON (RFC 7517) and sets of them.

use api_types::Map;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::algorithm::{Algorithm, Curve};
use crate::claims::Claims;
use crate::jws::{Jws, JwsError, base64url};
use crate::limits::{JWKS_MAX_BYTES, SET_MAX_KEYS};
use crate::public::{Key, PublicKey, PublicKeyError};

/// Why a JSON value is no key or no set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not JSON, not an object, or a member is missing or of another type.
    #[error("key set is not readable")]
    Unreadable,
    /// Longer than [`JWKS_MAX_BYTES`] or more than [`SET_MAX_KEYS`] keys.
    #[error("key set is too large")]
    TooLarge,
    /// `kty` or `crv` is none of ours (`oct` and private-only kinds among them).
    #[error("unsupported kind of key")]
    Kind,
    /// The numbers are not a key.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
}

/// A public key with its id and use. `x5c`, `x5t`, `x5u` are not looked at; private members are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub struct Jwk {
    /// The key itself.
    pub key: PublicKey,
    /// `kid`.
    pub id: Option<String>,
    /// `alg`: the only algorithm the key is to be used with, if it says so.
    pub algorithm: Option<Algorithm>,
    /// `use`; signatures are `sig`.
    pub usage: Option<String>,
}

/// Keys that a token may be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwkSet {
    /// In the order of the document.
    pub keys: Vec<Jwk>,
}

impl Jwk {
    /// A signing key with the id, for one algorithm.
    #[must_use]
    pub fn signing(key: PublicKey, id: String, algorithm: Algorithm) -> Self {
        Self { key, id: Some(id), algorithm: Some(algorithm), usage: Some("sig".to_owned()) }
    }

    /// Reads one key.
    pub fn from_json(value: &Value) -> Result<Self, JwkError> {
        let map = value.as_object().ok_or(JwkError::Unreadable)?;
        let key = match text(map, "kty")?.ok_or(JwkError::Unreadable)? {
            "RSA" => PublicKey::rsa(&bytes(map, "n")?, &bytes(map, "e")?)?,
            "EC" => {
                let name = text(map, "crv")?.ok_or(JwkError::Unreadable)?;
                let curve = Curve::all().into_iter().find(|c| c.name() == name).ok_or(JwkError::Kind)?;
                let (x, y) = (bytes(map, "x")?, bytes(map, "y")?);
                if x.len() != curve.bytes() {
                    return Err(PublicKeyError::NotOnCurve.into());
                }
                PublicKey::ec(curve, [&[4][..], &x, &y].concat())?
            }
            "OKP" if text(map, "crv")? == Some("Ed25519") => PublicKey::ed25519(bytes(map, "x")?)?,
            _ => return Err(JwkError::Kind),
        };
        let algorithm = text(map, "alg")?.map(str::parse).transpose().map_err(|_| JwkError::Kind)?;
        if algorithm.is_some_and(|a| !key.works_with(a)) {
            return Err(JwkError::Kind);
        }
        let own = |name| text(map, name).map(|t| t.map(str::to_owned));
        Ok(Self { key, id: own("kid")?, algorithm, usage: own("use")? })
    }

    /// The key as JSON: the members of RFC 7518 §6, `kid`, `alg`, `use`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = required_members(&self.key);
        if let Some(map) = value.as_object_mut() {
            let optional =
                [("kid", self.id.as_deref()), ("alg", self.algorithm.map(Algorithm::name)), ("use", self.usage.as_deref())];
            map.extend(optional.into_iter().filter_map(|(k, v)| Some((k.to_owned(), Value::from(v?)))));
        }
        value
    }

    /// Whether this key may have signed a token with that header.
    fn may_sign(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.id.as_deref() == Some(id))
            && self.algorithm.is_none_or(|a| a == algorithm)
            && self.usage.as_deref().is_none_or(|u| u == "sig")
            && self.key.works_with(algorithm)
    }
}

impl PublicKey {
    /// The key's thumbprint (RFC 7638): SHA-256 in base64url, 43 characters.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // A serde_json map writes its members sorted and without blanks, which is what the RFC asks for.
        let text = required_members(self).to_string();
        base64url(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
    }
}

impl JwkSet {
    /// Reads `{"keys": [...]}`. Keys of kinds this room does not know are left out, as RFC 7517 §5 wants it.
    pub fn parse(text: &[u8]) -> Result<Self, JwkError> {
        if text.len() > JWKS_MAX_BYTES {
            return Err(JwkError::TooLarge);
        }
        let value: Value = serde_json::from_slice(text).map_err(|_| JwkError::Unreadable)?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or(JwkError::Unreadable)?;
        if keys.len() > SET_MAX_KEYS {
            return Err(JwkError::TooLarge);
        }
        Ok(Self { keys: keys.iter().filter_map(|k| Jwk::from_json(k).ok()).collect() })
    }

    /// The set as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"keys": self.keys.iter().map(Jwk::to_json).collect::<Vec<_>>()})
    }

    /// Whether some key could have signed the token, by its `kid`, algorithm and kind. When not, a set that was fetched may be
    /// too old.
    #[must_use]
    pub fn knows(&self, token: &Jws<'_>) -> bool {
        self.keys.iter().any(|k| k.may_sign(token.algorithm(), token.key_id()))
    }

    /// The claims, if a key of the set made the signature. A token with `kid` is checked with keys of that id only.
    pub fn verify(&self, token: &Jws<'_>) -> Result<Claims, JwsError> {
        if !self.knows(token) {
            return Err(JwsError::UnknownKey);
        }
        token.verify(self.keys.iter().filter(|k| k.may_sign(token.algorithm(), token.key_id())).map(|k| &k.key))
    }
}

impl From<Jwk> for Value {
    fn from(key: Jwk) -> Self {
        key.to_json()
    }
}

impl TryFrom<Value> for Jwk {
    type Error = JwkError;

    fn try_from(value: Value) -> Result<Self, JwkError> {
        Self::from_json(&value)
    }
}

fn required_members(key: &PublicKey) -> Value {
    match &key.0 {
        Key::Rsa { n, e } => json!({"e": base64url(e), "kty": "RSA", "n": base64url(n)}),
        Key::Ec { curve, point } => {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at_checked(curve.bytes()).unwrap_or_default();
            json!({"crv": curve.name(), "kty": "EC", "x": base64url(x), "y": base64url(y)})
        }
        Key::Ed25519(x) => json!({"crv": "Ed25519", "kty": "OKP", "x": base64url(x)}),
    }
}

fn text<'a>(map: &'a Map, name: &str) -> Result<Option<&'a str>, JwkError> {
    match map.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwkError::Unreadable),
    }
}

fn bytes(map: &Map, name: &str) -> Result<Vec<u8>, JwkError> {
    let text = text(map, name)?.ok_or(JwkError::Unreadable)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Unreadable)
}
