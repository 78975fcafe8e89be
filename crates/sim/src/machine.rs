//! The machine under one run of a node: it can stand still, go on, and lose power. Deliberately absent: its disk
//! ([`crate::disk`]), which outlives the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use replication::simulation::{Host, watch};

use crate::random::Random;

/// A disk in good order: a write takes about this long.
const WRITE_MICROS: u64 = 400;

/// One run of a node, from start to crash.
pub struct Machine {
    gate: Mutex<Gate>,
    random: Mutex<Random>,
    write_micros: AtomicU64,
    dead: watch::Sender<bool>,
}

#[derive(Default)]
struct Gate {
    paused: bool,
    dead: bool,
    waiting: Vec<Waker>,
}

impl Machine {
    /// A running machine.
    #[must_use]
    pub fn new(random: Random) -> Arc<Self> {
        Arc::new(Self {
            gate: Mutex::default(),
            random: Mutex::new(random),
            write_micros: AtomicU64::new(WRITE_MICROS),
            dead: watch::Sender::new(false),
        })
    }

    /// Nothing on it runs until [`Machine::resume`]; its timers run late then, as if its clock had jumped.
    pub fn pause(&self) {
        self.gate.lock().paused = true;
    }

    /// Goes on.
    pub fn resume(&self) {
        let waiting = {
            let mut gate = self.gate.lock();
            gate.paused = false;
            std::mem::take(&mut gate.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Loses power: nothing on it ever runs again.
    pub fn kill(&self) {
        let waiting = {
            let mut gate = self.gate.lock();
            gate.dead = true;
            std::mem::take(&mut gate.waiting)
        };
        drop(waiting);
        self.dead.send_replace(true);
    }

    /// Whether it lost power.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.gate.lock().dead
    }

    /// Comes back when it lost power.
    pub async fn died(&self) {
        // The sender is in `self`, so the channel cannot close.
        let mut dead = self.dead.subscribe();
        let _dead = dead.wait_for(|dead| *dead).await;
    }

    /// Makes the disk so many times slower than a good one.
    pub fn slow_disk(&self, factor: u64) {
        self.write_micros.store(WRITE_MICROS * factor.max(1), Ordering::Relaxed);
    }
}

impl Host for Machine {
    fn poll_running(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut gate = self.gate.lock();
        if gate.dead {
            return Poll::Pending;
        }
        if gate.paused {
            gate.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn write_takes(&self, bytes: usize) -> Duration {
        let base = self.write_micros.load(Ordering::Relaxed);
        let spread = self.random.lock().below(base.max(1));
        Duration::from_micros(base / 2 + spread + bytes as u64 / 200)
    }

    fn random(&self) -> u64 {
        self.random.lock().number()
    }
}
