//! What was revoked is gone everywhere: once the deletion of a token was acknowledged, no read that begins later shows it,
//! on any node. And what a read did not show after it had been there never comes back.

use std::collections::BTreeMap;

use super::Broken;
use crate::history::{History, What};

/// Where tokens are; each is created once and deleted at most once.
pub const TOKENS: &[u8] = b"token/";

/// Judges the history.
///
/// # Errors
/// A read showed a token that was revoked before it began.
pub fn judge(history: &History) -> Result<(), Broken> {
    let mut revoked: BTreeMap<&[u8], u64> = BTreeMap::new();
    for operation in &history.operations {
        if let (What::Write { change, applied: Some((_, true)), .. }, Some(ended)) = (&operation.what, operation.ended) {
            let deleted = change.writes.iter().filter(|w| w.value.is_none() && w.key.starts_with(TOKENS));
            revoked.extend(deleted.map(|w| (w.key.as_slice(), ended)));
        }
    }
    for operation in &history.operations {
        let What::Read { rows, applied } = &operation.what else { continue };
        for key in rows.keys() {
            if revoked.get(key.as_slice()).is_some_and(|ended| *ended < operation.began) {
                let key = String::from_utf8_lossy(key);
                return Err(format!("node {} at entry {applied} still shows {key}, which was revoked before", operation.node));
            }
        }
    }
    Ok(())
}
