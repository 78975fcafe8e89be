//! Pages of listings, small folders and large ones, over a memory store.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use barrier::{Barrier, FreshShares, Unsealed, WrappedRoot};
use proptest::prelude::*;
use secret::{SecretBytes, SystemEntropy, Time};
use shamir::Threshold;
use storage::{Batch, Durability, MemoryStore, Page, Store, Transaction, apply};

struct Node {
    store: Arc<MemoryStore>,
    barrier: Arc<Barrier<Unsealed>>,
    index: u64,
}

impl Node {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let sealed = Barrier::new(Arc::<MemoryStore>::clone(&store) as Arc<dyn Store>);
        let shape = Threshold::new(1, 1).unwrap();
        let made = sealed.prepare(Time::from_unix(1), &SystemEntropy).unwrap();
        let fresh = FreshShares::generate(shape, &SystemEntropy).unwrap();
        let wrapped = WrappedRoot::under_shares(made.root(), fresh.key(), shape, &SystemEntropy).unwrap();
        let (change, _) = made.finish(wrapped, &SystemEntropy).unwrap();
        let mut batch = Batch::default();
        assert!(apply(&*store, &change, 1, &mut batch).unwrap());
        store.commit(batch, Durability::Synced).unwrap();
        let barrier = Arc::new(sealed.unseal(fresh.key()).unwrap());
        Self { store, barrier, index: 1 }
    }

    fn change(&mut self, puts: impl IntoIterator<Item = String>, deletes: &[&str]) {
        let mut txn = self.barrier.begin();
        for key in puts {
            txn.put(&key, SecretBytes::new(b"{}".to_vec())).unwrap();
        }
        for key in deletes {
            txn.delete(key).unwrap();
        }
        let change = txn.finish(&SystemEntropy).unwrap().unwrap();
        self.index += 1;
        let mut batch = Batch::default();
        assert!(apply(&*self.store, &change, self.index, &mut batch).unwrap());
        self.store.commit(batch, Durability::Synced).unwrap();
        self.barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
    }

    fn walk(&self, folder: &str, limit: usize) -> (Vec<String>, bool) {
        let (mut all, mut after, mut sorted) = (Vec::new(), None, true);
        loop {
            let page = self.barrier.begin().page(folder, &Page { after, limit: Some(limit) }).unwrap();
            sorted &= page.sorted;
            assert!(page.names.len() <= limit);
            let Some(last) = page.names.last() else { return (all, sorted) };
            after = Some(last.clone());
            all.extend(page.names);
        }
    }
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("f/name-{n:05}")).collect()
}

#[test]
fn pages_of_a_large_folder_make_up_the_whole_each_name_once() {
    let mut node = Node::new();
    node.change(names(0, 3_000), &[]);
    node.change((0..200).map(|n| format!("f/folder-{}/{n}", n % 4)), &[]);
    let whole: BTreeSet<String> = node.barrier.begin().list("f/", &Page::default()).unwrap().into_iter().collect();
    assert_eq!(whole.len(), 3_004);
    for limit in [1_000, 77] {
        let (walked, sorted) = node.walk("f/", limit);
        assert!(!sorted);
        assert_eq!(walked.len(), 3_004, "each once");
        assert_eq!(walked.into_iter().collect::<BTreeSet<_>>(), whole);
    }
}

#[test]
fn what_stays_while_others_write_is_seen_exactly_once() {
    let mut node = Node::new();
    node.change(names(0, 3_000), &[]);
    let (mut seen, mut after, mut round) = (Vec::new(), None, 0);
    loop {
        let page = node.barrier.begin().page("f/", &Page { after: after.take(), limit: Some(500) }).unwrap();
        let Some(last) = page.names.last().cloned() else { break };
        // Between two pages names come and go, the one that the next page begins after among them.
        node.change(vec![format!("f/new-{round}")], &[&format!("f/{last}")]);
        round += 1;
        seen.extend(page.names);
        after = Some(last);
    }
    let old: Vec<&String> = seen.iter().filter(|n| n.starts_with("name-")).collect();
    assert_eq!(old.len(), 3_000);
    assert_eq!(old.into_iter().collect::<BTreeSet<_>>().len(), 3_000);
}

#[test]
fn small_folders_come_sorted_and_own_writes_are_seen() {
    let mut node = Node::new();
    node.change(["f/b".to_owned(), "f/a".into(), "f/a/x".into(), "f/c".into()], &[]);
    let page =
        |after: Option<&str>, limit| node.barrier.begin().page("f/", &Page { after: after.map(str::to_owned), limit }).unwrap();
    assert_eq!((page(None, Some(2)).names, page(None, Some(2)).sorted), (vec!["a".to_owned(), "a/".into()], true));
    assert_eq!(page(Some("a"), Some(9)).names, ["a/", "b", "c"]);
    assert_eq!(page(Some("bb"), Some(9)).names, ["c"]);
    assert_eq!(page(None, None).names.len(), 4);
    assert!(page(Some("z"), Some(1)).names.is_empty());
    let mut txn = node.barrier.begin();
    txn.put("f/aa", SecretBytes::new(b"{}".to_vec())).unwrap();
    txn.delete("f/c").unwrap();
    assert_eq!(txn.page("f/", &Page { after: Some("a/".into()), limit: Some(5) }).unwrap().names, ["aa", "b"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn walks_equal_listings(keys in proptest::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 1..40), limit in 1usize..8) {
        let mut node = Node::new();
        node.change(keys.iter().map(|k| format!("f/{k}")), &[]);
        let whole = node.barrier.begin().list("f/", &Page::default()).unwrap();
        prop_assert_eq!(node.walk("f/", limit).0, whole);
    }
}
