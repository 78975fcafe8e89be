//! A body that is handed on piece by piece while it comes: for the few paths that take one of any length. It is read only as
//! far as somebody takes it, so a request that is refused costs no more than its head.
//!
//! Deliberately absent: which paths those are (`service`), what becomes of the bytes (`server-core`).

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::{Pieces, Stream};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces that may wait for whoever takes them; each is what one read of the connection gave.
const PIECES_WAITING: usize = 4;

struct Received(Receiver<io::Result<Vec<u8>>>);

impl Pieces for Received {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        self.0.poll_recv(cx)
    }
}

/// A stream, and what [`pump`] feeds it with.
pub(crate) fn stream() -> (Sender<io::Result<Vec<u8>>>, Stream) {
    let (sender, receiver) = channel(PIECES_WAITING);
    (sender, Stream::new(Received(receiver)))
}

/// Hands a body on until it ends, nobody takes it any more, or nothing came for `patience`.
pub(crate) async fn pump<B>(body: B, sender: Sender<io::Result<Vec<u8>>>, patience: Duration)
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    loop {
        let piece = match tokio::time::timeout(patience, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data.to_vec()),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(e))) => Err(io::Error::other(e.into())),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time")),
        };
        let last = piece.is_err();
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn taken(pieces: &mut dyn Pieces) -> Option<io::Result<Vec<u8>>> {
        std::future::poll_fn(|cx| pieces.poll_piece(cx)).await
    }

    #[tokio::test]
    async fn a_body_comes_whole_and_ends() {
        let (sender, stream) = stream();
        let body = Full::new(Bytes::from_static(b"all of it"));
        pump(body, sender, Duration::from_secs(60)).await;
        let mut pieces = stream.take().unwrap();
        assert_eq!(taken(&mut *pieces).await.unwrap().unwrap(), b"all of it");
        assert!(taken(&mut *pieces).await.is_none());
    }

    /// One piece, and then nothing more ever.
    struct Stalls(bool);

    impl Body for Stalls {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<hyper::body::Frame<Bytes>>>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_an_error_and_one_nobody_takes_is_left() {
        let (sender, stream) = stream();
        pump(Stalls(false), sender, Duration::from_secs(60)).await;
        let mut pieces = stream.take().unwrap();
        assert_eq!(taken(&mut *pieces).await.unwrap().unwrap(), b"x");
        assert_eq!(taken(&mut *pieces).await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (sender, stream) = super::stream();
        drop(stream);
        pump(Stalls(false), sender, Duration::from_secs(60)).await; // comes back although the body goes on
    }
}
