//! The log's writes: in place where one short system call does it and nobody waits before it, else on a thread on which
//! everything that waits becomes one batch and one fsync (group commit).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use storage::StoreError;
use tokio::sync::oneshot;

use crate::codec::Position;
use crate::disk::{Disk, Write};
use crate::limits::{APPEND_BATCH_BYTES, FULL_DISK_RETRY};
use crate::shared::Shared;
#[cfg(feature = "simulation")]
use crate::simulation::Host;
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
    /// Remove the entries `from..=upto`, once the state is durable.
    Purge { from: u64, upto: Position, done: Done },
}

/// The sending half; the thread ends, after writing what was sent, when this is dropped.
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    work: Arc<Work>,
    #[cfg(feature = "simulation")]
    bell: Arc<tokio::sync::Notify>,
}

struct Work {
    disk: Arc<Disk>,
    shared: Arc<Shared>,
    written: Box<dyn Fn(u64) + Send + Sync>,
    /// Jobs that were sent and are not done.
    pending: AtomicUsize,
}

impl Writer {
    /// Starts the thread. `written` is told the greatest index that is on disk before the waiting callbacks are.
    pub(crate) fn start(
        disk: Arc<Disk>,
        shared: Arc<Shared>,
        written: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = channel();
        let work = Arc::new(Work { disk, shared, written: Box::new(written), pending: AtomicUsize::new(0) });
        let work_loop = Loop { work: Arc::clone(&work), queue };
        #[cfg(feature = "simulation")]
        let bell = Arc::default();
        #[cfg(feature = "simulation")]
        if let Some(host) = crate::simulation::host() {
            crate::runtime::spawn(work_loop.run_simulated(Arc::clone(&bell), host));
            return Ok(Self { jobs: Some(jobs), thread: None, work, bell });
        }
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || work_loop.run())
            .map_err(|source| StoreError::Io { context: "starting the log writer".to_owned(), source })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            work,
            #[cfg(feature = "simulation")]
            bell,
        })
    }

    pub(crate) fn send(&self, job: Job) -> io::Result<()> {
        let closed = || io::Error::other("the log writer has stopped");
        self.work.pending.fetch_add(1, Ordering::AcqRel);
        self.jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())?;
        #[cfg(feature = "simulation")]
        self.bell.notify_one();
        Ok(())
    }

    /// Whether a write may be made by the caller: no other is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.work.pending.load(Ordering::Acquire) == 0
    }

    /// Makes a write on this thread. Only one caller at a time, and only while [`Writer::is_idle`].
    pub(crate) async fn write_here(&self, write: Write) -> io::Result<()> {
        let work = &*self.work;
        let mut waited = false;
        loop {
            match work.attempt(&mut waited, |disk| disk.write(std::slice::from_ref(&write)))? {
                true => break,
                false => tokio::time::sleep(FULL_DISK_RETRY).await,
            }
        }
        if let Some(last) = write.last_index() {
            (work.written)(last);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        #[cfg(feature = "simulation")]
        self.bell.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log writer panicked");
        }
    }
}

impl Work {
    /// `false`: the disk is full, try again.
    fn attempt(&self, waited: &mut bool, work: impl FnOnce(&Disk) -> Result<(), StoreError>) -> io::Result<bool> {
        if let Some(failure) = self.shared.failure() {
            return Err(io::Error::other(failure.to_owned()));
        }
        match work(&self.disk) {
            Ok(()) => {
                if std::mem::take(waited) {
                    self.shared.set_full(None);
                }
                Ok(true)
            }
            Err(e @ StoreError::Full(_)) if !self.shared.stopping() => {
                *waited = true;
                self.shared.set_full(Some(&e));
                Ok(false)
            }
            Err(e) => Err(self.shared.fail(&e)),
        }
    }
}

struct Loop {
    work: Arc<Work>,
    queue: Receiver<Job>,
}

#[derive(Default)]
struct Gathered {
    writes: Vec<Write>,
    bytes: usize,
    last: Option<u64>,
    waiting: Vec<Done>,
}

impl Loop {
    fn run(self) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| self.queue.recv().ok()) {
            match job {
                Job::Purge { from, upto, done } => {
                    let mut waited = false;
                    let purged = loop {
                        match self.work.attempt(&mut waited, |disk| disk.purge(from, upto)) {
                            Ok(true) => break Ok(()),
                            Ok(false) => std::thread::sleep(FULL_DISK_RETRY),
                            Err(e) => break Err(e),
                        }
                    };
                    self.work.pending.fetch_sub(1, Ordering::AcqRel);
                    done.complete(purged);
                }
                Job::Write(write, done) => next = self.write(write, done),
            }
        }
    }

    /// Writes this and all that waits behind it, up to a purge, which is returned.
    fn write(&self, write: Write, done: Done) -> Option<Job> {
        let (gathered, purge) = self.gather(write, done);
        let result = self.commit(&gathered.writes);
        self.finish(gathered, result);
        purge
    }

    fn gather(&self, write: Write, done: Done) -> (Gathered, Option<Job>) {
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
        (gathered, purge)
    }

    fn finish(&self, gathered: Gathered, result: io::Result<()>) {
        if let (Ok(()), Some(last)) = (&result, gathered.last) {
            (self.work.written)(last);
        }
        self.work.pending.fetch_sub(gathered.waiting.len(), Ordering::AcqRel);
        for done in gathered.waiting {
            done.complete(match &result {
                Ok(()) => Ok(()),
                Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
            });
        }
    }

    fn commit(&self, writes: &[Write]) -> io::Result<()> {
        let mut waited = false;
        for part in writes.chunks(self.work.disk.atomic_writes().min(writes.len().max(1))) {
            self.work.shared.set_syncing(true);
            let outcome = loop {
                match self.work.attempt(&mut waited, |disk| disk.write(part)) {
                    Ok(true) => break Ok(()),
                    Ok(false) => std::thread::sleep(FULL_DISK_RETRY),
                    Err(e) => break Err(e),
                }
            };
            self.work.shared.set_syncing(false);
            outcome?;
        }
        Ok(())
    }
}

#[cfg(feature = "simulation")]
impl Loop {
    /// The same as a task whose disk takes virtual time.
    async fn run_simulated(self, bell: Arc<tokio::sync::Notify>, host: Arc<dyn Host>) {
        use std::sync::mpsc::TryRecvError;
        let mut next = None;
        loop {
            let job = match next.take().map_or_else(|| self.queue.try_recv(), Ok) {
                Ok(job) => job,
                Err(TryRecvError::Empty) => {
                    bell.notified().await;
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
            };
            let (write, done) = match job {
                Job::Write(write, done) => (write, done),
                Job::Purge { from, upto, done } => {
                    tokio::time::sleep(host.write_takes(0)).await;
                    let mut waited = false;
                    let purged = loop {
                        match self.work.attempt(&mut waited, |disk| disk.purge(from, upto)) {
                            Ok(true) => break Ok(()),
                            Ok(false) => tokio::time::sleep(FULL_DISK_RETRY).await,
                            Err(e) => break Err(e),
                        }
                    };
                    self.work.pending.fetch_sub(1, Ordering::AcqRel);
                    done.complete(purged);
                    continue;
                }
            };
            let (gathered, purge) = self.gather(write, done);
            next = purge;
            self.work.shared.set_syncing(true);
            tokio::time::sleep(host.write_takes(gathered.bytes)).await;
            let mut waited = false;
            let result = loop {
                match self.work.attempt(&mut waited, |disk| disk.write(&gathered.writes)) {
                    Ok(true) => break Ok(()),
                    Ok(false) => tokio::time::sleep(FULL_DISK_RETRY).await,
                    Err(e) => break Err(e),
                }
            };
            self.work.shared.set_syncing(false);
            self.finish(gathered, result);
        }
    }
}

impl Gathered {
    fn add(&mut self, write: Write, done: Done) {
        self.last = write.last_index().or(self.last);
        match write {
            Write::Append(entries) => {
                self.bytes += entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
                match self.writes.last_mut() {
                    Some(Write::Append(before)) => before.extend(entries),
                    _ => self.writes.push(Write::Append(entries)),
                }
            }
            other => self.writes.push(other),
        }
        self.waiting.push(done);
    }
}

impl Write {
    /// Index of the last entry that it appends.
    fn last_index(&self) -> Option<u64> {
        match self {
            Self::Append(entries) => entries.last().map(|(position, _)| position.index),
            Self::Vote(_) | Self::Truncate { .. } => None,
        }
    }
}
