//! How long a cluster of three takes from the end of its leader to the next acknowledged write, with default timings.
//! `cargo run -p replication --features testing --example failover`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measurement"
)]

use std::time::Instant;

use replication::testing::Cluster;
use storage::{Changeset, Write};

#[tokio::main]
async fn main() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    let mut taken = Vec::new();
    for round in 0..20_u32 {
        let leader = cluster.leader().await;
        let follower = cluster.names().into_iter().find(|name| *name != leader).unwrap().to_owned();
        let replica = cluster.at(&follower);
        let ended = Instant::now();
        cluster.kill(&leader).await;
        let writes = vec![Write { key: b"k".to_vec(), value: Some(round.to_be_bytes().to_vec()) }];
        replica.propose(Changeset { checks: Vec::new(), writes }).await.unwrap();
        taken.push(ended.elapsed());
        cluster.start(&leader).await;
        cluster.agree().await;
    }
    taken.sort_unstable();
    println!("median {:?}, longest {:?}", taken[taken.len() / 2], taken.last().unwrap());
}
