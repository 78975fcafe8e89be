//! Group commit: order, durability and failure of merged batches.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage::disk::GroupCommit;
use storage::{Batch, BatchOp, Durability, Space, StoreError};

fn one(key: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(Space::State, [key], []);
    batch
}

fn keys(batch: &Batch) -> Vec<u8> {
    batch
        .ops
        .iter()
        .flat_map(|op| match op {
            BatchOp::Put(_, key, _) | BatchOp::Delete(_, key) => key.clone(),
        })
        .collect()
}

#[test]
fn a_lone_batch_is_written_as_it_is() {
    let group = GroupCommit::default();
    for durability in [Durability::Buffered, Durability::Synced] {
        group
            .commit(one(7), durability, |batch, asked| {
                assert_eq!((keys(&batch), asked), (vec![7], durability));
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn waiting_batches_become_one_with_the_strongest_durability() {
    let group = GroupCommit::default();
    let groups = Mutex::new(Vec::new());
    let started = AtomicUsize::new(0);
    let record = |batch: Batch, durability| {
        groups.lock().unwrap().push((keys(&batch), durability));
        Ok(())
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            group.commit(one(0), Durability::Buffered, |batch, durability| {
                started.fetch_add(1, Ordering::AcqRel);
                while started.load(Ordering::Acquire) < 5 {
                    std::thread::yield_now();
                }
                // The four others are at the queue or about to be; those that miss this group form one of their own.
                record(batch, durability)
            })
        });
        while started.load(Ordering::Acquire) < 1 {
            std::thread::yield_now();
        }
        let others: Vec<_> = (1..=4)
            .map(|key| {
                let (group, started, record) = (&group, &started, &record);
                scope.spawn(move || {
                    started.fetch_add(1, Ordering::AcqRel);
                    group.commit(one(key), if key == 3 { Durability::Synced } else { Durability::Buffered }, record)
                })
            })
            .collect();
        first.join().unwrap().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap().unwrap());
    });
    let groups = groups.into_inner().unwrap();
    assert_eq!(groups[0], (vec![0], Durability::Buffered), "a group under way takes no more members");
    let mut rest: Vec<u8> = groups[1..].iter().flat_map(|(keys, _)| keys.clone()).collect();
    rest.sort_unstable();
    assert_eq!(rest, [1, 2, 3, 4], "each batch is written once");
    for (keys, durability) in &groups[1..] {
        assert_eq!(*durability == Durability::Synced, keys.contains(&3), "{groups:?}");
    }
}

#[test]
fn a_failure_stops_everything_after_it() {
    let group = GroupCommit::default();
    let cause = StoreError::Io { context: "write".into(), source: std::io::ErrorKind::Other.into() };
    let first = group.commit(one(1), Durability::Synced, |_, _| Err(cause));
    assert!(matches!(first, Err(StoreError::Io { .. })), "the writer learns the cause: {first:?}");
    for durability in [Durability::Buffered, Durability::Synced] {
        let later = group.commit(one(2), durability, |_, _| panic!("a stopped store writes nothing"));
        assert!(matches!(later, Err(StoreError::Poisoned(_))), "{later:?}");
    }
    assert!(matches!(group.exclusively(|| Ok(())), Err(StoreError::Poisoned(_))));
}

#[test]
fn members_of_a_failed_group_fail_and_earlier_ones_do_not() {
    let group = GroupCommit::default();
    let outcomes = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..32_u8)
            .map(|key| {
                let group = &group;
                scope.spawn(move || {
                    let fail_on_nine = |batch: Batch, _| {
                        if keys(&batch).contains(&9) { Err(StoreError::Poisoned("nine".into())) } else { Ok(()) }
                    };
                    (key, group.commit(one(key), Durability::Buffered, fail_on_nine))
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    for (key, outcome) in outcomes {
        if key == 9 {
            assert!(matches!(&outcome, Err(StoreError::Poisoned(why)) if why == "nine"), "{outcome:?}");
        } else if let Err(error) = outcome {
            assert!(matches!(error, StoreError::Poisoned(_)), "{error}");
        }
    }
}

#[test]
fn exclusive_work_meets_no_writer_and_its_failure_stops_nothing() {
    let group = GroupCommit::default();
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for key in 0..4 {
            let (group, inside) = (&group, &inside);
            scope.spawn(move || {
                for _ in 0..200 {
                    let alone = || {
                        assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0);
                        inside.fetch_sub(1, Ordering::AcqRel);
                    };
                    if key % 2 == 0 {
                        group
                            .commit(one(key), Durability::Buffered, |_, _| {
                                alone();
                                Ok(())
                            })
                            .unwrap();
                    } else {
                        let full = group.exclusively(|| {
                            alone();
                            Err::<(), _>(StoreError::Full("/disk".into()))
                        });
                        assert!(matches!(full, Err(StoreError::Full(_))));
                    }
                }
            });
        }
    });
}

#[test]
fn poison_from_outside_stops_too() {
    let group = GroupCommit::default();
    group.poison("background flush");
    let later = group.commit(one(1), Durability::Synced, |_, _| Ok(()));
    assert!(matches!(later, Err(StoreError::Poisoned(why)) if why == "background flush"));
}
