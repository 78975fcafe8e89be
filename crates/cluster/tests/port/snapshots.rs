//! Snapshots pass through in memory that does not grow with them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cluster::{BodyStream, Rpc};
use futures::StreamExt;
use replication::{Peers, StateSnapshot};
use tokio::sync::mpsc;

use crate::scene::{LONG, Memory, Node, keys};

/// State of this size.
const STATE_BYTES: usize = 64 << 20;
/// What may be under way between two nodes: windows, buffers and the system's sockets.
const UNDER_WAY_MAX: usize = 16 << 20;
const VALUE_BYTES: usize = 256 * 1024;

/// A state in `StateSnapshot`'s file format; `sum` is what its end says too much.
fn write_state(path: &Path, written: &AtomicUsize, sum: u64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut fnv = 0xcbf2_9ce4_8422_2325_u64;
    let mut put = |bytes: &[u8]| {
        fnv = bytes.iter().fold(fnv, |sum, b| (sum ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
        out.write_all(bytes).unwrap();
        written.fetch_add(bytes.len(), Ordering::SeqCst);
        fnv
    };
    put(b"SRSNAP\x01");
    let value = vec![7; VALUE_BYTES];
    let count = STATE_BYTES / VALUE_BYTES;
    for n in 0..count {
        let key = u64::try_from(n).unwrap().to_be_bytes();
        put(&[&8u32.to_be_bytes()[..], &u32::try_from(VALUE_BYTES).unwrap().to_be_bytes(), &key, &value].concat());
    }
    put(&[0; 8]);
    let fnv = put(&u64::try_from(count).unwrap().to_be_bytes());
    out.write_all(&(fnv ^ sum).to_be_bytes()).unwrap();
    out.flush().unwrap();
}

/// Hands each snapshot that arrives to the test.
fn handing_over() -> (Arc<Memory>, mpsc::Receiver<(u64, Bytes, BodyStream, mpsc::Sender<Result<Bytes, String>>)>) {
    let (give, take) = mpsc::channel(1);
    let inside = Memory::taking(Box::new(move |from, head, body| {
        let give = give.clone();
        Box::pin(async move {
            let (answer, mut answered) = mpsc::channel(1);
            give.send((from, head, body, answer)).await.map_err(|e| e.to_string())?;
            answered.recv().await.unwrap_or_else(|| Err("nobody answers".to_owned()))
        })
    }));
    (inside, take)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_great_snapshot_arrives_whole_in_bounded_memory_and_holds_up_nobody() {
    let keys = keys();
    let (inside, mut arriving) = handing_over();
    let (one, two) = (Arc::new(Node::new(1, &keys).await), Arc::new(Node::with(2, &keys, inside).await));
    // A pipe instead of a file: what the sender has read is what was written into it.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0)
        .unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let source = std::thread::spawn({
        let (path, written) = (path.clone(), Arc::clone(&written));
        move || write_state(&path, &written, 0)
    });
    let sending = tokio::spawn({
        let (one, two) = (Arc::clone(&one), Arc::clone(&two));
        async move { one.port.send_snapshot(two.to(), "head".into(), StateSnapshot::of_file(path), LONG).await }
    });
    let (from, head, mut body, answer) = arriving.recv().await.unwrap();
    assert_eq!((from, head.as_ref()), (1, &b"head"[..]));
    // Nobody reads yet. The sender runs into the window, and small requests pass it by all the same.
    while written.load(Ordering::SeqCst) < 1 << 20 {
        tokio::task::yield_now().await;
    }
    for _ in 0..200 {
        one.call(two.to(), Rpc::Append, b"heartbeat").await.unwrap();
        one.call(two.to(), Rpc::Append, &[0; 100_000]).await.unwrap();
    }
    let (mut received, mut most) = (0, 0);
    while let Some(piece) = body.next().await {
        most = most.max(written.load(Ordering::SeqCst).saturating_sub(received));
        received += piece.unwrap().len();
        tokio::task::yield_now().await;
    }
    assert!(most <= UNDER_WAY_MAX, "{most} bytes were under way");
    answer.send(Ok("installed".into())).await.unwrap();
    assert_eq!(sending.await.unwrap().unwrap(), "installed");
    source.join().unwrap();
    assert_eq!(received, written.load(Ordering::SeqCst) + 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_breaks_off_is_seen_as_broken() {
    let keys = keys();
    let (inside, mut arriving) = handing_over();
    let (one, two) = (Arc::new(Node::new(1, &keys).await), Arc::new(Node::with(2, &keys, inside).await));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    std::fs::write(&path, b"SRSNAP\x01\0\0\0\x01\0\0\0\x09k").unwrap();
    let sending = tokio::spawn({
        let (one, two, path) = (Arc::clone(&one), Arc::clone(&two), path.clone());
        async move { one.port.send_snapshot(two.to(), "head".into(), StateSnapshot::of_file(path), LONG).await }
    });
    let (_, _, mut body, _) = arriving.recv().await.unwrap();
    let mut last = None;
    while let Some(piece) = body.next().await {
        let broken = piece.is_err();
        last = Some(piece);
        if broken {
            break;
        }
    }
    assert!(last.unwrap().is_err(), "an early end is no end");
    assert!(sending.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_ends_when_nothing_moves_and_not_before() {
    let keys = keys();
    let (inside, mut arriving) = handing_over();
    let (one, two) = (Arc::new(Node::new(1, &keys).await), Arc::new(Node::with(2, &keys, inside).await));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    write_state(&path, &AtomicUsize::new(0), 0);
    // The receiver takes nothing. A machine that stalls may give up before it has begun, so until one has arrived.
    let (_, _, mut body, _) = loop {
        let state = StateSnapshot::of_file(path.clone());
        let refused = one.port.send_snapshot(two.to(), "head".into(), state, Duration::from_millis(300)).await.unwrap_err().0;
        assert!(refused.contains("did not move for 300ms") || refused.contains("within 300ms"), "{refused}");
        if let Ok(arrived) = arriving.try_recv() {
            break arrived;
        }
    };
    // What was begun is broken off at the other end too.
    while let Some(piece) = body.next().await {
        if piece.is_err() {
            return;
        }
    }
    panic!("the receiver took it for whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receivers_refusal_comes_back() {
    let keys = keys();
    let inside = Memory::taking(Box::new(|_, _, _| Box::pin(std::future::ready(Err("the disk is full".to_owned())))));
    let (one, two) = (Node::new(1, &keys).await, Node::with(2, &keys, inside).await);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    write_state(&path, &AtomicUsize::new(0), 0);
    let refused = one.port.send_snapshot(two.to(), "head".into(), StateSnapshot::of_file(path.clone()), LONG).await.unwrap_err();
    assert!(refused.0.ends_with("it refused: the disk is full"), "{refused}");
    let long = vec![0; 64 * 1024 + 1];
    let refused = one.port.send_snapshot(two.to(), long.into(), StateSnapshot::of_file(path), LONG).await.unwrap_err();
    assert!(refused.0.ends_with("the head of the snapshot is too long"), "{refused}");
}
