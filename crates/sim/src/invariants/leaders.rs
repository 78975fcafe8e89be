//! One leader per term: no two nodes are ever known to be elected in the same one. Deliberately absent: how long it takes
//! until there is one (`healed`).

use std::collections::BTreeMap;

use super::Broken;

/// Who was elected.
#[derive(Default)]
pub struct OneLeader {
    by_term: BTreeMap<u64, u64>,
}

impl OneLeader {
    /// Somebody noted that `node` was elected in `term`.
    ///
    /// # Errors
    /// Another was.
    pub fn elected(&mut self, term: u64, node: u64) -> Result<(), Broken> {
        let first = *self.by_term.entry(term).or_insert(node);
        if first == node { Ok(()) } else { Err(format!("two leaders in term {term}: {first:x} and {node:x}")) }
    }

    /// Terms with a leader.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.by_term.len()
    }
}
