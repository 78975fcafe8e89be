//! What keeps the membership healthy by itself: who is healthy, who gets a vote, who is given up (contract §9.3).
//!
//! Pure decisions over what the leader sees; `tend` looks and acts. Deliberately absent: redundancy zones and upgrade migration
//! (Vault Enterprise).

use std::collections::BTreeMap;
use std::time::Duration;

use engine::EngineError;
use secret::Time;
use serde::{Deserialize, Serialize};
use storage::View;

/// Where the settings stand.
pub(crate) const CONFIGURATION_ROW: &str = "core/raft/autopilot/configuration";
/// Where the nodes stand that never get a vote: JSON list of raft ids in hexadecimal.
pub(crate) const NON_VOTERS_ROW: &str = "core/raft/autopilot/non-voters";

/// With fewer voters than this a healthy node gets its vote at once.
///
/// Vault lets every new node wait for `server_stabilization_time`. The wait protects voters from a newcomer that fails at once, but a
/// cluster of one or two has no spare voter to protect: it is safer the sooner it has three.
const SPARE_VOTERS: usize = 3;

/// Vault's autopilot settings; durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Configuration {
    pub(crate) cleanup_dead_servers: bool,
    pub(crate) last_contact_threshold: u64,
    pub(crate) dead_server_last_contact_threshold: u64,
    pub(crate) max_trailing_logs: i64,
    pub(crate) min_quorum: i64,
    pub(crate) server_stabilization_time: u64,
    pub(crate) disable_upgrade_migration: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: false,
            last_contact_threshold: 10,
            dead_server_last_contact_threshold: 24 * 3600,
            max_trailing_logs: 1000,
            min_quorum: 0,
            server_stabilization_time: 10,
            disable_upgrade_migration: false,
        }
    }
}

/// Notes whether a node is to stay without a vote.
pub(crate) fn bar(view: &mut View<'_>, raft_id: u64, barred: bool) -> Result<(), EngineError> {
    let stored = view.get_json::<Vec<String>>(NON_VOTERS_ROW)?.map(|ids| Vec::clone(&ids)).unwrap_or_default();
    let name = format!("{raft_id:016x}");
    if stored.contains(&name) == barred {
        return Ok(());
    }
    let mut next: Vec<String> = stored.into_iter().filter(|id| *id != name).collect();
    next.extend(barred.then_some(name));
    Ok(view.put_json(NON_VOTERS_ROW, &next)?)
}

/// A node as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) raft_id: u64,
    pub(crate) node_id: String,
    pub(crate) address: String,
    pub(crate) voter: bool,
    /// It must stay without a vote.
    pub(crate) barred: bool,
    pub(crate) leader: bool,
    /// Since the leader last heard of it; `None` if it never has.
    pub(crate) last_contact: Option<Duration>,
    /// The last entry of the log that it is known to have.
    pub(crate) matched: u64,
}

/// A node, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) seen: Seen,
    pub(crate) healthy: bool,
    /// Since when it is as healthy or unhealthy as it is.
    pub(crate) stable_since: Time,
    /// Silence so far, also of a node that was never heard.
    pub(crate) silent: Duration,
    pub(crate) dead: bool,
}

/// What is to be done; one thing a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Gets a vote.
    Promote(String),
    /// Is taken out.
    Remove(String),
}

/// What this leader remembers of the nodes from round to round.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<u64, Remembered>);

#[derive(Debug, Clone, Copy)]
struct Remembered {
    healthy: bool,
    stable_since: Time,
    /// When this leader first looked.
    first: Time,
}

/// One look at all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) nodes: Vec<Judged>,
    pub(crate) healthy: bool,
    pub(crate) failure_tolerance: usize,
    /// If those learners that may vote did so already.
    pub(crate) optimistic_failure_tolerance: usize,
    pub(crate) step: Option<Step>,
}

impl Memory {
    /// Forgets everybody: another node led meanwhile.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Judges. `last_log` is the leader's last entry.
    pub(crate) fn judge(&mut self, config: &Configuration, seen: Vec<Seen>, last_log: u64, now: Time) -> Judgement {
        self.0.retain(|id, _| seen.iter().any(|s| s.raft_id == *id));
        let nodes: Vec<Judged> = seen.into_iter().map(|s| self.judge_one(config, s, last_log, now)).collect();
        let voters = nodes.iter().filter(|n| n.seen.voter).count();
        let healthy_voters = nodes.iter().filter(|n| n.seen.voter && n.healthy).count();
        let eligible = nodes.iter().filter(|n| !n.seen.voter && !n.seen.barred && n.healthy).count();
        let tolerance = |healthy: usize, all: usize| healthy.saturating_sub(all / 2 + 1);
        Judgement {
            healthy: !nodes.is_empty() && nodes.iter().all(|n| n.healthy),
            failure_tolerance: tolerance(healthy_voters, voters),
            optimistic_failure_tolerance: tolerance(healthy_voters + eligible, voters + eligible),
            step: promotion(config, &nodes, voters, now).or_else(|| removal(config, &nodes, voters)),
            nodes,
        }
    }

    fn judge_one(&mut self, config: &Configuration, seen: Seen, last_log: u64, now: Time) -> Judged {
        let remembered = self.0.entry(seen.raft_id).or_insert(Remembered { healthy: false, stable_since: now, first: now });
        // A clock that was set back must not make anybody old.
        remembered.first = remembered.first.min(now);
        let silent = if seen.leader { Duration::ZERO } else { seen.last_contact.unwrap_or_else(|| now.since(remembered.first)) };
        let behind = last_log.saturating_sub(seen.matched);
        let heard = seen.leader || seen.last_contact.is_some();
        let in_step = seen.leader || i64::try_from(behind).is_ok_and(|b| b <= config.max_trailing_logs);
        let healthy = heard && in_step && silent <= Duration::from_secs(config.last_contact_threshold);
        if remembered.healthy != healthy {
            (remembered.healthy, remembered.stable_since) = (healthy, now);
        }
        let dead = !seen.leader && silent > Duration::from_secs(config.dead_server_last_contact_threshold);
        Judged { seen, healthy, stable_since: remembered.stable_since, silent, dead }
    }
}

fn promotion(config: &Configuration, nodes: &[Judged], voters: usize, now: Time) -> Option<Step> {
    let wait = if voters < SPARE_VOTERS { Duration::ZERO } else { Duration::from_secs(config.server_stabilization_time) };
    let ripe = |n: &&Judged| !n.seen.voter && !n.seen.barred && n.healthy && now.since(n.stable_since) >= wait;
    nodes.iter().find(ripe).map(|n| Step::Promote(n.seen.node_id.clone()))
}

/// One dead node, and only while those that stay are enough: `min_quorum` voters, and a majority of the present ones alive.
fn removal(config: &Configuration, nodes: &[Judged], voters: usize) -> Option<Step> {
    if !config.cleanup_dead_servers {
        return None;
    }
    let least = usize::try_from(config.min_quorum).unwrap_or(usize::MAX);
    let living = nodes.iter().filter(|n| n.seen.voter && !n.dead).count();
    let allowed = |n: &&Judged| !n.seen.voter || (voters.saturating_sub(1) >= least && living > voters / 2);
    nodes.iter().filter(|n| n.dead).find(allowed).map(|n| Step::Remove(n.seen.node_id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(id: u64, voter: bool, last_contact: Option<u64>) -> Seen {
        Seen {
            raft_id: id,
            node_id: format!("n{id}"),
            address: format!("10.0.0.{id}:8201"),
            voter,
            barred: false,
            leader: id == 1,
            last_contact: last_contact.map(Duration::from_secs),
            matched: 100,
        }
    }

    fn at(seconds: i64) -> Time {
        Time::from_unix(1_000_000 + seconds)
    }

    #[test]
    fn a_small_cluster_promotes_at_once_a_whole_one_after_stabilisation() {
        let config = Configuration::default();
        let mut memory = Memory::default();
        let seen = vec![node(1, true, None), node(2, false, Some(0))];
        assert_eq!(memory.judge(&config, seen, 100, at(0)).step, Some(Step::Promote("n2".into())));
        let seen = || vec![node(1, true, None), node(2, true, Some(0)), node(3, true, Some(0)), node(4, false, Some(0))];
        for second in 0..10 {
            assert_eq!(memory.judge(&config, seen(), 100, at(second)).step, None, "{second}");
        }
        assert_eq!(memory.judge(&config, seen(), 100, at(10)).step, Some(Step::Promote("n4".into())));
        // Silence in between begins the wait anew.
        let mut memory = Memory::default();
        memory.judge(&config, seen(), 100, at(0));
        let mut silent = seen();
        silent[3].last_contact = Some(11 * SECOND);
        memory.judge(&config, silent, 100, at(5));
        memory.judge(&config, seen(), 100, at(6));
        assert_eq!(memory.judge(&config, seen(), 100, at(15)).step, None);
        assert_eq!(memory.judge(&config, seen(), 100, at(16)).step, Some(Step::Promote("n4".into())));
    }

    #[test]
    fn who_was_never_heard_is_silent_behind_or_barred_gets_no_vote() {
        let config = Configuration::default();
        for change in [
            (|n: &mut Seen| n.last_contact = None) as fn(&mut Seen),
            |n| n.last_contact = Some(11 * SECOND),
            |n| n.matched = 0,
            |n| n.barred = true,
        ] {
            let mut memory = Memory::default();
            for second in 0..100 {
                let mut seen = vec![node(1, true, None), node(2, false, Some(0))];
                change(&mut seen[1]);
                assert_eq!(memory.judge(&config, seen, 2000, at(second)).step, None, "{second}");
            }
        }
    }

    #[test]
    fn tolerance_counts_healthy_voters_over_a_majority_of_all() {
        let config = Configuration::default();
        let voters =
            |n: u64, silent: u64| (1..=n).map(|i| node(i, true, Some(if i > n - silent { 60 } else { 0 }))).collect::<Vec<_>>();
        for (n, silent, tolerance, healthy) in [
            (1, 0, 0, true),
            (2, 0, 0, true),
            (3, 0, 1, true),
            (3, 1, 0, false),
            (3, 2, 0, false),
            (5, 0, 2, true),
            (5, 1, 1, false),
        ] {
            let judged = Memory::default().judge(&config, voters(n, silent), 100, at(0));
            assert_eq!((judged.failure_tolerance, judged.healthy), (tolerance, healthy), "{n} voters, {silent} silent");
        }
        let mut seen = voters(2, 0);
        seen.push(node(3, false, Some(0)));
        let judged = Memory::default().judge(&config, seen, 100, at(0));
        assert_eq!((judged.failure_tolerance, judged.optimistic_failure_tolerance), (0, 1));
        assert!(!Memory::default().judge(&config, Vec::new(), 0, at(0)).healthy);
    }

    #[test]
    fn the_dead_are_given_up_only_if_asked_for_and_only_above_the_least_number() {
        let asked = Configuration {
            cleanup_dead_servers: true,
            min_quorum: 3,
            dead_server_last_contact_threshold: 60,
            ..Configuration::default()
        };
        let step = |config: &Configuration, voters: u64, dead: &[u64]| {
            let seen = (1..=voters).map(|i| node(i, true, Some(if dead.contains(&i) { 61 } else { 0 }))).collect();
            Memory::default().judge(config, seen, 100, at(0)).step
        };
        let removed = |id: u64| Some(Step::Remove(format!("n{id}")));
        assert_eq!(step(&asked, 4, &[4]), removed(4));
        assert_eq!(step(&asked, 5, &[3, 5]), removed(3), "one a round");
        assert_eq!(step(&asked, 3, &[3]), None, "min_quorum");
        assert_eq!(step(&asked, 5, &[3, 4, 5]), None, "no majority lives");
        assert_eq!(step(&Configuration { cleanup_dead_servers: false, ..asked.clone() }, 4, &[4]), None);
        assert_eq!(step(&asked, 4, &[]), None);
        // A dead learner goes whatever the number of voters.
        let seen = vec![node(1, true, None), node(2, false, Some(61))];
        assert_eq!(Memory::default().judge(&asked, seen, 100, at(0)).step, removed(2));
    }

    #[test]
    fn a_new_leader_counts_silence_from_its_own_first_look() {
        let config = Configuration {
            cleanup_dead_servers: true,
            min_quorum: 3,
            dead_server_last_contact_threshold: 60,
            ..Configuration::default()
        };
        let seen = || vec![node(1, true, None), node(2, true, Some(0)), node(3, true, Some(0)), node(4, true, None)];
        let mut memory = Memory::default();
        assert_eq!(memory.judge(&config, seen(), 100, at(0)).step, None);
        assert_eq!(memory.judge(&config, seen(), 100, at(60)).step, None);
        assert_eq!(memory.judge(&config, seen(), 100, at(61)).step, Some(Step::Remove("n4".into())));
        memory.clear();
        assert_eq!(memory.judge(&config, seen(), 100, at(62)).step, None);
        // The clock is set back: nobody gets older by it.
        assert_eq!(memory.judge(&config, seen(), 100, at(-10_000)).step, None);
        assert_eq!(memory.judge(&config, seen(), 100, at(-10_000 + 60)).step, None);
    }

    #[test]
    fn health_keeps_its_since_until_it_changes() {
        let config = Configuration::default();
        let mut memory = Memory::default();
        let seen = |contact| vec![node(1, true, None), node(2, true, Some(contact))];
        assert_eq!(memory.judge(&config, seen(0), 100, at(0)).nodes[1].stable_since, at(0));
        assert_eq!(memory.judge(&config, seen(3), 100, at(5)).nodes[1].stable_since, at(0));
        let judged = memory.judge(&config, seen(11), 100, at(20));
        assert!(!judged.nodes[1].healthy && !judged.healthy);
        assert_eq!(judged.nodes[1].stable_since, at(20));
        assert_eq!(memory.judge(&config, seen(0), 100, at(21)).nodes[1].stable_since, at(21));
    }
}
