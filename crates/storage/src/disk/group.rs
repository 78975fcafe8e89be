//! Commits that arrive while another is being written are merged into the next one: N waiting clients share one write and
//! one fdatasync. A lone client pays one lock more.
//!
//! Deliberately absent: any timer. Nobody waits for company; the group is whoever came during the write before.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Batch, Durability, StoreError};

/// The queue in front of an engine's single writer.
#[derive(Default)]
pub struct GroupCommit {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// The group being filled.
    batch: Batch,
    synced: bool,
    /// Number of the group being filled; all below `written` are done.
    filling: u64,
    written: u64,
    leading: bool,
    /// Set for good by the first failed write.
    failed: Option<String>,
}

impl GroupCommit {
    /// Hands `batch` to `write`, alone or together with others, and waits until it is written. `write` is called by one
    /// thread at a time, in commit order; a merged group keeps the order of its members and asks for the strongest
    /// durability among them. An empty synced batch asks `write` for a bare sync.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] for everyone after the first failure of `write`; the thread that wrote gets the cause itself.
    pub fn commit(
        &self,
        batch: Batch,
        durability: Durability,
        write: impl FnOnce(Batch, Durability) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut queue = self.lock();
        queue.alive()?;
        let mine = queue.filling;
        queue.batch.ops.extend(batch.ops);
        queue.synced |= durability == Durability::Synced;
        while queue.leading {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            if queue.written > mine {
                return Ok(());
            }
            queue.alive()?;
        }
        let group = queue.take();
        drop(queue);
        let outcome = write(group.0, group.1);
        let mut queue = self.lock();
        queue.leading = false;
        match &outcome {
            Ok(()) => queue.written = mine + 1,
            Err(StoreError::Poisoned(cause)) => queue.failed = Some(cause.clone()),
            Err(error) => queue.failed = Some(error.to_string()),
        }
        drop(queue);
        self.changed.notify_all();
        outcome
    }

    /// Runs `work` while no commit is being written. A failure of it stops nothing.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] after a failed write, else what `work` answers.
    pub fn exclusively<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut queue = self.lock();
        queue.alive()?;
        while queue.leading {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.alive()?;
        }
        queue.leading = true;
        drop(queue);
        let outcome = work();
        self.lock().leading = false;
        self.changed.notify_all();
        outcome
    }

    /// Stops the store for good.
    pub fn poison(&self, cause: &str) {
        self.lock().failed.get_or_insert_with(|| cause.to_owned());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn alive(&self) -> Result<(), StoreError> {
        self.failed.as_ref().map_or(Ok(()), |cause| Err(StoreError::Poisoned(cause.clone())))
    }

    fn take(&mut self) -> (Batch, Durability) {
        self.leading = true;
        self.filling += 1;
        let durability = if std::mem::take(&mut self.synced) { Durability::Synced } else { Durability::Buffered };
        (std::mem::take(&mut self.batch), durability)
    }
}
