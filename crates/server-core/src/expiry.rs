//! What ends by itself: due tokens and leases, and the data of mounts that were disabled.
//!
//! One worker for each unsealed node, which rests while another leads. It sleeps until the next second, asks the due-time index (work proportional to what is
//! due), and handles each entry in a transaction of its own. Revoking a secret may take long; it runs beside the worker with
//! a bound, so that a dead backend delays nothing but its own leases.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use engine::{Call, Caller, EngineError, Fields, Request};
use parking_lot::Mutex;
use storage::{Page, View};
use tokens::{DueItem, Held, Leases, due};

use crate::core::{CommitError, Core, OpenCore, RequestSystem};

/// How often the index is looked at. Expiry is exact for readers (a token past its time is not found); this is only about
/// when it is cleared away.
const TICK: Duration = Duration::from_millis(500);
/// Entries taken from the index in one go.
const BATCH_COUNT: usize = 256;
/// Secrets being revoked at the same time, over all engines.
const REVOKING_MAX: usize = 16;
/// How long an engine may take to revoke one secret.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Tokens or records removed in one transaction.
const STEPS: usize = 256;

/// Where the leftovers of disabled mounts are noted: the name is the storage prefix with `/` as `|`.
pub(crate) const TOMBSTONES: &str = "core/tombstones/";

/// Notes that everything below `prefix` is to be removed.
pub(crate) fn bury(view: &mut View<'_>, prefix: &str) -> Result<(), EngineError> {
    Ok(view.put(&format!("{TOMBSTONES}{}", prefix.replace('/', "|")), b"1".as_slice().into())?)
}

/// Where revocations beside the worker have their place.
struct Room {
    permits: Arc<tokio::sync::Semaphore>,
    under_way: Mutex<HashSet<String>>,
}

/// Starts the worker; it ends when the open core is dropped.
pub(crate) fn spawn(core: Arc<Core>, open: &Arc<OpenCore>) {
    let mut alive = open.alive.subscribe();
    let mut leads = core.leads.clone();
    let weak = Arc::downgrade(open);
    let core = Arc::downgrade(&core);
    let room =
        Arc::new(Room { permits: Arc::new(tokio::sync::Semaphore::new(REVOKING_MAX)), under_way: Mutex::new(HashSet::new()) });
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // The sender is dropped with the open core.
                _ = alive.changed() => return,
                // Whoever begins to lead begins to clear away.
                changed = leads.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(TICK) => {}
            }
            let (Some(core), Some(open)) = (core.upgrade(), weak.upgrade()) else { return };
            if open.barrier.is_lost() {
                core.seal_lost(&open).await;
                return;
            }
            if core.leads() {
                if let Err(e) = tick(&core, &open, &room).await {
                    tracing::warn!(error = %e, "expiry could not be carried on; it is tried again");
                }
                if let Err(e) = core.transact(&open, |view| identity_oidc::sweep(view, core.clock.now(), STEPS)).await {
                    tracing::warn!(error = %e, "authorization codes could not be cleared away; it is tried again");
                }
            }
            if let Err(e) = crate::seal::rotation::carry_on(&core, &open).await {
                tracing::warn!(error = %e, "the data key could not be tended; it is tried again");
            }
        }
    });
}

async fn tick(core: &Arc<Core>, open: &Arc<OpenCore>, room: &Arc<Room>) -> Result<(), CommitError> {
    loop {
        let now = core.clock.now();
        let batch = {
            let mut txn = open.barrier.begin();
            due(&mut View::new(&mut txn, ""), now, BATCH_COUNT).map_err(CommitError::Work)?
        };
        let mut tokens = 0usize;
        let full = batch.len() == BATCH_COUNT;
        for entry in batch {
            match entry.item {
                DueItem::Token(key) => {
                    core.transact(open, |view| open.tokens.expire(view, &key, now, STEPS)).await?;
                    tokens += 1;
                }
                DueItem::Lease(id) => start_revoking(core, open, room, id),
            }
        }
        // Leases stay in the index until their engine has answered, so only tokens are progress.
        if !full || tokens == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    tidy_mounts(core, open).await
}

/// What disabled, moved and upgraded mounts leave to be done. Also called by tests, which do not wait for a tick.
pub(crate) async fn tidy_mounts(core: &Core, open: &OpenCore) -> Result<(), CommitError> {
    crate::upgrades::carry_on(core, open).await?;
    crate::retire::carry_on(core, open).await?;
    clear_tombstones(core, open).await
}

/// Revokes beside the worker when there is room and it is not under way; otherwise the lease stays due for the next tick.
fn start_revoking(core: &Arc<Core>, open: &Arc<OpenCore>, room: &Arc<Room>, id: String) {
    let Ok(permit) = Arc::clone(&room.permits).try_acquire_owned() else { return };
    if !room.under_way.lock().insert(id.clone()) {
        return;
    }
    let (core, open, room) = (Arc::clone(core), Arc::clone(open), Arc::clone(room));
    tokio::spawn(async move {
        if let Err(e) = revoke_lease(&core, &open, &id).await {
            tracing::warn!(error = %e, "a lease could not be revoked; it is tried again");
        }
        room.under_way.lock().remove(&id);
        drop(permit);
    });
}

/// Revokes one lease through its engine, then forgets it; a failure counts as an attempt.
pub(crate) async fn revoke_lease(core: &Core, open: &OpenCore, id: &str) -> Result<(), EngineError> {
    let now = core.clock.now();
    let held = {
        let mut txn = open.barrier.begin();
        Leases::lookup(&mut View::new(&mut txn, ""), id)?
    };
    let Some(Held::Secret(lease)) = held else { return Ok(()) };
    let outcome = tokio::time::timeout(REVOKE_TIMEOUT, revoke_secret(core, open, &lease.mount_accessor, &lease.internal)).await;
    let text = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(e.to_string()),
        Err(_) => Some("the engine did not answer in time".to_owned()),
    };
    let kept = core.transact(open, |view| match &text {
        None => Leases::remove(view, id),
        Some(why) => Leases::failed(view, id, why, now).map(|_| ()),
    });
    kept.await.map_err(|e| EngineError::internal(e.to_string()))?;
    text.map_or(Ok(()), |why| Err(EngineError::Internal(format!("failed to revoke entry: {why}"))))
}

pub(crate) async fn revoke_secret(core: &Core, open: &OpenCore, accessor: &str, internal: &Map) -> Result<(), EngineError> {
    let router = open.router(core.config())?;
    let mounted = match router.by_accessor(accessor) {
        Some(mounted) => Arc::clone(mounted),
        None => match crate::retire::engine_of(core, open, accessor)? {
            Some(mounted) => mounted,
            // The mount is gone, and its engine with it: there is nobody left to ask.
            None => return Ok(()),
        },
    };
    let mut txn = open.barrier.begin();
    let request = Request::new(Operation::Revoke, mounted.entry.full_path());
    let caller = Caller::default();
    let system = RequestSystem(router);
    {
        let mut call = Call {
            request: &request,
            operation: Operation::Revoke,
            path: "",
            fields: Fields::default(),
            view: View::new(&mut txn, mounted.entry.data_prefix()),
            mount: &mounted.facts,
            caller: &caller,
            now: core.clock.now(),
            entropy: &*core.entropy,
            system: &system,
        };
        mounted.backend.revoke_secret(&mut call, internal).await?;
    }
    if txn.has_writes() {
        core.commit(txn).await.map_err(|e| EngineError::internal(e.to_string()))?;
    }
    Ok(())
}

async fn clear_tombstones(core: &Core, open: &OpenCore) -> Result<(), CommitError> {
    let names = {
        let mut txn = open.barrier.begin();
        View::new(&mut txn, TOMBSTONES)
            .list("", &Page { after: None, limit: Some(1) })
            .map_err(|e| CommitError::Work(e.into()))?
    };
    for name in names {
        let prefix = name.replace('|', "/");
        let done = core.transact(open, |view| Ok(view.delete_below(&prefix, STEPS)?)).await?;
        if done {
            core.transact(open, |view| Ok(view.delete(&format!("{TOMBSTONES}{name}"))?)).await?;
        }
    }
    Ok(())
}
