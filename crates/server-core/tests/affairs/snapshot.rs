//! Restoring snapshots: what comes back, and everything that is refused before anything is touched.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use api_types::Operation;
use engine::{Pieces, Stream};
use secret::SecretBytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Server, registry};
use crate::{Seen, get, post, request, send};

const FOREIGN: &str = "could not verify hash file, possibly the snapshot is using a different set of unseal keys; use the \
                       snapshot-force API to bypass this check";

/// Everything that comes.
pub(crate) async fn all(mut pieces: Box<dyn Pieces>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = std::future::poll_fn(|cx| pieces.poll_piece(cx)).await {
        bytes.extend(piece.unwrap());
    }
    bytes
}

/// An upload in pieces of odd sizes, which counts what is taken.
struct Sent {
    bytes: Vec<u8>,
    taken: Arc<AtomicUsize>,
}

impl Pieces for Sent {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        let piece: Vec<u8> = self.bytes.drain(..self.bytes.len().min(701)).collect();
        self.taken.fetch_add(piece.len(), Ordering::Relaxed);
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}

async fn upload(s: &Server, path: &str, bytes: &[u8], token: &str) -> (Seen, usize) {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut request = request(Operation::Update, path, Value::Null, token);
    request.upload = Some(Stream::new(Sent { bytes: bytes.to_vec(), taken: Arc::clone(&taken) }));
    let seen = send(s, request).await;
    (seen, taken.load(Ordering::Relaxed))
}

async fn restore(s: &Server, bytes: &[u8]) -> Seen {
    upload(s, "sys/storage/raft/snapshot", bytes, &s.root).await.0
}

async fn server(folder: &Path) -> Server {
    let s = Server::start_in(Some(folder), registry(), server_core::CoreConfig::default()).await;
    assert_eq!(post(&s, "sys/mounts/kv", json!({ "type": "kv" })).await.status, 204);
    assert_eq!(post(&s, "kv/a", json!({ "v": "1" })).await.status, 204);
    s
}

async fn saved(s: &Server) -> Vec<u8> {
    let seen = get(s, "sys/storage/raft/snapshot").await;
    assert_eq!(seen.status, 200);
    seen.bytes
}

fn waiting_files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("snapshots")).unwrap().count()
}

/// The files of a snapshot.
fn unpacked(snapshot: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(snapshot).read_to_end(&mut tar).unwrap();
    let (mut files, mut at) = (Vec::new(), 0);
    while tar[at] != 0 {
        let name = String::from_utf8(tar[at..at + 100].iter().copied().take_while(|b| *b != 0).collect()).unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&tar[at + 124..at + 135]).unwrap(), 8).unwrap();
        files.push((name, tar[at + 512..at + 512 + size].to_vec()));
        at += 512 + size.next_multiple_of(512);
    }
    files
}

/// A snapshot of these files; `announced` is what each header says of its length, if it lies.
fn packed(files: &[(&str, Vec<u8>)], announced: Option<u64>) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for (name, bytes) in files {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let size = announced.filter(|_| *name == "state.bin").unwrap_or(bytes.len() as u64);
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.write_all(&header).unwrap();
        out.write_all(bytes).unwrap();
        out.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()]).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}

/// The same snapshot with another state, and sums that fit it.
fn with_state(snapshot: &[u8], state: Vec<u8>) -> Vec<u8> {
    let files = unpacked(snapshot);
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let sums = format!("{}  meta.json\n{}  state.bin\n", digest(&files[0].1), digest(&state));
    let files = [
        ("meta.json", files[0].1.clone()),
        ("state.bin", state),
        ("SHA256SUMS", sums.into_bytes()),
        ("SHA256SUMS.sealed", files[3].1.clone()),
    ];
    packed(&files, None)
}

#[tokio::test]
async fn what_was_saved_comes_back_and_what_came_later_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let s = server(folder.path()).await;
    let snapshot = saved(&s).await;
    assert_eq!(post(&s, "kv/a", json!({ "v": "2" })).await.status, 204);
    assert_eq!(post(&s, "kv/b", json!({ "v": "3" })).await.status, 204);
    assert_eq!(post(&s, "sys/mounts/later", json!({ "type": "kv" })).await.status, 204);
    let later = post(&s, "auth/token/create", json!({ "policies": ["default"] })).await.body["auth"]["client_token"].clone();
    assert_eq!(post(&s, "sys/rotate", json!({})).await.status, 204);

    assert_eq!(restore(&s, &snapshot).await.status, 204);
    assert_eq!(get(&s, "kv/a").await.data()["v"], "1");
    assert_eq!(get(&s, "kv/b").await.status, 404);
    assert_eq!(get(&s, "later/x").await.error(), "no handler for route \"later/x\". route entry not found.");
    let seen = crate::ask(&s, Operation::Read, "auth/token/lookup-self", Value::Null, later.as_str().unwrap()).await;
    assert_eq!(seen.status, 403);
    assert_eq!(post(&s, "kv/a", json!({ "v": "4" })).await.status, 204);
    assert_eq!(get(&s, "kv/a").await.data()["v"], "4");
    assert_eq!(waiting_files(folder.path()), 0);
    // As after a restart with the same key.
    s.core.seal().await;
    s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
    assert_eq!(get(&s, "kv/a").await.data()["v"], "4");
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let s = server(folder.path()).await;
    let good = saved(&s).await;
    assert_eq!(post(&s, "kv/a", json!({ "v": "2" })).await.status, 204);
    let files = unpacked(&good);
    let named: Vec<(&str, Vec<u8>)> = files.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    for part in 0..12 {
        bad.push((format!("cut at {part}/12"), good[..good.len() * part / 12].to_vec()));
        let mut flipped = good.clone();
        // Behind the head of gzip, of which only the first bytes mean anything.
        let at = 12 + (good.len() - 12) * part / 12;
        flipped[at] ^= 0x10;
        bad.push((format!("flipped at {at}"), flipped));
    }
    bad.push(("a byte is missing at the end".into(), good[..good.len() - 1].to_vec()));
    let mut wrong_sum = named.clone();
    wrong_sum[2].1[0] ^= 1;
    bad.push(("a wrong sum".into(), packed(&wrong_sum, None)));
    let mut other_meta = named.clone();
    other_meta[0].1 = br#"{"Version":1,"ID":"x"}"#.to_vec();
    bad.push(("another meta.json".into(), packed(&other_meta, None)));
    let mut newer = named.clone();
    newer[0].1 = br#"{"Version":2}"#.to_vec();
    bad.push(("a newer version".into(), packed(&newer, None)));
    for missing in 0..4 {
        let mut fewer = named.clone();
        fewer.remove(missing);
        bad.push((format!("file {missing} is missing"), packed(&fewer, None)));
    }
    let mut more = named.clone();
    more.push(("extra", vec![1]));
    bad.push(("one file more".into(), packed(&more, None)));
    let mut swapped = named.clone();
    swapped.swap(1, 2);
    bad.push(("another order".into(), packed(&swapped, None)));
    bad.push(("no tar".into(), {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(&[7; 2000]).unwrap();
        out.finish().unwrap()
    }));
    bad.push(("no gzip".into(), b"{\"data\":1}".to_vec()));
    bad.push(("no records".into(), with_state(&good, Vec::new())));
    bad.push(("Vault's own records".into(), with_state(&good, [&[9, 10, 5][..], b"a/b/c", &[18, 0]].concat())));
    for (what, bytes) in bad {
        for path in ["sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force"] {
            let (seen, _) = upload(&s, path, &bytes, &s.root).await;
            assert_eq!(seen.status, 400, "{what}: {:?}", seen.body);
        }
        assert_eq!(waiting_files(folder.path()), 0, "{what} leaves a file");
    }
    assert_eq!(get(&s, "kv/a").await.data()["v"], "2");
}

/// CVE class: decompression bombs. Neither memory nor disk is filled, whatever the headers announce.
#[tokio::test]
async fn bombs_are_refused_early() {
    let folder = tempfile::tempdir().unwrap();
    let s = server(folder.path()).await;
    let good = saved(&s).await;
    let files = unpacked(&good);
    let zeros = with_state(&good, vec![0; 64 << 20]);
    let one_record = with_state(&good, [&[0xff, 0xff, 0xff, 0x7f][..], &vec![0; 64 << 20]].concat());
    let value = [&[0x80, 0x80, 0x80, 0x08, 10, 2][..], b"AQ", &[18, 0xfa, 0xff, 0xff, 0x07]].concat();
    let allowed = with_state(&good, [value, vec![0; (16 << 20) - 9]].concat());
    let announced = packed(&[("meta.json", files[0].1.clone()), ("state.bin", vec![0; 1000])], Some(0o77_777_777_777));
    let meta = packed(&[("meta.json", vec![b' '; 32 << 20])], None);
    for (what, bytes) in [
        ("zeros", zeros),
        ("a huge record", one_record),
        ("a large record of zeros", allowed),
        ("8 GiB", announced),
        ("meta", meta),
    ] {
        let (seen, _) = upload(&s, "sys/storage/raft/snapshot-force", &bytes, &s.root).await;
        assert_eq!(seen.status, 400, "{what}: {:?}", seen.body);
        assert_eq!(waiting_files(folder.path()), 0);
    }
    assert_eq!(get(&s, "kv/a").await.data()["v"], "1");
}

#[tokio::test]
async fn a_snapshot_of_another_cluster_needs_force_and_then_its_own_keys() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (s, other) = (server(here.path()).await, server(there.path()).await);
    assert_eq!(post(&other, "kv/a", json!({ "v": "theirs" })).await.status, 204);
    let foreign = saved(&other).await;
    let seen = restore(&s, &foreign).await;
    assert_eq!((seen.status, seen.error()), (400, FOREIGN));
    assert_eq!(get(&s, "kv/a").await.data()["v"], "1");

    let (seen, _) = upload(&s, "sys/storage/raft/snapshot-force", &foreign, &s.root).await;
    assert_eq!(seen.status, 204);
    assert!(s.core.open().is_none(), "sealed: these keys are not known here");
    assert!(s.core.unseal(SecretBytes::new(s.share.clone()), false).await.is_err(), "the old share opens nothing");
    s.core.unseal(SecretBytes::new(other.share.clone()), false).await.unwrap();
    let seen = crate::ask(&s, Operation::Read, "kv/a", Value::Null, &other.root).await;
    assert_eq!(seen.data()["v"], "theirs");
    assert_eq!(get(&s, "kv/a").await.status, 403, "the old root token is unknown");
}

/// Sums that somebody sealed for other files do not pass for these.
#[tokio::test]
async fn sums_of_another_snapshot_are_no_seal() {
    let folder = tempfile::tempdir().unwrap();
    let s = server(folder.path()).await;
    let old = saved(&s).await;
    assert_eq!(post(&s, "kv/a", json!({ "v": "2" })).await.status, 204);
    let new = saved(&s).await;
    let mixed = with_state(&old, unpacked(&new)[1].1.clone());
    let seen = restore(&s, &mixed).await;
    assert_eq!((seen.status, seen.error()), (400, FOREIGN));
}

#[tokio::test]
async fn who_may_not_restore_is_not_even_read() {
    let folder = tempfile::tempdir().unwrap();
    let s = server(folder.path()).await;
    let snapshot = saved(&s).await;
    let weak = post(&s, "auth/token/create", json!({ "policies": ["default"] })).await.body["auth"]["client_token"].clone();
    for token in ["", "s.unknown", weak.as_str().unwrap()] {
        for path in ["sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force"] {
            let (seen, taken) = upload(&s, path, &snapshot, token).await;
            assert_eq!((seen.status, taken), (403, 0), "{path} with {token:?}");
        }
    }
    s.core.seal().await;
    let (seen, taken) = upload(&s, "sys/storage/raft/snapshot", &snapshot, &s.root).await;
    assert_eq!((seen.status, taken), (503, 0));
}
