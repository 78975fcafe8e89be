//! Small settings in storage that many requests need: kept decoded in memory until an applied entry touches them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use barrier::{Barrier, Unsealed, Watch};
use serde::{Deserialize, Serialize};
use storage::{Page, TxnError, View};

/// Where the audited request headers stand, one row a header (lower case).
pub(crate) const AUDITED_HEADER_ROWS: &str = "core/auditing-headers/";
/// Where the CORS setting stands.
pub(crate) const CORS_ROWS: &str = "core/cors/";
/// The one row there.
pub(crate) const CORS_ROW: &str = "core/cors/config";

/// Request headers that audit lines show although nobody configured them (contract §7.5).
const DEFAULT_AUDITED: [&str; 3] = ["correlation-id", "user-agent", "x-correlation-id"];

/// A value made from everything below one folder of the storage.
pub(crate) struct Cached<T> {
    watch: Watch,
    load: fn(&mut View<'_>) -> Result<T, TxnError>,
    kept: ArcSwapOption<(u64, Arc<T>)>,
}

impl<T> Cached<T> {
    pub(crate) fn new(
        barrier: &Barrier<Unsealed>,
        folder: &str,
        load: fn(&mut View<'_>) -> Result<T, TxnError>,
    ) -> Result<Self, TxnError> {
        Ok(Self { watch: barrier.watch(folder)?, load, kept: ArcSwapOption::empty() })
    }

    /// The value as applied. The count is read before the rows, so a change in between is loaded by the next caller.
    pub(crate) fn get(&self, barrier: &Arc<Barrier<Unsealed>>) -> Result<Arc<T>, TxnError> {
        let count = self.watch.count();
        if let Some(kept) = self.kept.load().as_ref().filter(|k| k.0 == count) {
            return Ok(Arc::clone(&kept.1));
        }
        let value = Arc::new((self.load)(&mut View::new(&mut barrier.begin(), ""))?);
        self.kept.store(Some(Arc::new((count, Arc::clone(&value)))));
        Ok(value)
    }
}

/// Request headers that audit lines show, by lower-case name, and whether their values are hashed.
pub(crate) type AuditedHeaders = BTreeMap<String, bool>;

/// A stored decision about one request header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AuditedHeaderRow {
    pub(crate) hmac: bool,
    /// A default header that was taken out.
    #[serde(default)]
    pub(crate) removed: bool,
}

/// The defaults, changed by the stored rows.
pub(crate) fn audited_headers(view: &mut View<'_>) -> Result<AuditedHeaders, TxnError> {
    let mut out: AuditedHeaders = DEFAULT_AUDITED.iter().map(|name| ((*name).to_owned(), false)).collect();
    for name in view.list(AUDITED_HEADER_ROWS, &Page::default())? {
        let Some(row) = view.get_json::<AuditedHeaderRow>(&format!("{AUDITED_HEADER_ROWS}{name}"))? else { continue };
        if row.removed {
            out.remove(&name);
        } else {
            out.insert(name, row.hmac);
        }
    }
    Ok(out)
}

/// Whether a header is shown without a row of its own.
pub(crate) fn is_audited_by_default(name: &str) -> bool {
    DEFAULT_AUDITED.contains(&name)
}

/// `sys/config/cors` while it is on; the edge answers preflights and checks origins by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Origins that may ask; `*` alone is all.
    pub allowed_origins: Vec<String>,
    /// Request headers they may send, Vault's own first.
    pub allowed_headers: Vec<String>,
}

/// The setting; `None` while it is off.
pub(crate) fn cors(view: &mut View<'_>) -> Result<Option<Cors>, TxnError> {
    Ok(view.get_json::<Cors>(CORS_ROW)?.map(|c| Cors::clone(&c)))
}

/// Headers that the web UI's answers carry, by name.
pub type UiHeaders = BTreeMap<String, Vec<String>>;

/// Where they stand, one row a header.
pub(crate) const UI_HEADER_ROWS: &str = "core/ui/headers/";

/// A stored header of the web UI.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UiHeader {
    pub(crate) values: Vec<String>,
}

pub(crate) fn ui_headers(view: &mut View<'_>) -> Result<UiHeaders, TxnError> {
    let mut out = UiHeaders::new();
    for name in view.list(UI_HEADER_ROWS, &Page::default())? {
        if let Some(row) = view.get_json::<UiHeader>(&format!("{UI_HEADER_ROWS}{name}"))? {
            out.insert(name, row.values.clone());
        }
    }
    Ok(out)
}
