//! The manifests of fjall's trees, checked before fjall reads them: it writes their checksums but asserts on their content,
//! and a panic while it opens ends the process.
//!
//! ```text
//! keyspaces/<id>/current   version:u64 LE, xxh3-128 of the file v<version> u128 LE, 0x00
//! keyspaces/<id>/v<n>      the manifest
//! ```
//! Deliberately absent: tables, whose blocks fjall checks itself.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use storage::StoreError;
use xxhash_rust::xxh3::xxh3_128;

/// Checks the manifest of every tree in `files`. A tree without one was never finished; fjall removes it.
///
/// # Errors
/// [`StoreError::Corrupt`] for a manifest that is not what was written; [`StoreError::Io`].
pub(crate) fn examine(files: &Path) -> Result<(), StoreError> {
    let keyspaces = files.join("keyspaces");
    let unreadable = |source: io::Error| StoreError::Io { context: format!("read {}", keyspaces.display()), source };
    let entries = match fs::read_dir(&keyspaces) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(unreadable(e)),
    };
    for entry in entries {
        let tree = entry.map_err(unreadable)?.path();
        let current = match fs::read(tree.join("current")) {
            Ok(current) => current,
            Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => continue,
            Err(e) => return Err(unreadable(e)),
        };
        let intact = parts(&current).is_some_and(|(version, checksum)| {
            fs::read(tree.join(format!("v{version}"))).is_ok_and(|manifest| xxh3_128(&manifest) == checksum)
        });
        if !intact {
            return Err(StoreError::Corrupt {
                what: tree.display().to_string(),
                detail: "the manifest is not what was written; empty the data directory and let the node rejoin, or restore a snapshot"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

fn parts(current: &[u8]) -> Option<(u64, u128)> {
    let (version, rest) = current.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    (rest == [0]).then_some((u64::from_le_bytes(*version), u128::from_le_bytes(*checksum)))
}
