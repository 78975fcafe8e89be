//! The checks of [`super::conformance`] about what others see: whole batches, one instant, the same history.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Dice, Model, Outcome, all, all_of, delete, ensure, get, put, said};
use crate::{Batch, Durability, Space, Store};

/// Keys that every batch of the visibility checks sets to one number.
const TOGETHER: [(Space, &[u8]); 5] =
    [(Space::State, b"a"), (Space::State, b"m"), (Space::State, b"z"), (Space::Log, b"a"), (Space::Meta, b"a")];

fn together(number: u64) -> Batch {
    let mut batch = Batch::default();
    for (space, key) in TOGETHER {
        batch.put(space, key, number.to_be_bytes());
    }
    batch
}

fn number(value: Option<&[u8]>) -> Result<u64, String> {
    let bytes = value.ok_or("a key of a committed batch is missing")?;
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| "a value was never committed".to_owned())
}

pub(super) fn visible_as_a_whole<S: Store>(store: &S) -> Outcome {
    const BATCHES: u64 = 400;
    store.commit(together(0), Durability::Buffered).map_err(said)?;
    while_reading(
        || {
            for i in 1..=BATCHES {
                let durability = if i % 8 == 0 { Durability::Synced } else { Durability::Buffered };
                store.commit(together(i), durability).map_err(said)?;
                ensure!(number(store.get(Space::Meta, b"a").map_err(said)?.as_deref())? == i, "a committed batch is not seen");
            }
            Ok(())
        },
        || {
            for (first, second) in TOGETHER.iter().zip(TOGETHER.iter().skip(1).chain(&TOGETHER)) {
                let a = number(store.get(first.0, first.1).map_err(said)?.as_deref())?;
                let b = number(store.get(second.0, second.1).map_err(said)?.as_deref())?;
                ensure!(b >= a, "batch {a} was seen in {first:?} before it was seen in {second:?} ({b})");
            }
            for (_, value) in all(store, Space::State).map_err(said)? {
                ensure!(number(Some(&value))? <= BATCHES, "a scan visited a pair that was never committed");
            }
            Ok(())
        },
    )
}

pub(super) fn snapshot_under_writers<S: Store>(store: &S) -> Outcome {
    store.commit(together(0), Durability::Buffered).map_err(said)?;
    while_reading(
        || (1..=400).try_for_each(|i| store.commit(together(i), Durability::Buffered).map_err(said)),
        || {
            let snapshot = store.snapshot().map_err(said)?;
            let (space, key) = TOGETHER[2];
            let instant = number(snapshot.get(space, key).map_err(said)?.as_deref())?;
            for (space, key) in TOGETHER {
                let seen = number(snapshot.get(space, key).map_err(said)?.as_deref())?;
                ensure!(seen == instant, "a snapshot shows batch {instant} and batch {seen}");
            }
            for space in Space::ALL {
                for (key, value) in all_of(&*snapshot, space).map_err(said)? {
                    let seen = number(Some(&value))?;
                    ensure!(seen == instant, "a snapshot of batch {instant} visits {key:?} of batch {seen}");
                }
            }
            Ok(())
        },
    )
}

/// Runs `read` on three threads until `write` is done, and at least once.
fn while_reading(write: impl FnOnce() -> Outcome, read: impl Fn() -> Outcome + Sync) -> Outcome {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let last_round = done.load(Ordering::Acquire);
                        read()?;
                        if last_round {
                            return Ok(());
                        }
                    }
                })
            })
            .collect();
        let written = write();
        done.store(true, Ordering::Release);
        let read = readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| Err("a reader panicked".to_owned())));
        read.fold(written, Result::and)
    })
}

pub(super) fn many_writers<S: Store>(store: &S) -> Outcome {
    const WRITERS: u8 = 8;
    const BATCHES: u8 = 40;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    for i in 0..BATCHES {
                        let mut batch = Batch::default();
                        batch.put(Space::Log, [writer, i], [i]);
                        batch.put(Space::State, *b"shared", [writer, i]);
                        batch.put(Space::Meta, *b"shared", [writer, i]);
                        let durability = if i % 2 == 0 { Durability::Synced } else { Durability::Buffered };
                        store.commit(batch, durability).map_err(said)?;
                        ensure!(get(store, Space::Log, &[writer, i])?.as_deref() == Some(&[i]), "own commit is not seen");
                    }
                    Ok(())
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|_| Err("a writer panicked".to_owned())))
    })?;
    let kept = all(store, Space::Log).map_err(said)?.len();
    ensure!(kept == usize::from(WRITERS) * usize::from(BATCHES), "{kept} batches of {WRITERS} writers");
    let (state, meta) = (get(store, Space::State, b"shared")?, get(store, Space::Meta, b"shared")?);
    ensure!(state.is_some() && state == meta, "two batches were mixed: {state:?} and {meta:?}");
    ensure!(state.is_some_and(|value| value.ends_with(&[BATCHES - 1])), "an earlier batch of a writer overwrote a later one");
    Ok(())
}

pub(super) fn snapshot_isolation<S: Store>(store: &S) -> Outcome {
    for i in 0..500_u16 {
        put(store, Space::State, &i.to_be_bytes(), b"old")?;
    }
    put(store, Space::Meta, b"m", b"old")?;
    let before = [all(store, Space::State).map_err(said)?, all(store, Space::Meta).map_err(said)?];
    let first = store.snapshot().map_err(said)?;
    for i in 0..500_u16 {
        match i % 3 {
            0 => put(store, Space::State, &i.to_be_bytes(), b"new")?,
            1 => delete(store, Space::State, &i.to_be_bytes())?,
            _ => put(store, Space::State, &[&i.to_be_bytes()[..], b"between"].concat(), b"new")?,
        }
    }
    put(store, Space::Meta, b"m", b"new")?;
    let second = store.snapshot().map_err(said)?;
    let middle = all(store, Space::State).map_err(said)?;
    for chunk in 0..20_u32 {
        let mut batch = Batch::default();
        for i in 0..500_u32 {
            batch.put(Space::State, (chunk * 500 + i).to_be_bytes(), [1; 200]);
            batch.delete(Space::State, u16::try_from(i).unwrap_or_default().to_be_bytes());
        }
        store.commit(batch, Durability::Buffered).map_err(said)?;
    }
    ensure!(all_of(&*first, Space::State).map_err(said)? == before[0], "a later commit changed a snapshot");
    ensure!(all_of(&*first, Space::Meta).map_err(said)? == before[1], "a later commit changed a snapshot");
    ensure!(all_of(&*second, Space::State).map_err(said)? == middle, "a later commit changed the second snapshot");
    for (key, value) in &before[0] {
        ensure!(first.get(Space::State, key).map_err(said)?.as_deref() == Some(value), "a snapshot's get changed: {key:?}");
    }
    ensure!(first.get(Space::State, &7_u32.to_be_bytes()).map_err(said)?.is_none(), "a snapshot sees a later key");
    drop(first);
    ensure!(all_of(&*second, Space::State).map_err(said)? == middle, "dropping a snapshot changed another");
    ensure!(get(store, Space::State, &7_u32.to_be_bytes())?.is_some(), "the store lost sight of the present");
    Ok(())
}

pub(super) fn random_histories<S: Store>(store: &S) -> Outcome {
    let mut model = Model::default();
    let mut dice = Dice::new(20_241_124);
    let mut snapshots = Vec::new();
    for step in 0..400 {
        let batch = dice.batch();
        model.apply(&batch);
        store.commit(batch, if dice.below(10) == 0 { Durability::Synced } else { Durability::Buffered }).map_err(said)?;
        if dice.below(40) == 0 {
            snapshots.push((store.snapshot().map_err(said)?, model.clone()));
        }
        if dice.below(60) == 0 && !snapshots.is_empty() {
            let (snapshot, then) = snapshots.swap_remove(0);
            then.compare(|space| all_of(&*snapshot, space)).map_err(|why| format!("step {step}, a snapshot: {why}"))?;
        }
        if dice.below(25) == 0 {
            model.compare(|space| all(store, space)).map_err(|why| format!("step {step}: {why}"))?;
        }
    }
    for (snapshot, then) in snapshots {
        then.compare(|space| all_of(&*snapshot, space)).map_err(|why| format!("at the end, a snapshot: {why}"))?;
    }
    model.compare(|space| all(store, space))
}
