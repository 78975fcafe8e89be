//! The thread that keeps the journal short: when it is long, and when nobody has written for a moment, so that a store at rest
//! is no larger than its data.
//!
//! Deliberately absent: how the journal is emptied (`store`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Without a commit for so long the store is at rest.
const REST: Duration = Duration::from_millis(400);

/// What the thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ring {
    /// There is something in the journal.
    Written,
    /// It has reached its limit.
    Full,
}

/// The writers' side: rings cost nothing while one is under way.
pub(crate) struct Bell {
    sender: Mutex<Option<SyncSender<Ring>>>,
    written: AtomicBool,
    full: AtomicBool,
}

impl Bell {
    pub(crate) fn written(&self) {
        self.ring(&self.written, Ring::Written);
    }

    pub(crate) fn full(&self) {
        self.ring(&self.full, Ring::Full);
    }

    fn ring(&self, under_way: &AtomicBool, ring: Ring) {
        if under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let rung = sender.as_ref().is_some_and(|sender| sender.try_send(ring).is_ok());
        under_way.store(rung, Ordering::Release);
    }
}

/// The thread; ends when this is dropped.
pub(crate) struct Keeper {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// A bell, and what [`Keeper::start`] listens to.
    pub(crate) fn bell() -> (Arc<Bell>, Listener) {
        let (sender, rings) = sync_channel(4);
        let bell = Bell { sender: Mutex::new(Some(sender)), written: AtomicBool::new(false), full: AtomicBool::new(false) };
        let bell = Arc::new(bell);
        (Arc::clone(&bell), Listener { bell, rings })
    }

    /// Starts the thread. `commits` counts commits; `shorten` empties the journal, at leisure or for good.
    pub(crate) fn start(
        listener: Listener,
        commits: impl Fn() -> u64 + Send + 'static,
        shorten: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let bell = Arc::clone(&listener.bell);
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || listener.run(&commits, &shorten))?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.bell.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        // A panic in it was the engine's; the store is poisoned by then.
        let _joined = self.thread.take().map(JoinHandle::join);
    }
}

/// The thread's side of the bell.
pub(crate) struct Listener {
    bell: Arc<Bell>,
    rings: Receiver<Ring>,
}

impl Listener {
    fn run(self, commits: &dyn Fn() -> u64, shorten: &dyn Fn()) {
        let (mut resting, mut seen) = (true, 0);
        loop {
            let ring = if resting {
                self.rings.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.rings.recv_timeout(REST)
            };
            match ring {
                Ok(Ring::Written) => (resting, seen) = (false, commits()),
                Ok(Ring::Full) => {
                    shorten();
                    self.bell.full.store(false, Ordering::Release);
                }
                Err(RecvTimeoutError::Timeout) if commits() == seen => {
                    self.bell.written.store(false, Ordering::Release);
                    shorten();
                    resting = true;
                }
                Err(RecvTimeoutError::Timeout) => seen = commits(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
