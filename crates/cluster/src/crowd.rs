//! Those that want to come in and have not yet shown who they are: bounded, the oldest stranger goes first.

use std::collections::VecDeque;
use std::net::IpAddr;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::limits::{HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX, KNOWN_ADDRESSES_MAX};

/// Handshakes under way.
#[derive(Default)]
pub(crate) struct Crowd {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tickets: u64,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// Where members came from, the latest last.
    known: VecDeque<IpAddr>,
}

struct Waiting {
    ticket: u64,
    address: IpAddr,
    out: oneshot::Sender<()>,
}

/// A place in the crowd.
pub(crate) struct Place<'a> {
    crowd: &'a Crowd,
    ticket: u64,
    address: IpAddr,
    /// Answers when somebody else needs the place.
    pub(crate) out: oneshot::Receiver<()>,
}

impl Crowd {
    /// Takes a place, and another's if there is none.
    pub(crate) fn join(&self, address: IpAddr) -> Place<'_> {
        let address = address.to_canonical();
        let mut inner = self.inner.lock();
        let same = inner.waiting.iter().filter(|w| w.address == address).count();
        if same >= HANDSHAKES_PER_ADDRESS_MAX {
            inner.push_out(|w, _| w.address == address);
        } else if inner.waiting.len() >= HANDSHAKES_MAX && !inner.push_out(|w, known| !known.contains(&w.address)) {
            inner.push_out(|_, _| true);
        }
        let (out, watched) = oneshot::channel();
        inner.tickets += 1;
        let ticket = inner.tickets;
        inner.waiting.push_back(Waiting { ticket, address, out });
        Place { crowd: self, ticket, address, out: watched }
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }
}

impl Inner {
    fn push_out(&mut self, fits: impl Fn(&Waiting, &VecDeque<IpAddr>) -> bool) -> bool {
        let Some(oldest) = self.waiting.iter().position(|w| fits(w, &self.known)) else { return false };
        if let Some(waiting) = self.waiting.remove(oldest) {
            let _ = waiting.out.send(()); // it may be through in this very moment
        }
        true
    }
}

impl Place<'_> {
    /// Remembers that a member came from here.
    pub(crate) fn is_member(&self) {
        let mut inner = self.crowd.inner.lock();
        inner.known.retain(|a| *a != self.address);
        if inner.known.len() >= KNOWN_ADDRESSES_MAX {
            inner.known.pop_front();
        }
        inner.known.push_back(self.address);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.crowd.inner.lock().waiting.retain(|w| w.ticket != self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap()))
    }

    #[test]
    fn one_address_pushes_out_only_itself() {
        let crowd = Crowd::default();
        let mut other = crowd.join(address(1));
        let mut flood: Vec<_> = (0..10 * HANDSHAKES_MAX).map(|_| crowd.join(address(2))).collect();
        assert_eq!(crowd.len(), HANDSHAKES_PER_ADDRESS_MAX + 1);
        assert!(other.out.try_recv().is_err(), "still waits");
        let out = flood.iter_mut().filter_map(|p| p.out.try_recv().ok()).count();
        assert_eq!(out, 10 * HANDSHAKES_MAX - HANDSHAKES_PER_ADDRESS_MAX);
        assert!(flood.last_mut().unwrap().out.try_recv().is_err(), "the newest stays");
        drop(flood);
        assert_eq!(crowd.len(), 1);
    }

    #[test]
    fn strangers_from_everywhere_push_out_strangers() {
        let crowd = Crowd::default();
        crowd.join(address(0)).is_member();
        let mut member = crowd.join(address(0));
        let flood: Vec<_> = (1..4 * HANDSHAKES_MAX).map(|n| crowd.join(address(n))).collect();
        assert_eq!(crowd.len(), HANDSHAKES_MAX);
        assert!(member.out.try_recv().is_err(), "still waits");
        drop(flood);
        // With nobody but members, the oldest goes.
        for n in 0..KNOWN_ADDRESSES_MAX {
            crowd.join(address(n)).is_member();
        }
        let members: Vec<_> = (0..HANDSHAKES_MAX).map(|n| crowd.join(address(n % KNOWN_ADDRESSES_MAX))).collect();
        assert_eq!(crowd.len(), HANDSHAKES_MAX);
        assert!(member.out.try_recv().is_ok(), "the oldest of all");
        drop(members);
    }

    #[test]
    fn an_ipv4_address_written_as_ipv6_is_the_same() {
        let crowd = Crowd::default();
        let flood: Vec<_> = (0..2 * HANDSHAKES_PER_ADDRESS_MAX)
            .map(|n| crowd.join(if n % 2 == 0 { "10.0.0.9".parse().unwrap() } else { "::ffff:10.0.0.9".parse().unwrap() }))
            .collect();
        assert_eq!(crowd.len(), HANDSHAKES_PER_ADDRESS_MAX);
        drop(flood);
    }
}
