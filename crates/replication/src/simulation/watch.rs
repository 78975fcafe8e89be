//! tokio's watched value, except that those who wait for it go on in the order in which they came: tokio draws lots, and
//! then a seed would not repeat a run. Only what replication needs of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use openraft::rt::watch as rt;
use openraft::rt::{OptionalSend, OptionalSync};
use parking_lot::Mutex;
use tokio::sync::watch as tokio_watch;
pub use tokio_watch::Ref;

#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Wakes those who wait once more when the last sender is gone.
#[derive(Clone)]
struct Bell(Arc<Waiting>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Sets the value.
pub struct Sender<T> {
    inner: tokio_watch::Sender<T>,
    // Behind `inner`, so that it rings when that one is gone.
    bell: Bell,
}

/// Sees the value.
pub struct Receiver<T> {
    inner: tokio_watch::Receiver<T>,
    waiting: Arc<Waiting>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), bell: self.bell.clone() }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), waiting: Arc::clone(&self.waiting) }
    }
}

/// A value and its first receiver.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A value.
    pub fn new(value: T) -> Self {
        Self { inner: tokio_watch::Sender::new(value), bell: Bell(Arc::default()) }
    }

    /// One more receiver, which has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { inner: self.inner.subscribe(), waiting: Arc::clone(&self.bell.0) }
    }

    /// The present value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.inner.borrow()
    }

    /// Sets the value and answers the one before.
    pub fn send_replace(&self, value: T) -> T {
        let before = self.inner.send_replace(value);
        self.bell.0.wake();
        before
    }

    /// Changes the value.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.inner.send_modify(modify);
        self.bell.0.wake();
    }

    /// Changes the value, if `modify` says so.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = self.inner.send_if_modified(modify);
        if modified {
            self.bell.0.wake();
        }
        modified
    }
}

impl<T> Receiver<T> {
    /// The present value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.inner.borrow()
    }

    /// The present value, seen from now on.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.inner.borrow_and_update()
    }

    /// Waits for a value that was not seen.
    ///
    /// # Errors
    /// No sender is left.
    pub async fn changed(&mut self) -> Result<(), rt::RecvError> {
        poll_fn(|cx| {
            let changed = match self.inner.has_changed() {
                Ok(true) => Ok(()),
                Ok(false) => {
                    self.waiting.0.lock().push(cx.waker().clone());
                    return Poll::Pending;
                }
                Err(_) => Err(rt::RecvError(())),
            };
            self.inner.mark_unchanged();
            Poll::Ready(changed)
        })
        .await
    }

    /// Waits for such a value.
    ///
    /// # Errors
    /// No sender is left.
    pub async fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, rt::RecvError> {
        loop {
            if is_it(&self.inner.borrow_and_update()) {
                return Ok(self.inner.borrow());
            }
            self.changed().await?;
        }
    }
}

/// For openraft.
pub struct Watch;

/// [`Receiver`] by openraft's name for it.
pub struct Seen<T>(Receiver<T>);

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl rt::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Seen<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Seen<T>) {
        let sender = Sender::new(init);
        let receiver = sender.subscribe();
        (sender, Seen(receiver))
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchSender<Watch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), rt::SendError<T>> {
        self.inner.send(value).map_err(|e| rt::SendError(e.0))?;
        self.bell.0.wake();
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        Self::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.inner.borrow()
    }

    fn subscribe(&self) -> Seen<T> {
        Seen(Self::subscribe(self))
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchReceiver<Watch, T> for Seen<T> {
    async fn changed(&mut self) -> Result<(), rt::RecvError> {
        self.0.changed().await
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.0.borrow_and_update()
    }
}
