//! A thread of their own for the tasks of replication: what they say to each other wakes no other thread, and a short wait
//! for the disk holds up nobody who serves requests.
//!
//! Deliberately absent: what runs there.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread; dropping this ends it and every task on it.
pub(crate) struct Home {
    handle: Handle,
    _running: oneshot::Sender<()>,
}

impl Home {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("raft".to_owned()).spawn(move || {
            let _dropped = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _running: running })
    }

    /// Runs a future on the thread and waits for its answer; `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.handle.spawn(future).await.ok()
    }
}
