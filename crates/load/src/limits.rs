//! The bounds of a run, each with its reason. A plan that asks for more is refused, never trimmed.
//! Absent on purpose: any switch that lifts them.

use std::time::Duration;

/// Connections of one target. The bench never needs more than 64; a shell's default descriptor limit is 1,024.
pub const CONNECTIONS_MAX: usize = 512;

/// Generator threads. More than the machine's cores only makes the generator itself slower.
pub const THREADS_MAX: usize = 16;

/// Targets in one plan: ours, some peers, and a limit.
pub const TARGETS_MAX: usize = 8;

/// Rounds of one plan.
pub const ROUNDS_MAX: u32 = 20;

/// Length of one measurement (and of its warm-up) in milliseconds: long enough for an expiry storm to drain.
pub const MEASUREMENT_MAX_MS: u64 = 180_000;

/// Requests of one counted measurement: ten times the largest population that the bench seeds.
pub const REQUESTS_MAX: u64 = 1_000_000;

/// Time allowed for a counted measurement, whatever it counts: 100,000 durable writes at a slow peer take four minutes.
pub const COUNTED_MAX: Duration = Duration::from_secs(1_200);

/// Time after a measurement's end for the last answers; a server that needs more is stuck.
pub const GRACE: Duration = Duration::from_secs(30);

/// One answer, head and body. A LIST of 100,000 keys is 4 MiB.
pub const RESPONSE_MAX_BYTES: usize = 16 << 20;

/// Free room made before each read from the socket: one read takes a whole usual answer.
pub const READ_ROOM_BYTES: usize = 16 << 10;

/// Headers of one answer; Vault sends about ten.
pub const HEADERS_MAX: usize = 64;

/// How much of an error answer is kept to say what went wrong.
pub const EXCERPT_MAX_BYTES: usize = 300;

/// A plan on stdin.
pub const PLAN_MAX_BYTES: u64 = 4 << 20;

/// Pause before a lost connection is opened again, so that a dead server is not hammered.
pub const REDIAL_PAUSE: Duration = Duration::from_millis(20);

/// One append of the disk's limit: a usual page, what a small commit costs at least.
pub const APPEND_BYTES: usize = 4 << 10;

/// Body of the fixed answer: a KV v2 read of 1 KiB with its envelope.
pub const FIXED_ANSWER_BYTES: usize = 1_434;
