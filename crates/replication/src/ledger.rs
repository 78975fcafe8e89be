//! Which proposals of this process wait to be applied here, and how the state machine tells them.
//!
//! A proposal of a node in a cluster carries a [`Ticket`] through the log, so its proposer recognises it when it applies it,
//! whatever became of the connection or the leader that took it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::types::{Applied, Ticket};

/// The waiting proposals of one process.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Random, so that no other process has it, not even an earlier one of this node. 0 until it is set.
    origin: AtomicU64,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, watch::Sender<Seen>>>,
}

/// What the state machine saw of a proposal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) applied: Option<Applied>,
    /// A snapshot was installed meanwhile: the proposal may be in it.
    pub(crate) jumped: bool,
}

impl Ledger {
    pub(crate) fn set_origin(&self, origin: u64) {
        self.origin.store(origin, Ordering::Release);
    }

    /// A new ticket, and the wait for its entry.
    pub(crate) fn enroll(self: &Arc<Self>) -> Waiter {
        let ticket = Ticket { origin: self.origin.load(Ordering::Acquire), number: self.next.fetch_add(1, Ordering::Relaxed) };
        let (sender, seen) = watch::channel(Seen::default());
        self.waiting.lock().insert(ticket.number, sender);
        Waiter { ledger: Arc::clone(self), ticket, seen }
    }

    /// An entry was applied, and the observer has seen it.
    pub(crate) fn applied(&self, ticket: Ticket, applied: Applied) {
        if ticket.origin != self.origin.load(Ordering::Acquire) {
            return;
        }
        if let Some(waiting) = self.waiting.lock().get(&ticket.number) {
            waiting.send_modify(|seen| seen.applied = Some(applied));
        }
    }

    /// The state came from a snapshot; what led to it was not seen.
    pub(crate) fn jumped(&self) {
        for waiting in self.waiting.lock().values() {
            waiting.send_modify(|seen| seen.jumped = true);
        }
    }
}

/// The wait for one entry.
pub(crate) struct Waiter {
    ledger: Arc<Ledger>,
    pub(crate) ticket: Ticket,
    seen: watch::Receiver<Seen>,
}

impl Waiter {
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Comes back once the entry is applied.
    pub(crate) async fn applied(&mut self) -> Applied {
        loop {
            if let Some(applied) = self.seen.borrow_and_update().applied {
                return applied;
            }
            if self.seen.changed().await.is_err() {
                // The sender goes only with this waiter.
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.ledger.waiting.lock().remove(&self.ticket.number);
    }
}
