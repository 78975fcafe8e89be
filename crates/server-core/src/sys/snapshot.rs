//! The snapshot file: a gzipped tar with `meta.json`, `state.bin`, `SHA256SUMS` and `SHA256SUMS.sealed` (contract §9.4).
//!
//! Frame, order and the form of the records are Vault's, so that its CLI saves, inspects and restores the file. The records are
//! sealed as they are in the store; the sums are sealed with the root key, so whoever holds the same unseal keys can check them.
//! Nothing lies in memory or on disk as a whole, but a file with the received records before a restoration.
//!
//! Deliberately absent: replacing the state (`replication`, `seal::restore`).

mod archive;
mod entry;

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use engine::{EngineError, Pieces, Stream};
use replication::{Incoming, StateSnapshot};
use secret::{Entropy, Time};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use storage::{StoreError, versioned};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use self::archive::{FrameError, FrameReader, FrameWriter};
use crate::core::{Core, OpenCore};

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";
const SEALED: &str = "SHA256SUMS.sealed";

/// What the sums are sealed for.
const SUMS_CONTEXT: &str = "snapshot-sums";
/// The form of `meta.json`.
const META_VERSION: u64 = 1;
/// Longest file beside the state; `meta.json` of a large cluster has a few KiB.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Size of the pieces of a download, and how many may wait for a slow client.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_WAITING: usize = 4;

/// Vault's words for a snapshot whose sums were sealed by somebody else.
const FOREIGN: &str = "could not verify hash file, possibly the snapshot is using a different set of unseal keys; use the \
                       snapshot-force API to bypass this check";

/// A snapshot of which everything is known but not yet sent.
pub(crate) struct Snapshot {
    state: StateSnapshot,
    state_bytes: u64,
    meta: Vec<u8>,
    sums: String,
    sealed: Vec<u8>,
    time: u64,
}

impl Snapshot {
    /// Reads the whole state once, for its size and sum. Blocks.
    pub(crate) fn take(core: &Core, open: &OpenCore, now: Time, entropy: &dyn Entropy) -> Result<Self, EngineError> {
        let failed = |e: &dyn std::fmt::Display| {
            tracing::error!(error = %e, "a snapshot could not be made");
            EngineError::internal("internal error")
        };
        // The position is read first: the state may hold more than it says, never less.
        let status = core.replica().status();
        let state = core.replica().snapshot().map_err(|e| failed(&e))?;
        let mut summed = Summed { inner: io::sink(), bytes: 0, sum: Sha256::new() };
        write_state(&state, &mut summed).map_err(|e| failed(&e))?;
        let servers: Vec<_> = status
            .peers
            .iter()
            .map(|p| json!({ "Suffrage": u8::from(!p.voter), "ID": p.node_id, "Address": p.address }))
            .collect();
        let meta = json!({
            "Version": META_VERSION,
            "ID": format!("{}-{}-{}", status.term, status.applied, now.unix()),
            "Index": status.applied,
            "Term": status.term,
            "Peers": null,
            "Configuration": { "Servers": servers },
            "ConfigurationIndex": status.membership_index,
            "Size": summed.bytes,
        });
        let meta = serde_json::to_vec(&meta).map_err(|e| failed(&e))?;
        let sums = sums_of(&hex::encode(Sha256::digest(&meta)), &hex::encode(summed.sum.finalize()));
        let sealed = open.barrier.seal_under_root(SUMS_CONTEXT, sums.as_bytes(), entropy).map_err(|e| failed(&e))?;
        let time = u64::try_from(now.unix()).unwrap_or(0);
        Ok(Self { state, state_bytes: summed.bytes, meta, sums, sealed: entry::blob(&sealed), time })
    }

    /// The file, made while it is sent. A failure in the middle breaks the stream off.
    pub(crate) fn stream(self) -> Stream {
        let (sender, receiver) = channel(PIECES_WAITING);
        tokio::task::spawn_blocking(move || {
            let out = PieceWriter { sender: sender.clone(), piece: Vec::with_capacity(PIECE_BYTES) };
            if let Err(e) = self.write(out) {
                // Nobody may be there to hear it.
                let _ = sender.blocking_send(Err(e));
            }
        });
        Stream::new(Channel(receiver))
    }

    fn write(&self, out: PieceWriter) -> io::Result<()> {
        let mut frame = FrameWriter::new(out, self.time);
        let small = |frame: &mut FrameWriter<PieceWriter>, name: &str, bytes: &[u8]| {
            frame.file(name, bytes.len() as u64)?;
            frame.write_all(bytes)
        };
        small(&mut frame, META, &self.meta)?;
        frame.file(STATE, self.state_bytes)?;
        write_state(&self.state, &mut frame).map_err(io::Error::other)?;
        small(&mut frame, SUMS, self.sums.as_bytes())?;
        small(&mut frame, SEALED, &self.sealed)?;
        frame.finish()?.flush()
    }
}

fn sums_of(meta: &str, state: &str) -> String {
    format!("{meta}  {META}\n{state}  {STATE}\n")
}

fn write_state(state: &StateSnapshot, out: &mut dyn Write) -> Result<(), StoreError> {
    let mut failed = None;
    state.each(&mut |name, stored| {
        let written = versioned(stored).and_then(|(_, value)| {
            let context = || "writing a snapshot".to_owned();
            entry::write(out, name, value).map_err(|source| StoreError::Io { context: context(), source })
        });
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failed = Some(e);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    version: u64,
}

/// Reads a snapshot to its end and checks all of it. What comes back is durable and not in force. Blocks.
/// `force`: whose keys sealed the sums does not matter.
pub(crate) fn receive(core: &Core, open: &OpenCore, input: impl Read, force: bool) -> Result<Incoming, EngineError> {
    let refused = |e: FrameError| EngineError::Invalid(e.to_string());
    let mut frame = FrameReader::new(input);
    let meta = small(&mut frame, META)?;
    match serde_json::from_slice::<Meta>(&meta) {
        Ok(Meta { version: META_VERSION }) => {}
        Ok(Meta { version }) => return Err(EngineError::Invalid(format!("failed to read snapshot: unknown version {version}"))),
        Err(_) => return Err(EngineError::invalid("failed to read snapshot: meta.json is damaged")),
    }
    let mut incoming = core.replica().receive().map_err(|e| internal(&e))?;
    let state_sum = receive_state(&mut frame, &mut incoming)?;
    let sums = small(&mut frame, SUMS)?;
    let expected = sums_of(&hex::encode(Sha256::digest(&meta)), &state_sum);
    if sums != expected.as_bytes() {
        return Err(EngineError::invalid("failed checking integrity of snapshot: a hash in SHA256SUMS does not match its file"));
    }
    let sealed = small(&mut frame, SEALED)?;
    if frame.next().map_err(refused)?.is_some() {
        return Err(EngineError::invalid("failed to read snapshot: unexpected file in snapshot"));
    }
    frame.finish().map_err(refused)?;
    if !force {
        let blob = entry::unblob(&sealed).unwrap_or_default();
        let opened = open.barrier.open_under_root(SUMS_CONTEXT, blob).map_err(|_| EngineError::invalid(FOREIGN))?;
        if !opened.ct_eq(&sums) {
            return Err(EngineError::invalid(FOREIGN));
        }
    }
    incoming.finish().map_err(|e| internal(&e))?;
    Ok(incoming)
}

fn internal(e: &dyn std::fmt::Display) -> EngineError {
    tracing::error!(error = %e, "a snapshot could not be received");
    EngineError::internal("failed to write the snapshot to disk")
}

/// The next file, which must have this name and be short.
fn small<R: Read>(frame: &mut FrameReader<R>, expected: &str) -> Result<Vec<u8>, EngineError> {
    let bytes = next(frame, expected)?;
    if bytes > SMALL_BYTES_MAX {
        return Err(EngineError::Invalid(format!("failed to read snapshot: {expected} is too large")));
    }
    let mut content = Vec::new();
    match frame.read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(e) => Err(EngineError::Invalid(frame.blame(e).to_string())),
    }
}

fn next<R: Read>(frame: &mut FrameReader<R>, expected: &str) -> Result<u64, EngineError> {
    match frame.next().map_err(|e| EngineError::Invalid(e.to_string()))? {
        Some((name, bytes)) if name == expected => Ok(bytes),
        Some(_) => Err(EngineError::invalid("failed to read snapshot: unexpected file in snapshot")),
        None => Err(EngineError::Invalid(format!("failed to read snapshot: {expected} is missing"))),
    }
}

/// Gathers the records and answers the file's sum, in hex.
fn receive_state<R: Read>(frame: &mut FrameReader<R>, incoming: &mut Incoming) -> Result<String, EngineError> {
    next(frame, STATE)?;
    let mut input = Summed { inner: &mut *frame, bytes: 0, sum: Sha256::new() };
    let (mut buffer, mut public) = (Vec::new(), 0);
    let outcome = loop {
        match entry::read(&mut input, &mut buffer) {
            Ok(Some((name, value))) => {
                public += usize::from(entry::NEEDED.iter().any(|record| record.name() == name));
                incoming.put(&name, value).map_err(|e| match e {
                    StoreError::Corrupt { .. } => EngineError::invalid("failed to read snapshot: a record is too large"),
                    e => internal(&e),
                })?;
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    let sum = hex::encode(input.sum.finalize());
    match outcome {
        Ok(()) if public == entry::NEEDED.len() => Ok(sum),
        Ok(()) => Err(EngineError::invalid("failed to read snapshot: it holds no keys")),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(EngineError::Invalid(format!("failed to read snapshot: {e}"))),
        Err(e) => Err(EngineError::Invalid(frame.blame(e).to_string())),
    }
}

/// Counts and sums what passes through.
struct Summed<T> {
    inner: T,
    bytes: u64,
    sum: Sha256,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sum.update(bytes.get(..n).unwrap_or_default());
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.sum.update(into.get(..n).unwrap_or_default());
        self.bytes += n as u64;
        Ok(n)
    }
}

/// Sends pieces, and waits while the receiver has enough of them.
struct PieceWriter {
    sender: Sender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Channel(Receiver<io::Result<Vec<u8>>>);

impl Pieces for Channel {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        self.0.poll_recv(cx)
    }
}

/// An upload, read by a thread that may block.
pub(crate) struct Upload {
    pieces: Box<dyn Pieces>,
    runtime: Handle,
    piece: Vec<u8>,
    at: usize,
}

impl Upload {
    pub(crate) fn new(pieces: Box<dyn Pieces>, runtime: Handle) -> Self {
        Self { pieces, runtime, piece: Vec::new(), at: 0 }
    }
}

impl Read for Upload {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.piece.len() {
            let pieces = &mut self.pieces;
            match self.runtime.block_on(std::future::poll_fn(|cx| pieces.poll_piece(cx))) {
                None => return Ok(0),
                Some(Ok(piece)) => (self.piece, self.at) = (piece, 0),
                Some(Err(e)) => return Err(e),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into.get_mut(..n).unwrap_or_default().copy_from_slice(rest.get(..n).unwrap_or_default());
        self.at += n;
        Ok(n)
    }
}

/// Receives a snapshot off the runtime's threads.
pub(crate) async fn receive_upload(
    core: &Arc<Core>,
    open: &Arc<OpenCore>,
    pieces: Box<dyn Pieces>,
    force: bool,
) -> Result<Incoming, EngineError> {
    let (core, open, upload) = (Arc::clone(core), Arc::clone(open), Upload::new(pieces, Handle::current()));
    let received = tokio::task::spawn_blocking(move || receive(&core, &open, upload, force)).await;
    received.map_err(|e| internal(&e))?
}
