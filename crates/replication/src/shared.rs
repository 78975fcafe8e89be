//! What the log writer, the state machine and the callers know of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use storage::StoreError;
use tokio::sync::Notify;

use crate::error::ProposeError;
use crate::ledger::Ledger;
use crate::limits::FULL_DISK_PATIENCE;
use crate::runtime::watch;

/// Facts that threads share without a lock.
pub struct Shared {
    applied_index: AtomicU64,
    applied_term: watch::Sender<u64>,
    term_now: AtomicU64,
    /// The first failure that ended this node's storage.
    failure: OnceLock<String>,
    full: watch::Sender<bool>,
    full_text: parking_lot::Mutex<String>,
    stopping: AtomicBool,
    /// The log writer is at the disk, so another commit would wait for it.
    syncing: AtomicBool,
    /// This node is the only one there is: it leads and nobody follows.
    sole: AtomicBool,
    /// How many parts still hold the store.
    holders: watch::Sender<usize>,
    /// Entries below this index are on disk; the greatest number where nobody keeps count.
    logged: watch::Sender<u64>,
    /// Rung when the log outgrew its limit.
    pub(crate) log_grew: Notify,
    /// Proposals of this process on their way.
    pub(crate) ledger: Arc<Ledger>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            applied_index: AtomicU64::new(0),
            applied_term: watch::Sender::new(0),
            term_now: AtomicU64::new(0),
            failure: OnceLock::new(),
            full: watch::Sender::new(false),
            full_text: parking_lot::Mutex::new(String::new()),
            stopping: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            sole: AtomicBool::new(false),
            holders: watch::Sender::new(0),
            logged: watch::Sender::new(u64::MAX),
            log_grew: Notify::new(),
            ledger: Arc::default(),
        }
    }
}

impl Shared {
    /// The state now holds everything up to here.
    pub(crate) fn set_applied(&self, term: u64, index: u64) {
        self.set_applied_index(index);
        self.set_applied_term(term);
    }

    pub(crate) fn set_applied_index(&self, index: u64) {
        self.applied_index.store(index, Ordering::Release);
    }

    /// Told only when every entry of an earlier term was shown to the ledger.
    pub(crate) fn set_applied_term(&self, term: u64) {
        if self.term_now.swap(term, Ordering::AcqRel) != term {
            self.applied_term.send_replace(term);
        }
    }

    pub(crate) fn applied_index(&self) -> u64 {
        self.applied_index.load(Ordering::Acquire)
    }

    /// The term of the last applied entry.
    pub(crate) fn applied_term(&self) -> u64 {
        self.term_now.load(Ordering::Acquire)
    }

    pub(crate) fn watch_applied_term(&self) -> watch::Receiver<u64> {
        self.applied_term.subscribe()
    }

    /// Remembers the first failure.
    pub(crate) fn fail(&self, error: &StoreError) -> std::io::Error {
        let text = error.to_string();
        if self.failure.set(text.clone()).is_ok() {
            tracing::error!(error = %text, "storage failed; this node stops replicating");
            self.logged.send_replace(u64::MAX); // who waits for the log has to hear of it
        }
        std::io::Error::other(text)
    }

    /// From now on the state waits for the log, whose entries below `next` are on disk.
    pub(crate) fn keep_count_of_log(&self, next: u64) {
        self.logged.send_replace(next);
    }

    /// The log on disk ends, or ends again, before `next`.
    pub(crate) fn set_logged(&self, next: u64) {
        self.logged.send_if_modified(|logged| {
            let changed = *logged != u64::MAX && *logged != next;
            if changed {
                *logged = next;
            }
            changed
        });
    }

    /// Waits until the log has this committed entry on disk. openraft applies an entry as soon as it is committed, and with
    /// followers that may be before this node's own log has it; a state that survived a crash without it could not be told
    /// from one whose log was lost.
    pub(crate) async fn logged(&self, index: u64) -> Result<(), StoreError> {
        if *self.logged.borrow() <= index {
            // The sender is in `self`, so the channel cannot close.
            let _ = self.logged.subscribe().wait_for(|next| *next > index).await;
        }
        match self.failure() {
            Some(failure) => Err(StoreError::Poisoned(failure.to_owned())),
            None => Ok(()),
        }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    pub(crate) fn set_full(&self, error: Option<&StoreError>) {
        match error {
            Some(e) => {
                *self.full_text.lock() = e.to_string();
                if !self.full.send_replace(true) {
                    tracing::error!(error = %e, "writes wait until there is room");
                }
            }
            None => {
                let was_full = self.full.send_if_modified(std::mem::take);
                if was_full {
                    tracing::info!("the disk has room again");
                }
            }
        }
    }

    /// Why nothing can be written at the moment.
    pub(crate) fn blocked(&self) -> Option<ProposeError> {
        if let Some(failure) = self.failure() {
            return Some(ProposeError::Storage(failure.to_owned()));
        }
        self.full.borrow().then(|| self.full_error())
    }

    /// Comes back once the disk has been full for [`FULL_DISK_PATIENCE`] without a break.
    pub(crate) async fn stays_full(&self) -> ProposeError {
        let mut full = self.full.subscribe();
        loop {
            // The sender is in `self`, so the channel cannot close.
            let _ = full.wait_for(|full| *full).await;
            if tokio::time::timeout(FULL_DISK_PATIENCE, full.wait_for(|full| !*full)).await.is_err() {
                return self.full_error();
            }
        }
    }

    fn full_error(&self) -> ProposeError {
        ProposeError::Full(self.full_text.lock().clone())
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn set_syncing(&self, syncing: bool) {
        self.syncing.store(syncing, Ordering::Relaxed);
    }

    pub(crate) fn syncing(&self) -> bool {
        self.syncing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_sole(&self, sole: bool) {
        self.sole.store(sole, Ordering::Relaxed);
    }

    pub(crate) fn is_sole(&self) -> bool {
        self.sole.load(Ordering::Relaxed)
    }

    /// Waits until no part of the node holds the store any more.
    pub(crate) async fn released(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let mut holders = self.holders.subscribe();
        let _closed = holders.wait_for(|n| *n == 0).await;
    }
}

/// Counted while a part of the node holds the store. A struct keeps it as its last field, so that it goes last.
pub(crate) struct Hold(Arc<Shared>);

impl Hold {
    pub(crate) fn on(shared: &Arc<Shared>) -> Self {
        shared.holders.send_modify(|n| *n += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holders.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_state_waits_for_the_log_on_disk() {
        let shared = Shared::default();
        assert!(shared.logged(7).now_or_never().is_some_and(|l| l.is_ok()), "nobody keeps count");
        shared.keep_count_of_log(7);
        assert!(shared.logged(6).now_or_never().is_some_and(|l| l.is_ok()));
        assert!(shared.logged(7).now_or_never().is_none());
        shared.set_logged(9);
        assert!(shared.logged(8).now_or_never().is_some_and(|l| l.is_ok()));
        shared.set_logged(5); // truncated
        assert!(shared.logged(5).now_or_never().is_none());
        let (waited, ()) = tokio::join!(shared.logged(5), async { shared.set_logged(6) });
        assert!(waited.is_ok());
        drop(shared.fail(&StoreError::Poisoned("gone".to_owned())));
        assert!(shared.logged(100).await.is_err(), "who waits hears of a failure");
    }
}
