//! Who changed a version, as `created_by`, `deleted_by` and `last_updated_by` show it (new in Vault 1.21).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Call, Caller};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One change's author. Stored as it is shown: empty fields are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Attribution {
    /// The token's display name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Names the client for counting, see [`client_id`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// The entity behind the token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entity_id: String,
    /// `create`, `update`, `patch`, `delete`, `undelete` or `upgrade`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operation: String,
}

impl Attribution {
    /// The caller, doing `operation`.
    pub(crate) fn of(call: &Call<'_>, operation: &str) -> Self {
        Self {
            actor: call.caller.display_name.clone(),
            client_id: client_id(call.caller),
            entity_id: call.caller.entity_id.clone(),
            operation: operation.to_owned(),
        }
    }

    /// The upgrade from version 1, which nobody asked for key by key.
    pub(crate) fn upgrade() -> Self {
        Self { actor: "kv_upgrade".to_owned(), operation: "upgrade".to_owned(), ..Self::default() }
    }
}

/// The entity, or a digest of the policies for a token without one: SHA-256 over the sorted names, joined by U+001F, then a
/// NUL and the namespace's id, in base64.
fn client_id(caller: &Caller) -> String {
    if !caller.entity_id.is_empty() {
        return caller.entity_id.clone();
    }
    let mut policies: Vec<&str> = caller.policies.iter().map(String::as_str).collect();
    policies.sort_unstable();
    STANDARD.encode(Sha256::digest(format!("{}\0root", policies.join("\u{1f}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_an_entity_is_known_by_its_policies() {
        // The id under which every Vault server counts its root tokens.
        let root = Caller { policies: vec!["root".into()], ..Caller::default() };
        assert_eq!(client_id(&root), "0DHqvq2D77kL2/JTPSZkTMJbkFVmUu0TzMi0jiXcFy8=");
        let one = Caller { policies: vec!["a".into(), "default".into()], ..Caller::default() };
        let other = Caller { policies: vec!["default".into(), "a".into()], ..Caller::default() };
        assert_eq!(client_id(&one), client_id(&other));
        assert_ne!(client_id(&one), client_id(&root));
        let person = Caller { entity_id: "e-1".into(), ..root };
        assert_eq!(client_id(&person), "e-1");
    }
}
