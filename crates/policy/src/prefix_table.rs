//! A sorted table of texts that finds all that start a given text, the longest first, in one binary search.

use std::collections::BTreeMap;

/// The table.
#[derive(Debug)]
pub(crate) struct PrefixTable<T> {
    /// Sorted by text.
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    text: Box<str>,
    /// The longest other entry that this one starts with.
    parent: Option<usize>,
    value: T,
}

impl<T> PrefixTable<T> {
    /// Sorts and links.
    pub(crate) fn new(values: BTreeMap<Box<str>, T>) -> Self {
        let mut entries: Vec<Entry<T>> = Vec::with_capacity(values.len());
        // The entries that the current one may start with, shortest first.
        let mut open: Vec<usize> = Vec::new();
        for (text, value) in values {
            while open.last().and_then(|i| entries.get(*i)).is_some_and(|e| !text.starts_with(&*e.text)) {
                open.pop();
            }
            let parent = open.last().copied();
            open.push(entries.len());
            entries.push(Entry { text, parent, value });
        }
        Self { entries }
    }

    /// The values of all entries that `text` starts with, longest first.
    pub(crate) fn starting<'a>(&'a self, text: &str) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let after = self.entries.partition_point(|e| &*e.text <= text);
        let mut at = after.checked_sub(1);
        // Whatever starts the text also starts the nearest entry before it, so comparing once is enough.
        let common = at.and_then(|i| self.entries.get(i)).map_or(0, |e| common_prefix(&e.text, text));
        std::iter::from_fn(move || {
            while let Some(entry) = at.and_then(|i| self.entries.get(i)) {
                at = entry.parent;
                if entry.text.len() <= common {
                    return Some(&entry.value);
                }
            }
            None
        })
    }

    /// All values, by text.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|e| &e.value)
    }
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count()
}
