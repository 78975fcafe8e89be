//! Slows down guessing: after some failures in a row a name is locked for a while, right password or not.
//!
//! The counters are in memory, on the node that serves logins, and are gone when that node stops: a guesser wins at most one
//! threshold of tries per failover. They are keyed by mount accessor and lower-case name, so variants in case share one.
//! Names of users that do not exist are counted and locked just the same, or the lock would tell who exists; they live in a
//! table of their own with a fixed size, so that a flood of invented names cannot push out the counter of a real user.
//!
//! Tries are admitted, not counted afterwards: never more are under way than failures are left, and the rest wait. A hundred
//! parallel tries get as many guesses as a hundred in a row.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use secret::Time;
use tokio::sync::Notify;

/// Invented names that are remembered; some 200 bytes each.
const STRANGERS_MAX: usize = 16_384;
/// Real users' counters above which finished ones are swept out. There are never more than users, so this only tidies.
const USERS_SWEEP: usize = 4_096;

/// How many failures lock a name, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutRule {
    /// Failures in a row that lock; at least one.
    pub threshold: u32,
    /// How long a name stays locked.
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

/// A name that is locked out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Accessor of the mount.
    pub accessor: String,
    /// The alias name, lower case.
    pub alias: String,
    /// When the lock ends by itself.
    pub until: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    accessor: String,
    alias: String,
}

#[derive(Debug, Default)]
struct Counter {
    failures: u32,
    last_failure: Time,
    under_way: u32,
}

impl Counter {
    fn locked_until(&self, rule: &LockoutRule, now: Time) -> Option<Time> {
        let until = self.last_failure.plus(rule.duration);
        (self.failures >= rule.threshold && now < until).then_some(until)
    }

    /// Forgets failures that no longer count.
    fn age(&mut self, rule: &LockoutRule, now: Time) {
        let span = if self.failures >= rule.threshold { rule.duration } else { rule.counter_reset };
        if now >= self.last_failure.plus(span) {
            self.failures = 0;
        }
    }

    fn idle(&self) -> bool {
        self.failures == 0 && self.under_way == 0
    }
}

#[derive(Default)]
struct Tables {
    users: HashMap<Key, Counter>,
    strangers: HashMap<Key, Counter>,
}

impl Tables {
    fn table(&mut self, known: bool) -> &mut HashMap<Key, Counter> {
        if known { &mut self.users } else { &mut self.strangers }
    }

    /// Makes room for one more.
    fn sweep(&mut self, known: bool, rule: &LockoutRule, now: Time) {
        let table = self.table(known);
        if table.len() < if known { USERS_SWEEP } else { STRANGERS_MAX } {
            return;
        }
        table.retain(|_, c| {
            c.age(rule, now);
            !c.idle()
        });
        if !known && table.len() >= STRANGERS_MAX {
            let oldest = table.iter().filter(|(_, c)| c.under_way == 0).min_by_key(|(_, c)| c.last_failure);
            if let Some(key) = oldest.map(|(k, _)| k.clone()) {
                table.remove(&key);
            }
        }
    }
}

/// The counters of all mounts.
pub struct Lockout {
    rule: Option<LockoutRule>,
    tables: Mutex<Tables>,
    /// Rings when a try has ended.
    ended: Notify,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
}

/// One admitted try. Dropped without a verdict (the request was given up) it counts for nothing: nobody saw an answer.
pub(crate) struct Attempt<'a> {
    lockout: &'a Lockout,
    key: Option<Key>,
    known: bool,
}

impl Lockout {
    /// Counters under `rule`, or none at all: `None` switches locking off.
    #[must_use]
    pub fn new(rule: Option<LockoutRule>) -> Self {
        Self { rule, tables: Mutex::default(), ended: Notify::new() }
    }

    /// Admits a try, after waiting for others if they use up the failures that are left. `None` means locked.
    pub(crate) async fn admit(&self, accessor: &str, alias: &str, known: bool, now: Time) -> Option<Attempt<'_>> {
        let Some(rule) = self.rule else { return Some(Attempt { lockout: self, key: None, known }) };
        let key = Key { accessor: accessor.to_owned(), alias: alias.to_lowercase() };
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Listen before looking, or a try that ends in between is missed.
            ended.as_mut().enable();
            match self.look(&rule, &key, known, now) {
                Look::Locked => return None,
                Look::Admitted => return Some(Attempt { lockout: self, key: Some(key), known }),
                Look::Wait => ended.await,
            }
        }
    }

    fn look(&self, rule: &LockoutRule, key: &Key, known: bool, now: Time) -> Look {
        let mut tables = self.tables.lock();
        if !tables.table(known).contains_key(key) {
            tables.sweep(known, rule, now);
        }
        let counter = tables.table(known).entry(key.clone()).or_default();
        if counter.locked_until(rule, now).is_some() {
            return Look::Locked;
        }
        counter.age(rule, now);
        if counter.failures + counter.under_way >= rule.threshold.max(1) {
            return Look::Wait;
        }
        counter.under_way += 1;
        Look::Admitted
    }

    fn end(&self, key: &Key, known: bool, verdict: Option<(Verdict, Time)>) {
        let mut tables = self.tables.lock();
        let table = tables.table(known);
        if let Some(counter) = table.get_mut(key) {
            counter.under_way = counter.under_way.saturating_sub(1);
            match verdict {
                Some((Verdict::Right, _)) => counter.failures = 0,
                Some((Verdict::Wrong, now)) => {
                    counter.failures = counter.failures.saturating_add(1);
                    counter.last_failure = counter.last_failure.max(now);
                }
                None => {}
            }
            if counter.idle() {
                table.remove(key);
            }
        }
        drop(tables);
        self.ended.notify_waiters();
    }

    /// Names that are locked now, sorted. Those of users that do not exist are left out.
    #[must_use]
    pub fn locked(&self, now: Time) -> Vec<Locked> {
        let Some(rule) = self.rule else { return Vec::new() };
        let tables = self.tables.lock();
        let mut out: Vec<Locked> = tables
            .users
            .iter()
            .filter_map(|(k, c)| {
                let until = c.locked_until(&rule, now)?;
                Some(Locked { accessor: k.accessor.clone(), alias: k.alias.clone(), until })
            })
            .collect();
        out.sort();
        out
    }

    /// Forgets the failures of a name, locked or not.
    pub fn unlock(&self, accessor: &str, alias: &str) {
        let key = Key { accessor: accessor.to_owned(), alias: alias.to_lowercase() };
        let mut tables = self.tables.lock();
        for known in [true, false] {
            if let Some(counter) = tables.table(known).get_mut(&key) {
                counter.failures = 0;
            }
        }
        drop(tables);
        self.ended.notify_waiters();
    }
}

enum Look {
    Admitted,
    Wait,
    Locked,
}

impl Attempt<'_> {
    /// Counts the try.
    pub(crate) fn settle(mut self, verdict: Verdict, now: Time) {
        if let Some(key) = self.key.take() {
            self.lockout.end(&key, self.known, Some((verdict, now)));
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.lockout.end(&key, self.known, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const NOW: Time = Time(1_800_000_000_000_000_000);

    fn lockout() -> Lockout {
        Lockout::new(Some(LockoutRule::default()))
    }

    async fn fail(l: &Lockout, alias: &str, known: bool) -> bool {
        match l.admit("acc", alias, known, NOW).await {
            Some(attempt) => {
                attempt.settle(Verdict::Wrong, NOW);
                true
            }
            None => false,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_hundred_parallel_tries_get_five_guesses() {
        let l = Arc::new(lockout());
        let guesses = Arc::new(AtomicU32::new(0));
        let tries: Vec<_> = (0..100)
            .map(|i| {
                let (l, guesses) = (Arc::clone(&l), Arc::clone(&guesses));
                tokio::spawn(async move {
                    let name = if i % 2 == 0 { "ann" } else { "ANN" };
                    if let Some(attempt) = l.admit("acc", name, true, NOW).await {
                        tokio::task::yield_now().await;
                        guesses.fetch_add(1, Ordering::SeqCst);
                        attempt.settle(Verdict::Wrong, NOW);
                    }
                })
            })
            .collect();
        for t in tries {
            t.await.unwrap();
        }
        assert_eq!(guesses.load(Ordering::SeqCst), 5);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_hundred_right_logins_at_once_all_pass() {
        let l = Arc::new(lockout());
        let tries: Vec<_> = (0..100)
            .map(|_| {
                let l = Arc::clone(&l);
                tokio::spawn(async move {
                    let attempt = l.admit("acc", "ann", true, NOW).await.unwrap();
                    tokio::task::yield_now().await;
                    attempt.settle(Verdict::Right, NOW);
                })
            })
            .collect();
        for t in tries {
            t.await.unwrap();
        }
        assert!(l.tables.lock().users.is_empty(), "nothing stays behind");
    }

    #[tokio::test]
    async fn a_try_that_was_given_up_makes_room_and_counts_for_nothing() {
        let l = lockout();
        for _ in 0..20 {
            drop(l.admit("acc", "ann", true, NOW).await.unwrap());
        }
        assert!(fail(&l, "ann", true).await);
        assert_eq!(l.tables.lock().users.values().map(|c| (c.failures, c.under_way)).collect::<Vec<_>>(), [(1, 0)]);
    }

    #[tokio::test]
    async fn a_flood_of_invented_names_is_bounded_and_moves_no_real_counter() {
        let l = lockout();
        for _ in 0..5 {
            assert!(fail(&l, "ann", true).await);
        }
        // Fill the table directly: each insertion after that has to make room.
        for i in 0..STRANGERS_MAX {
            let key = Key { accessor: "acc".into(), alias: format!("n{i}") };
            l.tables.lock().strangers.insert(key, Counter { failures: 1, last_failure: NOW, under_way: 0 });
        }
        for i in 0..50 {
            assert!(fail(&l, &format!("m{i}"), false).await);
        }
        assert_eq!(l.tables.lock().strangers.len(), STRANGERS_MAX);
        assert!(!fail(&l, "ann", true).await, "still locked");
    }

    #[tokio::test]
    async fn without_a_rule_nothing_locks() {
        let l = Lockout::new(None);
        for _ in 0..50 {
            assert!(fail(&l, "ann", true).await);
        }
        assert!(l.locked(NOW).is_empty());
    }
}
