//! The clients a node has seen lately. Bounded: whoever has many addresses must not cost the server its memory (CVE class N).

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;

use parking_lot::Mutex;
use secret::Time;

use crate::{RateLimit, Verdict, Window};

/// Locks, so that requests on all cores rarely meet.
const SHARDS_COUNT: usize = 64;
/// Clients kept in one of them.
const SHARD_CLIENTS_COUNT_MAX: usize = 1024;
/// Clients kept in all; one is some 100 bytes, so 7 MiB.
pub const CLIENTS_COUNT_MAX: usize = SHARDS_COUNT * SHARD_CLIENTS_COUNT_MAX;
/// Clients looked at to find one that can go. A constant, so that a flood of new addresses costs each of them the same.
const LOOKED_AT_COUNT: usize = 16;

#[derive(Clone, Copy)]
struct Seen {
    window: Window,
    ends: Time,
}

type Key = (u64, IpAddr);

/// What each client has used of each rule, on this node since its start.
pub struct Clients {
    shards: [Mutex<HashMap<Key, Seen>>; SHARDS_COUNT],
    hasher: RandomState,
}

impl Default for Clients {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Clients {
    /// Takes one request of `client` under the rule with this fingerprint.
    pub fn take(&self, fingerprint: u64, rule: &RateLimit, client: IpAddr, now: Time) -> Verdict {
        let key = (fingerprint, client);
        let Some(shard) = self.shard(&key) else { return Window::new(now).take(rule, now) };
        let mut seen = shard.lock();
        if seen.len() >= SHARD_CLIENTS_COUNT_MAX && !seen.contains_key(&key) {
            make_room(&mut seen, now);
        }
        let here = match seen.entry(key) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(e) => e.insert(Seen { window: Window::new(now), ends: now }),
        };
        let verdict = here.window.take(rule, now);
        here.ends = here.window.ends(rule);
        verdict
    }

    /// What [`Self::take`] would answer, without taking.
    #[must_use]
    pub fn look(&self, fingerprint: u64, rule: &RateLimit, client: IpAddr, now: Time) -> Verdict {
        let key = (fingerprint, client);
        let known = self.shard(&key).and_then(|s| s.lock().get(&key).map(|seen| seen.window));
        known.unwrap_or_else(|| Window::new(now)).look(rule, now)
    }

    /// Clients remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }

    fn shard(&self, key: &Key) -> Option<&Mutex<HashMap<Key, Seen>>> {
        self.shards.get((self.hasher.hash_one(key) % SHARDS_COUNT as u64) as usize)
    }
}

/// Lets the one go whose window is over, or over first. A client that is forgotten early begins a new window: that is lenient, and
/// who has thousands of addresses has thousands of windows anyway.
fn make_room(seen: &mut HashMap<Key, Seen>, now: Time) {
    let mut first: Option<(Key, Time)> = None;
    for (key, s) in seen.iter().take(LOOKED_AT_COUNT) {
        if first.is_none_or(|(_, ends)| s.ends < ends) {
            first = Some((*key, s.ends));
        }
        if s.ends <= now {
            break;
        }
    }
    if let Some((key, _)) = first {
        seen.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn rule() -> RateLimit {
        RateLimit { scope: crate::Scope::default(), rate: 1.0, interval_seconds: 60, block_seconds: 0, inheritable: true }
    }

    #[test]
    fn clients_and_rules_do_not_share() {
        let (clients, rule, now) = (Clients::default(), rule(), Time::from_unix(0));
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(clients.look(1, &rule, a, now).allowed);
        assert!(clients.take(1, &rule, a, now).allowed);
        assert!(!clients.take(1, &rule, a, now).allowed);
        assert!(!clients.look(1, &rule, a, now).allowed);
        assert!(clients.take(1, &rule, b, now).allowed);
        assert!(clients.take(2, &rule, a, now).allowed);
        assert_eq!(clients.count(), 3);
    }

    #[test]
    fn cve_class_n_a_flood_of_addresses_does_not_grow_memory() {
        let (clients, rule) = (Clients::default(), rule());
        for n in 0..200_000u128 {
            let now = Time::from_unix(i64::try_from(n / 1_000).unwrap());
            clients.take(1, &rule, IpAddr::from(Ipv6Addr::from(n)), now);
        }
        assert!(clients.count() <= CLIENTS_COUNT_MAX, "{}", clients.count());
        // Those of the present are still counted.
        let now = Time::from_unix(199);
        let last = IpAddr::from(Ipv6Addr::from(199_999u128));
        assert!(!clients.take(1, &rule, last, now).allowed);
    }

    #[test]
    fn a_changed_rule_counts_anew_and_an_unchanged_one_goes_on() {
        let one = rule();
        let other = RateLimit { rate: 2.0, ..rule() };
        assert_eq!(one.fingerprint("a"), rule().fingerprint("a"));
        assert_ne!(one.fingerprint("a"), one.fingerprint("b"));
        assert_ne!(one.fingerprint("a"), other.fingerprint("a"));
    }
}
