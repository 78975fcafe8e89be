//! Who changed a version, as `created_by`, `deleted_by` and `last_updated_by` show it (new in Vault 1.21).

use engine::Call;
use serde::{Deserialize, Serialize};

/// One change's author. Stored as it is shown: empty fields are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Attribution {
    /// The token's display name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Names the client for counting, see [`engine::Caller::client_id`].
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
            client_id: call.caller.client_id(),
            entity_id: call.caller.entity_id.clone(),
            operation: operation.to_owned(),
        }
    }

    /// The upgrade from version 1, which nobody asked for key by key.
    pub(crate) fn upgrade() -> Self {
        Self { actor: "kv_upgrade".to_owned(), operation: "upgrade".to_owned(), ..Self::default() }
    }
}
