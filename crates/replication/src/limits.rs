//! Numbers that bound memory, disk and waiting, each with its reason.

use std::time::Duration;

/// Greatest change that is proposed. A request body of 32 MiB (the HTTP limit) with its encryption overhead, index records
/// and metadata fits; anything beyond is refused before it reaches the log.
pub const MAX_CHANGE_BYTES: usize = 40 * 1024 * 1024;

/// Greatest stored name. The stores keep key lengths in 16 bits.
pub(crate) const MAX_KEY_BYTES: usize = 60 * 1024;

/// Fixed part counted per check and per write, so that very many tiny writes are bounded too.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 16;

/// Appends that are gathered into one disk batch. One oversized change still goes through, alone.
pub(crate) const APPEND_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// State written by one store commit while entries are applied; bounds memory when a long log is replayed.
pub(crate) const APPLY_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Entries applied by one store commit: the acknowledgement of the first waits for the last.
pub(crate) const APPLY_BATCH_ENTRIES: usize = 512;

/// Entries that are on disk and still kept in memory, so that applying and replicating them reads no disk.
pub(crate) const RECENT_BYTES: usize = 2 * 1024 * 1024;

/// Entries read from disk at a time when the log is replayed or a follower catches up.
pub(crate) const READ_CHUNK_ENTRIES: u64 = 256;

/// Bytes in one reply of the log reader to replication: a follower's request stays well below its timeout.
pub(crate) const READ_CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Records cleared or written by one commit while a snapshot is installed.
pub(crate) const INSTALL_BATCH_BYTES: usize = 1024 * 1024;

/// Keys cleared by one commit while a snapshot is installed.
pub(crate) const INSTALL_BATCH_KEYS: usize = 4096;

/// How long a proposal waits on a full disk before it is told so. A log rotation or a clean-up may make room at once.
pub(crate) const FULL_DISK_PATIENCE: Duration = Duration::from_secs(2);

/// Pause between attempts to write to a full disk.
pub(crate) const FULL_DISK_RETRY: Duration = Duration::from_millis(250);

/// How often the age of the log is looked at. Age limits are hours.
pub(crate) const AGE_CHECK: Duration = Duration::from_secs(60);

/// Log bytes between two marks that remember size and age; purging is as fine as this.
pub(crate) const MARK_BYTES: u64 = 256 * 1024;

/// How long a shutdown waits for tasks to let go of the store; they only have to notice.
pub(crate) const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// One file of the log. Purging is as fine as this; two or three of them are what the log costs a node without followers.
pub(crate) const SEGMENT_BYTES: u64 = 1024 * 1024;

/// Log kept by a node that has no followers to serve.
pub(crate) const SOLE_LOG_BYTES: u64 = SEGMENT_BYTES;
