//! `cargo run -p sim -- --seeds 1000000`: many seeds on all cores. `--seed N` repeats one and shows what it was like;
//! `--from N` begins there.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::options::Options;
use sim::run::{Total, run};

/// Seeds between two lines of progress.
const PROGRESS: u64 = 1_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut one, mut seeds, mut from) = (None, 1_000, 0);
    while let Some(flag) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (flag.as_str(), number) {
            ("--seed", Some(n)) => one = Some(n),
            ("--seeds", Some(n)) => seeds = n,
            ("--from", Some(n)) => from = n,
            _ => return say("usage: sim [--seed N | --seeds N [--from N]]", ExitCode::from(2)),
        }
    }
    match one {
        Some(seed) => match run(seed, &Options::of(seed)) {
            Ok(report) => say(&format!("{report:#?}"), ExitCode::SUCCESS),
            Err(failure) => say(&failure.to_string(), ExitCode::FAILURE),
        },
        None => many(from, seeds),
    }
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let next = AtomicU64::new(from);
    let total = Mutex::new(Total::default());
    let failed = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from.saturating_add(seeds) {
                return;
            }
            match run(seed, &Options::of(seed)) {
                Ok(report) => {
                    let Ok(mut total) = total.lock() else { return };
                    total.add(seed, &report);
                    if total.runs.is_multiple_of(PROGRESS) {
                        say(&total.to_string(), ());
                    }
                }
                Err(failure) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    say(&failure.to_string(), ());
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    let total = total.lock().map(|total| total.to_string()).unwrap_or_default();
    say(&format!("{total}; {failed} failed"), if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn say<T>(text: &str, code: T) -> T {
    println!("{text}");
    code
}
