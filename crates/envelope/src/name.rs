//! Deterministic sealing of names, segment by segment.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use secret::SecretBytes;

/// AES-256-SIV takes two 256-bit keys (RFC 5297 §2.2).
const NAME_KEY_BYTES: usize = 64;
const SIV_TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 2;
/// The first byte of every sealed name, so that well-known plain names (which begin otherwise) never collide.
const TREE: u8 = 0x01;

/// Why a name cannot be sealed or read back.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// A key of the wrong size.
    #[error("a name key must be {NAME_KEY_BYTES} bytes, not {0}")]
    KeySize(usize),
    /// A segment longer than a u16 can say.
    #[error("a path segment of {0} bytes is too long")]
    SegmentTooLong(usize),
    /// Not a sealed name, or sealed under another key.
    #[error("a stored name does not authenticate")]
    NotAuthentic,
}

/// A name as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealedName(Vec<u8>);

impl SealedName {
    /// The root of the tree: the prefix of all sealed names.
    #[must_use]
    pub fn root() -> Self {
        Self(vec![TREE])
    }

    /// The bytes to store under.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A stored key of the sealed tree; `None` for the few plain names. The shape of the segments is checked when they are read.
    #[must_use]
    pub fn from_stored(key: &[u8]) -> Option<Self> {
        (key.first() == Some(&TREE)).then(|| Self(key.to_vec()))
    }

    /// Every folder this name stands in, the root first. Ends early if the bytes are not whole segments.
    pub fn folders(&self) -> impl Iterator<Item = Self> + '_ {
        let mut end = 1usize;
        let mut done = self.0.is_empty();
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            let folder = self.0.get(..end).map(|b| Self(b.to_vec()));
            let length = self.0.get(end..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>()).map(|b| u16::from_be_bytes(*b));
            match length {
                Some(length) => end += LENGTH_BYTES + usize::from(length),
                None => done = true,
            }
            if end >= self.0.len() {
                done = true;
            }
            folder
        })
    }

    /// The name of the child of this folder that `full` is, or stands below: a prefix of `full`, read by its length alone.
    #[must_use]
    pub fn child_in<'k>(&self, full: &'k [u8]) -> Option<&'k [u8]> {
        let length = full.strip_prefix(self.0.as_slice())?.first_chunk::<LENGTH_BYTES>()?;
        full.get(..self.0.len() + LENGTH_BYTES + usize::from(u16::from_be_bytes(*length)))
    }

    /// The first name behind everything below this folder, for skipping over it in a scan.
    #[must_use]
    pub fn after_subtree(&self) -> Vec<u8> {
        let mut end = self.0.clone();
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                return end;
            }
        }
        end
    }
}

/// The key that seals names. Never rotated with the data keys: a name must seal to the same bytes for the life of the data.
pub struct NameKey(SecretBytes);

impl std::fmt::Debug for NameKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NameKey(***)")
    }
}

impl NameKey {
    /// The number of bytes a name key has.
    pub const BYTES: usize = NAME_KEY_BYTES;

    /// From its 64 bytes.
    pub fn new(bytes: SecretBytes) -> Result<Self, NameError> {
        if bytes.len() == NAME_KEY_BYTES { Ok(Self(bytes)) } else { Err(NameError::KeySize(bytes.len())) }
    }

    fn cipher(&self) -> Result<Aes256Siv, NameError> {
        Aes256Siv::new_from_slice(self.0.expose()).map_err(|_| NameError::KeySize(self.0.len()))
    }

    /// The name of `segment` inside the folder `parent`. A folder's segment ends in `/`.
    pub fn child(&self, parent: &SealedName, segment: &str) -> Result<SealedName, NameError> {
        let sealed = self.cipher()?.encrypt([parent.as_bytes()], segment.as_bytes()).map_err(|_| NameError::NotAuthentic)?;
        let length = u16::try_from(sealed.len()).map_err(|_| NameError::SegmentTooLong(segment.len()))?;
        let mut out = Vec::with_capacity(parent.0.len() + LENGTH_BYTES + sealed.len());
        out.extend_from_slice(&parent.0);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&sealed);
        Ok(SealedName(out))
    }

    /// Seals a whole path below `root`: every `/` ends a folder.
    pub fn path(&self, root: &SealedName, path: &str) -> Result<SealedName, NameError> {
        let mut name = root.clone();
        for segment in path.split_inclusive('/') {
            name = self.child(&name, segment)?;
        }
        Ok(name)
    }

    /// Reads the first segment of `full` below `parent`, and that child's sealed name.
    pub fn first_child(&self, parent: &SealedName, full: &[u8]) -> Result<(String, SealedName), NameError> {
        let rest = full.strip_prefix(parent.as_bytes()).ok_or(NameError::NotAuthentic)?;
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(NameError::NotAuthentic)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let sealed = rest.get(..length).filter(|s| s.len() >= SIV_TAG_BYTES).ok_or(NameError::NotAuthentic)?;
        let plain = self.cipher()?.decrypt([parent.as_bytes()], sealed).map_err(|_| NameError::NotAuthentic)?;
        let text = String::from_utf8(plain).map_err(|_| NameError::NotAuthentic)?;
        let end = parent.0.len() + LENGTH_BYTES + length;
        let child = full.get(..end).ok_or(NameError::NotAuthentic)?;
        Ok((text, SealedName(child.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(b: u8) -> NameKey {
        NameKey::new(SecretBytes::new(vec![b; NAME_KEY_BYTES])).unwrap()
    }

    #[test]
    fn a_name_is_stable_and_unreadable() {
        let k = key(1);
        let name = k.path(&SealedName::root(), "secret/database/config").unwrap();
        assert_eq!(name, k.path(&SealedName::root(), "secret/database/config").unwrap());
        assert!(!name.as_bytes().windows(6).any(|w| w == b"secret" || w == b"config"));
        assert_ne!(name, key(2).path(&SealedName::root(), "secret/database/config").unwrap());
    }

    #[test]
    fn the_same_segment_in_two_folders_looks_different() {
        let k = key(1);
        let root = SealedName::root();
        let a = k.path(&root, "a/x").unwrap();
        let b = k.path(&root, "b/x").unwrap();
        assert_ne!(a.as_bytes()[a.as_bytes().len() - 17..], b.as_bytes()[b.as_bytes().len() - 17..]);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let k = key(1);
        let root = SealedName::root();
        let mut bytes = k.path(&root, "a/x").unwrap().as_bytes().to_vec();
        assert!(k.first_child(&root, &bytes[..3]).is_err());
        bytes[5] ^= 1;
        assert!(k.first_child(&root, &bytes).is_err());
        assert!(k.first_child(&root, b"").is_err());
        assert!(NameKey::new(SecretBytes::new(vec![0; 32])).is_err());
        assert!(k.child(&root, &"x".repeat(70_000)).is_err());
    }

    proptest! {
        #[test]
        fn names_read_back(segments in proptest::collection::vec("[^/]{1,20}", 1..6)) {
            let k = key(9);
            let path = segments.join("/");
            let full = k.path(&SealedName::root(), &path).unwrap();
            let mut at = SealedName::root();
            let mut read = String::new();
            while at != full {
                let (segment, child) = k.first_child(&at, full.as_bytes()).unwrap();
                read.push_str(&segment);
                prop_assert!(child.as_bytes() < at.after_subtree().as_slice());
                prop_assert!(full.folders().any(|f| f == at));
                at = child;
            }
            prop_assert_eq!(read, path);
        }
    }
}
