//! Who writes a device's lines, and when.
//!
//! **The thread** of the device may block, so it can always write. But an entry that goes through it costs two changes of thread,
//! which is more than all the rest of a read. So, as long as the device is a regular file whose writes took no time, **the request**
//! that finds the device at rest writes its own entry at once. Where entries come closely one after another they queue up, and **a
//! task** writes them as a group: it yields once, so that all requests that are ready can add theirs.
//!
//! A disk may hang all the same. Then whoever writes keeps one of the runtime's workers and nothing else: the requests of the group
//! wait beside it with their time-out, at most one in the whole process may be writing ([`ROOM`]), a runtime with a single worker
//! gets none, and a slow write sends the device back to its thread. The one request that writes waits for as long as the disk does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::device::{Ack, Group, Queue, Shared, Turn, Waiting, reason};

/// Capacity that is kept between groups. A burst's buffer is given back.
const KEPT_BUFFER_BYTES: usize = 256 << 10;
/// Between attempts at a device that hung and then failed.
const RETRY: Duration = Duration::from_millis(1_000);
/// A write to the page cache takes microseconds; one that takes longer waits for a disk, or its thread had to wait for a processor.
const QUICK: Duration = Duration::from_millis(10);
/// Entries that follow one another so closely are cheaper to write as groups: each write drives the requests out of the
/// processor's caches, which costs them more than the wait for the group.
const CLOSE: Duration = Duration::from_micros(100);
/// So many of them in a row are the disk's.
const SLOW_MAX_COUNT: u32 = 3;
/// Nothing but a disk makes a write wait that long.
const HUNG: Duration = Duration::from_millis(500);
/// How long a slow device stays with its thread.
const DISTRUST: Duration = Duration::from_secs(10);

/// Taken while a task writes.
static ROOM: AtomicBool = AtomicBool::new(false);

/// Writes an entry where it was made, if the device is quick and at rest; else gives back the queue to put it into.
pub(crate) fn write_here<'s>(shared: &'s Arc<Shared>, lines: &mut Vec<u8>) -> Result<Ack, MutexGuard<'s, Queue>> {
    let began = Instant::now();
    let mut queue = shared.queue.lock();
    let is_close = queue.last.replace(began).is_some_and(|last| began.saturating_duration_since(last) < CLOSE);
    let idle = queue.turn == Turn::Nobody && !queue.reopen;
    if !idle || is_close || !shared.quick.load(Ordering::Acquire) {
        return Err(queue);
    }
    let Some(runtime) = runtime_with_room() else { return Err(queue) };
    if ROOM.swap(true, Ordering::AcqRel) {
        return Err(queue);
    }
    queue.turn = Turn::Task;
    drop(queue);
    let group = Group { lines: std::mem::take(lines), waiting: Vec::new() };
    let mut task = Task { shared: Arc::clone(shared), group, over: false };
    let done = attempt(shared, &task.group, 0);
    let now = Instant::now();
    ROOM.store(false, Ordering::Release);
    let word = match (&done.error, done.hopeless.first()) {
        (None, None) => Ok(()),
        (Some(why), _) | (None, Some((_, why))) => Err(Arc::clone(why)),
    };
    let count = if word.is_ok() { &shared.recorded } else { &shared.missed };
    count.fetch_add(1, Ordering::Relaxed);
    let next = task.after(&done, now.duration_since(began), now);
    if task.over {
        *lines = std::mem::take(&mut task.group.lines);
        lines.clear();
    }
    if let Next::Write = next {
        runtime.spawn(task.run());
    }
    Ok(word)
}

/// Lets somebody write what waits in the queue, unless somebody is at it.
pub(crate) fn start(shared: &Arc<Shared>, mut queue: MutexGuard<'_, Queue>) {
    if queue.turn != Turn::Nobody {
        return;
    }
    if shared.quick.load(Ordering::Acquire)
        && let Some(runtime) = runtime_with_room()
    {
        queue.turn = Turn::Task;
        drop(queue);
        let task = Task { shared: Arc::clone(shared), group: Group::default(), over: false };
        runtime.spawn(task.run());
        return;
    }
    queue.turn = Turn::Thread;
    drop(queue);
    shared.wake.notify_one();
}

/// The runtime, if one of its workers may block.
fn runtime_with_room() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    let many = runtime.runtime_flavor() == RuntimeFlavor::MultiThread && runtime.metrics().num_workers() > 1;
    many.then_some(runtime)
}

/// Yields of a task that finds another one writing, before it leaves its group to the thread.
const PATIENCE_COUNT: usize = 4;

/// One turn of a task.
struct Task {
    shared: Arc<Shared>,
    group: Group,
    over: bool,
}

/// How a task goes on.
enum Next {
    Write,
    /// Another task is writing.
    Wait,
    /// Nothing waits any more, or the thread has to go on.
    End,
}

impl Task {
    async fn run(mut self) {
        let mut patience = PATIENCE_COUNT;
        loop {
            // One more poll of the sockets: what is ready now goes into this group.
            tokio::task::yield_now().await;
            match self.write_group() {
                Next::Write => patience = PATIENCE_COUNT,
                Next::Wait if patience > 0 => patience -= 1,
                Next::Wait | Next::End => return,
            }
        }
    }

    /// Writes what waits.
    fn write_group(&mut self) -> Next {
        if ROOM.swap(true, Ordering::AcqRel) {
            return Next::Wait;
        }
        std::mem::swap(&mut self.shared.queue.lock().group, &mut self.group);
        let began = Instant::now();
        let done = attempt(&self.shared, &self.group, 0);
        let now = Instant::now();
        ROOM.store(false, Ordering::Release);
        self.after(&done, now.duration_since(began), now)
    }

    /// Tells those who wait what became of their group, and sees to what comes next.
    fn after(&mut self, done: &Done, took: Duration, now: Instant) -> Next {
        let again = settle(&self.shared, &mut self.group, done);
        let mut queue = self.shared.queue.lock();
        if again {
            // The breaker is open: somebody has to try again and may take his time.
            give_back(&mut queue, std::mem::take(&mut self.group), done.taken_bytes);
            return Next::End;
        }
        self.group.lines.clear();
        self.group.lines.shrink_to(KEPT_BUFFER_BYTES);
        let slow = is_slow(&mut queue, took);
        if slow {
            queue.distrust_until = Some(now + DISTRUST);
            self.shared.quick.store(false, Ordering::Release);
        }
        if queue.reopen || self.shared.closed.load(Ordering::Acquire) {
            return Next::End;
        }
        if queue.group.lines.is_empty() {
            // Keeps the buffers for the next group.
            std::mem::swap(&mut queue.group, &mut self.group);
            rest(&self.shared, &mut queue);
            self.over = true;
            return Next::End;
        }
        if slow { Next::End } else { Next::Write }
    }
}

/// Whether a device whose write took so long is slow, with those before.
fn is_slow(queue: &mut Queue, took: Duration) -> bool {
    queue.slow_count = if took > QUICK { queue.slow_count.saturating_add(1) } else { 0 };
    took > HUNG || queue.slow_count >= SLOW_MAX_COUNT
}

/// Nobody writes any more. Who gave up at this very moment opened a breaker that nobody would close.
fn rest(shared: &Shared, queue: &mut Queue) {
    queue.turn = Turn::Nobody;
    if shared.stalled.swap(false, Ordering::AcqRel) {
        queue.error = None;
    }
}

impl Drop for Task {
    /// Whatever ended the task early (no room, a slow device, the end of the runtime): the thread goes on.
    fn drop(&mut self) {
        if !self.over {
            self.shared.queue.lock().turn = Turn::Thread;
            self.shared.wake.notify_one();
        }
    }
}

/// What one attempt came to.
struct Done {
    taken_bytes: usize,
    error: Option<Arc<str>>,
    /// Ends of entries that can never be taken, with the reason.
    hopeless: Vec<(usize, Arc<str>)>,
}

/// Writes a group from `from` on.
fn attempt(shared: &Shared, group: &Group, from: usize) -> Done {
    let mut sink = shared.sink.lock();
    let mut done = Done { taken_bytes: from, error: None, hopeless: Vec::new() };
    loop {
        let rest = group.lines.get(done.taken_bytes..).unwrap_or_default();
        let outcome = sink.write(rest, &shared.closed);
        done.taken_bytes += outcome.taken_bytes;
        if outcome.replaced {
            tracing::warn!(device = %shared.path, "audit file was deleted or renamed; opened a new one at its path");
        }
        let Some(error) = outcome.error else { return done };
        let why: Arc<str> = reason(&error).into();
        // The entry that holds the hopeless line is skipped as a whole.
        let next = group.waiting.iter().map(|w| w.end).find(|end| *end > done.taken_bytes);
        match next.filter(|_| outcome.only_next) {
            Some(end) => {
                done.hopeless.push((end, why));
                done.taken_bytes = end;
                if end >= group.lines.len() {
                    return done;
                }
            }
            None => {
                done.error = Some(why);
                return done;
            }
        }
    }
}

/// Tells the requests whose entries were taken that they are recorded, and all others why not. Answers whether to try again:
/// the device failed and its breaker is open.
fn settle(shared: &Shared, group: &mut Group, done: &Done) -> bool {
    let mut queue = shared.queue.lock();
    let was_stalled = shared.stalled.load(Ordering::Acquire);
    let again = was_stalled && done.error.is_some();
    queue.error = done.error.as_ref().or(done.hopeless.last().map(|(_, why)| why)).map(Arc::clone);
    shared.stalled.store(again, Ordering::Release);
    drop(queue);
    if was_stalled && !again {
        tracing::warn!(device = %shared.path, "audit device answers again");
    }
    let verdict = |w: &Waiting| match (done.hopeless.iter().find(|(end, _)| *end == w.end), &done.error) {
        (Some((_, why)), _) => Err(Arc::clone(why)),
        (None, Some(why)) if w.end > done.taken_bytes => Err(Arc::clone(why)),
        _ => Ok(()),
    };
    // Counted before anybody is told, so that who was told finds it counted. Who gave up has been counted as missed.
    let (mut recorded, mut missed) = (0u64, 0u64);
    for waiting in &group.waiting {
        match verdict(waiting) {
            Ok(()) => recorded += 1,
            Err(_) => missed += u64::from(!waiting.ack.is_closed()),
        }
    }
    shared.recorded.fetch_add(recorded, Ordering::Relaxed);
    shared.missed.fetch_add(missed, Ordering::Relaxed);
    for waiting in group.waiting.drain(..) {
        let word = verdict(&waiting);
        // A request that is gone does not want to know.
        let _ = waiting.ack.send(word);
    }
    again
}

/// Puts what was not written before what has come since. Its requests have been told.
fn give_back(queue: &mut Queue, group: Group, taken_bytes: usize) {
    let mut lines = group.lines;
    lines.drain(..taken_bytes.min(lines.len()));
    let shift = lines.len();
    lines.append(&mut queue.group.lines);
    queue.group.lines = lines;
    for waiting in &mut queue.group.waiting {
        waiting.end += shift;
    }
}

/// The device's thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn run(self) {
        let mut group = Group::default();
        while self.next_group(&mut group) {
            self.write_group(&mut group);
            group.lines.clear();
            group.lines.shrink_to(KEPT_BUFFER_BYTES);
        }
    }

    /// Waits for work and takes all of it. `false` when the device is gone and nothing is left.
    fn next_group(&self, group: &mut Group) -> bool {
        let mut queue = self.shared.queue.lock();
        loop {
            if queue.turn != Turn::Task && std::mem::take(&mut queue.reopen) {
                self.shared.sink.lock().close();
            }
            if queue.turn == Turn::Thread {
                if !queue.group.lines.is_empty() {
                    std::mem::swap(&mut queue.group, group);
                    return true;
                }
                rest(&self.shared, &mut queue);
            }
            // A task that is still writing finishes what waits, or gives it back.
            if queue.turn == Turn::Nobody && self.shared.closed.load(Ordering::Acquire) {
                return false;
            }
            self.shared.wake.wait(&mut queue);
        }
    }

    fn write_group(&self, group: &mut Group) {
        let mut from = 0;
        loop {
            let began = Instant::now();
            let done = attempt(&self.shared, group, from);
            self.judge(began, done.error.is_none());
            from = done.taken_bytes;
            // Without the breaker the requests know already. With it, nobody asks any more, so the writer has to.
            if !settle(&self.shared, group, &done) || !self.pause() {
                return;
            }
        }
    }

    /// Whether a task may write the next group.
    fn judge(&self, began: Instant, well: bool) {
        let now = Instant::now();
        let mut queue = self.shared.queue.lock();
        if is_slow(&mut queue, now.duration_since(began)) {
            queue.distrust_until = Some(now + DISTRUST);
        }
        let trusted = well && queue.distrust_until.is_none_or(|until| now >= until);
        drop(queue);
        let quick = trusted && self.shared.sink.lock().is_quick();
        self.shared.quick.store(quick, Ordering::Release);
    }

    /// Waits before another attempt; `false` when the device is gone.
    fn pause(&self) -> bool {
        let until = Instant::now() + RETRY;
        let mut queue = self.shared.queue.lock();
        while !self.shared.closed.load(Ordering::Acquire) {
            if self.shared.wake.wait_until(&mut queue, until).timed_out() {
                return true;
            }
        }
        false
    }
}
