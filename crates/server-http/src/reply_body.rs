//! The bodies a reply can have: all of it at once, lines as they come, or a stream of any length.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use engine::Pieces;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;

/// A reply's body.
pub enum ReplyBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// Lines for as long as the sender lives; when the client goes away the receiver is dropped and the sender sees it.
    Lines(Receiver<Bytes>),
    /// As it is made. If that fails, the connection breaks off, so that nobody takes a part for the whole.
    Pieces(Box<dyn Pieces>),
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Self::Lines(lines) => lines.poll_recv(cx).map(|line| line.map(|l| Ok(Frame::data(l)))),
            Self::Pieces(pieces) => pieces.poll_piece(cx).map(|piece| piece.map(|p| p.map(|p| Frame::data(Bytes::from(p))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Lines(_) | Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Lines(_) | Self::Pieces(_) => SizeHint::default(),
        }
    }
}
