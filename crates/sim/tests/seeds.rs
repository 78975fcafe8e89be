//! A bounded number of seeds in every test run; the nightly run takes as many as there is time for. How long it takes depends
//! on the machine, what it finds does not.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::options::Options;
use sim::run::{Total, run};

/// Seeds of one test run; `STRONGROOM_SIM_SEEDS` sets another number.
const SEEDS: u64 = 2_000;

#[test]
fn nothing_breaks_in_thousands_of_seeds() {
    let seeds = std::env::var("STRONGROOM_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Total::default());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                let mut mine = Total::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || !failures.lock().unwrap().is_empty() {
                        break;
                    }
                    match run(seed, &Options::of(seed)) {
                        Ok(report) => mine.add(seed, &report),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
                total.lock().unwrap().merge(&mine);
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{total}");
    if let Some(failure) = failures.into_inner().unwrap().first() {
        panic!("{failure}");
    }
    assert_eq!(total.runs, seeds);
    // A simulation in which nothing happens proves nothing.
    for what in ["writes answered", "reads", "conflicts", "unknown fates", "crashes", "unsynced commits lost", "messages lost"] {
        assert!(total.sum(what) > 0, "no {what} in {seeds} seeds");
    }
    assert!(total.sum("elections") > seeds);
}
