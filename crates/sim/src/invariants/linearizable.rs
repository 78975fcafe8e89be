//! Reads on every node are linearizable. Judged twice: by the order of the log, which every answer names (an operation that
//! began after another had ended is not before it in the log, and a read shows exactly the state at its index), and by
//! values alone ([`crate::checker`]).

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use super::replay::Replay;
use crate::checker::{Act, Call, linearizable};
use crate::history::{History, What};

/// Keys that are judged by their values.
pub const REGISTERS: &[u8] = b"r/";

/// Judges the history.
///
/// # Errors
/// The first operation that fits nowhere.
pub fn judge(history: &History, replay: &Replay) -> Result<(), Broken> {
    by_index(history, replay)?;
    by_value(history)
}

fn by_index(history: &History, replay: &Replay) -> Result<(), Broken> {
    let mut moments = Vec::new();
    for (n, operation) in history.operations.iter().enumerate() {
        let Some(ended) = operation.ended else { continue };
        moments.push((operation.began, n, true));
        moments.push((ended, n, false));
    }
    moments.sort_unstable();
    let mut least_at_begin: BTreeMap<usize, (u64, String)> = BTreeMap::new();
    let mut least = (0, "the beginning".to_owned());
    for (_, n, begins) in moments {
        let Some(operation) = history.operations.get(n) else { continue };
        if begins {
            least_at_begin.insert(n, least.clone());
            continue;
        }
        let (from, cause) = least_at_begin.remove(&n).unwrap_or_default();
        let (index, is_write) = match &operation.what {
            What::Read { applied, rows } => {
                let expected = replay.states.get(applied);
                if expected.is_some_and(|expected| expected != rows) {
                    return Err(format!(
                        "client {} read on node {} what was never the state at {applied}",
                        operation.client, operation.node
                    ));
                }
                (*applied, false)
            }
            What::Write { applied: Some((index, _)), .. } => (*index, true),
            What::Write { applied: None, .. } => continue,
        };
        if index < from || is_write && index == from {
            return Err(format!(
                "client {} was shown entry {index} by node {} (moments {} to {:?}), but {cause} had ended at entry {from} before",
                operation.client, operation.node, operation.began, operation.ended
            ));
        }
        if index > least.0 {
            let word = if is_write { "a write" } else { "a read" };
            least = (index, format!("{word} of client {} on node {}", operation.client, operation.node));
        }
    }
    Ok(())
}

fn by_value(history: &History) -> Result<(), Broken> {
    let mut keys = BTreeSet::new();
    for operation in &history.operations {
        if let What::Write { change, .. } = &operation.what {
            keys.extend(change.writes.iter().map(|w| w.key.clone()).filter(|key| key.starts_with(REGISTERS)));
        }
    }
    for key in keys {
        let calls = history.operations.iter().filter_map(|operation| {
            let act = match &operation.what {
                What::Read { rows, .. } => Act::Read(rows.get(&key).map(|(_, value)| value.clone())),
                // A conflict changed nothing.
                What::Write { applied: Some((_, false)), .. } => return None,
                What::Write { change, .. } => Act::Write(change.writes.iter().find(|w| w.key == key)?.value.clone()),
            };
            Some(Call { began: operation.began, ended: operation.ended, act })
        });
        let calls: Vec<Call<Vec<u8>>> = calls.collect();
        if let Err((explained, stuck)) = linearizable(&calls) {
            let key = String::from_utf8_lossy(&key).into_owned();
            return Err(format!(
                "the values of {key} have no order: {explained} of {} operations fit, then {stuck:?}",
                calls.len()
            ));
        }
    }
    Ok(())
}
