//! A snapshot that arrives from another node, on its way to the disk.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::runtime;
use crate::snapshot::StateSnapshot;

const PREFIX: &str = "receiving-";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A received file; it goes with this.
pub(crate) struct Spooled {
    pub(crate) state: StateSnapshot,
    path: PathBuf,
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // installing may have moved it
    }
}

/// Writes the stream to a file of its own in `dir` (the system's folder for nodes without one, which are tests).
pub(crate) async fn receive<S>(dir: Option<&Path>, mut bytes: S) -> io::Result<Spooled>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{PREFIX}{}-{number}.snapshot", std::process::id());
    let path = dir.map_or_else(std::env::temp_dir, Path::to_owned).join(name);
    let spooled = Spooled { state: StateSnapshot::of_file(path.clone()), path: path.clone() };
    let mut file = runtime::blocking(move || std::fs::File::create(&path)).await??;
    while let Some(part) = bytes.next().await {
        let part = part?;
        let mut out = file;
        file = runtime::blocking(move || out.write_all(&part).map(|()| out)).await??;
    }
    // A stream that ends early looks complete here; the file's own sums are checked before it is used.
    Ok(spooled)
}

/// Removes what an earlier process was receiving.
pub(crate) fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
