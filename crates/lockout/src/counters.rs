//! The counters. They are keyed by mount accessor and lower-case name, so spellings share one (class I, CVE-2025-6004).
//!
//! Names that do not exist are counted and locked just the same, or the lock would tell who exists; they live in a table of
//! their own with a fixed size, so that a flood of invented names cannot push out the counter of a real one.

use std::collections::HashMap;

use parking_lot::Mutex;
use secret::Time;
use tokio::sync::Notify;

use crate::Rule;

/// Invented names that are remembered; some 200 bytes each.
pub(crate) const STRANGERS_MAX: usize = 16_384;
/// Real names' counters above which finished ones are swept out. There are never more than names, so this only tidies.
const KNOWN_SWEEP: usize = 4_096;
/// Characters of an invented name that are kept as its key; longer ones share a counter by this beginning.
const STRANGER_KEY_MAX_CHARS: usize = 128;

/// A name that is locked out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Accessor of the mount.
    pub accessor: String,
    /// The alias name (user name, role id), lower case.
    pub alias: String,
    /// When the lock ends by itself.
    pub until: Time,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The secret was right; the count starts anew.
    Right,
    /// It was not.
    Wrong,
}

/// What a login may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The verdict.
    Answer,
    /// Only that the name is locked.
    Locked,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    accessor: String,
    alias: String,
}

impl Key {
    fn new(accessor: &str, alias: &str, known: bool) -> Self {
        let alias = alias.trim().to_lowercase();
        let alias = if known { alias } else { alias.chars().take(STRANGER_KEY_MAX_CHARS).collect() };
        Self { accessor: accessor.to_owned(), alias }
    }
}

#[derive(Debug, Default)]
struct Counter {
    failures: u32,
    last_failure: Time,
    under_way: u32,
    /// When it stops counting by the rule that its last failure was counted by. Mounts have rules of their own, so one mount's
    /// sweep cannot ask its own rule about the others' counters.
    over: Time,
}

impl Counter {
    fn locked_until(&self, rule: &Rule, now: Time) -> Option<Time> {
        let until = self.last_failure.plus(rule.duration);
        (self.failures >= rule.limit() && now < until).then_some(until)
    }

    /// Forgets failures that no longer count.
    fn age(&mut self, rule: &Rule, now: Time) {
        if now >= self.last_failure.plus(rule.span(self.failures)) {
            self.failures = 0;
        }
    }

    fn count(&mut self, rule: &Rule, verdict: Verdict, now: Time) {
        match verdict {
            Verdict::Right => self.failures = 0,
            Verdict::Wrong => {
                self.failures = self.failures.saturating_add(1);
                self.last_failure = self.last_failure.max(now);
                self.over = self.last_failure.plus(rule.span(self.failures));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.failures == 0 && self.under_way == 0
    }
}

impl Rule {
    /// How long this many failures count.
    fn span(&self, failures: u32) -> std::time::Duration {
        if failures >= self.limit() { self.duration } else { self.counter_reset }
    }
}

#[derive(Default)]
struct Tables {
    known: HashMap<Key, Counter>,
    strangers: HashMap<Key, Counter>,
}

impl Tables {
    fn table(&mut self, known: bool) -> &mut HashMap<Key, Counter> {
        if known { &mut self.known } else { &mut self.strangers }
    }

    /// The counter of this name, aged; room is made for a new one.
    fn counter(&mut self, key: &Key, known: bool, rule: &Rule, now: Time) -> &mut Counter {
        if !self.table(known).contains_key(key) {
            self.sweep(known, now);
        }
        let counter = self.table(known).entry(key.clone()).or_default();
        counter.age(rule, now);
        counter
    }

    fn drop_idle(&mut self, key: &Key, known: bool) {
        if self.table(known).get(key).is_some_and(Counter::is_idle) {
            self.table(known).remove(key);
        }
    }

    fn sweep(&mut self, known: bool, now: Time) {
        let table = self.table(known);
        if table.len() < if known { KNOWN_SWEEP } else { STRANGERS_MAX } {
            return;
        }
        table.retain(|_, c| c.under_way > 0 || now < c.over);
        if !known && table.len() >= STRANGERS_MAX {
            let oldest = table.iter().filter(|(_, c)| c.under_way == 0).min_by_key(|(_, c)| c.last_failure);
            if let Some(key) = oldest.map(|(k, _)| k.clone()) {
                table.remove(&key);
            }
        }
    }
}

/// The counters of all mounts.
#[derive(Default)]
pub struct Lockout {
    tables: Mutex<Tables>,
    /// Rings when a try has ended.
    ended: Notify,
}

/// One admitted try. Dropped without a verdict (the request was given up) it counts for nothing: nobody saw an answer.
pub struct Attempt<'a> {
    lockout: &'a Lockout,
    /// `None` where nothing is counted.
    key: Option<Key>,
    known: bool,
    rule: Rule,
}

impl Lockout {
    /// Admits a try before its secret is checked, after waiting for others if they use up the failures that are left: never
    /// more are under way than that. `known` says whether the name exists. `None` means locked.
    pub async fn admit(&self, rule: Rule, accessor: &str, alias: &str, known: bool, now: Time) -> Option<Attempt<'_>> {
        if rule.disabled {
            return Some(Attempt { lockout: self, key: None, known, rule });
        }
        let key = Key::new(accessor, alias, known);
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Listen before looking, or a try that ends in between is missed.
            ended.as_mut().enable();
            match self.look(&rule, &key, known, now) {
                Look::Locked => return None,
                Look::Admitted => return Some(Attempt { lockout: self, key: Some(key), known, rule }),
                Look::Wait => ended.await,
            }
        }
    }

    fn look(&self, rule: &Rule, key: &Key, known: bool, now: Time) -> Look {
        let mut tables = self.tables.lock();
        let counter = tables.counter(key, known, rule, now);
        if counter.locked_until(rule, now).is_some() {
            return Look::Locked;
        }
        if counter.failures.saturating_add(counter.under_way) >= rule.limit() {
            return Look::Wait;
        }
        counter.under_way += 1;
        Look::Admitted
    }

    fn end(&self, rule: &Rule, key: &Key, known: bool, verdict: Option<(Verdict, Time)>) {
        let mut tables = self.tables.lock();
        if let Some(counter) = tables.table(known).get_mut(key) {
            counter.under_way = counter.under_way.saturating_sub(1);
            if let Some((verdict, now)) = verdict {
                counter.count(rule, verdict, now);
            }
        }
        tables.drop_idle(key, known);
        drop(tables);
        self.ended.notify_waiters();
    }

    /// Counts a try whose secret was checked already, before the client learns anything of it. `known` says whether the name
    /// exists.
    pub fn judge(&self, rule: Rule, accessor: &str, alias: &str, known: bool, verdict: Verdict, now: Time) -> Ruling {
        if rule.disabled {
            return Ruling::Answer;
        }
        let key = Key::new(accessor, alias, known);
        let mut tables = self.tables.lock();
        if verdict == Verdict::Right && !tables.table(known).contains_key(&key) {
            return Ruling::Answer;
        }
        let counter = tables.counter(&key, known, &rule, now);
        if counter.locked_until(&rule, now).is_some() {
            return Ruling::Locked;
        }
        counter.count(&rule, verdict, now);
        tables.drop_idle(&key, known);
        Ruling::Answer
    }

    /// Names that are locked now, sorted by mount and name. Those that do not exist are left out. `rule_of` gives the rule of the
    /// mount with an accessor, `None` if there is no such mount any more.
    pub fn locked(&self, now: Time, rule_of: impl Fn(&str) -> Option<Rule>) -> Vec<Locked> {
        let tables = self.tables.lock();
        let locked = tables.known.iter().filter(|(_, counter)| counter.failures > 0).filter_map(|(key, counter)| {
            let rule = rule_of(&key.accessor).filter(|rule| !rule.disabled)?;
            let until = counter.locked_until(&rule, now)?;
            Some(Locked { accessor: key.accessor.clone(), alias: key.alias.clone(), until })
        });
        let mut out: Vec<Locked> = locked.collect();
        drop(tables);
        out.sort();
        out
    }

    /// Forgets the failures of a name, locked or not.
    pub fn unlock(&self, accessor: &str, alias: &str) {
        let mut tables = self.tables.lock();
        for known in [true, false] {
            let key = Key::new(accessor, alias, known);
            if let Some(counter) = tables.table(known).get_mut(&key) {
                counter.failures = 0;
            }
            tables.drop_idle(&key, known);
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
    pub fn settle(mut self, verdict: Verdict, now: Time) {
        if let Some(key) = self.key.take() {
            self.lockout.end(&self.rule, &key, self.known, Some((verdict, now)));
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.lockout.end(&self.rule, &key, self.known, None);
        }
    }
}

#[cfg(test)]
mod tests;
