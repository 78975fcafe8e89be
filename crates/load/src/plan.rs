//! What to measure, as the driver writes it on stdin: targets, a request for each, and how long.
//! Absent on purpose: host names. An address is a socket address, so nothing is looked up and nothing but loopback is reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;

use crate::limits;

/// One workload for all targets. Rounds go over all targets in turn, so that a busy moment of the machine hits each of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Rounds over all targets.
    #[serde(default = "one")]
    pub rounds: u32,
    /// Milliseconds that each target is measured in a round. Ignored when `requests` is given.
    #[serde(default)]
    pub measure_ms: u64,
    /// Milliseconds of the same load before, not counted.
    #[serde(default)]
    pub warm_up_ms: u64,
    /// Stop after this many requests instead of after a time.
    pub requests: Option<u64>,
    /// Connections to each target, each with one request under way.
    pub connections: usize,
    /// Generator threads; the connections are dealt out over them.
    #[serde(default = "one_thread")]
    pub threads: usize,
    /// Microseconds that each connection waits between an answer and its next request (0: a closed loop at full speed).
    #[serde(default)]
    pub pause_micros: u64,
    /// The servers.
    pub targets: Vec<Target>,
    /// Measure 4 KiB fdatasync appends in this directory once a round.
    pub append_directory: Option<PathBuf>,
}

/// One server and what is asked of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name in the results.
    pub name: String,
    /// Loopback address and port.
    pub address: SocketAddr,
    /// PEM file with the certificate authority; TLS if given.
    pub authority: Option<PathBuf>,
    /// Process whose CPU time and memory are read.
    pub pid: Option<u32>,
    /// The request.
    pub request: RequestPlan,
}

/// A request. In `path` and `body`, `{{i}}` becomes a running number and `{{ttl}}` the seconds until `expire_at`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestPlan {
    /// `GET`, `POST`, `LIST`, …
    pub method: String,
    /// Path with a leading slash.
    pub path: String,
    /// Value of `X-Vault-Token`.
    pub token: Option<String>,
    /// JSON body.
    pub body: Option<String>,
    /// Statuses that count as success.
    pub expect: Vec<u16>,
    /// First running number.
    #[serde(default)]
    pub first: u64,
    /// Running numbers repeat after this many.
    pub spread: Option<u64>,
    /// Unix seconds that `{{ttl}}` counts down to.
    pub expire_at: Option<u64>,
}

/// Why a plan is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// The only addresses that this program talks to are loopback ones.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// A number is outside its bounds.
    #[error("{what} is {got}, allowed are {low} to {high}")]
    OutOfBounds {
        /// Field.
        what: &'static str,
        /// What the plan says.
        got: u64,
        /// Lowest allowed.
        low: u64,
        /// Highest allowed.
        high: u64,
    },
    /// A request line or header would be broken by this text.
    #[error("{0} has a character that does not belong in an HTTP request line or header")]
    Malformed(&'static str),
}

impl Plan {
    /// Refuses what is out of bounds or not on loopback.
    pub fn check(&self) -> Result<(), PlanError> {
        within("rounds", u64::from(self.rounds), 1, u64::from(limits::ROUNDS_MAX))?;
        within("connections", wide(self.connections), 1, wide(limits::CONNECTIONS_MAX))?;
        within("threads", wide(self.threads), 1, wide(limits::THREADS_MAX))?;
        within("targets", wide(self.targets.len()), 1, wide(limits::TARGETS_MAX))?;
        within("warm_up_ms", self.warm_up_ms, 0, limits::MEASUREMENT_MAX_MS)?;
        within("pause_micros", self.pause_micros, 0, 1_000_000)?;
        match self.requests {
            Some(count) => within("requests", count, 1, limits::REQUESTS_MAX)?,
            None => within("measure_ms", self.measure_ms, 1, limits::MEASUREMENT_MAX_MS)?,
        }
        self.targets.iter().try_for_each(Target::check)
    }
}

impl Target {
    fn check(&self) -> Result<(), PlanError> {
        if !self.address.ip().is_loopback() {
            return Err(PlanError::NotLoopback(self.address));
        }
        let request = &self.request;
        within("spread", request.spread.unwrap_or(1), 1, u64::MAX)?;
        if request.method.is_empty() || !request.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(PlanError::Malformed("method"));
        }
        if !request.path.starts_with('/') || !request.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PlanError::Malformed("path"));
        }
        let token = request.token.as_deref().unwrap_or_default();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PlanError::Malformed("token"));
        }
        Ok(())
    }
}

fn within(what: &'static str, got: u64, low: u64, high: u64) -> Result<(), PlanError> {
    if (low..=high).contains(&got) { Ok(()) } else { Err(PlanError::OutOfBounds { what, got, low, high }) }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn one() -> u32 {
    1
}

fn one_thread() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(changes: &[(&str, serde_json::Value)], request: &[(&str, serde_json::Value)], address: &str) -> Plan {
        let mut asked = serde_json::json!({"method": "GET", "path": "/v1/sys/health", "expect": [200]});
        for (name, value) in request {
            asked[*name] = value.clone();
        }
        let mut whole = serde_json::json!({
            "measure_ms": 1_000, "connections": 1,
            "targets": [{"name": "t", "address": address, "request": asked}],
        });
        for (name, value) in changes {
            whole[*name] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn only_loopback_is_reached() {
        for good in ["127.0.0.1:8200", "127.8.8.8:1", "[::1]:8200"] {
            assert_eq!(plan(&[], &[], good).check(), Ok(()), "{good}");
        }
        for bad in ["10.0.0.1:80", "0.0.0.0:8200", "192.168.1.1:443", "8.8.8.8:53", "[::]:80", "[2001:db8::1]:80"] {
            assert_eq!(plan(&[], &[], bad).check(), Err(PlanError::NotLoopback(bad.parse().unwrap())), "{bad}");
        }
    }

    #[test]
    fn a_host_name_is_no_address() {
        let named =
            serde_json::json!({"name": "t", "address": "localhost:80", "request": {"method": "GET", "path": "/", "expect": []}});
        assert!(serde_json::from_value::<Target>(named).is_err());
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let cases = [
            ("rounds", 0_u64),
            ("rounds", 21),
            ("connections", 0),
            ("connections", 513),
            ("threads", 0),
            ("threads", 17),
            ("measure_ms", 0),
            ("measure_ms", 180_001),
            ("warm_up_ms", 180_001),
            ("requests", 0),
            ("requests", 1_000_001),
            ("pause_micros", 1_000_001),
        ];
        for (name, value) in cases {
            let refused = plan(&[(name, value.into())], &[], "127.0.0.1:1").check();
            assert!(matches!(refused, Err(PlanError::OutOfBounds { what, .. }) if what == name), "{name} {value}: {refused:?}");
        }
    }

    #[test]
    fn text_that_would_break_the_request_is_refused() {
        let cases = [
            ("method", ""),
            ("method", "GET /"),
            ("method", "get"),
            ("path", "v1/sys"),
            ("path", "/a b"),
            ("path", "/a\r\nX: y"),
            ("token", "a\r\nb"),
            ("token", "a b"),
        ];
        for (name, value) in cases {
            let refused = plan(&[], &[(name, value.into())], "127.0.0.1:1").check();
            assert_eq!(refused, Err(PlanError::Malformed(name)), "{name} {value:?}");
        }
    }
}
