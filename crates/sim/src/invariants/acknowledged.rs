//! No acknowledged write is lost: what a client was told about its change is what the committed log says about it.

use super::Broken;
use super::replay::Replay;
use crate::history::{History, What};

/// Judges the answers.
///
/// # Errors
/// An acknowledged change is not in the log, or elsewhere, or a conflict was told as a success or the reverse.
pub fn judge(history: &History, replay: &Replay) -> Result<(), Broken> {
    for operation in &history.operations {
        let What::Write { id, applied: Some((index, committed)), .. } = &operation.what else { continue };
        let became = replay.entries.get(id).map_or(&[][..], Vec::as_slice);
        if !became.contains(&(*index, *committed)) {
            return Err(format!(
                "client {} was told by node {} that change {id} is {} at entry {index}, but the log has it at {became:?}",
                operation.client,
                operation.node,
                if *committed { "committed" } else { "in conflict" },
            ));
        }
    }
    Ok(())
}
