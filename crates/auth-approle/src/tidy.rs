//! Takes away secret ids that have expired and what deleted roles left behind.
//!
//! `due/<hour>/<role's folder>.<hash>` names a secret id in the hour in which it expires, `gone/<role's folder>` a deleted role
//! with records left. Both are read a page at a time, so that tidying neither costs by what is not due nor collides with logins.

use engine::{Call, EngineError, Kind, Outcome, Response};
use secret::Time;
use storage::{Page, View};

use crate::{Approle, secret_id};

const DUE: &str = "due/";
const GONE: &str = "gone/";
const HOUR_SECONDS: i64 = 3600;
/// Records that one call of `tidy/secret-id` removes: what fits one transaction well.
const TIDY_MAX: usize = 5_000;
/// Records that go along with a new secret id, now and then.
const SWEEP_MAX: usize = 64;
/// One new secret id in this many sweeps; more would make parallel ones collide over the same records.
const SWEEP_EVERY: u8 = 16;

/// The mark of a secret id that expires at `at`. Twelve digits of hours sort by time for longer than [`Time`] lasts.
pub(crate) fn due_key(at: Time, role_folder: &str, hash: &str) -> String {
    format!("{DUE}{:012}/{role_folder}.{hash}", hour(at))
}

fn hour(at: Time) -> i64 {
    at.unix().max(0) / HOUR_SECONDS
}

/// Notes when a secret id expires.
pub(crate) fn note_due(view: &mut View<'_>, at: Time, role_folder: &str, hash: &str) -> Result<(), EngineError> {
    Ok(view.put_json(&due_key(at, role_folder, hash), &true)?)
}

/// Notes that a deleted role has records left.
pub(crate) fn note_left_over(view: &mut View<'_>, role_folder: &str) -> Result<(), EngineError> {
    Ok(view.put_json(&format!("{GONE}{role_folder}"), &true)?)
}

/// `tidy/secret-id`: 202 with the reference server's words. It is done when the answer comes; what is more than one
/// transaction holds waits for the next call.
pub(crate) fn tidy(_: &Approle, call: &mut Call<'_>) -> Outcome {
    sweep(call, TIDY_MAX)?;
    let mut response = Response::warning(
        "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.",
    );
    response.kind = Kind::Accepted;
    Ok(Some(response))
}

/// Sweeps a little with one new secret id in [`SWEEP_EVERY`], so that a mount that nobody tidies does not grow for ever.
pub(crate) fn now_and_then(call: &mut Call<'_>) -> Result<(), EngineError> {
    let mut dice = [0u8; 1];
    call.entropy.fill(&mut dice)?;
    if dice.iter().all(|d| d % SWEEP_EVERY == 0) {
        sweep(call, SWEEP_MAX)?;
    }
    Ok(())
}

fn sweep(call: &mut Call<'_>, limit: usize) -> Result<(), EngineError> {
    let now = call.now;
    let view = &mut call.view;
    let mut left = limit;
    for bucket in view.list(DUE, &page(limit))? {
        let due = bucket.trim_end_matches('/').parse::<i64>().is_ok_and(|h| h <= hour(now));
        if !due || left == 0 {
            break;
        }
        for mark in view.list(&format!("{DUE}{bucket}"), &page(left))? {
            left = left.saturating_sub(1);
            sweep_one(view, &format!("{DUE}{bucket}{mark}"), &mark, now)?;
        }
    }
    for role_folder in view.list(GONE, &page(left))? {
        if left == 0 {
            break;
        }
        if view.delete_below(&secret_id::folder(&role_folder), left)? {
            view.delete(&format!("{GONE}{role_folder}"))?;
            left = left.saturating_sub(1);
        } else {
            left = 0;
        }
    }
    Ok(())
}

/// Removes the secret id behind a mark if it has expired, and a mark with nothing behind it.
fn sweep_one(view: &mut View<'_>, key: &str, mark: &str, now: Time) -> Result<(), EngineError> {
    let (role_folder, hash) = mark.split_once('.').unwrap_or_default();
    match secret_id::load(view, role_folder, hash)? {
        Some(entry) if entry.has_expired(now) => secret_id::remove(view, role_folder, &entry)?,
        // It expires later in this hour.
        Some(entry) if entry.expires.is_some_and(|at| due_key(at, role_folder, hash) == key) => return Ok(()),
        _ => {}
    }
    Ok(view.delete(key)?)
}

fn page(limit: usize) -> Page {
    Page { after: None, limit: Some(limit) }
}
