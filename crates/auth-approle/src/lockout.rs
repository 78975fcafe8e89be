//! Slows down guessing of secret ids: after some failures in a row a role id is locked for a while, right secret or not.
//!
//! A check of a secret id is quick, so it is made first and its verdict is told here, under one lock, before the client learns
//! anything: of a hundred parallel guesses five are answered, the others hear that the role id is locked.
//!
//! The counters are in memory of the node that serves logins and gone when it stops. They are keyed by mount accessor and
//! lower-case role id, so spellings share one. Role ids that do not exist are counted alike, or the lock would tell which
//! exist; they live in a table of fixed size, so that a flood of invented ones cannot push out a real one's counter.
//!
//! Deliberately absent: a rule of the mount's own (`user_lockout_config` is not among what an engine is told).

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use secret::Time;

/// Invented role ids that are remembered; some 200 bytes each.
const STRANGERS_MAX: usize = 16_384;
/// Real counters above which finished ones are swept out. There are never more than roles, so this only tidies.
const ROLES_SWEEP: usize = 4_096;
/// Characters of an invented role id that are kept as its key; longer ones share a counter by this beginning.
const STRANGER_KEY_MAX_CHARS: usize = 128;

/// How many failures lock a role id, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutRule {
    /// Failures in a row that lock; at least one.
    pub threshold: u32,
    /// How long a role id stays locked.
    pub duration: Duration,
    /// How long after the last failure the count starts anew.
    pub counter_reset: Duration,
}

impl Default for LockoutRule {
    /// Vault's defaults.
    fn default() -> Self {
        let quarter = Duration::from_secs(15 * 60);
        Self { threshold: 5, duration: quarter, counter_reset: quarter }
    }
}

/// A role id that is locked out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Accessor of the mount.
    pub accessor: String,
    /// The role id, lower case.
    pub alias: String,
    /// When the lock ends by itself.
    pub until: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    accessor: String,
    alias: String,
}

impl Key {
    fn new(accessor: &str, alias: &str, known: bool) -> Self {
        let alias = alias.to_lowercase();
        let alias = if known { alias } else { alias.chars().take(STRANGER_KEY_MAX_CHARS).collect() };
        Self { accessor: accessor.to_owned(), alias }
    }
}

#[derive(Debug, Default)]
struct Counter {
    failures: u32,
    last_failure: Time,
}

impl Counter {
    fn locked_until(&self, rule: &LockoutRule, now: Time) -> Option<Time> {
        let until = self.last_failure.plus(rule.duration);
        (self.failures >= rule.threshold.max(1) && now < until).then_some(until)
    }

    /// Whether nothing of it counts any more.
    fn is_over(&self, rule: &LockoutRule, now: Time) -> bool {
        let span = if self.failures >= rule.threshold.max(1) { rule.duration } else { rule.counter_reset };
        now >= self.last_failure.plus(span)
    }
}

#[derive(Default)]
struct Tables {
    roles: HashMap<Key, Counter>,
    strangers: HashMap<Key, Counter>,
}

impl Tables {
    fn table(&mut self, known: bool) -> &mut HashMap<Key, Counter> {
        if known { &mut self.roles } else { &mut self.strangers }
    }

    /// Makes room for one more.
    fn sweep(&mut self, known: bool, rule: &LockoutRule, now: Time) {
        let table = self.table(known);
        if table.len() < if known { ROLES_SWEEP } else { STRANGERS_MAX } {
            return;
        }
        table.retain(|_, c| !c.is_over(rule, now));
        if !known && table.len() >= STRANGERS_MAX {
            let oldest = table.iter().min_by_key(|(_, c)| c.last_failure);
            if let Some(key) = oldest.map(|(k, _)| k.clone()) {
                table.remove(&key);
            }
        }
    }
}

/// What a login may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The verdict.
    Answer,
    /// Only that the role id is locked.
    Locked,
}

/// The counters of all mounts.
pub struct Lockout {
    rule: Option<LockoutRule>,
    tables: Mutex<Tables>,
}

impl Lockout {
    /// Counters under `rule`, or none at all: `None` switches locking off.
    #[must_use]
    pub fn new(rule: Option<LockoutRule>) -> Self {
        Self { rule, tables: Mutex::default() }
    }

    /// Counts one checked try. `known` says whether the role id exists, `right` whether the secret id was its.
    pub(crate) fn judge(&self, accessor: &str, alias: &str, known: bool, right: bool, now: Time) -> Ruling {
        let Some(rule) = self.rule else { return Ruling::Answer };
        let key = Key::new(accessor, alias, known);
        let mut tables = self.tables.lock();
        if let Some(counter) = tables.table(known).get_mut(&key) {
            if counter.locked_until(&rule, now).is_some() {
                return Ruling::Locked;
            }
            if right {
                tables.table(known).remove(&key);
                return Ruling::Answer;
            }
            if counter.is_over(&rule, now) {
                counter.failures = 0;
            }
            counter.failures = counter.failures.saturating_add(1);
            counter.last_failure = counter.last_failure.max(now);
        } else if !right {
            tables.sweep(known, &rule, now);
            tables.table(known).insert(key, Counter { failures: 1, last_failure: now });
        }
        Ruling::Answer
    }

    /// Role ids that are locked now, sorted. Those that do not exist are left out.
    #[must_use]
    pub fn locked(&self, now: Time) -> Vec<Locked> {
        let Some(rule) = self.rule else { return Vec::new() };
        let tables = self.tables.lock();
        let locked = tables.roles.iter().filter_map(|(key, counter)| {
            let until = counter.locked_until(&rule, now)?;
            Some(Locked { accessor: key.accessor.clone(), alias: key.alias.clone(), until })
        });
        let mut out: Vec<Locked> = locked.collect();
        out.sort();
        out
    }

    /// Forgets the failures of a role id, locked or not.
    pub fn unlock(&self, accessor: &str, alias: &str) {
        let mut tables = self.tables.lock();
        for known in [true, false] {
            tables.table(known).remove(&Key::new(accessor, alias, known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000_000_000_000);
    const QUARTER: Duration = Duration::from_secs(15 * 60);

    fn lockout() -> Lockout {
        Lockout::new(Some(LockoutRule::default()))
    }

    fn fails(l: &Lockout, alias: &str, known: bool, n: usize, now: Time) -> Vec<Ruling> {
        (0..n).map(|_| l.judge("acc", alias, known, false, now)).collect()
    }

    #[test]
    fn a_hundred_parallel_guesses_get_five_answers() {
        let l = lockout();
        let answered: usize = std::thread::scope(|scope| {
            let hands: Vec<_> = (0..10)
                .map(|i| {
                    let l = &l;
                    let name = if i % 2 == 0 { "web" } else { "WEB" };
                    scope.spawn(move || fails(l, name, true, 10, NOW).iter().filter(|r| **r == Ruling::Answer).count())
                })
                .collect();
            hands.into_iter().map(|h| h.join().unwrap()).sum()
        });
        assert_eq!(answered, 5);
        assert_eq!(l.judge("acc", "wEb", true, true, NOW), Ruling::Locked, "the right secret does not open it");
        assert_eq!(l.judge("other", "web", true, true, NOW), Ruling::Answer, "another mount");
        assert_eq!(l.locked(NOW).len(), 1);
    }

    #[test]
    fn strangers_are_locked_alike_and_cannot_push_out_a_role() {
        let l = lockout();
        fails(&l, "real", true, 4, NOW);
        assert_eq!(fails(&l, "nobody", false, 6, NOW).last(), Some(&Ruling::Locked));
        for i in 0..STRANGERS_MAX + 10 {
            l.judge("acc", &format!("n{i}"), false, false, NOW);
        }
        assert!(l.tables.lock().strangers.len() <= STRANGERS_MAX);
        assert_eq!(fails(&l, "real", true, 2, NOW), [Ruling::Answer, Ruling::Locked]);
        assert_eq!(l.locked(NOW).iter().map(|l| l.alias.as_str()).collect::<Vec<_>>(), ["real"]);
    }

    #[test]
    fn time_success_and_an_operator_end_it() {
        let l = lockout();
        fails(&l, "web", true, 5, NOW);
        assert_eq!(l.judge("acc", "web", true, true, NOW.plus(QUARTER)), Ruling::Answer);
        fails(&l, "web", true, 4, NOW);
        assert_eq!(l.judge("acc", "web", true, true, NOW), Ruling::Answer);
        assert_eq!(fails(&l, "web", true, 5, NOW), [Ruling::Answer; 5], "counted anew after a success");
        l.unlock("acc", "WEB");
        assert_eq!(fails(&l, "web", true, 4, NOW), [Ruling::Answer; 4]);
        assert_eq!(fails(&l, "web", true, 5, NOW.plus(QUARTER)), [Ruling::Answer; 5], "counted anew after the reset time");
        let off = Lockout::new(None);
        assert_eq!(fails(&off, "web", true, 50, NOW), [Ruling::Answer; 50]);
        assert!(off.locked(NOW).is_empty());
    }
}
