//! `delete/`, `undelete/` and `destroy/`: several versions at once, by number.

use engine::{Call, EngineError, Outcome};

use super::{KvV2, path};
use crate::attribution::Attribution;
use crate::model::KeyMetadata;
use crate::store;

pub(super) fn delete(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let (path, numbers) = (path(call), numbers(call, "No version number provided")?);
    let Some(mut meta) = known(call, &path)? else { return Ok(None) };
    let by = Attribution::of(call, call.operation.as_str());
    for number in numbers {
        if let Some(version) = meta.versions.get_mut(&number).filter(|v| !v.gone(call.now)) {
            version.deletion = Some(call.now);
            version.deleted_by = Some(by.clone());
        }
    }
    meta.last_updated_by = Some(by);
    store::put_metadata(&mut call.view, &path, &meta)?;
    Ok(None)
}

pub(super) fn undelete(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let (path, numbers) = (path(call), numbers(call, "No version number provided")?);
    let Some(mut meta) = known(call, &path)? else { return Ok(None) };
    // A version that comes back gets a new life of the length that is set now.
    let deletion = meta.deletion_time(&*store::config(&mut call.view)?, call.now);
    for number in numbers {
        if let Some(version) = meta.versions.get_mut(&number).filter(|v| !v.destroyed) {
            version.deletion = deletion;
            version.deleted_by = None;
        }
    }
    meta.last_updated_by = Some(Attribution::of(call, "undelete"));
    store::put_metadata(&mut call.view, &path, &meta)?;
    Ok(None)
}

pub(super) fn destroy(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let (path, numbers) = (path(call), numbers(call, "no version number provided")?);
    let Some(mut meta) = known(call, &path)? else { return Ok(None) };
    let mut changed = false;
    for number in numbers {
        if let Some(version) = meta.versions.get_mut(&number).filter(|v| !v.destroyed) {
            version.destroyed = true;
            changed = true;
            store::erase(&mut call.view, &path, &meta, number)?;
        }
    }
    if changed {
        store::put_metadata(&mut call.view, &path, &meta)?;
    }
    Ok(None)
}

/// The version numbers sent; those that no version can have are left out.
fn numbers(call: &Call<'_>, none: &str) -> Result<Vec<u64>, EngineError> {
    match call.fields.ints("versions") {
        Some(sent) if !sent.is_empty() => Ok(sent.iter().filter_map(|n| u64::try_from(*n).ok()).collect()),
        _ => Err(EngineError::invalid(none)),
    }
}

fn known(call: &mut Call<'_>, path: &str) -> Result<Option<KeyMetadata>, EngineError> {
    Ok(store::metadata(&mut call.view, path)?.map(|meta| (*meta).clone()))
}
