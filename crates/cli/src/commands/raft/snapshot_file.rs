//! The snapshot file: a gzipped tar of `meta.json`, `state.bin`, `SHA256SUMS` and `SHA256SUMS.sealed` (contract §9.4).
//!
//! Only what this program must know of tar: names, sizes, plain files. Deliberately absent: writing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

/// Size of a tar block.
const BLOCK_BYTES: usize = 512;
/// Longest small member that is read whole; `meta.json` of a large cluster has a few KiB.
pub(super) const SMALL_MEMBER_MAX_BYTES: u64 = 1 << 20;

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("not a tar archive")]
    NotTar,
    #[error("incomplete snapshot, unable to read SHA256SUMS.sealed file")]
    Incomplete,
}

/// Takes a member's name, size and content; may leave a part of the content unread.
type Visit<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), SnapshotError> + 'a;

/// Walks over the members in order, and checks the file's own checksum at the end.
pub(super) fn walk(path: &Path, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
    let mut tar = GzDecoder::new(BufReader::new(File::open(path)?));
    walk_tar(&mut tar, visit)?;
    // gzip compares its checksum when the last byte is read, which lies behind the last member.
    io::copy(&mut tar, &mut io::sink())?;
    Ok(())
}

fn walk_tar(tar: &mut dyn Read, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
    while let Some(block) = next_block(tar)? {
        if block.iter().all(|b| *b == 0) {
            break;
        }
        let (name, size) = header(&block).ok_or(SnapshotError::NotTar)?;
        let mut content = (&mut *tar).take(size);
        visit(&name, size, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() > 0 {
            return Err(SnapshotError::NotTar);
        }
        let padding = (BLOCK_BYTES as u64 - size % BLOCK_BYTES as u64) % BLOCK_BYTES as u64;
        io::copy(&mut (&mut *tar).take(padding), &mut io::sink())?;
    }
    Ok(())
}

/// The next block; `None` at the end, an error for a part of a block.
fn next_block(tar: &mut dyn Read) -> Result<Option<[u8; BLOCK_BYTES]>, SnapshotError> {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    (&mut *tar).take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
    match <[u8; BLOCK_BYTES]>::try_from(bytes) {
        Ok(block) => Ok(Some(block)),
        Err(bytes) if bytes.is_empty() => Ok(None),
        Err(_) => Err(SnapshotError::NotTar),
    }
}

/// Name and size out of a header whose checksum is right.
fn header(block: &[u8; BLOCK_BYTES]) -> Option<(String, u64)> {
    let octal = |field: &[u8]| u64::from_str_radix(std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']), 8).ok();
    let sum: u64 = block.iter().enumerate().map(|(i, b)| u64::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
    if octal(block.get(148..156)?)? != sum {
        return None;
    }
    let name: Vec<u8> = block.get(..100)?.iter().copied().take_while(|b| *b != 0).collect();
    Some((String::from_utf8(name).ok()?, octal(block.get(124..136)?)?))
}

/// Whether the file is whole: the seal over the checksums is the last member, and not empty.
pub(super) fn check(path: &Path) -> Result<(), SnapshotError> {
    let mut sealed = false;
    walk(path, &mut |name, size, _| {
        sealed |= name == "SHA256SUMS.sealed" && size > 0;
        Ok(())
    })?;
    if sealed { Ok(()) } else { Err(SnapshotError::Incomplete) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A snapshot file of these members.
    pub(in crate::commands::raft) fn snapshot(members: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let mut tar = Vec::new();
        for (name, content) in members {
            let mut block = [0u8; BLOCK_BYTES];
            block[..name.len()].copy_from_slice(name.as_bytes());
            block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar.extend_from_slice(&block);
            tar.extend_from_slice(content);
            tar.resize(tar.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        tar.resize(tar.len() + 2 * BLOCK_BYTES, 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut gz = flate2::write::GzEncoder::new(file.as_file(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        gz.finish().unwrap();
        file
    }

    #[test]
    fn whole_and_broken_files() {
        let big = vec![7u8; 1500];
        assert!(check(snapshot(&[("meta.json", b"{}"), ("state.bin", &big), ("SHA256SUMS.sealed", b"x")]).path()).is_ok());
        for members in [vec![], vec![("meta.json", b"{}".as_slice())], vec![("SHA256SUMS.sealed", b"".as_slice())]] {
            assert!(matches!(check(snapshot(&members).path()), Err(SnapshotError::Incomplete)));
        }
        let whole = snapshot(&[("state.bin", &big), ("SHA256SUMS.sealed", b"x")]);
        let bytes = std::fs::read(whole.path()).unwrap();
        std::fs::write(whole.path(), &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(check(whole.path()), Err(SnapshotError::Read(_))));
        let mut flipped = bytes.clone();
        let at = flipped.len() - 8;
        flipped[at] ^= 1;
        std::fs::write(whole.path(), &flipped).unwrap();
        assert!(matches!(check(whole.path()), Err(SnapshotError::Read(_))), "the checksum is looked at");
        for text in ["no gzip", "", "x"] {
            std::fs::write(whole.path(), text).unwrap();
            assert!(matches!(check(whole.path()), Err(SnapshotError::Read(_) | SnapshotError::Incomplete)), "{text}");
        }
        let mut junk = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        junk.write_all(&[1u8; 600]).unwrap();
        std::fs::write(whole.path(), junk.finish().unwrap()).unwrap();
        assert!(matches!(check(whole.path()), Err(SnapshotError::NotTar)));
    }
}
