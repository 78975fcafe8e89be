//! The closed list of signature algorithms (RFC 7518 §3.1, RFC 8037). What is not in it does not exist here.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{
    self as sig, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, RsaEncoding, RsaParameters, VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// Ed25519.
    EdDSA,
}

/// A name that is none of [`Algorithm`]'s. It holds nothing, since the name comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown signing algorithm")]
pub struct UnknownAlgorithm;

/// What kind of key an algorithm works with. Each algorithm has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    Ec(Curve),
    Ed25519,
}

/// A NIST curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Algorithm {
    /// All of them, in the order of RFC 7518.
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// The name in headers and keys, such as `ES256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Bits of the hash that goes with it (`at_hash`, `c_hash` of OpenID Connect take their half): 256, 384 or 512.
    #[must_use]
    pub fn hash_bits(self) -> usize {
        match self {
            Self::RS256 | Self::PS256 | Self::ES256 => 256,
            Self::RS384 | Self::PS384 | Self::ES384 => 384,
            Self::RS512 | Self::PS512 | Self::ES512 | Self::EdDSA => 512,
        }
    }

    /// The left half of the text's hash in base64url, as OpenID Connect Core §3.1.3.6 defines `at_hash` and `c_hash`.
    #[must_use]
    pub fn half_hash(self, text: &str) -> String {
        let hash = match self.hash_bits() {
            256 => &aws_lc_rs::digest::SHA256,
            384 => &aws_lc_rs::digest::SHA384,
            _ => &aws_lc_rs::digest::SHA512,
        };
        let digest = aws_lc_rs::digest::digest(hash, text.as_bytes());
        let (half, _) = digest.as_ref().split_at_checked(self.hash_bits() / 16).unwrap_or_default();
        crate::jws::base64url(half)
    }

    pub(crate) fn key_kind(self) -> KeyKind {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => KeyKind::Rsa,
            Self::ES256 => KeyKind::Ec(Curve::P256),
            Self::ES384 => KeyKind::Ec(Curve::P384),
            Self::ES512 => KeyKind::Ec(Curve::P521),
            Self::EdDSA => KeyKind::Ed25519,
        }
    }

    /// How an RSA signature is checked; `None` for what is not RSA.
    pub(crate) fn rsa_parameters(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::RS256 => &sig::RSA_PKCS1_2048_8192_SHA256,
            Self::RS384 => &sig::RSA_PKCS1_2048_8192_SHA384,
            Self::RS512 => &sig::RSA_PKCS1_2048_8192_SHA512,
            Self::PS256 => &sig::RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &sig::RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &sig::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// How an RSA signature is made; `None` for what is not RSA.
    pub(crate) fn rsa_encoding(self) -> Option<&'static dyn RsaEncoding> {
        Some(match self {
            Self::RS256 => &sig::RSA_PKCS1_SHA256,
            Self::RS384 => &sig::RSA_PKCS1_SHA384,
            Self::RS512 => &sig::RSA_PKCS1_SHA512,
            Self::PS256 => &sig::RSA_PSS_SHA256,
            Self::PS384 => &sig::RSA_PSS_SHA384,
            Self::PS512 => &sig::RSA_PSS_SHA512,
            _ => return None,
        })
    }
}

impl Curve {
    pub(crate) fn all() -> [Self; 3] {
        [Self::P256, Self::P384, Self::P521]
    }

    /// The name in keys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &sig::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &sig::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &sig::ECDSA_P521_SHA512_FIXED,
        }
    }

    pub(crate) fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &sig::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &sig::ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &sig::ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }
}

/// How an Ed25519 signature is checked.
pub(crate) fn ed25519() -> &'static dyn VerificationAlgorithm {
    &sig::ED25519
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Exact names only: `rs256` is none.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or(UnknownAlgorithm)
    }
}

impl TryFrom<String> for Algorithm {
    type Error = UnknownAlgorithm;

    fn try_from(name: String) -> Result<Self, UnknownAlgorithm> {
        name.parse()
    }
}

impl From<Algorithm> for &'static str {
    fn from(algorithm: Algorithm) -> Self {
        algorithm.name()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
