//! Every number of this room, with its reason beside it.

use std::time::Duration;

use replication::MAX_CHANGE_BYTES;

/// A certificate authority signs for this long before the next one takes over.
pub(crate) const AUTHORITY_USE: Duration = Duration::from_secs(30 * 24 * 3600);

/// From the introduction of an authority to its adoption at the earliest: a node that has the entry also has it applied by then.
pub(crate) const ADOPTION_WAIT: Duration = Duration::from_secs(10 * 60);

/// Life of a node's certificate after it is made. Half of it is the reserve for clocks that go ahead (see [`CLOCK_SKEW`]).
pub(crate) const LEAF_LIFE: Duration = Duration::from_secs(48 * 3600);

/// Age at which a node makes itself a new certificate.
pub(crate) const LEAF_RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// How far the clocks of two nodes may differ: a certificate is valid from this long before it was made, and still for this long
/// when it is replaced.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a serial number. It only has to differ from others of the same authority.
pub(crate) const SERIAL_BYTES: usize = 16;

/// TCP to a peer: a few hops, and one lost packet costs a second anyway.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// TLS with a peer, at either end. A stranger that says nothing holds its place for no longer.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before the second attempt to reach a peer; it doubles up to [`BACKOFF_MAX`].
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Longest such pause: about an election time-out, so that a node that comes back hears of the leader before it wants to be one.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_millis(400);

/// Addresses of one peer that are remembered: the one it had, the one it has, and what others say.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Silence after which the caller pings.
pub(crate) const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Silence after a ping that ends the connection. With the interval: a pulled cable is noticed within two seconds, and a node
/// that stalls for one second loses no call.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_millis(1500);

/// Ping of the answering end, which only has to get rid of connections whose caller is gone.
pub(crate) const DOOR_PING_INTERVAL: Duration = Duration::from_secs(10);

/// Silence after such a ping.
pub(crate) const DOOR_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Handshakes under way at one time. One takes a few milliseconds, so this is far above any cluster's need.
pub(crate) const HANDSHAKES_MAX: usize = 256;

/// The same from one address.
pub(crate) const HANDSHAKES_PER_ADDRESS_MAX: usize = 32;

/// Addresses of members that are remembered, so that a flood by strangers pushes out strangers first.
pub(crate) const KNOWN_ADDRESSES_MAX: usize = 64;

/// Connections of one member: two lanes, twice that while certificates change, and some that are dead but not noticed yet.
pub(crate) const CONNECTIONS_PER_MEMBER_MAX: usize = 12;

/// Requests at one time on one connection: proposals of a busy standby. More wait at the caller.
pub(crate) const STREAMS_MAX: u32 = 1024;

/// Headers of a request: what `server-http` takes, and a head of a snapshot.
pub(crate) const HEADERS_BYTES_MAX: u32 = 128 * 1024;

/// Bytes of one stream that may wait unread. At a round trip of 10 ms it allows 100 MB/s.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// The same for a connection: a few streams whose reader is slow do not hold up the others.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Greatest frame: longer ones cost fewer steps, shorter ones let small requests in between.
pub(crate) const FRAME_BYTES: u32 = 64 * 1024;

/// Bytes of one stream that are taken from its body and not yet sent.
pub(crate) const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Log entries or a proposal: the greatest change, what gathers before it, and the envelope.
pub(crate) const ENTRIES_BYTES_MAX: usize = MAX_CHANGE_BYTES + 8 * 1024 * 1024;

/// Requests that carry no entries: votes, questions about the log's end.
pub(crate) const QUESTION_BYTES_MAX: usize = 64 * 1024;

/// Answers: positions in the log, or the outcome of a proposal.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Text of a refusal.
pub(crate) const REFUSAL_BYTES_MAX: usize = 1024;

/// Bodies up to this length travel on the lane for urgent requests and need no share of [`BODIES_BYTES_MAX`].
pub(crate) const SMALL_BODY_BYTES: usize = 64 * 1024;

/// All longer bodies that are held in memory before they are whole.
pub(crate) const BODIES_BYTES_MAX: usize = 3 * ENTRIES_BYTES_MAX;

/// Silence in the middle of a body that has to be whole before it means anything: it holds its share of the memory meanwhile.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Head of a snapshot: the vote and the membership.
pub(crate) const SNAPSHOT_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Pieces in which a snapshot is cut.
pub(crate) const SNAPSHOT_PIECE_BYTES: usize = 64 * 1024;

/// Pieces that wait between the store's thread and the connection.
pub(crate) const SNAPSHOT_PIECES_WAITING: usize = 2;

/// How long requests being answered may take when the node leaves.
pub(crate) const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// Lanes that were not used for this long are closed when a new peer comes: members come and go.
pub(crate) const LANE_FORGOTTEN: Duration = Duration::from_secs(600);

/// Pause after a failed accept (no file descriptors): trying at once would only spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
