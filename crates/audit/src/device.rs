//! A device: a bounded queue, writers that take everything that waits in one go, and a breaker for when it hangs.
//!
//! A request puts its lines into the queue and waits for a writer's word, but no longer than the time-out. The first request
//! that waits in vain opens the breaker: later ones are told at once, so one dead device costs the others one time-out and no
//! more. The writer closes the breaker when the device takes lines again. A device that fails at once (a full disk) needs no
//! breaker: each entry tries anew.
//!
//! Who writes is `writer`'s business: a thread of the device's own, or, while the device is quick, the request itself or a task.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::config::{DeviceConfig, EnableError, Plan};
use crate::filter::Filter;
use crate::hash::Hasher;
use crate::line::Scribe;
use crate::sink::{Sink, Target};
use crate::writer::{self, Writer};

/// Enough for two seconds of 2 KiB lines at 4,000 a second; a device that is further behind is as good as hung.
const MAX_QUEUE_BYTES: usize = 16 << 20;
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
    /// `file`, `socket` or `syslog`.
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

/// What became of an entry that was given to a device.
pub(crate) enum Given {
    /// The device has it, or not.
    Told(Ack),
    /// A writer will say.
    Waits(oneshot::Receiver<Ack>),
}

pub(crate) struct Device {
    pub(crate) path: String,
    pub(crate) config: DeviceConfig,
    pub(crate) target: Target,
    pub(crate) scribe: Scribe,
    pub(crate) time_out: Duration,
    pub(crate) filter: Option<Filter>,
    pub(crate) fallback: bool,
    shared: Arc<Shared>,
    warned: Mutex<Warned>,
}

#[derive(Default)]
struct Warned {
    last: Option<Instant>,
    suppressed: u64,
}

/// What requests and writers share.
pub(crate) struct Shared {
    pub(crate) path: String,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) wake: Condvar,
    /// Held by whoever writes, which the queue's `turn` names.
    pub(crate) sink: Mutex<Sink>,
    /// The breaker.
    pub(crate) stalled: AtomicBool,
    pub(crate) closed: AtomicBool,
    /// The sink is quick and was so lately: a task may write to it.
    pub(crate) quick: AtomicBool,
    pub(crate) recorded: AtomicU64,
    pub(crate) missed: AtomicU64,
}

/// Who takes what waits. Only one at a time, so that lines keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Turn {
    #[default]
    Nobody,
    /// A task among the requests.
    Task,
    /// The device's thread.
    Thread,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) group: Group,
    pub(crate) turn: Turn,
    pub(crate) reopen: bool,
    /// When an entry came last.
    pub(crate) last: Option<Instant>,
    /// Writes in a row that took long.
    pub(crate) slow_count: u32,
    /// The device was slow: until then the thread writes.
    pub(crate) distrust_until: Option<Instant>,
    pub(crate) error: Option<Arc<str>>,
}

/// Entries that are written together.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) lines: Vec<u8>,
    pub(crate) waiting: Vec<Waiting>,
}

pub(crate) struct Waiting {
    /// Where the entry ends in `lines`.
    pub(crate) end: usize,
    pub(crate) ack: oneshot::Sender<Ack>,
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
            sink: Mutex::new(plan.sink),
            stalled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            quick: AtomicBool::new(false),
            recorded: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        });
        let writer = Writer::new(Arc::clone(&shared));
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run()).map_err(|_| EnableError::NoThread)?;
        Ok(Self {
            path,
            config,
            target: plan.target,
            scribe: Scribe { style: plan.style, hasher: Hasher::new(salt) },
            time_out: plan.time_out,
            filter: plan.filter,
            fallback: plan.fallback,
            shared,
            warned: Mutex::default(),
        })
    }

    /// Writes one entry (one or more whole lines) here and now if that is wanted, nobody else is at it and it takes no time; else
    /// queues it, or says why not.
    pub(crate) fn give(&self, lines: &mut Vec<u8>, here: bool) -> Given {
        let refuse = |why: &str| {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
            Given::Told(Err(Arc::from(why)))
        };
        if self.shared.stalled.load(Ordering::Acquire) {
            return refuse("it does not answer");
        }
        let mut queue = match here.then(|| writer::write_here(&self.shared, lines)) {
            Some(Ok(word)) => return Given::Told(word),
            Some(Err(queue)) => queue,
            None => self.shared.queue.lock(),
        };
        let (ack, answer) = oneshot::channel();
        if queue.group.lines.len() + lines.len() > MAX_QUEUE_BYTES {
            drop(queue);
            return refuse("its queue is full");
        }
        queue.group.lines.extend_from_slice(lines);
        let end = queue.group.lines.len();
        queue.group.waiting.push(Waiting { end, ack });
        writer::start(&self.shared, queue);
        Given::Waits(answer)
    }

    /// A request waited in vain: opens the breaker.
    pub(crate) fn stall(&self) -> Arc<str> {
        self.shared.missed.fetch_add(1, Ordering::Relaxed);
        let why: Arc<str> = format!("it did not answer within {:?}", self.time_out).into();
        let mut queue = self.shared.queue.lock();
        // An idle writer has just answered, too late for this one. Nobody would close the breaker again, so it stays closed.
        if queue.turn != Turn::Nobody {
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
            queued_bytes: queue.group.lines.len(),
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

/// An operator's words for an error: the kind and the system's text, without paths or content.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        // ENXIO on a FIFO.
        Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => "nobody reads from it".to_owned(),
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => "it is a symbolic link".to_owned(),
        _ => error.to_string(),
    }
}
