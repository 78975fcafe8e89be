//! Whether a history of one register has an order of its operations that respects time and makes every read right: the
//! search of Wing and Gong with Lowe's memory of what was tried. Operations on several keys are judged key by key, which is
//! enough, since linearizability is local.
//!
//! It looks at values alone and knows nothing of logs and indexes, so it would notice if those lied.

use std::collections::HashSet;

/// An operation on the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<V> {
    /// When it began; moments are distinct.
    pub began: u64,
    /// When it ended; `None`: it may have happened at any time after it began, or never.
    pub ended: Option<u64>,
    /// What it did.
    pub act: Act<V>,
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act<V> {
    /// The register has this value from then on; `None`: it is empty.
    Write(Option<V>),
    /// It had this value.
    Read(Option<V>),
}

/// Whether the history can be explained, beginning with an empty register. `Err`: the length of the longest explained part,
/// and the operations that could not follow it.
///
/// # Errors
/// The history is not linearizable.
pub fn linearizable<V: Clone + Eq + std::hash::Hash>(calls: &[Call<V>]) -> Result<(), (usize, Vec<Call<V>>)> {
    // An unknown read says nothing, and an unknown write whose value nobody saw can be left out.
    let mut calls: Vec<Call<V>> = calls.iter().filter(|call| call.ended.is_some() || is_seen(call, calls)).cloned().collect();
    calls.sort_by_key(|call| call.began);
    let mut search = Search { calls: &calls, done: vec![false; calls.len()], tried: HashSet::new(), best: (0, Vec::new()) };
    if search.explain(None) { Ok(()) } else { Err(search.best) }
}

fn is_seen<V: Eq>(call: &Call<V>, all: &[Call<V>]) -> bool {
    match &call.act {
        Act::Read(_) => false,
        Act::Write(value) => all.iter().any(|other| matches!(&other.act, Act::Read(read) if read == value)),
    }
}

struct Search<'a, V> {
    /// By their beginnings.
    calls: &'a [Call<V>],
    done: Vec<bool>,
    tried: HashSet<(Vec<u64>, Option<V>)>,
    best: (usize, Vec<Call<V>>),
}

struct Step<V> {
    /// Calls that may come next, not tried yet.
    next: Vec<usize>,
    /// The register before them.
    register: Option<V>,
    /// The call that led here.
    taken: Option<usize>,
}

impl<V: Clone + Eq + std::hash::Hash> Search<'_, V> {
    /// Depth first, with a stack of its own: histories are longer than threads' stacks are deep.
    fn explain(&mut self, register: Option<V>) -> bool {
        let mut stack = vec![Step { next: self.candidates(), register, taken: None }];
        while let Some(step) = stack.last_mut() {
            if self.calls.iter().zip(&self.done).all(|(call, done)| *done || call.ended.is_none()) {
                return true;
            }
            let Some(chosen) = step.next.pop() else {
                let taken = step.taken;
                stack.pop();
                self.mark(taken, false);
                continue;
            };
            let Some(call) = self.calls.get(chosen) else { continue };
            let after = match &call.act {
                Act::Read(value) if *value != step.register => continue,
                Act::Read(_) => step.register.clone(),
                Act::Write(value) => value.clone(),
            };
            self.mark(Some(chosen), true);
            if !self.tried.insert((self.bits(), after.clone())) {
                self.mark(Some(chosen), false);
                continue;
            }
            let next = self.candidates();
            if stack.len() > self.best.0 {
                let stuck = next.iter().filter_map(|i| self.calls.get(*i)).take(6).cloned().collect();
                self.best = (stack.len(), stuck);
            }
            stack.push(Step { next, register: after, taken: Some(chosen) });
        }
        false
    }

    /// Calls that began before every call that is not done yet has ended.
    fn candidates(&self) -> Vec<usize> {
        let open = || self.calls.iter().enumerate().zip(&self.done).filter(|(_, done)| !**done).map(|(call, _)| call);
        let first_end = open().filter_map(|(_, call)| call.ended).min().unwrap_or(u64::MAX);
        // The last is tried first; reads and what ended early are likelier, unknown writes least.
        let mut next: Vec<usize> = open().take_while(|(_, call)| call.began < first_end).map(|(i, _)| i).collect();
        next.sort_by_key(|i| std::cmp::Reverse(self.calls.get(*i).and_then(|call| call.ended).unwrap_or(u64::MAX)));
        next
    }

    fn mark(&mut self, call: Option<usize>, done: bool) {
        if let Some(mark) = call.and_then(|i| self.done.get_mut(i)) {
            *mark = done;
        }
    }

    fn bits(&self) -> Vec<u64> {
        self.done
            .chunks(64)
            .map(|chunk| chunk.iter().enumerate().fold(0, |bits, (i, done)| bits | u64::from(*done) << i))
            .collect()
    }
}
