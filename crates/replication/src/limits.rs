//! Numbers that bound memory, disk and waiting, each with its reason.

use std::time::Duration;

/// Greatest change that is proposed. A request body of 32 MiB (the HTTP limit) with its encryption overhead, index records
/// and metadata fits; anything beyond is refused before it reaches the log.
pub const MAX_CHANGE_BYTES: usize = 40 * 1024 * 1024;

/// Greatest message of one node to another, without a snapshot: a full chunk of the log and one entry of the greatest size.
pub const MAX_MESSAGE_BYTES: usize = MAX_CHANGE_BYTES + 8 * 1024 * 1024;

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

/// How long a follower may take to write entries to its disk and answer. A dead peer holds up nothing but what is sent to it.
pub(crate) const APPEND_PATIENCE: Duration = Duration::from_secs(5);

/// How long one question to the leader may take before it is asked again.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(2);

/// Pause before a leader that did not take a proposal, or could not be reached, is asked again. A new leader ends it at once.
pub(crate) const LEADER_RETRY: Duration = Duration::from_millis(20);

/// Longest address that is believed. DNS names have at most 253 characters.
pub(crate) const MAX_ADDRESS_BYTES: usize = 1024;

/// Addresses taken from one message; clusters have single-digit numbers of nodes.
pub(crate) const MAX_PLACES: usize = 256;

/// Motions remembered for each other node: far more than can be under way at once.
pub(crate) const DESK_MOTIONS: usize = 8192;

/// Processes whose motions are remembered; a restarted node is a new one.
pub(crate) const DESK_ORIGINS: usize = 64;

/// How often a node says where it is while the membership does not know it, or while nobody leads.
pub(crate) const HELLO_PAUSE: Duration = Duration::from_millis(500);

/// How long one of those calls may take.
pub(crate) const HELLO_PATIENCE: Duration = Duration::from_secs(2);

/// How long a voter has to take over the lead before the next is asked; also how lately it must have answered to be the first.
pub(crate) const SUCCESSION_PATIENCE: Duration = Duration::from_secs(2);

/// How long the entry that replaces the state may take in a cluster. Each node writes its whole state meanwhile.
pub(crate) const RESTORE_PATIENCE: Duration = Duration::from_secs(600);

/// How many times the log's limits it may grow for the sake of a follower that answers but lags. Then it gets a snapshot.
pub(crate) const LAG_FACTOR: u64 = 4;

/// A follower that answered within this time is worth waiting for.
pub(crate) const LIVE: Duration = Duration::from_secs(5);

/// How long a snapshot that was asked for, and costs nothing, is waited for before it is asked for again.
pub(crate) const SNAPSHOT_RETRY: Duration = Duration::from_millis(100);
