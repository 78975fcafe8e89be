//! The stored rows (JSON), below the root of the storage. They stand beside `identity/`, not in it: a change there makes the core
//! work out every token's policies anew, and an authorization code is no such change.
//!
//! | Key below `identity-oidc/` | Row |
//! |---|---|
//! | `config` | the issuer of identity tokens |
//! | `key/<name>` | a named key: settings and public halves |
//! | `private/<kid>` | PKCS#8 of a key that signs or will sign next |
//! | `kid/<kid>` | the named key it belongs to |
//! | `access-key` | PKCS#8 of the key of access tokens |
//! | `role/`, `assignment/`, `scope/`, `client/`, `provider/` `<name>` | what the path of that name shows |
//! | `client-id/<id>` | the client's name |
//! | `code/<SHA-256 of it>` | an authorization code |
//! | `code-due/<minute>/<SHA-256>` | when it is to be cleared away |

use std::any::Any;
use std::sync::Arc;

use engine::EngineError;
use jose::{Algorithm, Jwk};
use secret::Time;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::{Page, View};

use crate::limits::DAY;

pub(crate) const CONFIG: &str = "identity-oidc/config";
pub(crate) const KEYS: &str = "identity-oidc/key/";
pub(crate) const PRIVATE: &str = "identity-oidc/private/";
pub(crate) const KEY_IDS: &str = "identity-oidc/kid/";
pub(crate) const ACCESS_KEY: &str = "identity-oidc/access-key";
pub(crate) const ROLES: &str = "identity-oidc/role/";
pub(crate) const ASSIGNMENTS: &str = "identity-oidc/assignment/";
pub(crate) const SCOPES: &str = "identity-oidc/scope/";
pub(crate) const CLIENTS: &str = "identity-oidc/client/";
pub(crate) const CLIENT_IDS: &str = "identity-oidc/client-id/";
pub(crate) const PROVIDERS: &str = "identity-oidc/provider/";
pub(crate) const CODES: &str = "identity-oidc/code/";
pub(crate) const CODES_DUE: &str = "identity-oidc/code-due/";

/// The key and the provider that are always there.
pub(crate) const DEFAULT: &str = "default";
/// The assignment that is always there.
pub(crate) const ALLOW_ALL: &str = "allow_all";
/// Any client, entity or group.
pub(crate) const ANY: &str = "*";

/// `identity/oidc/config`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Scheme, host and port; empty for the server's own address.
    pub(crate) issuer: String,
}

/// A named key. Times are in whole seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NamedKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) rotation_period: u64,
    pub(crate) verification_ttl: u64,
    pub(crate) allowed_client_ids: Vec<String>,
    /// Id of the key that signs; none before the first use of the default key.
    pub(crate) signing: Option<String>,
    /// Id of the key that signs after the next rotation, published ahead.
    pub(crate) next: Option<String>,
    pub(crate) next_rotation: Time,
    pub(crate) ring: Vec<RingKey>,
}

/// A public half.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RingKey {
    pub(crate) id: String,
    pub(crate) jwk: Jwk,
    /// When it is no longer published; `None` while it signs or waits to.
    pub(crate) expires: Option<Time>,
}

impl Default for NamedKey {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::RS256,
            rotation_period: DAY.as_secs(),
            verification_ttl: DAY.as_secs(),
            allowed_client_ids: Vec::new(),
            signing: None,
            next: None,
            next_rotation: Time::default(),
            ring: Vec::new(),
        }
    }
}

impl NamedKey {
    pub(crate) fn allows(&self, client_id: &str) -> bool {
        lists(&self.allowed_client_ids, client_id)
    }
}

/// A role for identity tokens.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    pub(crate) key: String,
    pub(crate) template: String,
    pub(crate) ttl: u64,
    pub(crate) client_id: String,
}

/// Who may use a client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Assignment {
    pub(crate) entity_ids: Vec<String>,
    pub(crate) group_ids: Vec<String>,
}

/// A set of claims a client may ask for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Scope {
    pub(crate) template: String,
    pub(crate) description: String,
}

/// Whether a client can keep a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientKind {
    #[default]
    Confidential,
    Public,
}

/// A relying party.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) id: String,
    /// Empty for a public client. Shown to operators on reads, as in Vault, so it cannot be kept as a digest.
    pub(crate) secret: String,
    pub(crate) kind: ClientKind,
    pub(crate) key: String,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) assignments: Vec<String>,
    pub(crate) id_token_ttl: u64,
    pub(crate) access_token_ttl: u64,
}

/// A provider.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Provider {
    /// Scheme, host and port; empty for the server's own address.
    pub(crate) issuer: String,
    pub(crate) allowed_client_ids: Vec<String>,
    pub(crate) scopes_supported: Vec<String>,
}

impl Provider {
    pub(crate) fn allows(&self, client_id: &str) -> bool {
        lists(&self.allowed_client_ids, client_id)
    }
}

/// An index row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pointer {
    pub(crate) name: String,
}

/// A named row, shared with the cache.
pub(crate) fn load<T>(view: &mut View<'_>, folder: &str, name: &str) -> Result<Option<Arc<T>>, EngineError>
where
    T: DeserializeOwned + Any + Send + Sync,
{
    // A client may send any text as id; one that is no single segment is nobody's.
    if name.is_empty() || name.contains('/') || name.len() > 512 {
        return Ok(None);
    }
    Ok(view.get_json(&format!("{folder}{name}"))?)
}

/// Writes a named row.
pub(crate) fn save<T: Serialize>(view: &mut View<'_>, folder: &str, name: &str, row: &T) -> Result<(), EngineError> {
    Ok(view.put_json(&format!("{folder}{name}"), row)?)
}

/// Removes a named row.
pub(crate) fn remove(view: &mut View<'_>, folder: &str, name: &str) -> Result<(), EngineError> {
    Ok(view.delete(&format!("{folder}{name}"))?)
}

/// All names in a folder, sorted. These folders hold what operators wrote, a few hundred rows at most.
pub(crate) fn names(view: &mut View<'_>, folder: &str) -> Result<Vec<String>, EngineError> {
    let mut names = view.list(folder, &Page::default())?;
    names.sort_unstable();
    Ok(names)
}

/// Names in a folder with one that is always there.
pub(crate) fn names_with(view: &mut View<'_>, folder: &str, builtin: &str) -> Result<Vec<String>, EngineError> {
    let mut names = names(view, folder)?;
    if let Err(place) = names.binary_search_by(|n| n.as_str().cmp(builtin)) {
        names.insert(place, builtin.to_owned());
    }
    Ok(names)
}

/// Names of the rows that a test picks.
pub(crate) fn names_where<T>(view: &mut View<'_>, folder: &str, pick: impl Fn(&T) -> bool) -> Result<Vec<String>, EngineError>
where
    T: DeserializeOwned + Any + Send + Sync,
{
    let mut out = Vec::new();
    for name in names(view, folder)? {
        if load::<T>(view, folder, &name)?.is_some_and(|row| pick(&row)) {
            out.push(name);
        }
    }
    Ok(out)
}

/// Texts without doubles, sorted, as Vault keeps its lists.
pub(crate) fn unique(texts: &[String]) -> Vec<String> {
    let mut out: Vec<String> = texts.iter().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn lists(list: &[String], wanted: &str) -> bool {
    list.iter().any(|l| l == ANY || l == wanted)
}
