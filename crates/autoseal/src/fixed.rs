//! The `static` seal: one 32-byte key that the machine holds (a file, an environment variable, or the configuration itself), and
//! the one before it, so that keys can be exchanged. The form of the keys is OpenBao's.
//!
//! Whoever reads the key and the disk has everything: it is for machines whose key comes from somewhere safe.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use envelope::{DataKey, KEY_BYTES};
use secret::{Entropy, SecretBytes};

use crate::{Blob, BoxFuture, SealFault, SealWrapper};

const TYPE: &str = "static";
/// What the cipher binds a wrapped key to.
const CONTEXT: &[u8] = b"strongroom/seal/static";

/// Why a key of the configuration cannot be used. Never shows it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The file is not there or not readable.
    #[error("the key file {0} cannot be read: {1}")]
    File(String, String),
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Variable(String),
    /// 32 raw bytes, or their hexadecimal or base64 text.
    #[error("the key is neither {KEY_BYTES} raw bytes nor their hexadecimal or base64 text")]
    Form,
    /// A name without a key, or a key without a name.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Both keys have one name.
    #[error("current_key_id and previous_key_id must differ")]
    SameName,
}

struct Named {
    id: String,
    key: DataKey,
}

/// The seal.
pub struct StaticSeal {
    current: Named,
    previous: Option<Named>,
}

impl StaticSeal {
    /// A seal from `(id, key)` pairs as configured; an empty previous pair is none.
    pub fn new(current: (&str, &str), previous: (&str, &str)) -> Result<Self, KeyError> {
        let current = named(current, ("current_key_id", "current_key"))?.ok_or(KeyError::Missing("current_key"))?;
        let previous = named(previous, ("previous_key_id", "previous_key"))?;
        if previous.as_ref().is_some_and(|p| p.id == current.id) {
            return Err(KeyError::SameName);
        }
        Ok(Self { current, previous })
    }

    fn opened(&self, blob: &Blob) -> Result<SecretBytes, SealFault> {
        let named = [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|n| n.id == blob.key_id);
        let foreign = |why: String| SealFault::Foreign(TYPE, why);
        let named = named.ok_or_else(|| foreign(format!("it was made with the key {:?}", blob.key_id)))?;
        named.key.open_bytes(CONTEXT, &blob.ciphertext).map_err(|e| foreign(e.to_string()))
    }
}

impl SealWrapper for StaticSeal {
    fn seal_type(&self) -> &'static str {
        TYPE
    }

    fn wrap<'a>(&'a self, plain: &'a SecretBytes, entropy: &'a dyn Entropy) -> BoxFuture<'a, Result<Blob, SealFault>> {
        let sealed = self.current.key.seal(CONTEXT, plain.expose(), entropy);
        let blob = sealed.map(|c| Blob { seal: TYPE.into(), key_id: self.current.id.clone(), ciphertext: c.into_bytes() });
        let blob = blob.map_err(|e| SealFault::Refused { seal: TYPE, why: e.to_string() });
        Box::pin(std::future::ready(blob))
    }

    fn open<'a>(&'a self, blob: &'a Blob) -> BoxFuture<'a, Result<SecretBytes, SealFault>> {
        Box::pin(std::future::ready(self.opened(blob)))
    }

    fn is_current(&self, blob: &Blob) -> bool {
        blob.key_id == self.current.id
    }
}

fn named((id, key): (&str, &str), (id_name, key_name): (&'static str, &'static str)) -> Result<Option<Named>, KeyError> {
    match (id.is_empty(), key.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => Err(KeyError::Missing(id_name)),
        (false, true) => Err(KeyError::Missing(key_name)),
        (false, false) => {
            let key = DataKey::new(1, resolve(key)?).map_err(|_| KeyError::Form)?;
            Ok(Some(Named { id: id.to_owned(), key }))
        }
    }
}

fn resolve(key: &str) -> Result<SecretBytes, KeyError> {
    let bytes = if let Some(path) = key.strip_prefix("file://") {
        std::fs::read(path).map_err(|e| KeyError::File(path.to_owned(), e.kind().to_string()))?
    } else if let Some(name) = key.strip_prefix("env://") {
        std::env::var(name).map_err(|_| KeyError::Variable(name.to_owned()))?.into_bytes()
    } else {
        key.as_bytes().to_vec()
    };
    decode(&SecretBytes::new(bytes)).ok_or(KeyError::Form)
}

fn decode(bytes: &SecretBytes) -> Option<SecretBytes> {
    if bytes.len() == KEY_BYTES {
        return Some(bytes.clone());
    }
    let text = std::str::from_utf8(bytes.expose()).ok()?.trim();
    let decoders = [hex::decode(text).ok(), BASE64_STANDARD.decode(text).ok(), BASE64_URL_SAFE.decode(text).ok()];
    decoders.into_iter().flatten().map(SecretBytes::new).find(|b| b.len() == KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secret::SystemEntropy;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[tokio::test]
    async fn one_key_in_every_form_opens_what_another_form_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            format!("file://{}", path.display())
        };
        let raw: Vec<u8> = (0..32).collect();
        let root = SecretBytes::new(vec![7; 32]);
        let blob = StaticSeal::new(("k1", HEX), ("", "")).unwrap().wrap(&root, &SystemEntropy).await.unwrap();
        assert_eq!((blob.seal.as_str(), blob.key_id.as_str()), ("static", "k1"));
        for form in [BASE64.to_owned(), write("raw", &raw), write("hex", format!("{HEX}\n").as_bytes())] {
            let seal = StaticSeal::new(("k1", &form), ("", "")).unwrap();
            assert!(seal.open(&blob).await.unwrap().ct_eq(root.expose()) && seal.is_current(&blob), "{form}");
        }
    }

    #[tokio::test]
    async fn the_previous_key_opens_and_is_not_current() {
        let (old, new) = (HEX, "ff".repeat(32));
        let root = SecretBytes::new(vec![7; 32]);
        let blob = StaticSeal::new(("k1", old), ("", "")).unwrap().wrap(&root, &SystemEntropy).await.unwrap();
        let both = StaticSeal::new(("k2", &new), ("k1", old)).unwrap();
        assert!(both.open(&blob).await.unwrap().ct_eq(root.expose()) && !both.is_current(&blob));
        for wrong in [StaticSeal::new(("k2", &new), ("", "")).unwrap(), StaticSeal::new(("k1", &new), ("", "")).unwrap()] {
            assert!(matches!(wrong.open(&blob).await, Err(SealFault::Foreign("static", _))));
        }
        let mut broken = blob.clone();
        broken.ciphertext.pop();
        assert!(both.open(&broken).await.is_err());
    }

    #[test]
    fn bad_keys_are_named_and_never_shown() {
        for (current, previous, text) in [
            (("", ""), ("", ""), "current_key is missing"),
            (("k1", ""), ("", ""), "current_key is missing"),
            (("", HEX), ("", ""), "current_key_id is missing"),
            (("k1", HEX), ("k0", ""), "previous_key is missing"),
            (("k1", HEX), ("k1", HEX), "current_key_id and previous_key_id must differ"),
            (("k1", "hunter2"), ("", ""), "the key is neither 32 raw bytes nor their hexadecimal or base64 text"),
            (("k1", "0001"), ("", ""), "the key is neither 32 raw bytes nor their hexadecimal or base64 text"),
            (("k1", "file:///nowhere/key"), ("", ""), "the key file /nowhere/key cannot be read: entity not found"),
            (("k1", "env://STRONGROOM_NO_SUCH_KEY"), ("", ""), "the environment variable STRONGROOM_NO_SUCH_KEY is not set"),
        ] {
            assert_eq!(StaticSeal::new(current, previous).err().unwrap().to_string(), text);
        }
    }
}
