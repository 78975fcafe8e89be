//! What replication takes from the machine below: tasks, randomness, threads that may wait. One place, so that a simulation
//! can stand in for the machine (feature `simulation`); without that feature these are tokio's and the system's own.

use std::future::Future;
use std::io;

use secret::{Entropy, SystemEntropy};
use tokio::task::JoinHandle;

#[cfg(feature = "simulation")]
pub(crate) use crate::simulation::{Runtime, watch};
#[cfg(not(feature = "simulation"))]
pub(crate) use openraft::impls::TokioRuntime as Runtime;
#[cfg(not(feature = "simulation"))]
pub(crate) use tokio::sync::watch;

/// Starts a task beside the caller.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    #[cfg(feature = "simulation")]
    if let Some(host) = crate::simulation::host() {
        return tokio::spawn(crate::simulation::on(host, future));
    }
    tokio::spawn(future)
}

/// Does what may wait for a disk without holding up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    #[cfg(feature = "simulation")]
    if crate::simulation::host().is_some() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Where identities come from.
pub(crate) struct Source;

impl Entropy for Source {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), secret::EntropyError> {
        #[cfg(feature = "simulation")]
        if let Some(host) = crate::simulation::host() {
            for chunk in buffer.chunks_mut(8) {
                for (to, from) in chunk.iter_mut().zip(host.random().to_le_bytes()) {
                    *to = from;
                }
            }
            return Ok(());
        }
        SystemEntropy.fill(buffer)
    }
}
