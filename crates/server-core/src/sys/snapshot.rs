//! The snapshot file: a gzipped tar with `meta.json`, `state.bin`, `SHA256SUMS` and `SHA256SUMS.sealed` (contract §9.4).
//!
//! The frame is Vault's, so that its CLI saves the file; `state.bin` is this server's own (`replication`'s snapshot format), its
//! records sealed as they are in the store. The sealed sums are sealed with the data key.

use std::io::{self, Write};

use engine::EngineError;
use flate2::Compression;
use flate2::write::GzEncoder;
use secret::{SystemEntropy, Time};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::core::{Core, OpenCore};

/// Largest state that is sent in one answer; the whole of it is in memory meanwhile.
const STATE_MAX_BYTES: usize = 1 << 30;
/// What the sums are sealed for.
const SUMS_CONTEXT: &str = "snapshot-sums";
/// A tar file consists of blocks of this size.
const BLOCK_BYTES: usize = 512;

/// The file. Blocks for as long as it takes to read the state.
pub(crate) fn pack(core: &Core, open: &OpenCore, now: Time) -> Result<Vec<u8>, EngineError> {
    let failed = |what: &'static str| {
        move |e: &dyn std::fmt::Display| {
            tracing::error!(error = %e, "a snapshot could not be made: {what}");
            EngineError::internal("internal error")
        }
    };
    // The position is read first: the state may hold more than it says, never less.
    let status = core.replica().status();
    let mut state = Bounded(Vec::new());
    let copy = core.replica().snapshot().map_err(|e| failed("opening")(&e))?;
    copy.write_to(&mut state).map_err(|e| failed("reading")(&e))?;
    let state = state.0;
    let servers: Vec<_> =
        status.peers.iter().map(|p| json!({ "Suffrage": u8::from(!p.voter), "ID": p.node_id, "Address": p.address })).collect();
    let meta = json!({
        "Version": 1,
        "ID": format!("{}-{}-{}", status.term, status.applied, now.unix()),
        "Index": status.applied,
        "Term": status.term,
        "Peers": null,
        "Configuration": { "Servers": servers },
        "ConfigurationIndex": status.membership_index,
        "Size": state.len(),
    });
    let meta = serde_json::to_vec(&meta).map_err(|e| failed("encoding")(&e))?;
    let sum = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let sums = format!("{}  meta.json\n{}  state.bin\n", sum(&meta), sum(&state));
    let sealed = open.barrier.seal_bytes(SUMS_CONTEXT, sums.as_bytes(), &SystemEntropy).map_err(|e| failed("sealing")(&e))?;
    archive(&[("meta.json", &meta), ("state.bin", &state), ("SHA256SUMS", sums.as_bytes()), ("SHA256SUMS.sealed", &sealed)], now)
        .map_err(|e| failed("packing")(&e))
}

/// Records are ciphertext, which does not shrink; the fastest level is as good as any.
fn archive(files: &[(&str, &[u8])], now: Time) -> io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    for (name, bytes) in files {
        out.write_all(&header(name, bytes.len(), now)?)?;
        out.write_all(bytes)?;
        let rest = bytes.len().next_multiple_of(BLOCK_BYTES) - bytes.len();
        out.write_all(&vec![0; rest])?;
    }
    out.write_all(&[0; 2 * BLOCK_BYTES])?;
    out.finish()
}

/// A ustar header (POSIX.1-1988): fields of fixed size in octal text; the sum counts its own field as blanks.
fn header(name: &str, bytes: usize, now: Time) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(BLOCK_BYTES);
    let mut field = |text: &str, size: usize| {
        let mut padded = text.as_bytes().to_vec();
        padded.resize(size, 0);
        out.extend_from_slice(&padded);
    };
    field(name, 100);
    field("0000600", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{bytes:011o}"), 12);
    field(&format!("{:011o}", now.unix().max(0)), 12);
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar", 6);
    field("00", 2);
    field("", 247);
    let sum: u32 = out.iter().map(|b| u32::from(*b)).sum();
    let at = out.get_mut(148..156).ok_or_else(|| io::Error::other("a tar header is short"))?;
    at.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(out)
}

/// Refuses to grow beyond the bound.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > STATE_MAX_BYTES {
            return Err(io::Error::other("the state is too large for one answer"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_tar_that_others_can_read() {
        let packed = archive(&[("a.json", b"{}"), ("b.bin", &[7; 700])], Time::from_unix(1_800_000_000)).unwrap();
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut tar).unwrap();
        // Header, one block; header, two blocks; the end.
        assert_eq!(tar.len(), BLOCK_BYTES * (2 + 3 + 2));
        assert_eq!(&tar[..6], b"a.json");
        assert_eq!(&tar[257..263], b"ustar\0");
        assert_eq!(&tar[124..136], b"00000000002\0");
        assert_eq!(&tar[512..514], b"{}");
        let mut blank = tar[..512].to_vec();
        blank[148..156].fill(b' ');
        let sum: u32 = blank.iter().map(|b| u32::from(*b)).sum();
        assert_eq!(&tar[148..156], format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(&tar[1024..1029], b"b.bin");
    }
}
