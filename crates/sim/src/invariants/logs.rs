//! Log matching: an entry is given by its index and term alone, and so is the one before it. By induction two logs that
//! have one entry in common have everything before it in common.

use std::collections::BTreeMap;

use super::Broken;

/// Every entry that was ever in a log.
#[derive(Default)]
pub struct LogMatching {
    entries: BTreeMap<(u64, u64), Entry>,
}

struct Entry {
    digest: u64,
    /// Term of the entry before, where a log showed it.
    before: Option<u64>,
}

impl LogMatching {
    /// A log got this entry, behind one of term `before` if that is known.
    ///
    /// # Errors
    /// Another log has the same index and term with something else, or behind something else.
    pub fn appended(&mut self, index: u64, term: u64, digest: u64, before: Option<u64>) -> Result<(), Broken> {
        let known = self.entries.entry((index, term)).or_insert(Entry { digest, before });
        if known.digest != digest {
            return Err(format!("entry {index} of term {term} is not the same in all logs"));
        }
        match (known.before, before) {
            (None, _) => known.before = before,
            (Some(a), Some(b)) if a != b => {
                return Err(format!("entry {index} of term {term} follows one of term {a} and one of term {b}"));
            }
            _ => {}
        }
        if before.is_some_and(|before| before > term) {
            return Err(format!("entry {index} of term {term} follows one of a later term"));
        }
        Ok(())
    }
}
