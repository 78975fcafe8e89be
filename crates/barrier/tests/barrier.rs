//! The barrier over a memory store, with entries applied by hand as the replicated state machine does it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step fails the test"
)]

use std::sync::Arc;

use barrier::{Barrier, BarrierError, FreshShares, Sealed, Txn, Unsealed, WrappedRoot};
use secret::{SecretBytes, SystemEntropy, Time};
use shamir::{Threshold, combine};
use storage::{Batch, Changeset, Durability, MemoryStore, Page, Space, Store, Transaction, apply};

struct Node {
    store: Arc<MemoryStore>,
    index: u64,
}

impl Node {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::default()), index: 0 }
    }

    fn apply(&mut self, change: &Changeset) -> bool {
        self.index += 1;
        let mut batch = Batch::default();
        let committed = apply(&*self.store, change, self.index, &mut batch).unwrap();
        self.store.commit(batch, Durability::Synced).unwrap();
        committed
    }

    fn sealed(&self) -> Barrier<Sealed> {
        let store: Arc<dyn Store> = self.store.clone();
        Barrier::new(store)
    }

    fn initialised(shares: u64, threshold: u64) -> (Self, Vec<SecretBytes>) {
        let mut node = Self::new();
        let shape = Threshold::new(shares, threshold).unwrap();
        let (change, shares) = node.first_entry(shape);
        assert!(node.apply(&change));
        (node, shares)
    }

    fn first_entry(&self, shape: Threshold) -> (Changeset, Vec<SecretBytes>) {
        let made = self.sealed().prepare(Time::from_unix(1), &SystemEntropy).unwrap();
        let fresh = FreshShares::generate(shape, &SystemEntropy).unwrap();
        let wrapped = WrappedRoot::under_shares(made.root(), fresh.key(), shape, &SystemEntropy).unwrap();
        (made.finish(wrapped, &SystemEntropy).unwrap().0, fresh.shares().to_vec())
    }

    fn rekey(&self, barrier: &Barrier<Unsealed>, fresh: &FreshShares) -> Changeset {
        let next = barrier.next_root(&SystemEntropy).unwrap();
        let wrapped = WrappedRoot::under_shares(next.root(), fresh.key(), fresh.shape(), &SystemEntropy).unwrap();
        barrier.rekey(&next, wrapped, &SystemEntropy).unwrap()
    }

    fn commit(&mut self, barrier: &Barrier<Unsealed>, txn: Txn) -> bool {
        let Some(change) = txn.finish(&SystemEntropy).unwrap() else { return false };
        let committed = self.apply(&change);
        barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
        committed
    }

    fn open(&self, shares: &[SecretBytes]) -> Arc<Barrier<Unsealed>> {
        Arc::new(self.sealed().unseal(&combine(shares).unwrap()).unwrap())
    }
}

fn put(txn: &mut Txn, key: &str, value: &str) {
    txn.put(key, SecretBytes::from(value.as_bytes())).unwrap();
}

fn get(txn: &mut Txn, key: &str) -> Option<String> {
    txn.get(key).unwrap().map(|r| String::from_utf8(r.bytes().to_vec()).unwrap())
}

#[test]
fn wrong_shares_open_nothing_and_a_second_init_conflicts() {
    let (mut node, shares) = Node::initialised(5, 3);
    assert!(matches!(node.sealed().unseal(&combine(&shares[..2]).unwrap()), Err(BarrierError::WrongKey)));
    assert!(matches!(Node::new().sealed().unseal(&SecretBytes::new(vec![0; 32])), Err(BarrierError::Uninitialised)));
    let (again, _) = node.first_entry(Threshold::new(1, 1).unwrap());
    assert!(!node.apply(&again));
    let barrier = node.open(&shares[2..]);
    assert!(barrier.verify(&combine(&shares[..3]).unwrap()).unwrap());
    assert!(!barrier.verify(&SecretBytes::new(vec![1; 32])).unwrap());
    assert!(!barrier.verify(&SecretBytes::new(vec![1; 5])).unwrap());
}

#[test]
fn no_name_or_value_is_readable_in_the_store() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut txn = barrier.begin();
    put(&mut txn, "logical/x/database-password", "hunter2-hunter2");
    assert!(node.commit(&barrier, txn));
    let mut seen = 0;
    node.store
        .scan(Space::State, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, &mut |k, v| {
            for needle in [b"database".as_slice(), b"password", b"logical", b"hunter2"] {
                assert!(!k.windows(needle.len()).any(|w| w == needle));
                assert!(!v.windows(needle.len()).any(|w| w == needle));
            }
            seen += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, 4);
}

#[test]
fn a_transaction_reads_its_own_writes_and_lists_them_in_place() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut txn = barrier.begin();
    for key in ["a/1", "a/2", "a/b/c", "a/b/d", "z"] {
        put(&mut txn, key, key);
    }
    assert!(node.commit(&barrier, txn));
    let mut txn = barrier.begin();
    assert_eq!(txn.list("a/", &Page::default()).unwrap(), ["1", "2", "b/"]);
    assert_eq!(txn.list("", &Page::default()).unwrap(), ["a/", "z"]);
    put(&mut txn, "a/0", "new");
    txn.delete("a/2").unwrap();
    txn.delete("a/b/c").unwrap();
    assert_eq!(txn.list("a/", &Page::default()).unwrap(), ["0", "1", "b/"]);
    txn.delete("a/b/d").unwrap();
    assert_eq!(txn.list("a/", &Page::default()).unwrap(), ["0", "1"]);
    assert_eq!(txn.list("a/", &Page { after: Some("0".into()), limit: Some(1) }).unwrap(), ["1"]);
    assert_eq!(get(&mut txn, "a/2"), None);
    assert_eq!(get(&mut txn, "a/0").as_deref(), Some("new"));
    assert!(node.commit(&barrier, txn));
    let mut txn = barrier.begin();
    assert_eq!(txn.list("a/", &Page::default()).unwrap(), ["0", "1"]);
}

#[test]
fn what_was_read_must_not_have_changed() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut first = barrier.begin();
    let mut second = barrier.begin();
    assert_eq!(get(&mut first, "n"), None);
    assert_eq!(get(&mut second, "n"), None);
    put(&mut first, "n", "1");
    put(&mut second, "n", "2");
    assert!(node.commit(&barrier, first));
    assert!(!node.commit(&barrier, second));
    let mut third = barrier.begin();
    assert_eq!(get(&mut third, "n").as_deref(), Some("1"));
}

#[test]
fn a_listing_that_changed_is_a_conflict() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut lister = barrier.begin();
    assert!(lister.list("f/", &Page::default()).unwrap().is_empty());
    put(&mut lister, "count", "0");
    let mut other = barrier.begin();
    put(&mut other, "f/x", "x");
    assert!(node.commit(&barrier, other));
    assert!(!node.commit(&barrier, lister));
}

#[test]
fn a_read_that_spans_a_write_is_noticed() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut reader = barrier.begin();
    assert_eq!(get(&mut reader, "a"), None);
    let mut writer = barrier.begin();
    put(&mut writer, "a", "1");
    put(&mut writer, "b", "1");
    assert!(node.commit(&barrier, writer));
    assert_eq!(get(&mut reader, "b").as_deref(), Some("1"));
    assert!(!reader.is_consistent().unwrap());
}

#[test]
fn old_records_open_after_rotation_and_new_shares_replace_old_ones() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut txn = barrier.begin();
    put(&mut txn, "old", "1");
    assert!(node.commit(&barrier, txn));
    let change = barrier.rotate(Time::from_unix(5), &SystemEntropy).unwrap();
    assert!(node.apply(&change));
    barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
    assert_eq!(barrier.keyring().active().term, 2);
    let mut txn = barrier.begin();
    put(&mut txn, "new", "2");
    assert!(node.commit(&barrier, txn));
    let fresh = FreshShares::generate(Threshold::new(3, 2).unwrap(), &SystemEntropy).unwrap();
    let change = node.rekey(&barrier, &fresh);
    assert!(node.apply(&change));
    assert!(matches!(node.sealed().unseal(&shares[0]), Err(BarrierError::WrongKey)));
    let reopened = node.open(&fresh.shares()[1..]);
    let mut txn = reopened.begin();
    assert_eq!(get(&mut txn, "old").as_deref(), Some("1"));
    assert_eq!(get(&mut txn, "new").as_deref(), Some("2"));
}

#[test]
fn a_node_that_is_open_follows_a_rekey_and_what_comes_after_it() {
    let (mut node, shares) = Node::initialised(1, 1);
    let (proposer, standby) = (node.open(&shares), node.open(&shares));
    let fresh = FreshShares::generate(Threshold::new(2, 2).unwrap(), &SystemEntropy).unwrap();
    let old_root = node.sealed().wrapped_root().unwrap();
    let changes = [node.rekey(&proposer, &fresh)];
    for change in &changes {
        assert!(node.apply(change));
        for barrier in [&proposer, &standby] {
            barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
        }
    }
    assert_ne!(node.sealed().wrapped_root().unwrap(), old_root);
    let change = standby.rotate(Time::from_unix(9), &SystemEntropy).unwrap();
    assert!(node.apply(&change), "the standby has the keyring as stored");
    for barrier in [&proposer, &standby] {
        barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
        assert_eq!(barrier.keyring().active().term, 2);
        assert!(barrier.verify(fresh.key()).unwrap() && !barrier.verify(&shares[0]).unwrap());
    }
    assert_eq!(node.open(fresh.shares()).keyring().active().term, 2);
}

#[test]
fn of_two_rekeys_at_once_one_conflicts() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let shape = Threshold::new(1, 1).unwrap();
    let [a, b] = [0, 1].map(|_| FreshShares::generate(shape, &SystemEntropy).unwrap());
    let [first, second] = [&a, &b].map(|fresh| node.rekey(&barrier, fresh));
    let rotate = barrier.rotate(Time::from_unix(5), &SystemEntropy).unwrap();
    assert!(node.apply(&first));
    assert!(!node.apply(&second) && !node.apply(&rotate));
    assert!(node.sealed().unseal(a.key()).is_ok());
}

#[test]
fn an_outer_seal_keeps_the_root_key() {
    let mut node = Node::new();
    let made = node.sealed().prepare(Time::from_unix(1), &SystemEntropy).unwrap();
    let root = made.root().clone();
    let (change, _) = made.finish(WrappedRoot::under_seal("static", b"wrapped".to_vec()), &SystemEntropy).unwrap();
    assert!(node.apply(&change));
    let config = node.sealed().config().unwrap().unwrap();
    assert_eq!((config.seal_type.as_str(), config.secret_shares, config.is_shamir()), ("static", 1, false));
    assert_eq!(node.sealed().wrapped_root().unwrap(), b"wrapped");
    assert!(node.sealed().unseal_with_root(SecretBytes::new(vec![1; 32])).is_err());
    assert!(node.sealed().unseal(&SecretBytes::new(vec![1; 32])).is_err());
    assert_eq!(node.sealed().unseal_with_root(root).unwrap().keyring().active().term, 1);
}

#[test]
fn noted_encryptions_only_raise_the_count_of_their_term() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let count = || barrier.counts().encryptions;
    for (term, noted, known) in [(1, 1000, 1000), (1, 10, 1000), (2, 5000, 1000), (1, 1001, 1001)] {
        barrier.recall_encryptions(term, noted);
        assert_eq!(count(), known, "{term} {noted}");
    }
    let mut txn = barrier.begin();
    put(&mut txn, "a", "1");
    assert!(node.commit(&barrier, txn));
    assert_eq!(count(), 1002);
    let change = barrier.rotate(Time::from_unix(5), &SystemEntropy).unwrap();
    assert!(node.apply(&change));
    barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
    assert_eq!(count(), 0);
}

#[test]
fn a_watch_rises_only_for_its_folder() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let watch = barrier.watch("sys/policy/").unwrap();
    for (key, count) in [("sys/policy/a", 1), ("sys/token/x", 1), ("sys/policy/b", 2)] {
        let mut txn = barrier.begin();
        put(&mut txn, key, "v");
        assert!(node.commit(&barrier, txn));
        assert_eq!(watch.count(), count, "{key}");
    }
}

#[test]
fn deep_folders_are_skipped_not_walked() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut txn = barrier.begin();
    for i in 0..200 {
        put(&mut txn, &format!("top/deep/{i}"), "v");
        put(&mut txn, &format!("top/f{i}/x"), "v");
    }
    assert!(node.commit(&barrier, txn));
    let mut txn = barrier.begin();
    let names = txn.list("top/", &Page::default()).unwrap();
    assert_eq!(names.len(), 201);
    assert!(names.is_sorted());
}

#[test]
fn names_that_no_store_could_keep_are_refused_in_words() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let deepest = format!("{}x", "a/".repeat(255));
    let longest = "a".repeat(32 << 10);
    let mut txn = barrier.begin();
    put(&mut txn, &deepest, "v");
    put(&mut txn, &longest, "v");
    assert!(node.commit(&barrier, txn));
    for (name, words) in
        [(format!("a/{deepest}"), "the path has too many segments"), (format!("{longest}a"), "the path is too long")]
    {
        let mut txn = barrier.begin();
        assert_eq!(txn.put(&name, SecretBytes::new(vec![1])).unwrap_err().to_string(), words);
        assert_eq!(txn.get(&name).unwrap_err().to_string(), words);
        assert_eq!(txn.delete(&name).unwrap_err().to_string(), words);
        assert_eq!(txn.list(&format!("{name}/"), &Page::default()).unwrap_err().to_string(), words);
        assert!(!txn.has_writes());
    }
}

/// A node whose root key an outer seal keeps: its record is of no use here.
fn beside_an_outer_seal() -> (Node, SecretBytes) {
    let mut node = Node::new();
    let made = node.sealed().prepare(Time::from_unix(1), &SystemEntropy).unwrap();
    let root = made.root().clone();
    let (change, _) = made.finish(WrappedRoot::under_seal("static", b"blob".to_vec()), &SystemEntropy).unwrap();
    assert!(node.apply(&change));
    (node, root)
}

fn glass(shares: u64, threshold: u64) -> FreshShares {
    FreshShares::generate(Threshold::new(shares, threshold).unwrap(), &SystemEntropy).unwrap()
}

#[test]
fn break_glass_shares_open_until_they_are_replaced_or_taken_back() {
    let (mut node, root) = beside_an_outer_seal();
    assert!(node.sealed().break_glass().unwrap().is_none());
    let (first, second) = (glass(5, 3), glass(3, 2));
    assert!(matches!(node.sealed().unseal_with_break_glass(first.key()), Err(BarrierError::WrongKey)), "none were issued");
    let open = node.sealed().unseal_with_root(root).unwrap();
    assert!(open.revoke_break_glass().unwrap().is_none());
    assert!(node.apply(&open.issue_break_glass(&first, &SystemEntropy).unwrap()));
    let shown = node.sealed().break_glass().unwrap().unwrap();
    assert_eq!((shown.secret_shares, shown.secret_threshold), (5, 3));
    let joined = combine(&first.shares()[1..4]).unwrap();
    assert!(node.sealed().unseal_with_break_glass(&joined).is_ok());
    for wrong in [second.key().clone(), combine(&first.shares()[..2]).unwrap(), SecretBytes::new(vec![1; 7])] {
        assert!(matches!(node.sealed().unseal_with_break_glass(&wrong), Err(BarrierError::WrongKey)));
    }
    let (to_second, revoking) = (open.issue_break_glass(&second, &SystemEntropy).unwrap(), open.revoke_break_glass().unwrap());
    assert!(node.apply(&to_second));
    assert!(!node.apply(&revoking.unwrap()), "of two changes at once one conflicts");
    assert!(node.sealed().unseal_with_break_glass(first.key()).is_err());
    assert!(node.sealed().unseal_with_break_glass(second.key()).is_ok());
    assert!(node.apply(&open.revoke_break_glass().unwrap().unwrap()));
    assert!(node.sealed().unseal_with_break_glass(second.key()).is_err() && node.sealed().break_glass().unwrap().is_none());
}

#[test]
fn break_glass_shares_go_on_opening_when_the_root_key_is_exchanged() {
    let (mut node, root) = beside_an_outer_seal();
    let fresh = glass(3, 2);
    let open = node.sealed().unseal_with_root(root.clone()).unwrap();
    assert!(node.apply(&open.issue_break_glass(&fresh, &SystemEntropy).unwrap()));
    let next = open.next_root(&SystemEntropy).unwrap();
    let (rekey, late) = (
        open.rekey(&next, WrappedRoot::under_seal("static", b"other".to_vec()), &SystemEntropy).unwrap(),
        open.issue_break_glass(&glass(3, 2), &SystemEntropy).unwrap(),
    );
    assert!(node.apply(&rekey));
    assert!(!node.apply(&late), "shares for the old root key would open nothing");
    open.reload().unwrap();
    assert!(node.sealed().unseal_with_root(root).is_err());
    let reopened = node.sealed().unseal_with_break_glass(fresh.key()).unwrap();
    let mut change =
        reopened.rekey(&reopened.next_root(&SystemEntropy).unwrap(), WrappedRoot::under_seal("static", vec![]), &SystemEntropy);
    reopened.drop_break_glass(change.as_mut().unwrap()).unwrap();
    assert!(node.apply(&change.unwrap()));
    assert!(node.sealed().unseal_with_break_glass(fresh.key()).is_err(), "dropped within the exchange");
}

#[test]
fn what_was_read_while_the_state_was_replaced_is_no_transaction() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    let mut txn = barrier.begin();
    put(&mut txn, "a", "1");
    assert!(node.commit(&barrier, txn));
    let read = || {
        let mut txn = barrier.begin();
        assert_eq!(get(&mut txn, "a").as_deref(), Some("1"));
        put(&mut txn, "b", "2");
        txn
    };
    let (before, over) = (read(), read());
    assert!(before.is_consistent().unwrap() && !barrier.is_being_replaced());
    barrier.replacing();
    let during = read();
    assert!(barrier.is_being_replaced());
    assert!(!before.is_consistent().unwrap(), "it may have read a little of both");
    assert!(before.finish(&SystemEntropy).unwrap().is_none());
    assert!(!during.is_consistent().unwrap());
    barrier.reset();
    assert!(!barrier.is_being_replaced());
    for stale in [over, during] {
        assert!(!stale.is_consistent().unwrap());
        assert!(stale.finish(&SystemEntropy).unwrap().is_none());
    }
    let after = read();
    assert!(after.is_consistent().unwrap() && node.commit(&barrier, after));
    // Also without an announcement.
    let unannounced = read();
    barrier.reset();
    assert!(!unannounced.is_consistent().unwrap() && read().is_consistent().unwrap());
}

#[test]
fn a_node_that_cannot_follow_an_exchange_of_keys_knows_it() {
    let (mut node, shares) = Node::initialised(1, 1);
    let (leader, away, just_late) = (node.open(&shares), node.open(&shares), node.open(&shares));
    let apply = |node: &mut Node, change: Changeset| {
        assert!(node.apply(&change));
        leader.touched(change.writes.iter().map(|w| w.key.as_slice()));
    };
    let shape = Threshold::new(1, 1).unwrap();
    let fresh = || FreshShares::generate(shape, &SystemEntropy).unwrap();
    let change = node.rekey(&leader, &fresh());
    apply(&mut node, change);
    just_late.reset();
    assert!(!just_late.is_lost());
    // A new data key and a root key under it: who knows neither cannot come by either.
    let change = leader.rotate(Time::from_unix(5), &SystemEntropy).unwrap();
    apply(&mut node, change);
    let change = node.rekey(&leader, &fresh());
    apply(&mut node, change);
    away.reset();
    assert!(away.is_lost() && !leader.is_lost());
    assert!(leader.begin().is_consistent().unwrap());
}

#[test]
fn the_count_of_encryptions_is_the_note_and_what_is_not_in_it() {
    let (mut node, shares) = Node::initialised(1, 1);
    let barrier = node.open(&shares);
    barrier.count_encryptions(10);
    assert_eq!((barrier.unnoted_encryptions(), barrier.counts().encryptions), ((1, 10), 10));
    barrier.recall_encryptions(1, 100);
    assert_eq!(barrier.counts().encryptions, 110);
    // Eight of ours went into the note, and another node's ninety-two more.
    barrier.noted_encryptions(1, 8, 200);
    assert_eq!((barrier.unnoted_encryptions(), barrier.counts().encryptions), ((1, 2), 202));
    barrier.noted_encryptions(2, 2, 999);
    assert_eq!(barrier.counts().encryptions, 202, "another term's");
    let change = barrier.rotate(Time::from_unix(5), &SystemEntropy).unwrap();
    assert!(node.apply(&change));
    barrier.touched(change.writes.iter().map(|w| w.key.as_slice()));
    assert_eq!((barrier.unnoted_encryptions(), barrier.counts().encryptions), ((2, 0), 0));
}
