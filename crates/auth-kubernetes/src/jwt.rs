//! Reads a service account token and checks its signature where keys are configured.
//!
//! Keys come from the mount's configuration and from nowhere else: `kid`, `jku`, `jwk`, `x5u` and `x5c` in a header are not looked
//! at. Only asymmetric algorithms exist here, and each works with its own kind of key only, so neither `none` nor a public key
//! used as an HMAC secret has a code path. Deliberately absent: the meaning of claims (see `claims`).

use std::sync::LazyLock;

use aws_lc_rs::signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;

use crate::limits::JWT_MAX_BYTES;

/// Why a token is not even looked at. Only for the log: clients get `permission denied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("token is longer than any service account token")]
    TooLong,
    #[error("token is not three base64url parts")]
    NotCompact,
    #[error("token header is not readable")]
    Header,
    #[error("token is signed with an algorithm that is not allowed")]
    Algorithm,
    #[error("token header demands an extension")]
    Extension,
    #[error("no configured key verifies the token's signature")]
    Signature,
}

/// Why a text of `pem_keys` is no key. Shown to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("data does not contain any valid RSA or ECDSA public keys")]
    NoKey,
    #[error("x509: malformed certificate")]
    Certificate,
}

/// A public key with which tokens may be signed.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    kind: KeyKind,
    /// SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
}

/// A token taken apart. Nothing in it is to be believed before a signature or a TokenReview vouches for it.
pub(crate) struct Jwt<'a> {
    algorithm: Algorithm,
    signed: &'a str,
    signature: Vec<u8>,
    /// The claims, as JSON text.
    pub(crate) payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<serde::de::IgnoredAny>,
    b64: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Copy)]
struct Algorithm {
    name: &'static str,
    key: KeyKind,
    verify: &'static dyn VerificationAlgorithm,
}

static ALGORITHMS: LazyLock<[Algorithm; 9]> = LazyLock::new(|| {
    let a = |name, key, verify| Algorithm { name, key, verify };
    [
        a("RS256", KeyKind::Rsa, &sig::RSA_PKCS1_2048_8192_SHA256 as &dyn VerificationAlgorithm),
        a("RS384", KeyKind::Rsa, &sig::RSA_PKCS1_2048_8192_SHA384),
        a("RS512", KeyKind::Rsa, &sig::RSA_PKCS1_2048_8192_SHA512),
        a("PS256", KeyKind::Rsa, &sig::RSA_PSS_2048_8192_SHA256),
        a("PS384", KeyKind::Rsa, &sig::RSA_PSS_2048_8192_SHA384),
        a("PS512", KeyKind::Rsa, &sig::RSA_PSS_2048_8192_SHA512),
        a("ES256", KeyKind::P256, &sig::ECDSA_P256_SHA256_FIXED),
        a("ES384", KeyKind::P384, &sig::ECDSA_P384_SHA384_FIXED),
        a("ES512", KeyKind::P521, &sig::ECDSA_P521_SHA512_FIXED),
    ]
});

impl<'a> Jwt<'a> {
    /// Takes a token in compact form apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > JWT_MAX_BYTES {
            return Err(JwtError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::NotCompact)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtError::NotCompact)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::NotCompact);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Header)?;
        let algorithm = *ALGORITHMS.iter().find(|a| a.name == header.alg).ok_or(JwtError::Algorithm)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(JwtError::Extension);
        }
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        if signature.is_empty() {
            return Err(JwtError::NotCompact);
        }
        Ok(Self { algorithm, signed, signature, payload })
    }

    /// Whether one of the keys made the signature. No keys means no.
    pub(crate) fn verify(&self, keys: &[VerifyingKey]) -> Result<(), JwtError> {
        let made_by = |key: &VerifyingKey| {
            key.kind == self.algorithm.key
                && UnparsedPublicKey::new(self.algorithm.verify, &key.spki)
                    .verify(self.signed.as_bytes(), &self.signature)
                    .is_ok()
        };
        if keys.iter().any(made_by) { Ok(()) } else { Err(JwtError::Signature) }
    }
}

impl VerifyingKey {
    /// Reads the first PEM block: a public key (SubjectPublicKeyInfo) or a certificate, whose key is taken.
    /// RSA keys below 2048 bits are refused, because no allowed algorithm verifies with them.
    pub(crate) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).next();
        let (kind, der) = block.and_then(Result::ok).ok_or(KeyError::NoKey)?;
        let spki = match kind {
            SectionKind::PublicKey => der,
            SectionKind::Certificate => ParsedCertificate::try_from(&CertificateDer::from(der))
                .map_err(|_| KeyError::Certificate)?
                .subject_public_key_info()
                .to_vec(),
            _ => return Err(KeyError::NoKey),
        };
        let kind = ALGORITHMS
            .iter()
            .find(|a| sig::ParsedPublicKey::new(a.verify, &spki).is_ok_and(|_| fits(a.key, &spki)))
            .map(|a| a.key)
            .ok_or(KeyError::NoKey)?;
        Ok(Self { kind, spki })
    }
}

/// Parsing alone does not look at an RSA key's size.
fn fits(kind: KeyKind, spki: &[u8]) -> bool {
    const RSA_2048_SPKI_BYTES_MIN: usize = 256 + 32;
    kind != KeyKind::Rsa || spki.len() >= RSA_2048_SPKI_BYTES_MIN
}

#[cfg(test)]
mod tests;
