//! The mount table: one row a mount, and the router made from the rows.
//!
//! Rows stand at `core/mounts/<uuid>` and `core/auth/<uuid>`; the router is rebuilt when an applied entry touched them, so that
//! every node routes by the same table.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use engine::{Backend, Mount, TokenType};
use serde::{Deserialize, Serialize};
use storage::{Page, Transaction, TxnError, View};

use crate::config::{CoreConfig, Registry};

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Secrets engines.
    Mounts,
    /// Auth methods.
    Auth,
}

impl Table {
    /// Where its rows stand.
    #[must_use]
    pub fn rows(self) -> &'static str {
        match self {
            Self::Mounts => "core/mounts/",
            Self::Auth => "core/auth/",
        }
    }
}

/// The tunable part of a mount. Durations in seconds, 0 meaning the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountConfig {
    /// Default lease TTL.
    pub default_lease_ttl: u64,
    /// Maximum lease TTL.
    pub max_lease_ttl: u64,
    /// Accepted and shown; every cache here is coherent.
    pub force_no_cache: bool,
    /// What logins yield (auth only).
    pub token_type: TokenType,
    /// ``, `hidden` or `unauth`.
    pub listing_visibility: Option<String>,
    /// Request keys that audit lines show in plain.
    pub audit_non_hmac_request_keys: Option<Vec<String>>,
    /// Response keys that audit lines show in plain.
    pub audit_non_hmac_response_keys: Option<Vec<String>>,
    /// Request headers the engine gets.
    pub passthrough_request_headers: Option<Vec<String>>,
    /// Response headers the engine may set.
    pub allowed_response_headers: Option<Vec<String>>,
    /// Kept and shown.
    pub allowed_managed_keys: Option<Vec<String>>,
    /// Kept and shown.
    pub delegated_auth_accessors: Option<Vec<String>>,
    /// Kept and shown.
    pub identity_token_key: Option<String>,
    /// A path that ends in `/` is taken without it on writes.
    pub trim_request_trailing_slashes: Option<bool>,
    /// Lockout of user names (auth only).
    pub user_lockout: Option<UserLockout>,
}

/// `user_lockout_config` of an auth mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLockout {
    /// Failures before the lock.
    pub threshold: u64,
    /// How long the lock lasts, seconds.
    pub duration_seconds: u64,
    /// After how many quiet seconds the count starts anew.
    pub counter_reset_seconds: u64,
    /// Off.
    pub disable: bool,
}

impl UserLockout {
    /// The same for the rule; zeros leave it to the configuration.
    fn settings(&self) -> lockout::Settings {
        lockout::Settings {
            threshold: Some(u32::try_from(self.threshold).unwrap_or(u32::MAX)),
            duration: Some(Duration::from_secs(self.duration_seconds)),
            counter_reset: Some(Duration::from_secs(self.counter_reset_seconds)),
            disabled: Some(self.disable),
        }
    }
}

/// One row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountEntry {
    /// Which table.
    pub table: Table,
    /// Path with trailing `/`, without `auth/`.
    pub path: String,
    /// Type.
    #[serde(rename = "type")]
    pub mount_type: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Names its storage.
    pub uuid: String,
    /// `<type>_<8 hex>`.
    pub accessor: String,
    /// Tunables.
    #[serde(default)]
    pub config: MountConfig,
    /// `options`; `None` is shown as null.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    /// Not replicated to other clusters.
    #[serde(default)]
    pub local: bool,
    /// Accepted and shown.
    #[serde(default)]
    pub seal_wrap: bool,
    /// Accepted and shown.
    #[serde(default)]
    pub external_entropy_access: bool,
    /// Wished version of the plugin; only the built-in one exists.
    #[serde(default)]
    pub plugin_version: String,
}

impl MountEntry {
    /// Path as requests have it: with `auth/` for auth methods.
    #[must_use]
    pub fn full_path(&self) -> String {
        match self.table {
            Table::Mounts => self.path.clone(),
            Table::Auth => format!("auth/{}", self.path),
        }
    }

    /// Where its row stands.
    #[must_use]
    pub fn row(&self) -> String {
        format!("{}{}", self.table.rows(), self.uuid)
    }

    /// Where its data stands. Engines that are part of the core see the whole storage: their places are fixed
    /// (`sys/…`, `identity/…`, `cubbyhole/…`) so that a batch of one request can span them.
    #[must_use]
    pub fn data_prefix(&self) -> String {
        match self.table {
            _ if self.is_builtin() => String::new(),
            Table::Mounts => format!("logical/{}/", self.uuid),
            Table::Auth => format!("auth/{}/", self.uuid),
        }
    }

    /// Whether it cannot be moved or disabled.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        matches!(
            (self.table, self.mount_type.as_str()),
            (Table::Mounts, "system" | "identity" | "cubbyhole") | (Table::Auth, "token")
        )
    }

    /// What the engine may know.
    #[must_use]
    pub fn facts(&self, config: &CoreConfig) -> Mount {
        let or = |seconds: u64, system: Duration| if seconds == 0 { system } else { Duration::from_secs(seconds) };
        Mount {
            path: self.full_path(),
            mount_type: self.mount_type.clone(),
            accessor: self.accessor.clone(),
            uuid: self.uuid.clone(),
            options: self.options.clone().unwrap_or_default(),
            default_lease_ttl: or(self.config.default_lease_ttl, config.default_lease_ttl),
            max_lease_ttl: or(self.config.max_lease_ttl, config.max_lease_ttl),
            token_type: self.config.token_type,
            lockout: config
                .lockout
                .rule(&self.mount_type, &self.config.user_lockout.as_ref().map(UserLockout::settings).unwrap_or_default()),
        }
    }
}

/// The rows of a table as this transaction sees them, by path. Reads the whole listing, so that a change to any mount
/// meanwhile is a conflict: two requests cannot both find the same path free.
pub(crate) fn rows(view: &mut View<'_>, table: Table) -> Result<Vec<Arc<MountEntry>>, TxnError> {
    let mut out = Vec::new();
    for uuid in view.list(table.rows(), &Page::default())? {
        out.extend(view.get_json::<MountEntry>(&format!("{}{uuid}", table.rows()))?);
    }
    out.sort_by(|a: &Arc<MountEntry>, b| a.path.cmp(&b.path));
    Ok(out)
}

/// The row whose mount is at exactly this full path (`x/`, `auth/x/`).
pub(crate) fn row_at(view: &mut View<'_>, full: &str) -> Result<Option<Arc<MountEntry>>, TxnError> {
    let (table, path) = split(full);
    Ok(rows(view, table)?.into_iter().find(|e| e.path == path))
}

/// The row whose mount serves a full path that ends in `/`.
pub(crate) fn row_above(view: &mut View<'_>, full: &str) -> Result<Option<Arc<MountEntry>>, TxnError> {
    let (table, path) = split(full);
    Ok(rows(view, table)?.into_iter().find(|e| path.starts_with(&e.path)))
}

/// The first mount that a new one at `path` would lie below, or that would lie below it.
pub(crate) fn row_in_the_way(view: &mut View<'_>, table: Table, path: &str) -> Result<Option<Arc<MountEntry>>, TxnError> {
    Ok(rows(view, table)?.into_iter().find(|e| path.starts_with(&e.path) || e.path.starts_with(path)))
}

fn split(full: &str) -> (Table, &str) {
    full.strip_prefix("auth/").map_or((Table::Mounts, full), |path| (Table::Auth, path))
}

/// A mount with its engine.
pub struct Mounted {
    /// The row.
    pub entry: Arc<MountEntry>,
    /// What the engine may know.
    pub facts: Arc<Mount>,
    /// The engine.
    pub backend: Arc<dyn Backend>,
    /// [`MountEntry::data_prefix`].
    pub(crate) prefix: Arc<str>,
    /// The engine's version, for audit.
    pub(crate) running_version: String,
    /// Reads and listings have no effect: what they do is look at their transaction. The core's own engine also acts on the
    /// server, so it is never one of these.
    pub(crate) reads_quietly: bool,
}

impl Mounted {
    pub(crate) fn new(entry: Arc<MountEntry>, facts: Arc<Mount>, backend: Arc<dyn Backend>) -> Self {
        let prefix = entry.data_prefix().into();
        let running_version = crate::sys::running_version(&entry.mount_type);
        let reads_quietly = entry.mount_type != "system" && backend.reads_quietly();
        Self { entry, facts, backend, prefix, running_version, reads_quietly }
    }
}

/// All mounts by path and by accessor.
#[derive(Default)]
pub struct Router {
    by_path: BTreeMap<String, Arc<Mounted>>,
    by_accessor: BTreeMap<String, String>,
}

impl Router {
    /// Reads every row. Engines of mounts that stay are taken over from `before`, so that what they keep in memory
    /// (connections, caches) outlives a change elsewhere in the table.
    pub fn build(txn: &mut dyn Transaction, registry: &Registry, config: &CoreConfig, before: &Self) -> Result<Self, TxnError> {
        let mut router = Self::default();
        for table in [Table::Mounts, Table::Auth] {
            let mut view = View::new(txn, table.rows());
            for uuid in view.list("", &Page::default())? {
                let Some(entry) = view.get_json::<MountEntry>(&uuid)? else { continue };
                router.add(entry, registry, config, before);
            }
        }
        Ok(router)
    }

    fn add(&mut self, entry: Arc<MountEntry>, registry: &Registry, config: &CoreConfig, before: &Self) {
        let path = entry.full_path();
        let kept = before
            .by_path
            .values()
            .find(|m| {
                // What a factory may look at: another version needs another engine.
                let (old, new) = (&m.entry, &entry);
                old.uuid == new.uuid && old.options == new.options
            })
            .map(|m| Arc::clone(&m.backend));
        let factory = match entry.table {
            Table::Mounts => registry.secrets.get(entry.mount_type.as_str()),
            Table::Auth => registry.auth.get(entry.mount_type.as_str()),
        };
        let Some(backend) = kept.or_else(|| factory.map(|f| f(&entry))) else {
            // Written by a binary with more engines: the row stays, the path answers "no handler".
            tracing::warn!(mount_type = entry.mount_type, "no engine of this type in this binary");
            return;
        };
        let facts = Arc::new(entry.facts(config));
        self.by_accessor.insert(entry.accessor.clone(), path.clone());
        self.by_path.insert(path, Arc::new(Mounted::new(entry, facts, backend)));
    }

    /// The mount that serves `path`, and the path below it. Mounts never nest, so the greatest key not after `path` is the
    /// only candidate; a mount's own name without its slash is the mount's root.
    #[must_use]
    pub fn resolve<'p>(&self, path: &'p str) -> Option<(&Arc<Mounted>, &'p str)> {
        let at_or_before = self.by_path.range::<str, _>((Bound::Unbounded, Bound::Included(path))).next_back();
        if let Some(served) = at_or_before.and_then(|(mount, found)| Some((found, path.strip_prefix(mount.as_str())?))) {
            return Some(served);
        }
        let root = if path.ends_with('/') { None } else { self.by_path.get(&format!("{path}/")) };
        root.map(|found| (found, ""))
    }

    /// The mount at exactly this path (trailing `/`).
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Arc<Mounted>> {
        self.by_path.get(path)
    }

    /// The mount with this accessor.
    #[must_use]
    pub fn by_accessor(&self, accessor: &str) -> Option<&Arc<Mounted>> {
        self.by_accessor.get(accessor).and_then(|path| self.by_path.get(path))
    }

    /// All mounts of a table, by path.
    pub fn table(&self, table: Table) -> impl Iterator<Item = &Arc<Mounted>> {
        self.by_path.values().filter(move |m| m.entry.table == table)
    }

    /// A mount whose path is a prefix of `path` or the other way round: mounting there would nest.
    #[must_use]
    pub fn conflict(&self, path: &str) -> Option<&str> {
        if let Some((found, _)) = self.resolve(path) {
            return self.by_path.get_key_value(&found.entry.full_path()).map(|(p, _)| p.as_str());
        }
        self.by_path
            .range::<str, _>((Bound::Included(path), Bound::Unbounded))
            .next()
            .map(|(p, _)| p.as_str())
            .filter(|p| p.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Engine, PathTable};
    use storage::MemoryTransaction;

    struct Nothing(PathTable<Self>);

    impl Engine for Nothing {
        const TYPE: &'static str = "nothing";

        fn table(&self) -> &PathTable<Self> {
            &self.0
        }
    }

    fn router(paths: &[(&str, Table)]) -> Router {
        let mut txn = MemoryTransaction::default();
        let make: crate::Factory = Arc::new(|_| Arc::new(Nothing(PathTable::new("", vec![]))));
        let mut registry = Registry::default();
        registry.secrets.insert("nothing", Arc::clone(&make));
        registry.auth.insert("nothing", make);
        for (i, (path, table)) in paths.iter().enumerate() {
            let entry = serde_json::json!({"table": table, "path": path, "type": "nothing", "uuid": format!("u{i}"), "accessor": format!("a{i}")});
            View::new(&mut txn, table.rows()).put_json(&format!("u{i}"), &entry).unwrap();
        }
        Router::build(&mut txn, &registry, &CoreConfig::default(), &Router::default()).unwrap()
    }

    #[test]
    fn a_path_goes_to_the_mount_it_lies_below() {
        let r =
            router(&[("secret/", Table::Mounts), ("a/b/", Table::Mounts), ("token/", Table::Auth), ("secret-2/", Table::Mounts)]);
        let found = |p: &str| r.resolve(p).map(|(m, rest)| format!("{}|{rest}", m.entry.full_path()));
        for (path, want) in [
            ("secret/x/y", Some("secret/|x/y")),
            ("secret/", Some("secret/|")),
            ("secret", Some("secret/|")),
            ("secret-2/x", Some("secret-2/|x")),
            ("secret-/x", None),
            ("a/b/c", Some("a/b/|c")),
            ("a/x", None),
            ("auth/token/create", Some("auth/token/|create")),
            ("token/create", None),
            ("", None),
            ("zzz", None),
        ] {
            assert_eq!(found(path).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn mounts_never_nest() {
        let r = router(&[("a/b/", Table::Mounts)]);
        assert_eq!(r.conflict("a/b/"), Some("a/b/"));
        assert_eq!(r.conflict("a/b/c/"), Some("a/b/"));
        assert_eq!(r.conflict("a/"), Some("a/b/"));
        assert_eq!(r.conflict("a/c/"), None);
        assert_eq!(r.conflict("a/b2/"), None);
    }
}
