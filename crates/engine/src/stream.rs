//! Bytes that come piece by piece: an upload or a download that must not lie in memory as a whole.
//!
//! Deliberately absent: where they come from (`server-http` for uploads, the engine for downloads).

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Where the pieces come from. `None` is the end; an error is the last that comes.
pub trait Pieces: Send {
    /// The next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>>;
}

/// A stream that one taker can take, among any number of holders.
#[derive(Clone)]
pub struct Stream(Arc<Mutex<Option<Box<dyn Pieces>>>>);

impl Stream {
    /// A stream of these pieces.
    #[must_use]
    pub fn new(pieces: impl Pieces + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(pieces)))))
    }

    /// The pieces, for the first who asks.
    #[must_use]
    pub fn take(&self) -> Option<Box<dyn Pieces>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Stream {}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two(u8);

    impl Pieces for Two {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
            self.0 += 1;
            Poll::Ready((self.0 <= 2).then(|| Ok(vec![self.0])))
        }
    }

    #[test]
    fn one_taker_gets_all_pieces_and_nothing_is_shown() {
        let stream = Stream::new(Two(0));
        let other = stream.clone();
        assert_eq!(stream, other);
        assert_ne!(stream, Stream::new(Two(0)));
        assert_eq!(format!("{stream:?}"), "Stream");
        let mut pieces = other.take().unwrap();
        assert!(stream.take().is_none());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for expected in [Some(vec![1]), Some(vec![2]), None] {
            let Poll::Ready(piece) = pieces.poll_piece(&mut cx) else { panic!("a piece is ready") };
            assert_eq!(piece.map(Result::unwrap), expected);
        }
    }
}
