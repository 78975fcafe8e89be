//! A connection that does not wait for ever: the head of a request must arrive in time once it has begun (or once the connection
//! is new), and whoever asked must take the answer.
//!
//! Between requests it waits for the idle time-out. hyper has one time-out for both, and makes and drops a timer for each request;
//! here one timer serves a connection for good: it is set to the earliest time that may matter, and looks again when it fires.
//! Deliberately absent: the time of a body (`body`), HTTP/2 after its first request (many requests share a connection there; hyper
//! pings instead).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A head is due.
const HEAD: u8 = 0;
/// Requests are being answered.
const BUSY: u8 = 1;
/// Nothing is asked.
const IDLE: u8 = 2;
/// The connection turned out to be HTTP/2.
const SHARED: u8 = 3;

/// Where a connection is, told by the service that answers its requests.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    at: AtomicU8,
    answering: AtomicU64,
    /// Requests so far: tells one time between requests from another.
    asked: AtomicU64,
}

/// A request being answered; the connection is idle again when it is dropped.
pub(crate) struct Answering(Arc<Phase>);

impl Phase {
    /// A whole head has arrived.
    pub(crate) fn answering(self: &Arc<Self>, version: http::Version) -> Answering {
        self.answering.fetch_add(1, Ordering::AcqRel);
        self.asked.fetch_add(1, Ordering::AcqRel);
        self.at.store(if version == http::Version::HTTP_2 { SHARED } else { BUSY }, Ordering::Release);
        Answering(Arc::clone(self))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.0.answering.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.0.at.compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the head of a request, once it has begun.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
    /// For one write to make progress.
    pub(crate) stall: Duration,
}

/// A stream with these time-outs.
pub(crate) struct Patient<S> {
    stream: S,
    phase: Arc<Phase>,
    times: Patience,
    wait: Option<Wait>,
    /// Fires at the end of the wait or before.
    timer: Pin<Box<Sleep>>,
    /// Runs while the other end takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// A wait for the other end to say something.
struct Wait {
    phase: u8,
    asked: u64,
    due: Instant,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, phase: Arc<Phase>, times: Patience) -> Self {
        Self { stream, phase, times, wait: None, timer: Box::pin(sleep(times.head)), stalled: None }
    }

    /// Nothing was read: whether the other end has used up its time.
    fn waited_enough(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (phase, asked) = (self.phase.at.load(Ordering::Acquire), self.phase.asked.load(Ordering::Acquire));
        let time = match phase {
            HEAD => self.times.head,
            IDLE => self.times.idle,
            _ => return Poll::Pending,
        };
        let due = match &self.wait {
            Some(wait) if wait.phase == phase && wait.asked == asked => wait.due,
            _ => {
                let due = Instant::now() + time;
                self.wait = Some(Wait { phase, asked, due });
                due
            }
        };
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn progress<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let time = self.times.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(time)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let has_bytes = buf.filled().len() > before;
        if has_bytes {
            let _ = self.phase.at.compare_exchange(IDLE, HEAD, Ordering::AcqRel, Ordering::Acquire);
        }
        if read.is_pending() {
            ready!(self.waited_enough(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.progress(cx, ended)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HEAD_TIME: Duration = Duration::from_secs(10);
    const IDLE_TIME: Duration = Duration::from_secs(100);
    const STALL_TIME: Duration = Duration::from_secs(300);
    const TIMES: Patience = Patience { head: HEAD_TIME, idle: IDLE_TIME, stall: STALL_TIME };

    fn pair() -> (tokio::io::DuplexStream, Patient<tokio::io::DuplexStream>, Arc<Phase>) {
        let (client, server) = duplex(8);
        let phase = Arc::new(Phase::default());
        (client, Patient::new(server, Arc::clone(&phase), TIMES), phase)
    }

    async fn read_until_error(server: &mut Patient<tokio::io::DuplexStream>) -> (io::ErrorKind, Duration) {
        let (began, mut buf) = (Instant::now(), [0; 8]);
        loop {
            match server.read(&mut buf).await {
                Ok(0) => return (io::ErrorKind::UnexpectedEof, began.elapsed()),
                Ok(_) => {}
                Err(e) => return (e.kind(), began.elapsed()),
            }
        }
    }

    fn is_about(time: Duration, want: Duration) -> bool {
        time >= want && time < want + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_must_ask_in_time() {
        let (_client, mut server, _) = pair();
        let (kind, time) = read_until_error(&mut server).await;
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(is_about(time, HEAD_TIME), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn dribbling_does_not_buy_time() {
        let (mut client, mut server, _) = pair();
        let dribble = async {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(3)).await;
            }
        };
        let read = read_until_error(&mut server);
        tokio::select! {
            () = dribble => unreachable!("the client is never cut off from writing to the buffer"),
            (kind, time) = read => {
                assert_eq!(kind, io::ErrorKind::TimedOut);
                assert!(time < HEAD_TIME + Duration::from_secs(4), "{time:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_neither_during_a_request_nor_between_them() {
        let (mut client, mut server, phase) = pair();
        let mut buf = [0; 8];
        let answering = phase.answering(http::Version::HTTP_11);
        for end in [Some(answering), None] {
            let quiet = tokio::time::timeout(HEAD_TIME * 5, server.read(&mut buf)).await;
            assert!(quiet.is_err(), "{quiet:?}");
            drop(end);
        }
        client.write_all(b"GET").await.unwrap();
        let (kind, time) = read_until_error(&mut server).await;
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(is_about(time, HEAD_TIME), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_time_between_requests_is_counted_from_its_own_beginning() {
        let (_client, mut server, phase) = pair();
        let mut buf = [0; 8];
        for _ in 0..5 {
            drop(phase.answering(http::Version::HTTP_11));
            let quiet = tokio::time::timeout(IDLE_TIME * 3 / 4, server.read(&mut buf)).await;
            assert!(quiet.is_err(), "{quiet:?}");
        }
        drop(phase.answering(http::Version::HTTP_11));
        let (kind, time) = read_until_error(&mut server).await;
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(is_about(time, IDLE_TIME), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_connection_is_left_to_its_pings() {
        let (mut client, mut server, phase) = pair();
        drop(phase.answering(http::Version::HTTP_2));
        client.write_all(b"PING").await.unwrap();
        let mut buf = [0; 8];
        assert_eq!(server.read(&mut buf).await.unwrap(), 4);
        assert!(tokio::time::timeout(HEAD_TIME * 5, server.read(&mut buf)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_the_connection() {
        let (mut client, mut server, _) = pair();
        server.write_all(b"12345678").await.unwrap();
        let began = Instant::now();
        assert_eq!(server.write_all(b"9").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(is_about(began.elapsed(), STALL_TIME));
        let mut buf = [0; 8];
        client.read_exact(&mut buf).await.unwrap();
        assert!(server.write_all(b"9").await.is_ok());
    }
}
