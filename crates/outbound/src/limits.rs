//! Every number of this room, with its reason beside it.

use std::time::Duration;

/// Questions at once through one [`crate::Outbound`]. Below the 100 streams that an API server allows on one HTTP/2 connection,
/// and far above what logins need: one answer takes a few milliseconds.
pub(crate) const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// How long a question waits for its turn before it gives up; together with the next two the client gets an answer in 15 s.
pub(crate) const TURN_WAIT_MAX: Duration = Duration::from_secs(5);

/// A healthy server is a few hops away.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole exchange, connect included.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections are kept for the next burst of logins, but not past what load balancers usually allow.
pub(crate) const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(60);

/// Distinct CA bundles whose clients are kept; more mounts than this share by taking turns.
pub(crate) const CLIENTS_MAX: usize = 64;

/// The system's roots change with package updates; a client that trusts them is built again after this time.
pub(crate) const SYSTEM_ROOTS_REUSE: Duration = Duration::from_secs(3600);
