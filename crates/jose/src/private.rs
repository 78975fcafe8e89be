//! Private keys that sign tokens. They are kept as PKCS#8 documents inside sealed records.
//!
//! Deliberately absent: entropy as an argument. AWS-LC draws keys and nonces from the system's own source and takes no other.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use secret::{SecretBytes, SecretString};
use serde::Serialize;

use crate::algorithm::{Algorithm, KeyKind};
use crate::jws::base64url;
use crate::public::{PublicKey, PublicKeyError};

/// Why a private key does not work. None of it is the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// AWS-LC could not make a key.
    #[error("making a signing key failed")]
    Generate,
    /// The document is not a key of the algorithm.
    #[error("reading a signing key failed")]
    Read,
    /// AWS-LC could not sign, or the claims are not writable as JSON.
    #[error("signing failed")]
    Sign,
}

/// A private key for one algorithm.
pub struct PrivateKey {
    algorithm: Algorithm,
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'a str>,
}

impl PrivateKey {
    /// A fresh key as a PKCS#8 document: RSA of 2048 bits, the curve of the algorithm, or Ed25519. RSA takes some 100 ms.
    pub fn generate(algorithm: Algorithm) -> Result<SecretBytes, PrivateKeyError> {
        let failed = |_| PrivateKeyError::Generate;
        Ok(match algorithm.key_kind() {
            KeyKind::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                SecretBytes::from(pair.as_der().map_err(failed)?.as_ref())
            }
            KeyKind::Ec(curve) => {
                let pair = EcdsaKeyPair::generate(curve.signing()).map_err(failed)?;
                SecretBytes::from(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                SecretBytes::from(pair.to_pkcs8().map_err(failed)?.as_ref())
            }
        })
    }

    /// Reads a PKCS#8 document.
    pub fn from_pkcs8(algorithm: Algorithm, document: &[u8]) -> Result<Self, PrivateKeyError> {
        let unreadable = |_| PrivateKeyError::Read;
        let (pair, public) = match algorithm.key_kind() {
            KeyKind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(document).map_err(unreadable)?;
                let public = PublicKey::from_spki(pair.public_key().as_der().map_err(|_| PrivateKeyError::Read)?.as_ref());
                (Pair::Rsa(pair), public)
            }
            KeyKind::Ec(curve) => {
                let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), document).map_err(unreadable)?;
                let public = PublicKey::ec(curve, pair.public_key().as_ref().to_vec());
                (Pair::Ec(pair), public)
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(document).map_err(unreadable)?;
                let public = PublicKey::ed25519(pair.public_key().as_ref().to_vec());
                (Pair::Ed25519(pair), public)
            }
        };
        let public = public.map_err(|_: PublicKeyError| PrivateKeyError::Read)?;
        Ok(Self { algorithm, pair, public })
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// A token in compact form with these claims (something that is a JSON object). `typ` and `kid` go into the header.
    pub fn sign<C: Serialize>(
        &self,
        key_id: Option<&str>,
        typ: Option<&str>,
        claims: &C,
    ) -> Result<SecretString, PrivateKeyError> {
        let header = Header { alg: self.algorithm.name(), kid: key_id, typ };
        let part = |bytes: serde_json::Result<Vec<u8>>| bytes.map(base64url).map_err(|_| PrivateKeyError::Sign);
        let mut text = part(serde_json::to_vec(&header))?;
        text.push('.');
        text.push_str(&part(serde_json::to_vec(claims))?);
        let signature = self.signature(text.as_bytes())?;
        text.push('.');
        text.push_str(&base64url(signature));
        Ok(text.into())
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let failed = |_| PrivateKeyError::Sign;
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding = self.algorithm.rsa_encoding().ok_or(PrivateKeyError::Sign)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm)
    }
}
