//! Mounts whose data is on its way from version 1 to version 2 (KV). The request that tunes a mount only notes it; the expiry
//! worker moves the data in bounded steps, so that a mount of any size can be upgraded.

use replication::ProposeError;
use storage::{Page, View};

use crate::core::{CommitError, Core, OpenCore};
use crate::mounts::{MountEntry, Table};

/// One row for each mount that is not done: its uuid.
const PENDING: &str = "core/upgrades/";
/// Records moved in one transaction. Their values go into one log entry, and a value can be large.
const STEPS: usize = 64;

/// Notes that a mount's data is to be moved. Part of the request that changes the mount's version.
pub(crate) fn note(view: &mut View<'_>, entry: &MountEntry) -> Result<(), engine::EngineError> {
    Ok(view.put(&format!("{PENDING}{}", entry.uuid), b"1".as_slice().into())?)
}

/// Moves what is noted until nothing is left.
pub(crate) async fn carry_on(core: &Core, open: &OpenCore) -> Result<(), CommitError> {
    let pending = {
        let mut txn = open.barrier.begin();
        View::new(&mut txn, PENDING).list("", &Page::default()).map_err(|e| CommitError::Work(e.into()))?
    };
    for uuid in pending {
        let mut steps = STEPS;
        loop {
            match step(core, open, &uuid, steps).await {
                Ok(true) => break,
                Ok(false) => tokio::task::yield_now().await,
                // Large values: they fit one by one, or they could not have been written.
                Err(CommitError::Propose(ProposeError::TooLarge { .. })) if steps > 1 => steps = 1,
                Err(e) => {
                    tracing::warn!(uuid, error = %e, "a mount could not be upgraded; it is tried again");
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn step(core: &Core, open: &OpenCore, uuid: &str, steps: usize) -> Result<bool, CommitError> {
    let now = core.clock.now();
    let work = |view: &mut View<'_>| {
        let entry = view.get_json::<MountEntry>(&format!("{}{uuid}", Table::Mounts.rows()))?;
        let Some(entry) = entry else {
            // Disabled meanwhile.
            view.delete(&format!("{PENDING}{uuid}"))?;
            return Ok(true);
        };
        // Noted by a binary with more engines: it stays noted, and nothing more can be done here.
        let Some(upgrade) = open.registry().upgrades.get(entry.mount_type.as_str()) else { return Ok(true) };
        let done = upgrade(&mut view.below(&entry.data_prefix()), &entry, now, steps)?;
        if done {
            view.delete(&format!("{PENDING}{uuid}"))?;
        }
        Ok(done)
    };
    core.transact(open, work).await
}
