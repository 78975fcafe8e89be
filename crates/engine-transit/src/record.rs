//! The pieces of a stored key that are neither numbers nor texts: bytes in base64 and Go's times, as Vault writes them.

use secret::{SecretBytes, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::codec;

/// Bytes that may be secret; null when there are none, which is Go's form of an empty `[]byte`.
#[derive(Debug, Clone)]
pub(crate) struct Blob(SecretBytes);

impl Default for Blob {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Blob {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(SecretBytes::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_empty() {
            return serializer.serialize_none();
        }
        serializer.serialize_str(&Zeroizing::new(codec::encode(self.bytes())))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.map(Zeroizing::new);
        // The complaint does not quote the input.
        let bytes = text.map_or(Ok(Vec::new()), |t| codec::decode(&t)).map_err(de::Error::custom)?;
        Ok(Self::new(bytes))
    }
}

/// A time in RFC 3339; none is Go's zero time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) Option<Time>);

const ZERO: &str = "0001-01-01T00:00:00Z";

impl Stamp {
    pub(crate) fn text(self) -> String {
        self.0.map_or_else(|| ZERO.to_owned(), Time::rfc3339)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == ZERO {
            return Ok(Self(None));
        }
        Time::parse_rfc3339(&text).map(|t| Self(Some(t))).ok_or_else(|| de::Error::custom("expected a time"))
    }
}

/// When and at which version a key was backed up or restored.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) time: Stamp,
    pub(crate) version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_have_gos_form() {
        assert_eq!(serde_json::to_string(&Blob::default()).unwrap(), "null");
        assert_eq!(serde_json::to_string(&Blob::new(b"a".to_vec())).unwrap(), "\"YQ==\"");
        assert!(serde_json::from_str::<Blob>("null").unwrap().is_empty());
        assert_eq!(serde_json::from_str::<Blob>("\"YQ==\"").unwrap().bytes(), b"a");
        let refused = serde_json::from_str::<Blob>("\"s3cret!\"").unwrap_err().to_string();
        assert!(!refused.contains("s3cret"), "{refused}");
        assert_eq!(serde_json::from_str::<Stamp>("\"0001-01-01T00:00:00Z\"").unwrap(), Stamp(None));
        let stamp: Stamp = serde_json::from_str("\"2017-12-08T11:50:08.613837-05:00\"").unwrap();
        assert_eq!(stamp.text(), "2017-12-08T16:50:08.613837Z");
        assert!(serde_json::from_str::<Stamp>("\"yesterday\"").is_err());
    }
}
