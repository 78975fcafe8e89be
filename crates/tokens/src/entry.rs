//! One token as it is stored, and how it is shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api_types::Map;
use engine::{Auth, TokenType};
use secret::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::shown_cidrs;

/// `num_uses` of a token whose last use was spent and which is about to be revoked.
pub(crate) const SPENT: i64 = -1;

/// A token without the token: everything the server knows of it. Empty fields are not stored.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenEntry {
    /// The accessor, equal to the storage key; empty for batch tokens.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accessor: String,
    /// Storage key of the parent; empty for orphans.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// Policies of the token itself, in normal form, sorted.
    pub policies: Vec<String>,
    /// The request path that made it.
    pub path: String,
    /// Shown metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Name for people and audit lines.
    pub display_name: String,
    /// Uses left; 0 is any number, below 0 is none left.
    #[serde(skip_serializing_if = "is_default")]
    pub num_uses: i64,
    /// Life granted at creation; zero for tokens that never expire.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub ttl: Duration,
    /// The login role's limit, for renewals; zero is the mount's.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub max_ttl: Duration,
    /// Hard limit that was asked for at creation; zero is none. A token role's own limit is read from the role.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub explicit_max_ttl: Duration,
    /// Period that was asked for at creation; zero is none. A token role's own period is read from the role.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub period: Duration,
    /// The token role it was made by; empty if none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Networks it may be used from; empty is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_cidrs: Vec<String>,
    /// The identity entity; empty if none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub entity_id: String,
    /// Service or batch.
    #[serde(rename = "type")]
    pub token_type: TokenType,
    /// Names its cubbyhole; empty for batch tokens.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cubbyhole_id: String,
    /// When it was made.
    pub creation_time: Time,
    /// When it ends; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<Time>,
    /// The last renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_renewal: Option<Time>,
    /// Whether it may be renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub renewable: bool,
    /// Whether it has no parent that would take it along.
    #[serde(skip_serializing_if = "is_default")]
    pub orphan: bool,
    /// What the auth method keeps for renewals; not shown.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub internal: Map,
    /// Accessor of the auth mount that made it; empty for root tokens and wrapping tokens.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_accessor: String,
    /// Last segment of its lease id, below `path`; empty if it has no lease.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lease_suffix: String,
    /// It is being revoked and its children are to live on as orphans.
    #[serde(skip_serializing_if = "is_default")]
    pub spare_children: bool,
}

impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEntry")
            .field("display_name", &self.display_name)
            .field("policies", &self.policies)
            .field("path", &self.path)
            .field("expire_time", &self.expire_time)
            .finish_non_exhaustive()
    }
}

impl TokenEntry {
    /// Whether its time is not over.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.expire_time.is_none_or(|end| end > now)
    }

    /// Whether its last use was spent.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.num_uses < 0
    }

    /// Whether it has the `root` policy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        crate::is_root(&self.policies)
    }

    /// Whether it is a batch token.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.token_type == TokenType::Batch
    }

    /// Time left, in whole seconds; 0 for tokens that never expire.
    #[must_use]
    pub fn ttl_left_seconds(&self, now: Time) -> u64 {
        self.expire_time.map_or(0, |end| seconds_left(end, now))
    }

    /// The id of its lease: `<creation path>/<suffix>`.
    #[must_use]
    pub fn lease_id(&self) -> Option<String> {
        (!self.lease_suffix.is_empty()).then(|| format!("{}/{}", self.path, self.lease_suffix))
    }

    /// The `data` of a lookup (contract §3.4). `id` is echoed, empty for lookups by accessor.
    #[must_use]
    pub fn show(&self, id: &str, identity_policies: &[String], now: Time) -> Map {
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| {
            data.insert(name.to_owned(), value);
        };
        set("id", id.into());
        set("accessor", self.accessor.clone().into());
        set("policies", self.policies.clone().into());
        set("path", self.path.clone().into());
        set("meta", metadata(&self.meta));
        set("display_name", self.display_name.clone().into());
        set("num_uses", self.num_uses.into());
        set("orphan", self.orphan.into());
        set("creation_time", self.creation_time.unix().into());
        set("creation_ttl", self.ttl.as_secs().into());
        set("expire_time", self.expire_time.map_or(Value::Null, |t| t.rfc3339().into()));
        set("ttl", self.ttl_left_seconds(now).into());
        set("explicit_max_ttl", self.explicit_max_ttl.as_secs().into());
        set("entity_id", self.entity_id.clone().into());
        set("type", self.token_type.as_str().into());
        if self.expire_time.is_some() {
            set("issue_time", self.creation_time.rfc3339().into());
            set("renewable", self.renewable.into());
        }
        if let Some(renewal) = self.last_renewal {
            set("last_renewal", renewal.rfc3339().into());
            set("last_renewal_time", renewal.unix().into());
        }
        if !self.role.is_empty() {
            set("role", self.role.clone().into());
        }
        if !self.period.is_zero() {
            set("period", self.period.as_secs().into());
        }
        if !self.bound_cidrs.is_empty() {
            set("bound_cidrs", shown_cidrs(&self.bound_cidrs).into());
        }
        if !identity_policies.is_empty() {
            set("identity_policies", identity_policies.to_vec().into());
            set("external_namespace_policies", Map::new().into());
        }
        data
    }

    /// The login again, as it was issued: what an auth method's renewal sees.
    #[must_use]
    pub fn to_auth(&self) -> Auth {
        Auth {
            display_name: self.display_name.clone(),
            policies: self.policies.clone(),
            token_policies: self.policies.clone(),
            metadata: self.meta.clone(),
            internal: self.internal.clone(),
            ttl: self.ttl,
            max_ttl: self.max_ttl,
            explicit_max_ttl: self.explicit_max_ttl,
            period: self.period,
            num_uses: u64::try_from(self.num_uses).unwrap_or_default(),
            renewable: self.renewable,
            token_type: self.token_type,
            bound_cidrs: self.bound_cidrs.clone(),
            accessor: self.accessor.clone(),
            entity_id: self.entity_id.clone(),
            orphan: self.orphan,
            ..Auth::default()
        }
    }
}

/// A token that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known of it, shared with the cache.
    pub entry: Arc<TokenEntry>,
    /// Its storage key; empty for batch tokens.
    pub key: String,
}

/// Whole seconds from `now` to `end`. Vault rounds the present to a full second first, so a token asked about at once shows
/// its whole life.
pub(crate) fn seconds_left(end: Time, now: Time) -> u64 {
    let rounded = Time::from_unix(now.plus(Duration::from_millis(500)).unix());
    end.since(rounded).as_secs()
}

fn metadata(meta: &BTreeMap<String, String>) -> Value {
    if meta.is_empty() {
        return Value::Null;
    }
    meta.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect::<Map>().into()
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Durations as whole nanoseconds: short, exact, and enough for 584 years.
pub(crate) mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(d: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_nanos)
    }
}
