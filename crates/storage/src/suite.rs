//! Test support: the proof that a [`Store`] keeps its contract. Every implementation runs [`conformance`]; one with files
//! runs [`durable::durability`], [`crash`] and [`damage`] as well.
//!
//! Each check says in its error which sentence of the contract broke. Deliberately absent: the libtest harness; a store's
//! own tests call these functions and print what they return.

mod concurrent;
pub mod crash;
pub mod damage;
pub mod durable;
pub mod measure;
mod model;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

pub use model::{Dice, Model};

use crate::{Batch, Durability, Snapshot, Space, Store, StoreError};

/// What a check answers: nothing, or the sentence that does not hold.
pub type Outcome = Result<(), String>;

/// Fails the check when a condition does not hold.
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use ensure;

/// Keys and values of a scan.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

type Check<S> = (&'static str, fn(&S) -> Outcome);

/// Runs every check that needs no reopening, each on a fresh store.
///
/// # Errors
/// The name of the first failing check and what it saw.
pub fn conformance<S: Store>(make: impl Fn() -> S) -> Outcome {
    let checks: [Check<S>; 13] = [
        ("an empty store", empty),
        ("put, overwrite, delete", single_keys),
        ("a batch applies in order", order_in_batch),
        ("bounds of a scan", bounds),
        ("a scan ends where visit breaks", breaks),
        ("the last key", last_key),
        ("sizes of keys and values", sizes),
        ("many keys", many_keys),
        ("a batch is visible as a whole", concurrent::visible_as_a_whole),
        ("commits of many threads", concurrent::many_writers),
        ("a snapshot is one instant", concurrent::snapshot_isolation),
        ("a snapshot under writers is consistent", concurrent::snapshot_under_writers),
        ("random histories against a model", concurrent::random_histories),
    ];
    for (name, check) in checks {
        check(&make()).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

/// Everything of a space, by `Store::scan`.
pub(crate) fn all<S: Store + ?Sized>(store: &S, space: Space) -> Result<Pairs, StoreError> {
    let mut pairs = Vec::new();
    store.scan(space, Bound::Unbounded, Bound::Unbounded, &mut |k, v| {
        pairs.push((k.to_vec(), v.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(pairs)
}

fn all_of(snapshot: &dyn Snapshot, space: Space) -> Result<Pairs, StoreError> {
    let mut pairs = Vec::new();
    snapshot.scan(space, Bound::Unbounded, Bound::Unbounded, &mut |k, v| {
        pairs.push((k.to_vec(), v.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(pairs)
}

pub(crate) fn said(error: StoreError) -> String {
    format!("unexpected error: {error}")
}

pub(crate) fn put<S: Store>(store: &S, space: Space, key: &[u8], value: &[u8]) -> Outcome {
    let mut batch = Batch::default();
    batch.put(space, key, value);
    store.commit(batch, Durability::Buffered).map_err(said)
}

fn delete<S: Store>(store: &S, space: Space, key: &[u8]) -> Outcome {
    let mut batch = Batch::default();
    batch.delete(space, key);
    store.commit(batch, Durability::Buffered).map_err(said)
}

fn get<S: Store>(store: &S, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
    Ok(store.get(space, key).map_err(said)?.map(|value| value.to_vec()))
}

fn empty<S: Store>(store: &S) -> Outcome {
    let snapshot = store.snapshot().map_err(said)?;
    for space in Space::ALL {
        ensure!(get(store, space, b"k")?.is_none(), "get found a key in {space:?}");
        ensure!(store.last(space).map_err(said)?.is_none(), "last found a key in {space:?}");
        ensure!(all(store, space).map_err(said)?.is_empty(), "scan found a key in {space:?}");
        ensure!(snapshot.get(space, b"k").map_err(said)?.is_none(), "a snapshot's get found a key in {space:?}");
        ensure!(all_of(&*snapshot, space).map_err(said)?.is_empty(), "a snapshot's scan found a key in {space:?}");
    }
    for durability in [Durability::Buffered, Durability::Synced] {
        store.commit(Batch::default(), durability).map_err(said)?;
    }
    store.sync().map_err(said)?;
    store.disk_bytes().map_err(said)?;
    ensure!(["fjall", "sled", "memory"].contains(&store.engine()), "unknown engine {}", store.engine());
    Ok(())
}

fn single_keys<S: Store>(store: &S) -> Outcome {
    for space in Space::ALL {
        put(store, space, b"k", space.as_str().as_bytes())?;
    }
    for space in Space::ALL {
        ensure!(get(store, space, b"k")?.as_deref() == Some(space.as_str().as_bytes()), "{space:?} is not a map of its own");
    }
    put(store, Space::State, b"k", b"second")?;
    ensure!(get(store, Space::State, b"k")?.as_deref() == Some(b"second"), "an overwrite is not seen");
    ensure!(get(store, Space::Log, b"k")?.as_deref() == Some(b"log"), "an overwrite reached another space");
    delete(store, Space::State, b"k")?;
    delete(store, Space::State, b"never")?;
    ensure!(get(store, Space::State, b"k")?.is_none(), "a deleted key is seen");
    ensure!(all(store, Space::State).map_err(said)?.is_empty(), "a deleted key is visited");
    put(store, Space::State, b"k", b"")?;
    ensure!(get(store, Space::State, b"k")?.as_deref() == Some(b""), "an empty value is not a value");
    for neighbour in [&b"j"[..], b"k\0", b"kk", b"K"] {
        ensure!(get(store, Space::State, neighbour)?.is_none(), "get is not exact: {neighbour:?}");
    }
    Ok(())
}

fn order_in_batch<S: Store>(store: &S) -> Outcome {
    let mut batch = Batch::default();
    batch.put(Space::State, *b"a", *b"1");
    batch.delete(Space::State, *b"a");
    batch.put(Space::State, *b"a", *b"2");
    batch.put(Space::State, *b"b", *b"1");
    batch.put(Space::State, *b"b", *b"2");
    batch.put(Space::State, *b"c", *b"1");
    batch.delete(Space::State, *b"c");
    batch.delete(Space::Log, *b"a");
    batch.put(Space::Meta, *b"c", *b"3");
    store.commit(batch, Durability::Synced).map_err(said)?;
    let state = all(store, Space::State).map_err(said)?;
    ensure!(state == [(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), b"2".to_vec())], "state became {state:?}");
    ensure!(get(store, Space::State, b"c")?.is_none(), "the later delete did not win");
    ensure!(get(store, Space::Meta, b"c")?.as_deref() == Some(b"3"), "another space was disturbed");
    Ok(())
}

/// Keys around the places where engines slip: prefixes of each other, lowest and highest bytes.
const KEYS: [&[u8]; 9] = [b"\0", b"\0\0", b"a", b"a\0", b"aa", b"b", b"\xfe\xff", b"\xff", b"\xff\xff"];

fn bounds<S: Store>(store: &S) -> Outcome {
    let mut reference = BTreeMap::new();
    for space in Space::ALL {
        for (i, key) in KEYS.iter().enumerate() {
            // Neighbouring spaces hold keys too, or a scan that runs out of its space would pass.
            put(store, space, key, &[u8::try_from(i).unwrap_or(u8::MAX)])?;
            reference.insert(key.to_vec(), i);
        }
    }
    let snapshot = store.snapshot().map_err(said)?;
    let probes: Vec<&[u8]> = KEYS.into_iter().chain([&b"a\x01"[..], b"c", b"\xff\xff\xff"]).collect();
    let sides: Vec<Bound<&[u8]>> =
        probes.iter().flat_map(|probe| [Bound::Included(*probe), Bound::Excluded(*probe)]).chain([Bound::Unbounded]).collect();
    for from in &sides {
        for to in &sides {
            let above = |key: &[u8]| match from {
                Bound::Included(a) => key >= *a,
                Bound::Excluded(a) => key > *a,
                Bound::Unbounded => true,
            };
            let below = |key: &[u8]| match to {
                Bound::Included(b) => key <= *b,
                Bound::Excluded(b) => key < *b,
                Bound::Unbounded => true,
            };
            let wanted: Vec<&[u8]> = reference.keys().map(Vec::as_slice).filter(|k| above(k) && below(k)).collect();
            let mut seen: Vec<Vec<u8>> = Vec::new();
            let mut collect = |k: &[u8], _: &[u8]| {
                seen.push(k.to_vec());
                ControlFlow::Continue(())
            };
            store.scan(Space::Log, *from, *to, &mut collect).map_err(said)?;
            ensure!(seen == wanted, "scan {from:?}..{to:?} visited {seen:?}, not {wanted:?}");
            seen.clear();
            let mut collect = |k: &[u8], _: &[u8]| {
                seen.push(k.to_vec());
                ControlFlow::Continue(())
            };
            snapshot.scan(Space::Log, *from, *to, &mut collect).map_err(said)?;
            ensure!(seen == wanted, "a snapshot's scan {from:?}..{to:?} visited {seen:?}, not {wanted:?}");
        }
    }
    Ok(())
}

fn breaks<S: Store>(store: &S) -> Outcome {
    for i in 0..100_u8 {
        put(store, Space::State, &[i], &[i])?;
    }
    let snapshot = store.snapshot().map_err(said)?;
    for stop_after in [1_u8, 2, 50, 100] {
        let mut seen = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            seen += 1;
            if seen == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut visit).map_err(said)?;
        ensure!(seen == stop_after, "visited {seen} keys after a break at {stop_after}");
        seen = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            seen += 1;
            if seen == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        snapshot.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut visit).map_err(said)?;
        ensure!(seen == stop_after, "a snapshot visited {seen} keys after a break at {stop_after}");
    }
    Ok(())
}

fn last_key<S: Store>(store: &S) -> Outcome {
    put(store, Space::Meta, b"\xff\xff\xff", b"m")?;
    let mut present: Vec<&[u8]> = Vec::new();
    for key in KEYS {
        put(store, Space::Log, key, key)?;
        put(store, Space::State, &[key, b"!"].concat(), b"")?;
        present.push(key);
        let last = store.last(Space::Log).map_err(said)?;
        ensure!(last.as_ref().is_some_and(|(k, v)| k == key && v == key), "after putting {key:?} the last is {last:?}");
    }
    while let Some(key) = present.pop() {
        delete(store, Space::Log, key)?;
        let last = store.last(Space::Log).map_err(said)?.map(|(k, _)| k.to_vec());
        ensure!(last.as_deref() == present.last().copied(), "after deleting {key:?} the last is {last:?}");
    }
    Ok(())
}

fn sizes<S: Store>(store: &S) -> Outcome {
    let mut dice = Dice::new(7);
    let mut reference: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let sizes = [(1, 0), (1, 1), (255, 100), (256, 4096), (1000, 65_535), (4000, 65_536), (64, 1 << 20), (65, 3 << 20)];
    for (key_bytes, value_bytes) in sizes {
        let (key, value) = (dice.bytes(key_bytes), dice.bytes(value_bytes));
        let mut batch = Batch::default();
        batch.put(Space::State, key.clone(), value.clone());
        store.commit(batch, Durability::Synced).map_err(said)?;
        reference.insert(key, value);
    }
    let mut batch = Batch::default();
    for i in 0..8_u8 {
        let value = dice.bytes(300_000);
        batch.put(Space::State, [b"batch", &[i][..]].concat(), value.clone());
        reference.insert([b"batch", &[i][..]].concat(), value);
    }
    store.commit(batch, Durability::Synced).map_err(said)?;
    for (key, value) in &reference {
        let found = get(store, Space::State, key)?;
        ensure!(
            found.as_ref() == Some(value),
            "a value of {} bytes under a key of {} came back different",
            value.len(),
            key.len()
        );
    }
    let pairs = all(store, Space::State).map_err(said)?;
    ensure!(pairs.iter().map(|(k, v)| (k, v)).eq(&reference), "a scan over big values differs");
    Ok(())
}

fn many_keys<S: Store>(store: &S) -> Outcome {
    const KEYS: u32 = 20_000;
    // A fixed walk through all of them that is not ascending: 7919 and 20000 share no factor.
    let key = |i: u32| (i * 7919 % KEYS).to_be_bytes();
    for chunk in 0..KEYS / 1000 {
        let mut batch = Batch::default();
        for i in chunk * 1000..(chunk + 1) * 1000 {
            batch.put(Space::State, key(i), [&key(i)[..], &[0; 60]].concat());
        }
        store.commit(batch, Durability::Buffered).map_err(said)?;
    }
    let pairs = all(store, Space::State).map_err(said)?;
    ensure!(pairs.len() == KEYS as usize, "{} keys of {KEYS}", pairs.len());
    ensure!(pairs.iter().zip(0..KEYS).all(|((k, v), i)| *k == i.to_be_bytes() && v.starts_with(k)), "keys out of order");
    let mut batch = Batch::default();
    for i in (0..KEYS).step_by(2) {
        batch.delete(Space::State, i.to_be_bytes());
    }
    store.commit(batch, Durability::Synced).map_err(said)?;
    let odd = all(store, Space::State).map_err(said)?;
    ensure!(odd.len() == KEYS as usize / 2, "{} keys after deleting half", odd.len());
    for i in [0, 1, 9_998, 9_999, KEYS - 1] {
        ensure!(get(store, Space::State, &i.to_be_bytes())?.is_some() == (i % 2 == 1), "key {i} after deleting the even ones");
    }
    Ok(())
}
