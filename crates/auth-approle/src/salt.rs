//! Keyed hashes: how role ids and secret ids become storage keys, so that no record and no index holds them.

use engine::EngineError;
use hmac::{Hmac, KeyInit, Mac};
use secret::{Entropy, SecretBytes};
use sha2::Sha256;
use storage::View;

const KEY: &str = "salt";
/// As long as the hash: more would be hashed down first (RFC 2104 §3).
const SALT_BYTES: usize = 32;

/// HMAC-SHA256 under the mount's own salt.
pub(crate) struct Salt(Hmac<Sha256>);

impl Salt {
    /// The mount's salt. A mount without one has no role yet: hashes under a salt of zeros cost the same and find nothing.
    pub(crate) fn load(view: &mut View<'_>) -> Result<Self, EngineError> {
        match view.get(KEY)? {
            Some(record) => Self::new(record.bytes()),
            None => Self::new(&[0; SALT_BYTES]),
        }
    }

    /// The mount's salt, made when the first role is written.
    pub(crate) fn ensure(view: &mut View<'_>, entropy: &dyn Entropy) -> Result<Self, EngineError> {
        if let Some(record) = view.get(KEY)? {
            return Self::new(record.bytes());
        }
        let salt = SecretBytes::new(entropy.bytes(SALT_BYTES)?);
        let hasher = Self::new(salt.expose())?;
        view.put(KEY, salt)?;
        Ok(hasher)
    }

    fn new(salt: &[u8]) -> Result<Self, EngineError> {
        Hmac::new_from_slice(salt).map(Self).map_err(|_| EngineError::internal("the salt of the mount is unusable"))
    }

    /// The hash of a role id; case does not matter.
    pub(crate) fn role_id(&self, role_id: &str) -> String {
        self.hash(&["role-id", &role_id.to_lowercase()])
    }

    /// The hash of a secret id, different in every role.
    pub(crate) fn secret_id(&self, role: &str, secret_id: &str) -> String {
        self.hash(&["secret-id", role, secret_id])
    }

    /// Every part goes in behind its length, so that no two lists of parts meet.
    fn hash(&self, parts: &[&str]) -> String {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        hex::encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_every_part() {
        let (a, b) = (Salt::new(&[1; 32]).unwrap(), Salt::new(&[2; 32]).unwrap());
        assert_eq!(a.role_id("WEB"), a.role_id("web"));
        assert_eq!(a.secret_id("r", "s").len(), 64);
        let hashes = [
            a.role_id("web"),
            b.role_id("web"),
            a.secret_id("r", "s"),
            a.secret_id("r", "S"),
            a.secret_id("rs", ""),
            a.secret_id("", "rs"),
            b.secret_id("r", "s"),
        ];
        for (i, x) in hashes.iter().enumerate() {
            assert!(!hashes[i + 1..].contains(x), "{i}");
        }
    }
}
