//! When all faults are over the cluster heals: within bounded virtual time every member that runs takes writes and reads, and
//! all have the same state. What is done to find out is in `world`; here is what counts.

use std::time::Duration;

use super::Broken;

/// How long healing may take. An election takes a second, a leader that was paused in a request may need its patience of ten.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A node's position and the digest of its state.
pub type Standing = (usize, u64, u64);

/// Judges where the members stand once no more writes come.
///
/// # Errors
/// They differ.
pub fn judge(standings: &[Standing]) -> Result<(), Broken> {
    let Some((_, index, digest)) = standings.first() else { return Err("no member runs".to_owned()) };
    match standings.iter().find(|(_, i, d)| (i, d) != (index, digest)) {
        None => Ok(()),
        Some(_) => Err(format!("the members do not stand at the same state: {standings:?}")),
    }
}
