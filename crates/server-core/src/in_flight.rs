//! The requests being served now, for `sys/in-flight-req`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use api_types::{Map, Operation};
use engine::Request;
use parking_lot::Mutex;
use secret::Time;
use serde_json::json;

/// Requests enter and leave on all cores; a lock each for a few of them keeps them apart.
const SHARDS: usize = 16;

struct Entry {
    id: String,
    path: String,
    operation: Operation,
    client: Option<SocketAddr>,
    started: Time,
}

/// The table.
#[derive(Default)]
pub(crate) struct InFlight {
    next: AtomicU64,
    shards: [Mutex<HashMap<u64, Entry>>; SHARDS],
}

/// One request's place in the table; it leaves when this is dropped, also when the client went away.
pub(crate) struct Place<'a> {
    table: &'a InFlight,
    number: u64,
}

impl InFlight {
    pub(crate) fn enter(&self, request: &Request, now: Time) -> Place<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            id: request.id.clone(),
            path: request.path.clone(),
            operation: request.operation,
            client: request.connection.remote_addr.map(|ip| SocketAddr::new(ip, request.connection.remote_port)),
            started: now,
        };
        if let Some(shard) = self.shard(number) {
            shard.lock().insert(number, entry);
        }
        Place { table: self, number }
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.shards.iter().map(|s| s.lock().len() as u64).sum()
    }

    /// By request id, as Vault shows them.
    pub(crate) fn show(&self) -> Map {
        let mut out = Map::new();
        for shard in &self.shards {
            for e in shard.lock().values() {
                let value = json!({
                    "start_time": e.started.rfc3339(),
                    "client_remote_address": e.client.map(|c| c.to_string()).unwrap_or_default(),
                    "request_path": format!("/v1/{}", e.path),
                    "request_method": method(e.operation),
                    "client_id": "",
                });
                out.insert(e.id.clone(), value);
            }
        }
        out
    }

    fn shard(&self, number: u64) -> Option<&Mutex<HashMap<u64, Entry>>> {
        self.shards.get(usize::try_from(number % SHARDS as u64).unwrap_or(0))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(shard) = self.table.shard(self.number) {
            shard.lock().remove(&self.number);
        }
    }
}

fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Read | Operation::Help => "GET",
        Operation::List => "LIST",
        Operation::Delete => "DELETE",
        Operation::Patch => "PATCH",
        Operation::Header => "HEAD",
        _ => "PUT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_there_until_it_is_dropped() {
        let table = InFlight::default();
        let mut request = Request::new(Operation::List, "kv/");
        request.id = "one".into();
        let place = table.enter(&request, Time::from_unix(5));
        let second = table.enter(&Request::new(Operation::Read, "x"), Time::from_unix(6));
        assert_eq!(table.count(), 2);
        assert_eq!(table.show()["one"]["request_path"], "/v1/kv/");
        assert_eq!(table.show()["one"]["request_method"], "LIST");
        drop(place);
        assert_eq!(table.count(), 1);
        drop(second);
        assert!(table.show().is_empty());
    }
}
