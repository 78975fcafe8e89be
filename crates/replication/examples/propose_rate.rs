//! Proposals per second on this disk, beside its raw fdatasync rate: `propose_rate [folder] [seconds] [memory]`.
//! A shared disk's rate changes by the second, so both are measured in turns and the ratio is of what ran side by side.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use replication::{Observer, Replica, Settings};
use storage::{Changeset, MemoryStore, Store, Write};
use storage_fjall::{FjallOptions, FjallStore};

const VALUE_BYTES: usize = 600;

/// Turns between the raw disk and what is compared with it.
const TURNS: u32 = 10;

type Failure = Box<dyn Error + Send + Sync>;

struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: u64, _: &[&[u8]]) {}
    fn reset(&self) {}
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let time = Duration::from_secs(arguments.next().map_or(Ok(3), |s| s.parse())?);
    let memory = arguments.next().as_deref() == Some("memory");
    let folder = parent.join(format!("propose-rate-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(measure(&folder, time, memory));
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(folder: &Path, time: Duration, memory: bool) -> Result<(), Failure> {
    let raw = || fdatasync_rate(folder, time / TURNS);
    let store: Arc<dyn Store> = if memory {
        Arc::new(MemoryStore::default())
    } else {
        Arc::new(FjallStore::open(&folder.join("db"), FjallOptions::default())?)
    };
    let (mut commits, mut syncs) = (0.0, 0.0);
    for _ in 0..TURNS {
        syncs += raw()?;
        commits += commit_rate(&store, time / TURNS)?;
    }
    report("bare synced commit", commits, syncs);
    let opened = Instant::now();
    let replica = Replica::open(Arc::clone(&store), settings(folder, memory), Arc::new(Nobody)).await?;
    replica.bootstrap().await?;
    println!("open + bootstrap         {:>9.1} ms", opened.elapsed().as_secs_f64() * 1e3);
    let replica = Arc::new(replica);
    for clients in [1, 2, 8, 32, 128] {
        let (mut proposals, mut syncs) = (0.0, 0.0);
        for _ in 0..TURNS {
            syncs += raw()?;
            proposals += propose_rate(&replica, clients, time / TURNS).await?;
        }
        report(&format!("{clients:>3} clients"), proposals, syncs);
    }
    let reads = Instant::now();
    for _ in 0..1_000_000 {
        replica.read_barrier().await?;
    }
    println!("read barrier             {:>9.1} ns", reads.elapsed().as_secs_f64() * 1e3);
    replica.shutdown().await?;
    drop(replica);
    let opened = Instant::now();
    let replica = Replica::open(store, settings(folder, memory), Arc::new(Nobody)).await?;
    replica.leadership().wait_for(|leads| *leads).await?;
    println!("open to leading          {:>9.1} ms", opened.elapsed().as_secs_f64() * 1e3);
    Ok(replica.shutdown().await?)
}

fn settings(folder: &Path, memory: bool) -> Settings {
    let mut settings = Settings::new("bench", "c", "a");
    settings.log_dir = (!memory).then(|| folder.join("log"));
    settings
}

fn fdatasync_rate(folder: &Path, time: Duration) -> Result<f64, Failure> {
    let mut file = File::create(folder.join("raw"))?;
    let block = [7; VALUE_BYTES];
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < time {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

fn commit_rate(store: &Arc<dyn Store>, time: Duration) -> Result<f64, Failure> {
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < time {
        let mut batch = storage::Batch::default();
        batch.put(storage::Space::State, format!("bare{}", count % 1000), vec![7; VALUE_BYTES]);
        store.commit(batch, storage::Durability::Synced)?;
        count += 1;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

/// Prints sums over the turns as means.
fn report(what: &str, rates: f64, syncs: f64) {
    let (rate, sync) = (rates / f64::from(TURNS), syncs / f64::from(TURNS));
    println!("{what:<20} {rate:>8.0}/s = {:>5.2} x raw append + fdatasync ({sync:.0}/s)", rate / sync);
}

async fn propose_rate(replica: &Arc<Replica>, clients: u32, time: Duration) -> Result<f64, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for client in 0..clients {
        let (replica, stop, done) = (Arc::clone(replica), Arc::clone(&stop), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let mut n = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{client}/{}", n % 1000).into_bytes();
                let write = Write { key, value: Some(vec![7; VALUE_BYTES]) };
                replica.propose(Changeset { checks: vec![], writes: vec![write] }).await?;
                done.fetch_add(1, Ordering::Relaxed);
                n += 1;
            }
            Ok::<(), Failure>(())
        }));
    }
    let begin = Instant::now();
    tokio::time::sleep(time).await;
    let rate = done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    Ok(rate)
}
