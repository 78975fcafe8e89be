//! The one thread that writes the log: everything that waits becomes one batch and one fsync (group commit).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use storage::{Batch, Durability, Space, Store, StoreError};
use tokio::sync::oneshot;

use crate::codec::{log_key, meta};
use crate::limits::{APPEND_BATCH_BYTES, FULL_DISK_RETRY};
use crate::shared::Shared;
use crate::types::TypeConfig;

/// Who waits for a job to be on disk.
pub(crate) enum Done {
    /// openraft's callback.
    Append(IOFlushed<TypeConfig>),
    /// A method that waits.
    Reply(oneshot::Sender<io::Result<()>>),
    /// Nobody; a failure shows at the next append.
    Nobody,
}

impl Done {
    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            Self::Reply(reply) => drop(reply.send(result)),
            Self::Nobody => {}
        }
    }
}

/// One request to the writer. Requests reach the disk in the order they were sent.
pub(crate) enum Job {
    /// May share a batch with others.
    Write(Write, Done),
    /// Remove the entries `from..=to` and remember the encoded position `upto`, once the state is durable.
    Purge { from: u64, to: u64, upto: Vec<u8>, done: Done },
}

/// What goes into the shared batch.
pub(crate) enum Write {
    /// Entries by ascending index, encoded.
    Append(Vec<(u64, Vec<u8>)>),
    /// A vote, encoded.
    Vote(Vec<u8>),
    /// Remove the entries in this range.
    Truncate(std::ops::RangeInclusive<u64>),
}

/// The sending half; the thread ends, after writing what was sent, when this is dropped.
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `written` is told the greatest index that is on disk before the waiting callbacks are.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        shared: Arc<Shared>,
        written: impl Fn(u64) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || Loop { store, shared, written, queue }.run())
            .map_err(|source| StoreError::Io { context: "starting the log writer".to_owned(), source })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(crate) fn send(&self, job: Job) -> io::Result<()> {
        let closed = || io::Error::other("the log writer has stopped");
        self.jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log writer panicked");
        }
    }
}

struct Loop<W> {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    written: W,
    queue: Receiver<Job>,
}

#[derive(Default)]
struct Gathered {
    batch: Batch,
    bytes: usize,
    last: Option<u64>,
    waiting: Vec<Done>,
}

impl<W: Fn(u64)> Loop<W> {
    fn run(self) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| self.queue.recv().ok()) {
            match job {
                Job::Purge { from, to, upto, done } => done.complete(self.purge(from, to, upto)),
                Job::Write(write, done) => next = self.write(write, done),
            }
        }
    }

    /// Writes this and all that waits behind it, up to a purge, which is returned.
    fn write(&self, write: Write, done: Done) -> Option<Job> {
        let mut purge = None;
        let mut gathered = Gathered::default();
        gathered.add(write, done);
        while gathered.bytes < APPEND_BATCH_BYTES {
            match self.queue.try_recv() {
                Ok(Job::Write(write, done)) => gathered.add(write, done),
                Ok(job) => {
                    purge = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        self.finish(gathered);
        purge
    }

    fn finish(&self, gathered: Gathered) {
        let result = self.commit(gathered.batch);
        if let (Ok(()), Some(last)) = (&result, gathered.last) {
            (self.written)(last);
        }
        for done in gathered.waiting {
            done.complete(match &result {
                Ok(()) => Ok(()),
                Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
            });
        }
    }

    /// Entries may go only when the state that stands for them cannot be lost any more.
    fn purge(&self, from: u64, to: u64, upto: Vec<u8>) -> io::Result<()> {
        self.store.sync().map_err(|e| self.shared.fail(&e))?;
        let mut batch = Batch::default();
        batch.put(Space::Meta, meta::PURGED, upto);
        for index in from..=to {
            batch.delete(Space::Log, log_key(index));
        }
        self.commit(batch)
    }

    fn commit(&self, batch: Batch) -> io::Result<()> {
        if let Some(failure) = self.shared.failure() {
            return Err(io::Error::other(failure.to_owned()));
        }
        loop {
            self.shared.set_syncing(true);
            let outcome = self.store.commit(batch.clone(), Durability::Synced);
            self.shared.set_syncing(false);
            match outcome {
                Ok(()) => {
                    self.shared.set_full(None);
                    return Ok(());
                }
                Err(e @ StoreError::Full(_)) if !self.shared.stopping() => {
                    self.shared.set_full(Some(&e));
                    std::thread::sleep(FULL_DISK_RETRY);
                }
                Err(e) => return Err(self.shared.fail(&e)),
            }
        }
    }
}

impl Gathered {
    fn add(&mut self, write: Write, done: Done) {
        match write {
            Write::Append(entries) => {
                for (index, entry) in entries {
                    self.bytes += entry.len();
                    self.last = Some(index);
                    self.batch.put(Space::Log, log_key(index), entry);
                }
            }
            Write::Vote(vote) => self.batch.put(Space::Meta, meta::VOTE, vote),
            Write::Truncate(range) => {
                for index in range {
                    self.batch.delete(Space::Log, log_key(index));
                }
            }
        }
        self.waiting.push(done);
    }
}
