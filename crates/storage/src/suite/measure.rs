//! The figures of decision record 0001: what a store costs, beside a bare append with fdatasync on the same disk.
//!
//! Run by the example `measure` of each store. Deliberately absent: verdicts and limits; a timed test fails when the
//! machine is busy.

use std::fs::{self, File};
use std::io::Write;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Dice, ensure, said};
use crate::{Batch, Durability, Space, Store, StoreError};

const VALUE_BYTES: usize = 600;
const KEY_BYTES: usize = 40;
const KEYS: u64 = 100_000;
const COMMITS: u64 = 4000;
const THREADS: u64 = 8;
const READS: u64 = 200_000;

/// Overwrites: as many keys, so many times.
const LIVE_KEYS: u64 = 4000;
const ROUNDS: u64 = 50;

/// Name and figure of each measurement, in the order they were made.
pub type Figures = Vec<(&'static str, String)>;

type Open<'a, S> = dyn Fn(&Path) -> Result<S, StoreError> + 'a;

/// Measures the store below `scratch`, which lies on the disk in question.
///
/// # Errors
/// What the store said, or a read that missed.
pub fn measure<S: Store>(scratch: &Path, open: &Open<'_, S>) -> Result<Figures, String> {
    let mut figures = Figures::new();
    idle(scratch, open, &mut figures)?;
    commits(scratch, open, &mut figures)?;
    reads(scratch, open, &mut figures)?;
    overwrites(scratch, open, &mut figures)?;
    figures.push(("resident at most, MiB", mib(resident("VmHWM")?)));
    Ok(figures)
}

fn idle<S: Store>(scratch: &Path, open: &Open<'_, S>, figures: &mut Figures) -> Result<(), String> {
    let before = resident("VmRSS")?;
    let store = open(&scratch.join("idle")).map_err(said)?;
    figures.push(("resident for an empty store, MiB", mib(resident("VmRSS")?.saturating_sub(before))));
    figures.push(("disk for an empty store, MiB", mib(store.disk_bytes().map_err(said)?)));
    Ok(())
}

fn commits<S: Store>(scratch: &Path, open: &Open<'_, S>, figures: &mut Figures) -> Result<(), String> {
    let store = open(&scratch.join("commits")).map_err(said)?;
    let (mut raw, mut synced) = (Duration::ZERO, Duration::ZERO);
    let mut worst = Duration::ZERO;
    let mut file = File::create(scratch.join("raw")).map_err(|e| e.to_string())?;
    let mut dice = Dice::new(1);
    let record = dice.bytes(KEY_BYTES + VALUE_BYTES);
    // In turns, so that both meet the same disk.
    for round in 0..COMMITS / 100 {
        let start = Instant::now();
        for _ in 0..100 {
            file.write_all(&record).and_then(|()| file.sync_data()).map_err(|e| e.to_string())?;
        }
        raw += start.elapsed();
        let start = Instant::now();
        for i in 0..100 {
            let one = Instant::now();
            store.commit(put(round * 100 + i, &mut dice), Durability::Synced).map_err(said)?;
            worst = worst.max(one.elapsed());
        }
        synced += start.elapsed();
    }
    let (raw, synced) = (rate(COMMITS, raw), rate(COMMITS, synced));
    figures.push(("append + fdatasync, 1/s", format!("{raw:.0}")));
    figures.push(("synced commits, 1 thread, 1/s", format!("{synced:.0} ({:.2} of the append)", synced / raw)));
    figures.push(("slowest synced commit, ms", format!("{:.1}", worst.as_secs_f64() * 1e3)));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let mut dice = Dice::new(thread);
                    (0..COMMITS / 2)
                        .try_for_each(|i| store.commit(put((thread + 1) << 32 | i, &mut dice), Durability::Synced).map_err(said))
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|_| Err("a writer panicked".to_owned())))
    })?;
    figures.push(("synced commits, 8 threads, 1/s", format!("{:.0}", rate(THREADS * COMMITS / 2, start.elapsed()))));
    Ok(())
}

fn reads<S: Store>(scratch: &Path, open: &Open<'_, S>, figures: &mut Figures) -> Result<(), String> {
    let path = scratch.join("reads");
    let store = open(&path).map_err(said)?;
    let mut dice = Dice::new(2);
    let start = Instant::now();
    for chunk in 0..KEYS / 100 {
        let mut batch = Batch::default();
        for i in chunk * 100..(chunk + 1) * 100 {
            batch.ops.extend(put(i, &mut dice).ops);
        }
        store.commit(batch, Durability::Buffered).map_err(said)?;
    }
    store.sync().map_err(said)?;
    figures.push(("load 100k records of 640 B, records/s", format!("{:.0}", rate(KEYS, start.elapsed()))));
    figures.push(("resident after the load, MiB", mib(resident("VmRSS")?)));
    drop(store);
    let start = Instant::now();
    let store = open(&path).map_err(said)?;
    figures.push(("reopen with 100k records, ms", format!("{:.1}", start.elapsed().as_secs_f64() * 1e3)));
    let live = KEYS * (KEY_BYTES + VALUE_BYTES) as u64;
    let disk = store.disk_bytes().map_err(said)?;
    figures.push(("disk with 100k records, MiB", format!("{} ({:.2} of the data)", mib(disk), disk as f64 / live as f64)));
    let start = Instant::now();
    for _ in 0..READS {
        let found = store.get(Space::State, &key(dice.below(KEYS))).map_err(said)?;
        ensure!(found.is_some_and(|value| value.len() == VALUE_BYTES), "a record is missing");
    }
    figures.push(("random reads, 1 thread, 1/s", format!("{:.0}", rate(READS, start.elapsed()))));
    let start = Instant::now();
    let mut seen = 0;
    let mut count = |_: &[u8], _: &[u8]| {
        seen += 1;
        ControlFlow::Continue(())
    };
    store.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut count).map_err(said)?;
    ensure!(seen == KEYS, "{seen} records of {KEYS}");
    figures.push(("scan of everything, records/s", format!("{:.0}", rate(KEYS, start.elapsed()))));
    let start = Instant::now();
    for _ in 0..2000 {
        let mut seen = 0;
        let mut hundred = |_: &[u8], _: &[u8]| {
            seen += 1;
            if seen == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.scan(Space::State, Bound::Included(&key(dice.below(KEYS))), Bound::Unbounded, &mut hundred).map_err(said)?;
    }
    figures.push(("scans of 100 records, 1/s", format!("{:.0}", rate(2000, start.elapsed()))));
    figures.push(("resident after the reads, MiB", mib(resident("VmRSS")?)));
    Ok(())
}

fn overwrites<S: Store>(scratch: &Path, open: &Open<'_, S>, figures: &mut Figures) -> Result<(), String> {
    let path = scratch.join("overwrites");
    let store = open(&path).map_err(said)?;
    let mut dice = Dice::new(3);
    let mut most = 0;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for chunk in 0..LIVE_KEYS / 100 {
            let mut batch = Batch::default();
            for i in chunk * 100..(chunk + 1) * 100 {
                batch.ops.extend(put(i, &mut dice).ops);
            }
            store.commit(batch, Durability::Buffered).map_err(said)?;
        }
        most = most.max(store.disk_bytes().map_err(said)?);
    }
    store.sync().map_err(said)?;
    figures.push(("overwrites, records/s", format!("{:.0}", rate(LIVE_KEYS * ROUNDS, start.elapsed()))));
    let live = LIVE_KEYS * (KEY_BYTES + VALUE_BYTES) as u64;
    let now = store.disk_bytes().map_err(said)?;
    figures.push(("live data of the overwrites, MiB", mib(live)));
    figures.push(("disk after 50 overwrites, MiB", format!("{} (at most {})", mib(now), mib(most))));
    drop(store);
    let store = open(&path).map_err(said)?;
    figures.push(("disk after reopening, MiB", mib(store.disk_bytes().map_err(said)?)));
    Ok(())
}

/// A key that looks like a sealed name: no order in it, but the same for the same number.
fn key(i: u64) -> Vec<u8> {
    Dice::new(i.wrapping_add(1_000_003)).bytes(KEY_BYTES)
}

fn put(i: u64, dice: &mut Dice) -> Batch {
    let mut batch = Batch::default();
    batch.put(Space::State, key(i), dice.bytes(VALUE_BYTES));
    batch
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

/// A memory figure of this process, bytes.
fn resident(field: &str) -> Result<u64, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).ok_or("not a number")?;
    Ok(kib * 1024)
}
