//! Bounds on what a client may send, and for how long. The names and defaults are Vault's listener options (contract §1.4, §8.2).

use std::time::Duration;

/// One listener's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body; 32 MiB.
    pub max_request_bytes: u64,
    /// Nesting of a JSON body.
    pub max_json_depth: usize,
    /// Bytes of one JSON string.
    pub max_json_string_bytes: usize,
    /// Entries of one JSON object.
    pub max_json_object_entries: usize,
    /// Elements of one JSON array.
    pub max_json_array_elements: usize,
    /// Keys and values of the whole body.
    pub max_json_tokens: usize,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time for the whole of a request's body.
    pub read_timeout: Duration,
    /// Time a connection may stay without a request.
    pub idle_timeout: Duration,
    /// Connections at one time; beyond it new ones wait in the kernel's queue.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 32 << 20,
            max_json_depth: 300,
            max_json_string_bytes: 1 << 20,
            max_json_object_entries: 10_000,
            max_json_array_elements: 10_000,
            max_json_tokens: 500_000,
            header_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            // Each costs some 20 KiB; ten thousand half-open ones stay below 256 MiB and below the usual file limit.
            max_connections: 10_000,
        }
    }
}

/// Bytes of the head of a request. Hyper's default of 400 KiB a connection is more than any client sends.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of a path: names are segments of at most 64 KiB sealed, and no client comes near.
pub(crate) const PATH_BYTES_MAX: usize = 8 << 10;
/// Digits of one JSON number. 64-bit integers have 20; a bound keeps "numbers keep their text" from being a hole.
pub(crate) const NUMBER_BYTES_MAX: usize = 64;
/// Streams of one HTTP/2 connection.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 250;
