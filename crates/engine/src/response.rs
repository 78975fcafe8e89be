//! What an engine answers. Floors above turn logins into tokens, register leases, wrap, record, and serialise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::Map;
use serde_json::value::RawValue;

use crate::TokenType;
use crate::stream::Stream;

/// The `data` of an answer.
#[derive(Debug, Clone)]
pub enum Data {
    /// An object.
    Map(Map),
    /// An object that is JSON text already (a hot value straight from the cache).
    Raw(Arc<RawValue>),
}

impl Data {
    /// Whether this is a list's answer without names. Text is made only where there are names, so it need not be parsed.
    #[must_use]
    pub fn is_empty_list(&self) -> bool {
        match self {
            Self::Map(m) => m.is_empty() || (m.len() == 1 && m.get("keys").and_then(|k| k.as_array()).is_some_and(Vec::is_empty)),
            Self::Raw(_) => false,
        }
    }

    /// The object, parsed if it was text.
    #[must_use]
    pub fn to_map(&self) -> Map {
        match self {
            Self::Map(m) => m.clone(),
            Self::Raw(raw) => serde_json::from_str(raw.get()).unwrap_or_default(),
        }
    }
}

impl From<Map> for Data {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

/// How the answer is shaped at the edge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Kind {
    /// The usual envelope; 204 if there is nothing in it.
    #[default]
    Envelope,
    /// The usual envelope, but 404 (KV v2: a deleted version with its metadata).
    NotFoundEnvelope,
    /// 202: accepted, goes on in the background.
    Accepted,
    /// 200 and bytes of any length, with their own content type and no envelope.
    Stream {
        /// The `Content-Type`.
        content_type: String,
        /// The body.
        body: Stream,
    },
    /// Bytes with their own content type and no envelope.
    Bare {
        /// The `Content-Type`.
        content_type: String,
        /// The body.
        body: Vec<u8>,
        /// HTTP status, chosen by the few paths whose contract is a status (health, OCSP).
        status: u16,
    },
}

/// A person or machine as an auth method names it; the core finds or makes the entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alias {
    /// The name on that mount (user name, service account uid, role id).
    pub name: String,
    /// Refreshed on the alias at each login.
    pub metadata: BTreeMap<String, String>,
}

/// A successful login or token creation, before a token exists.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// What the method calls the client; the core puts the mount's name before it.
    pub display_name: String,
    /// The identity alias; none for token creation without an entity.
    pub alias: Option<Alias>,
    /// External group names of this login, for identity groups.
    pub group_aliases: Vec<String>,
    /// Policies of the token.
    pub policies: Vec<String>,
    /// Shown in `auth.metadata` and audit lines.
    pub metadata: BTreeMap<String, String>,
    /// Kept with the token for renewal; not shown.
    pub internal: Map,
    /// Wished life; zero means the mount's default.
    pub ttl: Duration,
    /// The role's limit; zero means the mount's maximum.
    pub max_ttl: Duration,
    /// Hard limit from issue; zero means none.
    pub explicit_max_ttl: Duration,
    /// Periodic renewal; zero means not periodic.
    pub period: Duration,
    /// Uses; zero means any number.
    pub num_uses: u64,
    /// Whether the token may be renewed.
    pub renewable: bool,
    /// What the method or role wants; the mount may force another.
    pub token_type: TokenType,
    /// Leaves out the `default` policy.
    pub no_default_policy: bool,
    /// Addresses (CIDRs) the token may be used from, checked where they were configured.
    pub bound_cidrs: Vec<String>,

    // Filled by the token store, shown by the edge.
    /// The new token.
    pub client_token: secret::SecretString,
    /// Its accessor; empty for batch tokens.
    pub accessor: String,
    /// Policies of the token itself.
    pub token_policies: Vec<String>,
    /// Policies that come from identity.
    pub identity_policies: Vec<String>,
    /// The entity.
    pub entity_id: String,
    /// Whether revoking a parent leaves it alone.
    pub orphan: bool,
    /// The entity was made by this login.
    pub entity_created: bool,
}

/// A secret that must be revoked when its lease ends.
#[derive(Debug, Clone, Default)]
pub struct LeasedSecret {
    /// Wished life; zero means the mount's default.
    pub ttl: Duration,
    /// The role's limit; zero means the mount's maximum.
    pub max_ttl: Duration,
    /// Whether the lease may be renewed.
    pub renewable: bool,
    /// What revocation and renewal need; not shown.
    pub internal: Map,
    /// Register a lease. KV v1 only shows a duration and registers nothing.
    pub register: bool,
    /// Filled by the lease store.
    pub lease_id: String,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The payload.
    pub data: Option<Data>,
    /// Shown to the client beside the data.
    pub warnings: Vec<String>,
    /// A login.
    pub auth: Option<Box<Auth>>,
    /// A leased secret.
    pub secret: Option<Box<LeasedSecret>>,
    /// The engine itself asks for wrapping.
    pub wrap_ttl: Option<Duration>,
    /// Response headers that the mount allows.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Shape.
    pub kind: Kind,
}

impl Response {
    /// An answer with data.
    #[must_use]
    pub fn data(map: Map) -> Self {
        Self { data: Some(Data::Map(map)), ..Self::default() }
    }

    /// An answer from `serde_json::json!({…})`; anything but an object becomes an empty one.
    #[must_use]
    pub fn json(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Object(map) => Self::data(map),
            _ => Self::data(Map::new()),
        }
    }

    /// A listing; no names means no data, which the edge answers with 404.
    #[must_use]
    pub fn list(keys: Vec<String>) -> Self {
        let mut map = Map::new();
        if !keys.is_empty() {
            map.insert("keys".to_owned(), keys.into());
        }
        Self::data(map)
    }

    /// A listing that is kept with its JSON.
    #[must_use]
    pub fn shared_list(listing: &storage::Listing) -> Self {
        match listing.keys_json() {
            Some(raw) => Self { data: Some(Data::Raw(raw)), ..Self::default() },
            None => Self::list(Vec::new()),
        }
    }

    /// Nothing but a warning.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { warnings: vec![text.into()], ..Self::default() }
    }

    /// Adds a warning.
    #[must_use]
    pub fn with_warning(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }

    /// A body without envelope.
    #[must_use]
    pub fn bare(content_type: impl Into<String>, body: Vec<u8>) -> Self {
        Self { kind: Kind::Bare { content_type: content_type.into(), body, status: 200 }, ..Self::default() }
    }
}
