//! A device: a bounded queue, a thread that writes everything that waits in one go, and a breaker for when it hangs.
//!
//! A request puts its line into the queue and waits for the writer's word, but no longer than the time-out. The first request
//! that waits in vain opens the breaker: later ones are told at once, so one dead device costs the others one time-out and no
//! more. The writer closes the breaker when the device takes lines again. A device that fails at once (a full disk) needs no
//! breaker: each entry tries anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::config::{DeviceConfig, EnableError, Plan};
use crate::hash::Hasher;
use crate::line::Scribe;
use crate::sink::{Sink, Target};

/// Enough for two seconds of 2 KiB lines at 4,000 a second; a device that is further behind is as good as hung.
const MAX_QUEUE_BYTES: usize = 16 << 20;
/// Capacity that is kept between groups. A burst's buffer is given back.
const KEPT_BUFFER_BYTES: usize = 256 << 10;
/// Between attempts at a device that hung and then failed.
const RETRY_MILLIS: u64 = 1_000;
/// One warning per device in this time, so that a full disk is not filled further by the server's own log.
const WARN_INTERVAL_SECONDS: u64 = 10;

/// How a device fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It took the last lines.
    Healthy,
    /// It refused the last lines at once.
    Failing,
    /// It does not answer; its breaker is open.
    Stalled,
}

/// A device for metrics and for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Where it is enabled, with a trailing `/`.
    pub path: String,
    /// `file`.
    pub device_type: String,
    /// How it fares.
    pub health: Health,
    /// What went wrong last, while it is not healthy.
    pub error: Option<String>,
    /// Bytes waiting to be written.
    pub queued_bytes: usize,
    /// Entries it took since it was enabled.
    pub recorded: u64,
    /// Entries it did not take, or not in time.
    pub missed: u64,
}

/// What the writer says of one entry.
pub(crate) type Ack = Result<(), Arc<str>>;

pub(crate) struct Device {
    pub(crate) path: String,
    pub(crate) config: DeviceConfig,
    pub(crate) target: Target,
    pub(crate) scribe: Scribe,
    shared: Arc<Shared>,
    warned: Mutex<Warned>,
}

#[derive(Default)]
struct Warned {
    last: Option<Instant>,
    suppressed: u64,
}

struct Shared {
    path: String,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The breaker.
    stalled: AtomicBool,
    closed: AtomicBool,
    recorded: AtomicU64,
    missed: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    waiting: Vec<Waiting>,
    reopen: bool,
    /// The writer has taken lines and has not settled them.
    writing: bool,
    error: Option<Arc<str>>,
}

struct Waiting {
    /// Where the entry ends in `lines`.
    end: usize,
    ack: oneshot::Sender<Ack>,
}

impl Device {
    /// Starts the writer. Nothing is opened before the first entry.
    pub(crate) fn start(
        path: String,
        config: DeviceConfig,
        plan: Plan,
        salt: &secret::SecretString,
    ) -> Result<Self, EnableError> {
        let shared = Arc::new(Shared {
            path: path.clone(),
            queue: Mutex::default(),
            wake: Condvar::new(),
            stalled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            recorded: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        });
        let writer = Writer { shared: Arc::clone(&shared), sink: Sink::new(plan.target.clone(), plan.mode) };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run()).map_err(|_| EnableError::NoThread)?;
        let scribe = Scribe { style: plan.style, hasher: Hasher::new(salt) };
        Ok(Self { path, config, target: plan.target, scribe, shared, warned: Mutex::default() })
    }

    /// Queues one entry (one or more whole lines), or says why not.
    pub(crate) fn enqueue(&self, lines: &[u8]) -> Result<oneshot::Receiver<Ack>, Arc<str>> {
        let refuse = |why: &str| {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
            Err(Arc::from(why))
        };
        if self.shared.stalled.load(Ordering::Acquire) {
            return refuse("it does not answer");
        }
        let (ack, answer) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        if queue.lines.len() + lines.len() > MAX_QUEUE_BYTES {
            drop(queue);
            return refuse("its queue is full");
        }
        queue.lines.extend_from_slice(lines);
        let end = queue.lines.len();
        queue.waiting.push(Waiting { end, ack });
        drop(queue);
        self.shared.wake.notify_one();
        Ok(answer)
    }

    /// A request waited in vain: opens the breaker.
    pub(crate) fn stall(&self, waited: Duration) -> Arc<str> {
        self.shared.missed.fetch_add(1, Ordering::Relaxed);
        let why: Arc<str> = format!("it did not answer within {waited:?}").into();
        let mut queue = self.shared.queue.lock();
        // An idle writer has just answered, too late for this one. Nobody would close the breaker again, so it stays closed.
        if queue.writing || !queue.lines.is_empty() {
            queue.error = Some(Arc::clone(&why));
            self.shared.stalled.store(true, Ordering::Release);
        }
        why
    }

    /// Tells the operator, but not more often than is useful.
    pub(crate) fn warn(&self, why: &str) {
        let mut warned = self.warned.lock();
        if warned.last.is_some_and(|at| at.elapsed() < Duration::from_secs(WARN_INTERVAL_SECONDS)) {
            warned.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut warned.suppressed);
        warned.last = Some(Instant::now());
        drop(warned);
        tracing::warn!(device = %self.path, target = %self.target, reason = why, suppressed, "audit device did not take an entry");
    }

    /// Makes the writer close and open its file.
    pub(crate) fn reopen(&self) {
        self.shared.queue.lock().reopen = true;
        self.shared.wake.notify_one();
    }

    pub(crate) fn status(&self) -> DeviceStatus {
        let queue = self.shared.queue.lock();
        let health = match (self.shared.stalled.load(Ordering::Acquire), &queue.error) {
            (true, _) => Health::Stalled,
            (false, Some(_)) => Health::Failing,
            (false, None) => Health::Healthy,
        };
        DeviceStatus {
            path: self.path.clone(),
            device_type: self.config.device_type.clone(),
            health,
            error: queue.error.as_deref().map(str::to_owned),
            queued_bytes: queue.lines.len(),
            recorded: self.shared.recorded.load(Ordering::Relaxed),
            missed: self.shared.missed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Device {
    /// The writer finishes what waits and ends. It is not joined: it may hang in the kernel.
    fn drop(&mut self) {
        let _queue = self.shared.queue.lock();
        self.shared.closed.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
}

impl Writer {
    fn run(mut self) {
        let (mut lines, mut waiting) = (Vec::new(), Vec::new());
        while self.next_group(&mut lines, &mut waiting) {
            self.write_group(&lines, &mut waiting);
            lines.clear();
            lines.shrink_to(KEPT_BUFFER_BYTES);
        }
    }

    /// Waits for work and takes all of it. `false` when the device is gone and nothing is left.
    fn next_group(&mut self, lines: &mut Vec<u8>, waiting: &mut Vec<Waiting>) -> bool {
        let mut queue = self.shared.queue.lock();
        loop {
            if std::mem::take(&mut queue.reopen) {
                self.sink.close();
            }
            if !queue.lines.is_empty() {
                std::mem::swap(&mut queue.lines, lines);
                std::mem::swap(&mut queue.waiting, waiting);
                queue.writing = true;
                return true;
            }
            if self.shared.closed.load(Ordering::Acquire) {
                return false;
            }
            self.shared.wake.wait(&mut queue);
        }
    }

    fn write_group(&mut self, lines: &[u8], waiting: &mut Vec<Waiting>) {
        let mut done = 0;
        loop {
            let rest = lines.get(done..).unwrap_or_default();
            let outcome = self.sink.write(rest, &self.shared.closed);
            done += outcome.taken_bytes;
            if outcome.replaced {
                tracing::warn!(device = %self.shared.path, "audit file was deleted or renamed; opened a new one at its path");
            }
            let why: Option<Arc<str>> = outcome.error.as_ref().map(|e| reason(e).into());
            // Without the breaker the requests know already. With it, nobody asks any more, so the writer has to.
            if !self.settle(waiting, done, why.as_ref()) || !self.pause() {
                return;
            }
        }
    }

    /// Tells the requests whose entries end at or before `done` that they are recorded, and all others why not. Answers
    /// whether to try again: the device failed and its breaker is open.
    fn settle(&self, waiting: &mut Vec<Waiting>, done: usize, error: Option<&Arc<str>>) -> bool {
        let mut queue = self.shared.queue.lock();
        let was_stalled = self.shared.stalled.load(Ordering::Acquire);
        let again = was_stalled && error.is_some();
        queue.error = error.map(Arc::clone);
        queue.writing = again;
        self.shared.stalled.store(again, Ordering::Release);
        drop(queue);
        if was_stalled && !again {
            tracing::warn!(device = %self.shared.path, "audit device answers again");
        }
        let taken = |w: &Waiting| error.is_none() || w.end <= done;
        let (recorded, refused): (Vec<_>, Vec<_>) = waiting.drain(..).partition(taken);
        // Counted before anybody is told, so that who was told finds it counted. Who gave up has been counted as missed.
        let missed = refused.iter().filter(|w| !w.ack.is_closed()).count();
        self.shared.recorded.fetch_add(recorded.len() as u64, Ordering::Relaxed);
        self.shared.missed.fetch_add(missed as u64, Ordering::Relaxed);
        for waiting in recorded {
            // A request that is gone does not want to know.
            let _ = waiting.ack.send(Ok(()));
        }
        if let Some(why) = error {
            for waiting in refused {
                let _ = waiting.ack.send(Err(Arc::clone(why)));
            }
        }
        again
    }

    /// Waits before another attempt; `false` when the device is gone.
    fn pause(&self) -> bool {
        let until = Instant::now() + Duration::from_millis(RETRY_MILLIS);
        let mut queue = self.shared.queue.lock();
        while !self.shared.closed.load(Ordering::Acquire) {
            if self.shared.wake.wait_until(&mut queue, until).timed_out() {
                return true;
            }
        }
        false
    }
}

/// An operator's words for an error: the kind and the system's text, without paths or content.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        // ENXIO on a FIFO.
        Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => "nobody reads from it".to_owned(),
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => "it is a symbolic link".to_owned(),
        _ => error.to_string(),
    }
}
