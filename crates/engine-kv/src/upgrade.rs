//! A mount goes from version 1 to version 2: every secret becomes version 1 of its key.
//!
//! `unversioned` stands in the view as long as there may be secrets of version 1. [`KvV1`](crate::KvV1) sets it in the
//! transaction of its first write, the last step of the upgrade removes it, and version 2 looks for it only where it would
//! otherwise say "not found". So keys already moved are served at once, and no state outside the mount must be kept in step.

use engine::EngineError;
use secret::{SecretBytes, Time};
use storage::{Page, TxnError, View};

use crate::attribution::Attribution;
use crate::model::{Config, KeyMetadata};
use crate::store;

/// Secrets of version 1, each a JSON object.
pub(crate) const PLAIN: &str = "plain/";
const MARKER: &str = "unversioned";
const PENDING: &str = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly.";

/// Notes that secrets of version 1 exist.
pub(crate) fn mark(view: &mut View<'_>) -> Result<(), EngineError> {
    if view.get(MARKER)?.is_none() {
        view.put(MARKER, SecretBytes::new(b"1".to_vec()))?;
    }
    Ok(())
}

/// Refuses while secrets of version 1 wait.
pub(crate) fn refuse_while_pending(view: &mut View<'_>) -> Result<(), EngineError> {
    match view.get(MARKER)? {
        Some(_) => Err(EngineError::invalid(PENDING)),
        None => Ok(()),
    }
}

/// Whether the view of a mount holds secrets that [`upgrade_v1_to_v2`] must move before version 2 can serve them all.
pub fn needs_upgrade(view: &mut View<'_>) -> Result<bool, TxnError> {
    Ok(view.get(MARKER)?.is_some())
}

/// Moves up to `limit` secrets of version 1 to version 2 and answers whether everything is done.
///
/// Each step is complete in itself: commit it, call again with a new transaction. Interrupted at any point, the next call
/// goes on. A mount that never held a secret is done at once. The data is taken over byte for byte.
pub fn upgrade_v1_to_v2(view: &mut View<'_>, now: Time, limit: usize) -> Result<bool, EngineError> {
    if view.get(MARKER)?.is_none() {
        return Ok(true);
    }
    let mut paths = Vec::new();
    collect(view, "", limit.saturating_add(1), &mut paths)?;
    let finished = paths.len() <= limit;
    paths.truncate(limit);
    for path in &paths {
        move_one(view, path, now)?;
    }
    if finished {
        view.delete(MARKER)?;
    }
    Ok(finished)
}

fn collect(view: &mut View<'_>, folder: &str, limit: usize, paths: &mut Vec<String>) -> Result<(), TxnError> {
    // A page bounds one step even where a single folder holds very many secrets.
    let page = Page { after: None, limit: Some(limit.saturating_sub(paths.len())) };
    for name in view.list(&format!("{PLAIN}{folder}"), &page)? {
        if paths.len() >= limit {
            break;
        }
        let path = format!("{folder}{name}");
        if name.ends_with('/') {
            collect(view, &path, limit, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

fn move_one(view: &mut View<'_>, path: &str, now: Time) -> Result<(), EngineError> {
    let old = format!("{PLAIN}{path}");
    if let Some(record) = view.get(&old)? {
        let mut meta = KeyMetadata::new(now);
        // The window of one version is what the reference uses here; it makes `oldest_version` 1 from the start.
        let config = Config { max_versions: 1, ..Config::default() };
        meta.add_version(&config, now, Attribution::upgrade());
        store::put_version(view, path, &meta, &store::json_text(&record)?, &[])?;
    }
    Ok(view.delete(&old)?)
}
