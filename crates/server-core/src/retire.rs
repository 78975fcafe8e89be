//! Mounts that were disabled or moved: what was handed out below the old path is taken back.
//!
//! The request itself frees the path and takes back what fits into one transaction; a row in `core/leaving/` has the expiry
//! worker do the rest. Secrets are undone by their engine, which needs its data for that, so the data of a disabled mount
//! goes last. Leases and tokens are told apart by the mount's accessor: a new mount at the same path is not touched.

use std::sync::Arc;
use std::time::Duration;

use engine::EngineError;
use secret::Time;
use serde::{Deserialize, Serialize};
use storage::{Page, View};
use tokens::{DueItem, Held, Leases};

use crate::core::{CommitError, Core, OpenCore};
use crate::expiry;
use crate::finish::REVOKE_STEPS;
use crate::mounts::{MountEntry, Mounted, Table};

const LEAVING: &str = "core/leaving/";
/// Leases, tokens or aliases handled by the request itself.
const IN_REQUEST: usize = 256;
/// Leases or aliases handled in one transaction of the worker.
const STEPS: usize = 256;
/// Requests that were under way when the mount went may still commit something for it. After this nothing can come.
const GRACE: Duration = Duration::from_secs(5);
/// How long a disabled mount's data is kept for leases that its engine cannot undo. After six attempts, at most ten minutes,
/// they are given up on.
const KEEP: Duration = Duration::from_secs(15 * 60);
/// How often it is looked whether those leases are gone.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A mount on its way out.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Leaving {
    /// The full path it had.
    path: String,
    accessor: String,
    since: Time,
    /// When the worker looks again.
    look: Time,
    /// The mount, if it was disabled; a moved one lives on.
    disabled: Option<MountEntry>,
}

/// Which way a mount goes.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// Its data goes as well.
    Disabled,
    /// It lives on at this full path.
    Moved(&'a str),
}

/// Takes back what `entry` handed out at its (old) path. Part of the request that removes or moves the row.
pub(crate) fn leave(
    view: &mut View<'_>,
    open: &OpenCore,
    entry: &MountEntry,
    way: Way<'_>,
    now: Time,
) -> Result<(), EngineError> {
    let leaving = Leaving {
        path: entry.full_path(),
        accessor: entry.accessor.clone(),
        since: now,
        look: now,
        disabled: matches!(way, Way::Disabled).then(|| entry.clone()),
    };
    if let Way::Moved(to) = way {
        // It comes back to a path it left a moment ago: what it hands out there from now on is good.
        for earlier in all(view)?.iter().filter(|l| l.accessor == entry.accessor && l.path == to) {
            view.delete(&earlier.row())?;
        }
    }
    // Looked up outside: the folders of leases change with every login, and each change would be a conflict.
    let found = {
        let mut txn = open.barrier.begin();
        leaving.handed_out(&mut View::new(&mut txn, ""), open, IN_REQUEST, now)?
    };
    take_back(view, open, &found, now)?;
    if entry.table == Table::Auth && leaving.disabled.is_some() {
        identity::remove_mount_aliases(view, &entry.accessor, IN_REQUEST)?;
    }
    Ok(view.put_json(&leaving.row(), &leaving)?)
}

/// The engine of a disabled mount, for the leases that are still to be undone.
pub(crate) fn engine_of(core: &Core, open: &OpenCore, accessor: &str) -> Result<Option<Arc<Mounted>>, EngineError> {
    let mut txn = open.barrier.begin();
    let mut view = View::new(&mut txn, LEAVING);
    for name in view.list("", &Page::default())?.iter().filter(|n| n.ends_with(accessor)) {
        let Some(entry) = view.get_json::<Leaving>(name)?.and_then(|l| l.disabled.clone()).filter(|e| e.accessor == accessor)
        else {
            continue;
        };
        let kinds = if entry.table == Table::Auth { &open.registry().auth } else { &open.registry().secrets };
        let Some(factory) = kinds.get(entry.mount_type.as_str()) else { return Ok(None) };
        let (backend, facts) = (factory(&entry), Arc::new(entry.facts(core.config())));
        return Ok(Some(Arc::new(Mounted::new(Arc::new(entry), facts, backend))));
    }
    Ok(None)
}

/// One round of the worker over all mounts on their way out.
pub(crate) async fn carry_on(core: &Core, open: &OpenCore) -> Result<(), CommitError> {
    let now = core.clock.now();
    let rows = {
        let mut txn = open.barrier.begin();
        all(&mut View::new(&mut txn, "")).map_err(CommitError::Work)?
    };
    for leaving in rows.iter().filter(|l| l.look <= now) {
        if let Err(e) = one(core, open, leaving, now).await {
            // One mount's trouble must not keep the others.
            tracing::warn!(accessor = leaving.accessor, error = %e, "what a mount left could not be cleared; it is tried again");
        }
    }
    Ok(())
}

fn all(view: &mut View<'_>) -> Result<Vec<Arc<Leaving>>, EngineError> {
    let mut out = Vec::new();
    for name in view.list(LEAVING, &Page::default())? {
        out.extend(view.get_json::<Leaving>(&format!("{LEAVING}{name}"))?);
    }
    Ok(out)
}

async fn one(core: &Core, open: &OpenCore, leaving: &Leaving, now: Time) -> Result<(), CommitError> {
    let found = {
        let mut txn = open.barrier.begin();
        leaving.handed_out(&mut View::new(&mut txn, ""), open, usize::MAX, now).map_err(CommitError::Work)?
    };
    for some in found.chunks(STEPS) {
        core.transact(open, |view| take_back(view, open, some, now)).await?;
    }
    let age = now.since(leaving.since);
    if age < GRACE {
        return Ok(());
    }
    let Some(entry) = leaving.disabled.as_ref() else {
        return core.transact(open, |view| Ok(view.delete(&leaving.row())?)).await;
    };
    let waiting = found.iter().any(|item| matches!(item, DueItem::Lease(_)));
    if waiting && age < KEEP {
        let later = Leaving { look: now.plus(LOOK_AGAIN), ..leaving.clone() };
        return core.transact(open, |view| Ok(view.put_json(&later.row(), &later)?)).await;
    }
    if entry.table == Table::Auth {
        while !core.transact(open, |view| identity::remove_mount_aliases(view, &entry.accessor, STEPS)).await? {
            tokio::task::yield_now().await;
        }
    }
    let bury = |view: &mut View<'_>| {
        expiry::bury(view, &entry.data_prefix())?;
        Ok(view.delete(&leaving.row())?)
    };
    core.transact(open, bury).await
}

impl Leaving {
    /// Its name ends in the accessor; the time before it keeps several moves of one mount apart.
    fn row(&self) -> String {
        format!("{LEAVING}{}-{}", self.since.nanos(), self.accessor)
    }

    /// Up to `limit` tokens and leases of secrets of this mount below its old path. Leases that were given up on do not count.
    fn handed_out(&self, view: &mut View<'_>, open: &OpenCore, limit: usize, now: Time) -> Result<Vec<DueItem>, EngineError> {
        let mut own = Vec::new();
        for item in Leases::below(view, &self.path, limit)? {
            let mine = match &item {
                DueItem::Lease(id) => match Leases::lookup(view, id)? {
                    Some(Held::Secret(lease)) => lease.mount_accessor == self.accessor && lease.irrevocable.is_empty(),
                    _ => false,
                },
                // A token's key is its accessor.
                DueItem::Token(key) => {
                    let found = open.tokens.lookup_accessor(view, key, now)?;
                    found.is_some_and(|f| f.entry.mount_accessor == self.accessor)
                }
            };
            if mine {
                own.push(item);
            }
        }
        Ok(own)
    }
}

fn take_back(view: &mut View<'_>, open: &OpenCore, items: &[DueItem], now: Time) -> Result<(), EngineError> {
    for item in items {
        match item {
            DueItem::Token(key) => {
                open.tokens.revoke_tree(view, key, now, REVOKE_STEPS)?;
            }
            DueItem::Lease(id) => {
                // One that is over already is being undone, perhaps after a failure that it is now waiting after.
                if matches!(Leases::lookup(view, id)?, Some(Held::Secret(l)) if l.expire_time > now) {
                    Leases::make_due(view, id, now)?;
                }
            }
        }
    }
    Ok(())
}
