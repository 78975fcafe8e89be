//! Where the other nodes are, when the membership does not know it yet.
//!
//! All nodes may change their addresses at once (the pods of a cluster after a restart), and the membership can be changed
//! only by a majority that has found each other. So each node tells its present addresses to every address it knows of
//! ([`Rpc::Hello`](crate::Rpc::Hello)); what was told is kept here and in the store, overrides the membership, and is
//! passed on. Once a leader is elected it puts the addresses into the membership, and the words here become void.
//!
//! A wrong address does no harm: a transport proves who it speaks to by the node's raft id.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use storage::{Batch, Durability, Space, Store};
use tokio::sync::watch;

use crate::codec::{self, meta};
use crate::limits::{MAX_ADDRESS_BYTES, MAX_PLACES};
use crate::log::read_meta;
use crate::types::Member;
use crate::wire::{Hello, Place};

/// What is known of places. Its own node's place is the one that it announces.
pub(crate) struct Book {
    id: u64,
    places: Mutex<BTreeMap<u64, Place>>,
    /// Rung when a place is new.
    news: watch::Sender<u64>,
}

impl Book {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, places: Mutex::default(), news: watch::Sender::new(0) }
    }

    /// Reads what was told before, and notes where this node is now.
    pub(crate) fn load(&self, store: &dyn Store, this: &Member) -> Result<(), storage::StoreError> {
        let mut stored = read_meta::<Hello>(store, meta::PLACES, "addresses")?.unwrap_or_default().known;
        let before = stored.get(&self.id);
        if before.is_none_or(|place| place.member != *this) {
            let move_number = before.map_or(0, |place| place.move_number) + 1;
            stored.insert(self.id, Place { member: this.clone(), move_number, instead_of: None });
            keep(store, &stored)?;
        }
        *self.places.lock() = stored;
        Ok(())
    }

    /// The address to call a node at, of which the membership says `member`.
    pub(crate) fn address(&self, id: u64, member: &Member) -> String {
        let places = self.places.lock();
        let place = places.get(&id).filter(|place| place.instead_of.as_ref() == Some(member));
        place.map_or_else(|| member.address.clone(), |place| place.member.address.clone())
    }

    /// What this node tells others.
    pub(crate) fn hello(&self) -> Hello {
        Hello { known: self.places.lock().clone() }
    }

    /// Takes over what `from` said about nodes that `member_of` finds in the membership. A node's word about itself counts,
    /// hearsay only if it is later. Answers whether anything changed and is to be stored.
    pub(crate) fn hear(&self, from: u64, said: Hello, member_of: impl Fn(u64) -> Option<Member>) -> bool {
        let mut changed = false;
        let mut places = self.places.lock();
        for (id, mut place) in said.known.into_iter().take(MAX_PLACES) {
            let Some(member) = member_of(id).filter(|_| id != self.id) else { continue };
            if place.member.node_id != member.node_id || !is_sane(&place.member) {
                continue;
            }
            let known = places.get(&id);
            let later = known.is_none_or(|known| known.move_number < place.move_number);
            // A hearsay about another membership than ours may be older than ours.
            let fitting = place.instead_of.as_ref() == Some(&member);
            if from != id && !(later && fitting) {
                continue;
            }
            place.instead_of = Some(member);
            if known != Some(&place) {
                places.insert(id, place);
                changed = true;
            }
        }
        drop(places);
        if changed {
            self.news.send_modify(|n| *n += 1);
        }
        changed
    }

    /// Notes an address that somebody found a node at. Answers whether it is news.
    pub(crate) fn point(&self, id: u64, address: &str, member_of: impl Fn(u64) -> Option<Member>) -> bool {
        let Some(member) = member_of(id).filter(|member| id != self.id && self.address(id, member) != address) else {
            return false;
        };
        let found = Member { address: address.to_owned(), ..member.clone() };
        if !is_sane(&found) {
            return false;
        }
        let mut places = self.places.lock();
        let move_number = places.get(&id).map_or(0, |place| place.move_number);
        places.insert(id, Place { member: found, move_number, instead_of: Some(member) });
        drop(places);
        self.news.send_modify(|n| *n += 1);
        true
    }

    /// Stores what is known of the nodes that `member_of` finds in the membership, and forgets the others.
    pub(crate) fn store(&self, store: &Arc<dyn Store>, member_of: impl Fn(u64) -> Option<Member>) {
        let kept = {
            let mut places = self.places.lock();
            places.retain(|id, _| *id == self.id || member_of(*id).is_some());
            places.clone()
        };
        if let Err(error) = keep(&**store, &kept) {
            tracing::warn!(%error, "new addresses of other nodes are not kept");
        }
    }

    /// Members whose place is another than the membership says, with what it should say.
    pub(crate) fn moved(&self, member_of: impl Fn(u64) -> Option<Member>) -> BTreeMap<u64, Member> {
        let places = self.places.lock();
        let moved = places.iter().filter(|(id, place)| {
            member_of(**id)
                .is_some_and(|member| member != place.member && (**id == self.id || place.instead_of.as_ref() == Some(&member)))
        });
        moved.map(|(id, place)| (*id, place.member.clone())).collect()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

fn keep(store: &dyn Store, places: &BTreeMap<u64, Place>) -> Result<(), storage::StoreError> {
    let mut batch = Batch::default();
    batch.put(Space::Meta, meta::PLACES, codec::encode(&Hello { known: places.clone() })?);
    store.commit(batch, Durability::Synced)
}

fn is_sane(member: &Member) -> bool {
    !member.address.is_empty() && member.address.len() <= MAX_ADDRESS_BYTES && member.api_addr.len() <= MAX_ADDRESS_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, address: &str) -> Member {
        Member { node_id: format!("n{id}"), address: address.to_owned(), api_addr: String::new() }
    }

    fn membership(id: u64) -> Option<Member> {
        (id <= 3).then(|| member(id, &format!("old{id}:1")))
    }

    fn word(id: u64, address: &str, move_number: u64, instead_of: Option<Member>) -> Hello {
        Hello { known: BTreeMap::from([(id, Place { member: member(id, address), move_number, instead_of })]) }
    }

    fn at(book: &Book, id: u64) -> String {
        book.address(id, &membership(id).unwrap())
    }

    #[test]
    fn a_nodes_own_word_counts_and_hearsay_only_if_it_is_later() {
        let book = Book::new(1);
        assert_eq!(at(&book, 2), "old2:1");
        assert!(book.hear(2, word(2, "a:1", 5, None), membership));
        assert_eq!(at(&book, 2), "a:1");
        assert!(!book.hear(2, word(2, "a:1", 5, None), membership), "no news");
        assert!(!book.hear(3, word(2, "b:1", 5, membership(2)), membership), "not later");
        assert!(!book.hear(3, word(2, "b:1", 6, Some(member(2, "older:1"))), membership), "about another membership");
        assert!(book.hear(3, word(2, "b:1", 6, membership(2)), membership));
        assert_eq!(at(&book, 2), "b:1");
        assert!(book.hear(2, word(2, "c:1", 1, None), membership), "its own word always counts");
        assert_eq!(at(&book, 2), "c:1");
    }

    #[test]
    fn a_membership_that_changed_is_newer_than_what_was_told() {
        let book = Book::new(1);
        book.hear(2, word(2, "a:1", 5, None), membership);
        assert_eq!(book.moved(membership), BTreeMap::from([(2, member(2, "a:1"))]));
        let later = member(2, "b:1");
        assert_eq!(book.address(2, &later), "b:1");
        assert!(book.moved(|id| (id == 2).then(|| later.clone())).is_empty());
    }

    #[test]
    fn strangers_wrong_names_and_nonsense_are_not_believed() {
        let book = Book::new(1);
        assert!(!book.hear(9, word(9, "a:1", 1, None), membership), "no member");
        assert!(!book.hear(1, word(1, "a:1", 1, None), membership), "itself");
        assert!(!book.hear(2, word(2, "", 1, None), membership));
        assert!(!book.hear(2, word(2, &"x".repeat(MAX_ADDRESS_BYTES + 1), 1, None), membership));
        let mut named = word(2, "a:1", 1, None);
        named.known.get_mut(&2).unwrap().member.node_id = "n3".to_owned();
        assert!(!book.hear(2, named, membership));
        assert!(!book.point(9, "a:1", membership) && !book.point(1, "a:1", membership) && !book.point(2, "old2:1", membership));
        assert!(book.point(2, "a:1", membership) && !book.point(2, "a:1", membership));
    }

    #[test]
    fn what_was_told_survives_a_restart_and_a_move_is_counted() {
        let store: Arc<dyn Store> = Arc::new(storage::MemoryStore::default());
        let book = Book::new(1);
        book.load(&*store, &member(1, "one:1")).unwrap();
        book.hear(2, word(2, "a:1", 5, None), membership);
        book.store(&store, membership);
        let again = Book::new(1);
        again.load(&*store, &member(1, "one:1")).unwrap();
        assert_eq!(at(&again, 2), "a:1");
        assert_eq!(again.hello().known.get(&1).map(|place| place.move_number), Some(1));
        let moved = Book::new(1);
        moved.load(&*store, &member(1, "two:1")).unwrap();
        assert_eq!(moved.hello().known.get(&1).map(|place| place.move_number), Some(2));
        moved.store(&store, |_| None);
        assert_eq!(moved.hello().known.len(), 1, "who left is forgotten");
    }
}
