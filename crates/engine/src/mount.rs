//! What an engine may know about where it is mounted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of token a login yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenType {
    /// As the mount or the system says.
    #[default]
    Default,
    /// Service unless the role says batch.
    DefaultService,
    /// Batch unless the role says service.
    DefaultBatch,
    /// Stored, renewable, revocable.
    Service,
    /// Self-contained: an encrypted entry, nothing stored.
    Batch,
}

impl TokenType {
    /// The name in configuration and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }

    /// Parses a name; an empty text is the default.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" | "default" => Self::Default,
            "default-service" => Self::DefaultService,
            "default-batch" => Self::DefaultBatch,
            "service" => Self::Service,
            "batch" => Self::Batch,
            _ => return None,
        })
    }
}

/// One entry of the mount table, as far as an engine may know it.
#[derive(Debug, Clone, Default)]
pub struct Mount {
    /// Where it is mounted, with a trailing `/`; auth methods begin with `auth/`.
    pub path: String,
    /// `kv`, `kubernetes`, …
    pub mount_type: String,
    /// `<type>_<8 hex>`, stable for the life of the mount.
    pub accessor: String,
    /// Names the mount's storage.
    pub uuid: String,
    /// The `options` given at mount time (`version` for KV).
    pub options: BTreeMap<String, String>,
    /// Effective default TTL: the mount's own or the system's.
    pub default_lease_ttl: Duration,
    /// Effective maximum TTL: the mount's own or the system's.
    pub max_lease_ttl: Duration,
    /// What the mount wants logins to yield.
    pub token_type: TokenType,
    /// When failed logins lock a name: the mount's own rule over the configuration's over Vault's.
    pub lockout: lockout::Rule,
}

impl Mount {
    /// Whether this is an auth method.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        self.path.starts_with("auth/")
    }
}
