//! Challenges that were given out in Vault's way, whose answer is the bare challenge: they have to be remembered.
//!
//! Anybody can ask for them, so there is a bound on all, one on each address, and an end for each. Nodes of this kind need none of
//! it (see `ceremony`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use secret::{SecretBytes, Time};

/// Challenges waiting at the same time: a few hundred bytes each.
const ALL_MAX: usize = 1024;
/// Those asked for from one address. A site that starts anew behind one proxy has not more nodes.
const ADDRESS_MAX: usize = 64;
/// How long an answer is waited for.
const LIFE: Duration = Duration::from_secs(60);

/// The nodes that were asked.
#[derive(Default)]
pub(crate) struct Challenges(BTreeMap<String, Waiting>);

struct Waiting {
    expected: SecretBytes,
    from: Option<Origin>,
    since: Time,
}

/// An address as far as one party can be told from others: a host's IPv6 addresses are as many as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin([u8; 8]);

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([0, 0, 0, 0, a, b, c, d])
            }
            IpAddr::V6(v6) => Self(v6.octets().first_chunk().copied().unwrap_or_default()),
        }
    }
}

impl Challenges {
    /// What `server_id` has to answer. Who asks again is told the same, so that nobody can spoil a challenge that another node is
    /// about to answer. `None`: too many are waiting.
    pub(crate) fn expect(&mut self, server_id: &str, from: Option<IpAddr>, fresh: SecretBytes, now: Time) -> Option<SecretBytes> {
        // A clock that was set back ends them all, rather than keep them for ever.
        self.0.retain(|_, w| w.since <= now && now.since(w.since) < LIFE);
        if let Some(waiting) = self.0.get(server_id) {
            return Some(waiting.expected.clone());
        }
        let from = from.map(Origin::of);
        if self.0.len() >= ALL_MAX || self.0.values().filter(|w| w.from == from).count() >= ADDRESS_MAX {
            return None;
        }
        self.0.insert(server_id.to_owned(), Waiting { expected: fresh.clone(), from, since: now });
        Some(fresh)
    }

    /// Whether this is the answer; `None` if none is expected. A wrong one spoils nothing: 128 bits are not guessed in a minute.
    pub(crate) fn is_right(&self, server_id: &str, answer: &[u8], now: Time) -> Option<bool> {
        let waiting = self.0.get(server_id).filter(|w| w.since <= now && now.since(w.since) < LIFE)?;
        Some(waiting.expected.ct_eq(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: u8) -> SecretBytes {
        SecretBytes::new(vec![n; 16])
    }

    fn v4(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn ten_thousand_half_open_joins_leave_room_for_a_legitimate_one() {
        let mut challenges = Challenges::default();
        let now = Time::from_unix(1000);
        let taken = |c: &mut Challenges, i: u32, from| c.expect(&format!("n{i}"), from, bytes(1), now).is_some();
        // One address gets no further than its own bound.
        let one = (0..10_000).filter(|i| taken(&mut challenges, *i, v4(1))).count();
        assert_eq!(one, ADDRESS_MAX);
        assert!(challenges.expect("honest", v4(2), bytes(2), now).is_some());
        // Many addresses fill the table, and it does not grow.
        let many = (10_000..20_000).filter(|i| taken(&mut challenges, *i, v4(*i))).count();
        assert_eq!(one + 1 + many, ALL_MAX);
        assert!(challenges.expect("late", v4(3), bytes(3), now).is_none());
        assert_eq!(challenges.is_right("honest", &[2; 16], now), Some(true), "who was there before is not harmed");
        // After a while there is room again.
        assert!(challenges.expect("late", v4(3), bytes(3), now.plus(LIFE)).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let mut challenges = Challenges::default();
        let now = Time::from_unix(1000);
        let from = |n: u128| Some(IpAddr::from(std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) | n)));
        let taken = (0..1000).filter(|i| challenges.expect(&i.to_string(), from(*i), bytes(1), now).is_some()).count();
        assert_eq!(taken, ADDRESS_MAX);
        assert!(challenges.expect("x", from(1 << 64), bytes(1), now).is_some());
    }

    #[test]
    fn answers_are_right_wrong_late_or_not_expected() {
        let mut challenges = Challenges::default();
        let now = Time::from_unix(1000);
        assert!(challenges.expect("a", None, bytes(1), now).unwrap().ct_eq(&[1; 16]));
        assert!(challenges.expect("a", None, bytes(9), now).unwrap().ct_eq(&[1; 16]), "asked again, the same");
        assert_eq!(challenges.is_right("a", &[9; 16], now), Some(false));
        assert_eq!(challenges.is_right("a", &[], now), Some(false));
        assert_eq!(challenges.is_right("b", &[1; 16], now), None);
        assert_eq!(challenges.is_right("a", &[1; 16], now), Some(true));
        assert_eq!(challenges.is_right("a", &[1; 16], now.plus(LIFE)), None);
        assert_eq!(challenges.is_right("a", &[1; 16], now.minus(LIFE)), None);
    }
}
