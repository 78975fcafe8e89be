//! Patterns that share their head, as a tree of segments: a lookup costs what the path is long, not how many rules there are.

use std::collections::{BTreeMap, HashMap};

use crate::pattern::Wild;
use crate::prefix_table::PrefixTable;

/// The lookup is recursive where a literal segment and a `+` both fit. Longer patterns, which nobody writes, are tried one by one,
/// so that the stack is safe.
const TREE_SEGMENTS_MAX: usize = 64;

/// The patterns of one head, each with what it stands for.
#[derive(Debug)]
pub(crate) struct Segments<R> {
    /// Best first; an index is a rank.
    rules: Vec<(Wild, R)>,
    nodes: Vec<Node>,
    /// Ranks of the patterns that are too long for the tree.
    long: Vec<usize>,
}

#[derive(Debug)]
struct Node {
    literal: HashMap<Box<str>, usize>,
    plus: Option<usize>,
    /// The pattern that ends here.
    here: Option<usize>,
    /// The patterns whose last part starts here and is open, `abc*`.
    open: PrefixTable<usize>,
}

#[derive(Default)]
struct Draft {
    literal: HashMap<Box<str>, usize>,
    plus: Option<usize>,
    here: Option<usize>,
    open: BTreeMap<Box<str>, usize>,
}

impl<R> Segments<R> {
    /// Builds the tree. All patterns must have the same head, and none twice.
    pub(crate) fn new(mut rules: Vec<(Wild, R)>) -> Self {
        rules.sort_by(|(a, _), (b, _)| b.priority(a));
        let mut nodes = vec![Draft::default()];
        let mut long = Vec::new();
        for (rank, (wild, _)) in rules.iter().enumerate() {
            if wild.tail().len() > TREE_SEGMENTS_MAX {
                long.push(rank);
            } else {
                insert(&mut nodes, wild, rank);
            }
        }
        let finish = |d: Draft| Node { literal: d.literal, plus: d.plus, here: d.here, open: PrefixTable::new(d.open) };
        Self { rules, nodes: nodes.into_iter().map(finish).collect(), long }
    }

    /// The best pattern that matches `path`, which starts with the head.
    pub(crate) fn find(&self, path: &str) -> Option<&(Wild, R)> {
        let head = self.rules.first().map_or(0, |(w, _)| w.head().len());
        let in_tree = self.best(0, path.get(head..));
        let too_long =
            self.long.iter().copied().find(|rank| self.rules.get(*rank).is_some_and(|(w, _)| w.matches_after_head(path)));
        self.rules.get(better(in_tree, too_long)?)
    }

    /// All patterns, best first.
    pub(crate) fn rules(&self) -> &[(Wild, R)] {
        &self.rules
    }

    /// The best rank at or below a node. `rest` is what the segments so far left of the path; `None` if they were all.
    fn best(&self, node: usize, rest: Option<&str>) -> Option<usize> {
        let node = self.nodes.get(node)?;
        let Some(rest) = rest else { return node.here };
        let mut best = node.open.starting(rest).next().copied();
        let (segment, after) = rest.split_once('/').map_or((rest, None), |(s, a)| (s, Some(a)));
        if let Some(next) = node.plus {
            best = better(best, self.best(next, after));
        }
        if !node.literal.is_empty()
            && let Some(next) = node.literal.get(segment)
        {
            best = better(best, self.best(*next, after));
        }
        best
    }
}

fn insert(nodes: &mut Vec<Draft>, wild: &Wild, rank: usize) {
    let (parts, open) = match wild.tail().split_last() {
        Some((last, before)) if wild.is_open() => (before, Some(last.clone())),
        None => (wild.tail(), Some("".into())),
        _ => (wild.tail(), None),
    };
    let mut at = 0;
    for part in parts {
        let fresh = nodes.len();
        let Some(node) = nodes.get_mut(at) else { return };
        at = if &**part == "+" { *node.plus.get_or_insert(fresh) } else { *node.literal.entry(part.clone()).or_insert(fresh) };
        if at == fresh {
            nodes.push(Draft::default());
        }
    }
    let Some(node) = nodes.get_mut(at) else { return };
    match open {
        Some(last) => {
            node.open.insert(last, rank);
        }
        None => node.here = Some(rank),
    }
}

/// The lower rank is the better.
fn better(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
