//! Stands in for the machine below a replica, for the simulated cluster (`crates/sim`): the tasks of a node stop when their
//! [`Host`] says so, its randomness comes from a seed, and its log writer is a task that takes virtual time. Only with the
//! feature `simulation`; a replica that was not opened inside [`on`] is not touched by it.

pub mod watch;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use openraft::impls::TokioRuntime;
use openraft::rt::{AsyncRuntime, OptionalSend};
use rand_core::TryRng;

use crate::codec;
use crate::types::{Proposal, Vote};

/// The machine under one run of a node.
pub trait Host: Send + Sync + 'static {
    /// Ready while the node runs. Else the waker is called once it runs again; after a crash that is never.
    fn poll_running(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// How long the disk takes until a write of so many bytes is durable.
    fn write_takes(&self, bytes: usize) -> Duration;

    /// The next random number.
    fn random(&self) -> u64;
}

tokio::task_local! {
    static HOST: Arc<dyn Host>;
}

/// The host of the task that is running.
pub(crate) fn host() -> Option<Arc<dyn Host>> {
    HOST.try_with(Arc::clone).ok()
}

/// Runs a future, and all that replication starts from inside it, on `host`.
pub fn on<F: Future + Send>(host: Arc<dyn Host>, future: F) -> impl Future<Output = F::Output> {
    let gated = Gated { host: Arc::clone(&host), inner: Box::pin(future) };
    HOST.scope(host, gated)
}

struct Gated<F> {
    host: Arc<dyn Host>,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        ready!(self.host.poll_running(cx));
        self.inner.as_mut().poll(cx)
    }
}

/// What a stored log entry says, for those who compare the logs of several nodes.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its term.
    pub term: u64,
    /// The change that it proposes, if it is one.
    pub change: Option<Arc<storage::Changeset>>,
    /// The voters that it sets, if it is a membership; two sets while they change.
    pub voters: Option<Vec<Vec<u64>>>,
}

/// Reads a value of [`Space::Log`](storage::Space::Log).
///
/// # Errors
/// [`storage::StoreError::Corrupt`].
pub fn logged(index: u64, value: &[u8]) -> Result<Logged, storage::StoreError> {
    let entry = codec::decode_entry(index, value)?;
    let term = entry.log_id.committed_leader_id().term;
    let (mut change, mut voters) = (None, None);
    match entry.payload {
        openraft::EntryPayload::Normal(Proposal::Change(c) | Proposal::Ticketed(_, c)) => change = Some(c),
        openraft::EntryPayload::Membership(m) => {
            voters = Some(m.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect());
        }
        _ => {}
    }
    Ok(Logged { term, change, voters })
}

/// What a record of [`Space::Meta`](storage::Space::Meta) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// The vote: its term, whom it is for, and whether that node was elected.
    Vote {
        /// The term.
        term: u64,
        /// The raft id.
        node: u64,
        /// Whether a majority voted so.
        elected: bool,
    },
    /// The state stands for the log up to here.
    Applied {
        /// Term of the entry.
        term: u64,
        /// Its index.
        index: u64,
    },
    /// The state is being replaced: it is neither the old nor the new one until this record is gone.
    Installing,
    /// The state was replaced by a snapshot up to here.
    Installed,
    /// Anything else.
    Other,
}

/// Reads a record of [`Space::Meta`](storage::Space::Meta).
///
/// # Errors
/// [`storage::StoreError::Corrupt`].
pub fn noted(key: &[u8], value: &[u8]) -> Result<Noted, storage::StoreError> {
    Ok(match key {
        codec::meta::VOTE => {
            let vote = Vote::from(codec::decode::<codec::Ballot>("vote", value)?);
            Noted::Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, elected: vote.committed }
        }
        codec::meta::APPLIED => {
            let at = codec::decode::<codec::Position>("applied position", value)?;
            Noted::Applied { term: at.term, index: at.index }
        }
        codec::meta::INSTALLING => Noted::Installing,
        codec::meta::INSTALLED => Noted::Installed,
        _ => Noted::Other,
    })
}

/// tokio, except that tasks and random numbers are those of the [`Host`] if there is one.
pub struct Runtime(TokioRuntime);

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers from the [`Host`], or the system's.
pub enum Random {
    /// Inside a simulation.
    Of(Arc<dyn Host>),
    /// Outside.
    System(<TokioRuntime as AsyncRuntime>::ThreadLocalRng),
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        match self {
            Self::Of(host) => Ok((host.random() >> 32) as u32),
            Self::System(rng) => rng.try_next_u32(),
        }
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        match self {
            Self::Of(host) => Ok(host.random()),
            Self::System(rng) => rng.try_next_u64(),
        }
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        match self {
            Self::Of(host) => {
                for chunk in buffer.chunks_mut(8) {
                    for (to, from) in chunk.iter_mut().zip(host.random().to_le_bytes()) {
                        *to = from;
                    }
                }
                Ok(())
            }
            Self::System(rng) => rng.try_fill_bytes(buffer),
        }
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Random;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = watch::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match host() {
            Some(host) => TokioRuntime::spawn(on(host, future)),
            None => TokioRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Random {
        host().map_or_else(|| Random::System(TokioRuntime::thread_rng()), Random::Of)
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::runtime::blocking(f)
    }
}
