//! What both disk engines need around their files: the directory with its lock, format and marks ([`DataDirectory`]),
//! commits that share one fdatasync ([`GroupCommit`]), and a fence for panics of foreign code ([`guarded`]).
//!
//! Deliberately absent: any engine.

mod directory;
mod group;

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use directory::DataDirectory;
pub use group::GroupCommit;

use crate::{Batch, BatchOp, StoreError};

/// Longest key any engine accepts. fjall writes the length as a u16; the names we seal stay far below.
pub const KEY_MAX_BYTES: usize = 65_535 - 16;

/// Longest value any engine accepts. fjall and sled write lengths as u32 and read a record whole into memory.
pub const VALUE_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Bytes a batch adds to a log, about: keys, values and the framing of each operation.
///
/// # Errors
/// [`StoreError::Io`] (invalid input) for an empty or too long key or a too long value. Nothing was written.
pub fn checked_size(batch: &Batch) -> Result<u64, StoreError> {
    const FRAME_BYTES: usize = 64;
    let mut bytes = 0;
    for op in &batch.ops {
        let (key, value): (&[u8], &[u8]) = match op {
            BatchOp::Put(_, key, value) => (key, value),
            BatchOp::Delete(_, key) => (key, &[]),
        };
        if key.is_empty() || key.len() > KEY_MAX_BYTES || value.len() > VALUE_MAX_BYTES {
            return Err(StoreError::Io {
                context: format!("a record with a key of {} bytes and a value of {} bytes", key.len(), value.len()),
                source: std::io::ErrorKind::InvalidInput.into(),
            });
        }
        bytes += key.len() + value.len() + FRAME_BYTES;
    }
    Ok(bytes as u64)
}

/// Whether a range can hold no key: reversed, or empty by its bounds. Engines differ in what they do with those.
#[must_use]
pub fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}

/// Runs foreign code and turns a panic of it into [`StoreError::Corrupt`]: engines assert on bytes read from disk.
///
/// # Errors
/// What `work` answers, or [`StoreError::Corrupt`] for a panic.
pub fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let detail = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| cause.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        Err(StoreError::Corrupt { what: what.to_owned(), detail: format!("the engine gave up: {detail}") })
    })
}
