//! The requests being served now, for `sys/in-flight-req`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use api_types::{Map, Operation};
use engine::Request;
use parking_lot::Mutex;
use secret::Time;
use serde_json::json;

/// Requests enter and leave on all cores; a lock each for a few of them keeps them apart.
const SHARDS: usize = 16;
/// Capacity of an entry's texts that is kept for the next request.
const KEPT_TEXT_BYTES: usize = 256;

/// A request. Its texts are written over by the next one in its place, so that entering allocates nothing.
struct Entry {
    id: String,
    path: String,
    operation: Operation,
    client: Option<SocketAddr>,
    started: Time,
    present: bool,
}

#[derive(Default)]
struct Shard {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

/// The table.
#[derive(Default)]
pub(crate) struct InFlight {
    next: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
}

/// One request's place in the table; it leaves when this is dropped, also when the client went away.
pub(crate) struct Place<'a> {
    shard: Option<&'a Mutex<Shard>>,
    index: usize,
}

impl InFlight {
    pub(crate) fn enter(&self, request: &Request, now: Time) -> Place<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let shard = self.shards.get(number % SHARDS);
        let index = shard.map_or(0, |shard| shard.lock().enter(request, now));
        Place { shard, index }
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        let present = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            (shard.entries.len() - shard.free.len()) as u64
        };
        self.shards.iter().map(present).sum()
    }

    /// By request id, as Vault shows them.
    pub(crate) fn show(&self) -> Map {
        let mut out = Map::new();
        for shard in &self.shards {
            for e in shard.lock().entries.iter().filter(|e| e.present) {
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
}

impl Shard {
    fn enter(&mut self, request: &Request, now: Time) -> usize {
        let client = request.connection.remote_addr.map(|ip| SocketAddr::new(ip, request.connection.remote_port));
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index)
        {
            for (kept, text) in [(&mut entry.id, &request.id), (&mut entry.path, &request.path)] {
                kept.clear();
                kept.push_str(text);
            }
            (entry.operation, entry.client, entry.started, entry.present) = (request.operation, client, now, true);
            return index;
        }
        self.entries.push(Entry {
            id: request.id.clone(),
            path: request.path.clone(),
            operation: request.operation,
            client,
            started: now,
            present: true,
        });
        self.entries.len() - 1
    }

    fn leave(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index).filter(|e| e.present) {
            entry.present = false;
            entry.path.clear();
            entry.path.shrink_to(KEPT_TEXT_BYTES);
            self.free.push(index);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(shard) = self.shard {
            shard.lock().leave(self.index);
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
        // Places are used again, and nothing of the earlier request shows.
        for i in 0..100 {
            request.id = format!("id {i}");
            request.path = "x".repeat(i);
            let _place = table.enter(&request, Time::from_unix(7));
            assert_eq!(table.show().keys().collect::<Vec<_>>(), [&request.id]);
            assert_eq!(table.show()[&request.id]["request_path"], format!("/v1/{}", request.path));
        }
        assert_eq!(table.count(), 0);
        assert_eq!(table.shards.iter().map(|s| s.lock().entries.len()).sum::<usize>(), SHARDS);
    }
}
