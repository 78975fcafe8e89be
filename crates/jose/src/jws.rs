//! A token in compact form, taken apart. Nothing in it is to be believed before a key vouches for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::limits::JWS_MAX_BYTES;
use crate::public::PublicKey;

/// Why a token is refused. Texts name what is wrong and never quote the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`JWS_MAX_BYTES`].
    #[error("token is too long")]
    TooLong,
    /// Not three parts in base64url without padding, or no signature.
    #[error("compact JWS format must have three parts")]
    NotCompact,
    /// The header is not a JSON object with a text `alg`, or a member comes twice.
    #[error("token header is not readable")]
    Header,
    /// `alg` is none of [`Algorithm`]; among others `none` and HMAC.
    #[error("token is signed with an algorithm that is not supported")]
    Algorithm,
    /// The header demands an extension (`crit`, `b64`).
    #[error("token header demands an extension")]
    Extension,
    /// The payload is not a JSON object.
    #[error("token claims are not a JSON object")]
    Payload,
    /// No key of the set has the token's `kid` and algorithm.
    #[error("no known key has the id of the token's key")]
    UnknownKey,
    /// No given key made the signature.
    #[error("failed to verify token signature")]
    Signature,
}

/// A token taken apart.
pub struct Jws<'a> {
    header: Header,
    algorithm: Algorithm,
    signed: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
}

impl<'a> Jws<'a> {
    /// Takes a token in compact form apart. Its length is looked at before anything is decoded.
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > JWS_MAX_BYTES {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::NotCompact)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::NotCompact)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::NotCompact);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: Header = object(&header).ok_or(JwsError::Header)?;
        let algorithm = header.alg.parse().map_err(|_| JwsError::Algorithm)?;
        if header.crit || header.b64 {
            return Err(JwsError::Extension);
        }
        if signature.is_empty() {
            return Err(JwsError::NotCompact);
        }
        Ok(Self { header, algorithm, signed, signature, payload })
    }

    /// The algorithm the header names. A caller who allows fewer looks here before [`Self::verify`].
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The id of the key, as the header claims it.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The kind of token, as the header claims it.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The claims before anybody vouched for them: to find out whose keys to ask, never to decide by.
    pub fn unverified_claims(&self) -> Result<api_types::Map, JwsError> {
        object(&self.payload).ok_or(JwsError::Payload)
    }

    /// The claims, if one of the keys made the signature. No keys means no. `kid` is not looked at: a caller with ids has a
    /// [`crate::JwkSet`].
    pub fn verify<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Result<Claims, JwsError> {
        let made_by = |key: &PublicKey| key.verify(self.algorithm, self.signed.as_bytes(), &self.signature);
        if keys.into_iter().any(made_by) { self.unverified_claims().map(Claims::new) } else { Err(JwsError::Signature) }
    }
}

/// Bytes in base64url without padding.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JSON object. Arrays would do for a derived struct, and are no header.
fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace())?;
    if *first == b'{' { serde_json::from_slice(bytes).ok() } else { None }
}

/// Whether a member is there at all, `null` included.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}
