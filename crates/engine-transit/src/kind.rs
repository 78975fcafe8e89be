//! The key types: their names, the numbers Vault stores for them, and what each can do.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::crypto::ec::Curve;

/// A key type of Vault CE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Aes256Gcm,
    EcdsaP256,
    Ed25519,
    Rsa2048,
    Rsa4096,
    ChaCha20Poly1305,
    EcdsaP384,
    EcdsaP521,
    Aes128Gcm,
    Rsa3072,
    Hmac,
}

/// What code is needed for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Aead,
    Ecdsa(Curve),
    Ed25519,
    Rsa,
    Hmac,
}

/// Name on the wire and number in stored policies and backups (Vault's, so that either side reads the other's).
const KINDS: [(KeyKind, &str, u8); 11] = [
    (KeyKind::Aes256Gcm, "aes256-gcm96", 0),
    (KeyKind::EcdsaP256, "ecdsa-p256", 1),
    (KeyKind::Ed25519, "ed25519", 2),
    (KeyKind::Rsa2048, "rsa-2048", 3),
    (KeyKind::Rsa4096, "rsa-4096", 4),
    (KeyKind::ChaCha20Poly1305, "chacha20-poly1305", 5),
    (KeyKind::EcdsaP384, "ecdsa-p384", 6),
    (KeyKind::EcdsaP521, "ecdsa-p521", 7),
    (KeyKind::Aes128Gcm, "aes128-gcm96", 8),
    (KeyKind::Rsa3072, "rsa-3072", 9),
    (KeyKind::Hmac, "hmac", 11),
];

impl KeyKind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, n, _)| *n == name).map(|(kind, ..)| *kind)
    }

    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("[unknown]", |(_, n, _)| n)
    }

    fn number(self) -> u8 {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or(u8::MAX, |(.., n)| *n)
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Aes256Gcm | Self::Aes128Gcm | Self::ChaCha20Poly1305 => Family::Aead,
            Self::EcdsaP256 => Family::Ecdsa(Curve::P256),
            Self::EcdsaP384 => Family::Ecdsa(Curve::P384),
            Self::EcdsaP521 => Family::Ecdsa(Curve::P521),
            Self::Ed25519 => Family::Ed25519,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => Family::Rsa,
            Self::Hmac => Family::Hmac,
        }
    }

    /// Encrypts and decrypts.
    pub(crate) fn encrypts(self) -> bool {
        matches!(self.family(), Family::Aead | Family::Rsa)
    }

    pub(crate) fn signs(self) -> bool {
        matches!(self.family(), Family::Ecdsa(_) | Family::Ed25519 | Family::Rsa)
    }

    pub(crate) fn derives(self) -> bool {
        matches!(self.family(), Family::Aead | Family::Ed25519)
    }

    /// The input of a signature is hashed first; Ed25519 hashes for itself.
    pub(crate) fn hashes_input(self) -> bool {
        matches!(self.family(), Family::Ecdsa(_) | Family::Rsa)
    }

    /// Has a public half.
    pub(crate) fn asymmetric(self) -> bool {
        self.signs()
    }

    /// Bytes of the key itself, for symmetric ciphers.
    pub(crate) fn cipher_key_bytes(self) -> usize {
        if self == Self::Aes128Gcm { 16 } else { 32 }
    }

    /// Bits of an RSA modulus; 0 for all others.
    pub(crate) fn rsa_bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
            _ => 0,
        }
    }

    /// What Vault calls the kind inside a key's versions: Go's curve name, or the type.
    pub(crate) fn version_name(self) -> &'static str {
        match self.family() {
            Family::Ecdsa(curve) => curve.name(),
            _ => self.name(),
        }
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for KeyKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for KeyKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        KINDS.iter().find(|(.., n)| *n == number).map(|(kind, ..)| *kind).ok_or_else(|| de::Error::custom("unknown key type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_name_one_kind_each() {
        for (kind, name, number) in KINDS {
            assert_eq!(KeyKind::parse(name), Some(kind));
            assert_eq!(serde_json::from_str::<KeyKind>(&number.to_string()).unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), number.to_string());
        }
        for wrong in ["", "AES256-GCM96", "rot13", "aes256", "managed_key", "aes128-cmac", "ml-dsa", "xchacha20-poly1305"] {
            assert_eq!(KeyKind::parse(wrong), None, "{wrong}");
        }
        for wrong in ["10", "12", "255", "-1", "\"0\""] {
            assert!(serde_json::from_str::<KeyKind>(wrong).is_err(), "{wrong}");
        }
    }
}
