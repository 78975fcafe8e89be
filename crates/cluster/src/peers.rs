//! Calls to the other nodes: what `replication` and the forwarding of requests see of the port.

use std::collections::HashMap;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use parking_lot::Mutex;
use replication::{Answer, Peers, Rpc, StateSnapshot, To, Unreachable};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::inside::{Body, BodyError};
use crate::lane::{Lane, Means};
use crate::limits::{
    ANSWER_BYTES_MAX, LANE_FORGOTTEN, REFUSAL_BYTES_MAX, SMALL_BODY_BYTES, SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECES_WAITING,
};
use crate::port::Port;
use crate::wire;

/// Which of the two ways to a peer a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// Heartbeats, votes, questions.
    Urgent,
    /// Many entries, snapshots, passed-on requests.
    Bulk,
}

/// The ways to all peers.
pub(crate) struct Lanes {
    means: Arc<Means>,
    lanes: Mutex<HashMap<(u64, Way), Arc<Lane>>>,
}

impl Lanes {
    pub(crate) fn new(means: Arc<Means>) -> Self {
        Self { means, lanes: Mutex::default() }
    }

    /// Closes all connections.
    pub(crate) fn close(&self) {
        for (_, lane) in self.lanes.lock().drain() {
            lane.close();
        }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.means.runtime
    }

    fn lane(&self, to: To<'_>, way: Way) -> Arc<Lane> {
        let target = (to.raft_id, way);
        let mut lanes = self.lanes.lock();
        if !lanes.contains_key(&target) {
            lanes.retain(|_, lane| {
                let kept = lane.used().elapsed() < LANE_FORGOTTEN;
                if !kept {
                    lane.close();
                }
                kept
            });
        }
        let lane = lanes.entry(target).or_insert_with(|| Arc::new(Lane::new(Arc::clone(&self.means), to.raft_id)));
        Arc::clone(lane)
    }

    /// Sends a request once. One that was not written yet when its connection turned out to be lost goes over the next one.
    async fn send(
        &self,
        to: To<'_>,
        way: Way,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, Unreachable> {
        let lane = self.lane(to, way);
        for _ in 0..SENDS_MAX {
            let mut line = lane.line(to.address).await.map_err(|why| no_way(to, &why))?;
            match line.sender.try_send_request(request).await {
                Ok(answer) => {
                    line.proof.give();
                    return Ok(answer);
                }
                Err(mut lost) => match lost.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(no_way(to, &wire::said(lost.error()))),
                },
            }
        }
        Err(no_way(to, "each connection was lost before the request was sent"))
    }

    async fn ask(&self, to: To<'_>, rpc: Rpc, body: Bytes) -> Result<Bytes, Unreachable> {
        let way = if body.len() <= SMALL_BODY_BYTES { Way::Urgent } else { Way::Bulk };
        let request = wire::question(rpc.as_str(), wire::full(body)).map_err(|e| no_way(to, &e.to_string()))?;
        read(to, self.send(to, way, request).await?).await
    }

    async fn deliver(&self, to: To<'_>, head: Bytes, state: StateSnapshot, timeout: Duration) -> Result<Bytes, Unreachable> {
        let head = wire::write_head(&head).ok_or_else(|| no_way(to, "the head of the snapshot is too long"))?;
        let (body, mut moved, _keeper) = outgoing(&self.means, state);
        let mut request = wire::question(wire::SNAPSHOT, body).map_err(|e| no_way(to, &e.to_string()))?;
        request.headers_mut().insert(wire::SNAPSHOT_HEAD, head);
        let mut exchange = pin!(async { read(to, self.send(to, Way::Bulk, request).await?).await });
        loop {
            tokio::select! {
                answer = &mut exchange => return answer,
                still = tokio::time::timeout(timeout, moved.changed()) => match still {
                    Ok(Ok(())) => {}
                    // All is sent; the peer gets the same time to make it its own.
                    Ok(Err(_)) => {
                        let answer = tokio::time::timeout(timeout, &mut exchange).await;
                        return answer.unwrap_or_else(|_| Err(no_way(to, &format!("no answer within {timeout:?}"))));
                    }
                    Err(_) => return Err(no_way(to, &format!("the snapshot did not move for {timeout:?}"))),
                },
            }
        }
    }
}

/// Connections that one request may see lost before it was sent.
const SENDS_MAX: usize = 3;

impl Peers for Port {
    fn call(&self, to: To<'_>, rpc: Rpc, body: Bytes, timeout: Duration) -> Answer<'_> {
        let (lanes, node_id, address) = (self.lanes(), to.node_id.to_owned(), to.address.to_owned());
        let raft_id = to.raft_id;
        Box::pin(async move {
            let to = To { raft_id, node_id: &node_id, address: &address };
            match tokio::time::timeout(timeout, lanes.ask(to, rpc, body)).await {
                Ok(answer) => answer,
                Err(_) => Err(no_way(to, &format!("no answer to {} within {timeout:?}", rpc.as_str()))),
            }
        })
    }

    fn send_snapshot(&self, to: To<'_>, head: Bytes, state: StateSnapshot, timeout: Duration) -> Answer<'_> {
        let (lanes, node_id, address) = (self.lanes(), to.node_id.to_owned(), to.address.to_owned());
        let raft_id = to.raft_id;
        Box::pin(async move { lanes.deliver(To { raft_id, node_id: &node_id, address: &address }, head, state, timeout).await })
    }
}

impl Port {
    /// Passes an HTTP request on. Method, path, query, headers and body arrive as they are, except for headers about the
    /// client's connection (`Host` among them); what the peer must know of the client is to be said in a header. The body of
    /// the answer arrives as it is read. Without a time limit of its own, but a peer that falls silent is noticed.
    ///
    /// # Errors
    /// [`Unreachable`]: no answer came. Whether the request arrived is not known then.
    pub async fn forward(&self, to: To<'_>, mut request: http::Request<Body>) -> Result<http::Response<Body>, Unreachable> {
        wire::outward(&mut request).map_err(|e| no_way(to, &e.to_string()))?;
        Ok(self.lanes().send(to, Way::Bulk, request).await?.map(wire::boxed))
    }
}

async fn read(to: To<'_>, answer: http::Response<Incoming>) -> Result<Bytes, Unreachable> {
    let accepted = answer.status() == StatusCode::OK;
    let max = if accepted { ANSWER_BYTES_MAX } else { REFUSAL_BYTES_MAX };
    let body = answer.into_body();
    let bytes = match wire::length(&body, max) {
        Ok(length) => wire::whole(body, length).await,
        Err(e) => Err(e),
    };
    match bytes {
        Ok(bytes) if accepted => Ok(bytes),
        Ok(bytes) => Err(no_way(to, &format!("it refused: {}", String::from_utf8_lossy(&bytes)))),
        Err(e) => Err(no_way(to, &e.to_string())),
    }
}

fn no_way(to: To<'_>, why: &str) -> Unreachable {
    match to.node_id {
        "" => Unreachable(format!("{}: {why}", to.address)),
        node => Unreachable(format!("{node} at {}: {why}", to.address)),
    }
}

/// A snapshot as a body. The store is read on a thread that may wait, no faster than the connection takes it. The watch moves with
/// every piece and ends with the last; when the keeper is dropped, thread and body break off, so that what was given up can
/// neither go on nor look whole.
fn outgoing(means: &Means, state: StateSnapshot) -> (Body, watch::Receiver<()>, Keeper) {
    let (pieces, waiting) = mpsc::channel(SNAPSHOT_PIECES_WAITING);
    let (moved, seen) = watch::channel(());
    let (keeper, kept) = watch::channel(());
    let mut pipe = Pipe { pieces, kept: kept.clone(), runtime: means.runtime.clone(), gathered: BytesMut::new() };
    means.runtime.spawn_blocking(move || {
        let written = state.write_to(&mut pipe).map_err(|e| e.to_string()).and_then(|()| pipe.flush().map_err(|e| e.to_string()));
        // If nobody waits any more, there is nobody to tell.
        let _ = pipe.send(written.map(|()| None).map_err(Into::into));
    });
    (Body::new(Outgoing { waiting, kept, moved: Some(moved) }), seen, Keeper(keeper))
}

/// A piece of a snapshot; `None` is its end, which nothing else can stand for.
type Piece = Result<Option<Bytes>, BodyError>;

/// Somebody still wants the snapshot to be sent.
struct Keeper(#[expect(dead_code, reason = "what counts is its end")] watch::Sender<()>);

struct Pipe {
    pieces: mpsc::Sender<Piece>,
    kept: watch::Receiver<()>,
    runtime: Handle,
    gathered: BytesMut,
}

impl Pipe {
    fn send(&mut self, piece: Piece) -> io::Result<()> {
        self.runtime.block_on(async {
            tokio::select! {
                sent = self.pieces.send(piece) => sent.map_err(|_| io::Error::other(GIVEN_UP)),
                _ = self.kept.changed() => Err(io::Error::other(GIVEN_UP)),
            }
        })
    }
}

const GIVEN_UP: &str = "the snapshot is not wanted any more";

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = SNAPSHOT_PIECE_BYTES.saturating_sub(self.gathered.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() >= SNAPSHOT_PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = self.gathered.split().freeze();
        self.send(Ok(Some(piece)))
    }
}

struct Outgoing {
    waiting: mpsc::Receiver<Piece>,
    kept: watch::Receiver<()>,
    moved: Option<watch::Sender<()>>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The thread notices too, and its end wakes this.
        if self.kept.has_changed().is_err() {
            return Poll::Ready(Some(Err(GIVEN_UP.into())));
        }
        let piece = std::task::ready!(self.waiting.poll_recv(context));
        if let (Some(Ok(Some(_))), Some(moved)) = (&piece, &self.moved) {
            moved.send_replace(());
        } else {
            self.moved = None;
        }
        Poll::Ready(match piece {
            Some(Ok(Some(bytes))) => Some(Ok(Frame::data(bytes))),
            Some(Ok(None)) => None,
            Some(Err(e)) => Some(Err(e)),
            None => Some(Err(GIVEN_UP.into())),
        })
    }
}
