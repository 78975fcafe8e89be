//! Public keys as in `authorized_keys`: `type base64 comment` (RFC 4253 §6.6, RFC 5656, RFC 8709; security keys as OpenSSH
//! writes them). DSA is not taken.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::wire::{Reader, ShortRead};

/// Why text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicError {
    /// The second word is not Base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Too short or too long inside.
    #[error("ssh: short read")]
    Short,
    /// A kind that is not signed here.
    #[error("ssh: unknown key algorithm: {0}")]
    Unknown(String),
}

impl From<ShortRead> for PublicError {
    fn from(_: ShortRead) -> Self {
        Self::Short
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// `ssh-ed25519`, …
    pub kind: String,
    /// The key as SSH sends it, its kind included.
    pub blob: Vec<u8>,
    /// What stands after the kind.
    pub content: Vec<u8>,
    /// Length in bits.
    pub bits: u32,
}

impl PublicKey {
    /// Reads one line; the first word may be missing.
    pub fn parse(line: &str) -> Result<Self, PublicError> {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let text = words.next().unwrap_or(first);
        let blob = BASE64_STANDARD.decode(text).map_err(|e| {
            PublicError::Base64(match e {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => 0,
            })
        })?;
        Self::from_blob(&blob)
    }

    /// Reads the key as SSH sends it.
    pub fn from_blob(blob: &[u8]) -> Result<Self, PublicError> {
        let mut reader = Reader(blob);
        let kind = String::from_utf8_lossy(reader.string()?).into_owned();
        let content = reader.0.to_vec();
        let bits = match kind.as_str() {
            "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => {
                if reader.string()?.len() != 32 {
                    return Err(PublicError::Short);
                }
                256
            }
            "ssh-rsa" => {
                reader.string()?;
                bit_length(reader.string()?)
            }
            "ecdsa-sha2-nistp256" | "sk-ecdsa-sha2-nistp256@openssh.com" => curve(&mut reader, "nistp256", 65)?,
            "ecdsa-sha2-nistp384" => curve(&mut reader, "nistp384", 97)?,
            "ecdsa-sha2-nistp521" => curve(&mut reader, "nistp521", 133)?,
            _ => return Err(PublicError::Unknown(kind)),
        };
        if kind.starts_with("sk-") {
            reader.string()?; // the application
        }
        if reader.is_empty() { Ok(Self { kind, blob: blob.to_vec(), content, bits }) } else { Err(PublicError::Short) }
    }

    /// The kind of its certificates.
    #[must_use]
    pub fn certificate_kind(&self) -> String {
        match self.kind.strip_suffix("@openssh.com") {
            Some(bare) => format!("{bare}-cert-v01@openssh.com"),
            None => format!("{}-cert-v01@openssh.com", self.kind),
        }
    }

    /// The kind in rules of roles: `rsa`, `ec`, `ed25519`.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self.kind.as_str() {
            "ssh-rsa" => "rsa",
            kind if kind.contains("ecdsa") => "ec",
            _ => "ed25519",
        }
    }

    /// SHA-256 in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(&self.blob))
    }

    /// The line, without a comment and with a newline.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}\n", self.kind, BASE64_STANDARD.encode(&self.blob))
    }
}

fn curve(reader: &mut Reader<'_>, name: &str, point_bytes: usize) -> Result<u32, PublicError> {
    let named = reader.string()? == name.as_bytes();
    let point = reader.string()?;
    if named && point.len() == point_bytes && point.first() == Some(&4) {
        name.strip_prefix("nistp").and_then(|b| b.parse().ok()).ok_or(PublicError::Short)
    } else {
        Err(PublicError::Short)
    }
}

fn bit_length(number: &[u8]) -> u32 {
    let bare: Vec<&u8> = number.iter().skip_while(|b| **b == 0).collect();
    bare.first().map_or(0, |top| u32::try_from(bare.len() * 8).unwrap_or(u32::MAX) - top.leading_zeros())
}
