//! A wrapped key as it is stored: JSON, with the name of the key that opens it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

/// What a seal made of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    /// Type of the seal that made it.
    pub seal: String,
    /// Which of its keys opens it.
    pub key_id: String,
    /// The hidden key, in a form of the seal's own.
    pub ciphertext: Vec<u8>,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({}, {:?}, {} bytes)", self.seal, self.key_id, self.ciphertext.len())
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    seal: String,
    key_id: String,
    ciphertext: String,
}

impl Blob {
    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            seal: self.seal.clone(),
            key_id: self.key_id.clone(),
            ciphertext: BASE64_STANDARD.encode(&self.ciphertext),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads stored bytes; `None` if they are none, or of a newer format.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let ciphertext = BASE64_STANDARD.decode(stored.ciphertext).ok()?;
        (stored.format == FORMAT).then_some(Self { seal: stored.seal, key_id: stored.key_id, ciphertext })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_and_read() {
        let blob = Blob { seal: "static".into(), key_id: "k1".into(), ciphertext: vec![1, 2, 255] };
        assert_eq!(Blob::from_bytes(&blob.to_bytes()), Some(blob));
        for bad in ["", "{}", "null", r#"{"format":2,"seal":"static","key_id":"","ciphertext":""}"#] {
            assert_eq!(Blob::from_bytes(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Blob::from_bytes(&[0, 0, 0, 1, 2, 9]), None);
    }
}
