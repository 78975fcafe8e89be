//! What the clients saw: each operation with the moments at which it began and ended, in one order for all.

use std::collections::BTreeMap;

use storage::Changeset;

/// Keys, each with its version and value, at one instant on one node.
pub type Rows = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

/// Number of a proposal; it is in every value that the proposal writes.
pub type Id = u64;

/// One operation of one client.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Whose.
    pub client: usize,
    /// The node that was asked.
    pub node: usize,
    /// Its place among all beginnings and ends.
    pub began: u64,
    /// Likewise; `None`: nobody knows whether it happened.
    pub ended: Option<u64>,
    /// What it was.
    pub what: What,
}

/// What an operation was and what came of it.
#[derive(Debug, Clone)]
pub enum What {
    /// All rows, at one instant, after a read barrier.
    Read {
        /// Position of the state that was read.
        applied: u64,
        /// The rows.
        rows: Rows,
    },
    /// A change that was proposed.
    Write {
        /// Its number.
        id: Id,
        /// The change.
        change: Changeset,
        /// `(index, committed)`; `None`: an error, or no answer.
        applied: Option<(u64, bool)>,
    },
}

/// The value that proposal `id` writes.
#[must_use]
pub fn value(id: Id, text: &str) -> Vec<u8> {
    format!("{id}|{text}").into_bytes()
}

/// The proposal that wrote a value, and the rest of it.
#[must_use]
pub fn parse(value: &[u8]) -> Option<(Id, &str)> {
    let (id, text) = std::str::from_utf8(value).ok()?.split_once('|')?;
    Some((id.parse().ok()?, text))
}

/// Numbers, in one order for all clients and nodes.
#[derive(Debug, Default)]
pub struct History {
    next: u64,
    /// In the order of their ends; those without an end come last.
    pub operations: Vec<Operation>,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
