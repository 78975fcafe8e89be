//! Changes are seen whole or not at all, and their checks held when they were applied: twins are always equal, money neither
//! comes nor goes, and a place that is taken only when free never has two owners.

use super::Broken;
use crate::history::{History, Rows, What, parse};

/// Two rows that are always written together.
pub const TWINS: [&[u8]; 2] = [b"twin/a", b"twin/b"];
/// Accounts between which money moves.
pub const ACCOUNTS: &[u8] = b"account/";
/// What all accounts have together.
pub const MONEY: i64 = 300;
/// A folder that takes a row only while it is empty.
pub const CLAIMS: &[u8] = b"claim/";

/// Judges every read.
///
/// # Errors
/// One saw a change in part.
pub fn judge(history: &History) -> Result<(), Broken> {
    for operation in &history.operations {
        if let What::Read { rows, applied } = &operation.what {
            judge_rows(rows).map_err(|broken| format!("node {} at entry {applied}: {broken}", operation.node))?;
        }
    }
    Ok(())
}

/// Judges the rows of one instant.
///
/// # Errors
/// A change was seen in part.
pub fn judge_rows(rows: &Rows) -> Result<(), Broken> {
    let [a, b] = TWINS.map(|key| rows.get(key));
    if a != b {
        return Err(format!("the twins differ: {a:?} and {b:?}"));
    }
    let mut accounts = below(rows, ACCOUNTS).peekable();
    if accounts.peek().is_some() {
        let sum: i64 =
            accounts.map(|value| parse(value).and_then(|(_, text)| text.parse::<i64>().ok()).unwrap_or(i64::MIN / 8)).sum();
        if sum != MONEY {
            return Err(format!("the accounts have {sum} together instead of {MONEY}"));
        }
    }
    let owners = below(rows, CLAIMS).count();
    if owners > 1 {
        return Err(format!("{owners} have claimed what only one can"));
    }
    Ok(())
}

fn below<'a>(rows: &'a Rows, folder: &'a [u8]) -> impl Iterator<Item = &'a Vec<u8>> {
    rows.range(folder.to_vec()..).take_while(move |(key, _)| key.starts_with(folder)).map(|(_, (_, value))| value)
}
