//! Unknown fates: whatever a proposer was told, its change takes effect at most once, and not at all if it was told so.

use super::Broken;
use super::replay::Replay;
use crate::history::Id;

/// Judges all proposals, also those without an answer. `refused`: those whose proposers were told that they are not in the log
/// and never will be.
///
/// # Errors
/// One took effect twice, or although it was refused.
pub fn judge(replay: &Replay, refused: &[Id]) -> Result<(), Broken> {
    for (id, became) in &replay.entries {
        let effects: Vec<u64> = became.iter().filter(|(_, committed)| *committed).map(|(index, _)| *index).collect();
        if effects.len() > 1 {
            return Err(format!("change {id} took effect at entries {effects:?}"));
        }
    }
    for id in refused {
        if let Some(became) = replay.entries.get(id) {
            return Err(format!("change {id} was refused for good, but the log has it at {became:?}"));
        }
    }
    Ok(())
}
