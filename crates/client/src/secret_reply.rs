//! The envelope of an answer (contract §1.5), in the key order that Vault's client writes it with `-format=json`.

use std::fmt;

use api_types::Map;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// An answer with `data`, `auth` or `wrap_info`. `Debug` names the parts that are there and shows none.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretReply {
    /// Id of the request; empty for wrapped answers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub request_id: String,
    /// Id of the lease, or empty.
    #[serde(default, deserialize_with = "null_as_default")]
    pub lease_id: String,
    /// Seconds.
    #[serde(default = "zero")]
    pub lease_duration: Number,
    /// Whether the lease can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// The payload.
    #[serde(default)]
    pub data: Option<Map>,
    /// What the server wants the user to know.
    #[serde(default)]
    pub warnings: Option<Vec<String>>,
    /// A token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<SecretAuth>,
    /// A wrapped answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap_info: Option<WrapInfo>,
    /// Type of the mount that answered.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub mount_type: String,
}

/// A token that was made or renewed.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretAuth {
    /// The token. Secret.
    #[serde(default, deserialize_with = "null_as_default")]
    pub client_token: String,
    /// Its accessor.
    #[serde(default, deserialize_with = "null_as_default")]
    pub accessor: String,
    /// All policies.
    #[serde(default)]
    pub policies: Option<Vec<String>>,
    /// Policies of the token itself.
    #[serde(default)]
    pub token_policies: Option<Vec<String>>,
    /// Policies that came from the identity.
    #[serde(default)]
    pub identity_policies: Option<Vec<String>>,
    /// What the auth method says about the user.
    #[serde(default)]
    pub metadata: Option<Map>,
    /// Whether it has no parent.
    #[serde(default)]
    pub orphan: bool,
    /// Entity behind the token.
    #[serde(default, deserialize_with = "null_as_default")]
    pub entity_id: String,
    /// Seconds.
    #[serde(default = "zero")]
    pub lease_duration: Number,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// A second factor that is still owed.
    #[serde(default)]
    pub mfa_requirement: Option<Value>,
}

/// A wrapped answer.
#[derive(Clone, Serialize, Deserialize)]
pub struct WrapInfo {
    /// The wrapping token. Secret.
    pub token: String,
    /// Its accessor.
    #[serde(default)]
    pub accessor: String,
    /// Seconds.
    #[serde(default = "zero")]
    pub ttl: Number,
    /// RFC 3339.
    #[serde(default)]
    pub creation_time: String,
    /// The path that made it.
    #[serde(default)]
    pub creation_path: String,
    /// Accessor of the token inside, if a login was wrapped.
    #[serde(default)]
    pub wrapped_accessor: String,
}

impl SecretReply {
    /// The warnings, none if absent.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.warnings.as_deref().unwrap_or_default()
    }

    /// A value of `data`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.data.as_ref()?.get(key)
    }

    /// Whether there is anything to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_none() && self.auth.is_none() && self.wrap_info.is_none()
    }
}

impl fmt::Debug for SecretReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = (self.data.is_some(), self.auth.is_some(), self.wrap_info.is_some());
        write!(f, "SecretReply {{ request_id: {:?}, (data, auth, wrap_info): {parts:?} }}", self.request_id)
    }
}

impl fmt::Debug for SecretAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretAuth {{ accessor: {:?} }}", self.accessor)
    }
}

impl fmt::Debug for WrapInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrapInfo {{ accessor: {:?} }}", self.accessor)
    }
}

fn zero() -> Number {
    Number::from(0)
}

fn null_as_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_keys_in_vaults_order() {
        let body = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{"b":1.50,"a":null},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}"#;
        let secret: SecretReply = serde_json::from_str(body).unwrap();
        assert_eq!(
            serde_json::to_string(&secret).unwrap(),
            r#"{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"data":{"a":null,"b":1.50},"warnings":null,"mount_type":"kv"}"#
        );
    }

    #[test]
    fn debug_shows_no_token() {
        let body = r#"{"auth":{"client_token":"hvs.x","accessor":"acc"},"wrap_info":{"token":"hvs.y"},"data":{"k":"hunter2"}}"#;
        let secret: SecretReply = serde_json::from_str(body).unwrap();
        let shown = format!("{secret:?} {:?} {:?}", secret.auth, secret.wrap_info);
        for word in ["hvs.x", "hvs.y", "hunter2"] {
            assert!(!shown.contains(word), "{shown}");
        }
    }
}
