//! Putting one state in another's place so that a crash in between is finished at the next opening.

use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};
use storage::{Batch, Durability, Space, Store, StoreError};

use crate::codec::{self, Position, Roster, meta};
use crate::limits::{INSTALL_BATCH_BYTES, INSTALL_BATCH_KEYS};
use crate::snapshot::StateSnapshot;

/// Says that the state is being replaced, and by what.
#[derive(Serialize, Deserialize)]
pub(crate) struct Installing {
    pub(crate) at: Option<Position>,
    pub(crate) roster: Roster,
    /// The records have no version of their own: they get the index of `at`.
    pub(crate) restored: bool,
}

/// Replaces the state by the snapshot's. The caller has left a durable mark; it goes with the last commit, so a crash
/// anywhere in between starts this again.
pub(crate) fn replace_state(store: &dyn Store, mark: &Installing, snapshot: &StateSnapshot) -> Result<(), StoreError> {
    clear_state(store)?;
    let version = mark.at.filter(|_| mark.restored).map(|at| at.index.to_be_bytes());
    let mut batch = Batch::default();
    let mut bytes = 0;
    let mut failed = None;
    snapshot.each(&mut |key, value| {
        batch.put(Space::State, key, [version.as_ref().map_or(&[][..], |v| v), value].concat());
        bytes += key.len() + value.len();
        if bytes >= INSTALL_BATCH_BYTES {
            bytes = 0;
            if let Err(e) = store.commit(std::mem::take(&mut batch), Durability::Buffered) {
                failed = Some(e);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    match mark.at {
        Some(at) => {
            batch.put(Space::Meta, meta::APPLIED, codec::encode(&at)?);
            batch.put(Space::Meta, meta::INSTALLED, codec::encode(&at)?);
        }
        None => batch.delete(Space::Meta, meta::APPLIED),
    }
    batch.put(Space::Meta, meta::MEMBERSHIP, codec::encode(&mark.roster)?);
    batch.delete(Space::Meta, meta::INSTALLING);
    store.commit(batch, Durability::Synced)
}

fn clear_state(store: &dyn Store) -> Result<(), StoreError> {
    loop {
        let mut batch = Batch::default();
        store.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut |key, _| {
            batch.delete(Space::State, key);
            if batch.ops.len() < INSTALL_BATCH_KEYS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if batch.is_empty() {
            return Ok(());
        }
        store.commit(batch, Durability::Buffered)?;
    }
}
