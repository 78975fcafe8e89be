//! `data/<path>`: read, write, patch and delete the secret itself.

use api_types::Map;
use engine::{Call, Data, EngineError, Outcome, Response};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{KvV2, not_found, not_found_bare, path, unversioned_path};
use crate::attribution::Attribution;
use crate::merge_patch::merge;
use crate::model::{Config, KeyMetadata};
use crate::store;

/// Reads a version. The current one, when it can be shown, costs one lookup: see [`store::hot_answer`].
pub(super) fn read(engine: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    if path.ends_with('/') {
        return unversioned_path(engine, call);
    }
    let asked = asked_version(call);
    if asked.is_none()
        && let Some(answer) = store::hot_answer(&mut call.view, &path, call.now)?
    {
        return Ok(Some(Response { data: Some(Data::Raw(answer)), ..Response::default() }));
    }
    let Some(meta) = store::metadata(&mut call.view, &path)? else { return Ok(None) };
    let number = asked.unwrap_or(meta.current_version);
    let Some(version) = meta.versions.get(&number) else { return Ok(None) };
    if version.gone(call.now) {
        let mut data = Map::new();
        data.insert("data".into(), Value::Null);
        data.insert("metadata".into(), meta.show_version(number, version).into());
        return Ok(Some(not_found(Some(data))));
    }
    let data = store::data(&mut call.view, &path, &meta, number)?;
    let answer = store::assemble(&meta, number, &data)?;
    Ok(Some(Response { data: Some(Data::Raw(answer)), ..Response::default() }))
}

/// The `version` asked for; 0 and less ask for the current one.
pub(super) fn asked_version(call: &Call<'_>) -> Option<u64> {
    call.fields.int("version").and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0)
}

pub(super) fn write(engine: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    if path.ends_with('/') {
        return unversioned_path(engine, call);
    }
    let data = store::canonical(call.fields.map("data").ok_or_else(no_data)?)?;
    let config = store::config(&mut call.view)?;
    let meta = match store::metadata(&mut call.view, &path)? {
        Some(meta) => (*meta).clone(),
        None => KeyMetadata::new(call.now),
    };
    check_cas(call.fields.map("options"), &config, &meta)?;
    add_version(call, &path, meta, &config, &data)
}

pub(super) fn patch(engine: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    if path.ends_with('/') {
        return unversioned_path(engine, call);
    }
    if !call.fields.has("data") {
        return Err(no_data());
    }
    let Some(meta) = store::metadata(&mut call.view, &path)? else { return Ok(Some(not_found_bare())) };
    let config = store::config(&mut call.view)?;
    check_cas(call.fields.map("options"), &config, &meta)?;
    let Some(current) = meta.current() else { return Ok(Some(not_found_bare())) };
    if current.gone(call.now) {
        return Ok(Some(not_found(Some(meta.show_version(meta.current_version, current)))));
    }
    let old = store::data(&mut call.view, &path, &meta, meta.current_version)?;
    let mut merged: Map =
        serde_json::from_str(old.get()).map_err(|_| EngineError::internal("the current version is not an object"))?;
    merge(&mut merged, call.fields.map("data").ok_or_else(no_data)?);
    let data = store::canonical(&merged)?;
    add_version(call, &path, (*meta).clone(), &config, &data)
}

pub(super) fn delete(engine: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    if path.ends_with('/') {
        return unversioned_path(engine, call);
    }
    let Some(meta) = store::metadata(&mut call.view, &path)? else { return Ok(None) };
    let mut meta = (*meta).clone();
    let by = Attribution::of(call, call.operation.as_str());
    match meta.versions.get_mut(&meta.current_version) {
        Some(current) if !current.gone(call.now) => {
            current.deletion = Some(call.now);
            current.deleted_by = Some(by.clone());
        }
        _ => return Ok(None),
    }
    meta.last_updated_by = Some(by);
    store::put_metadata(&mut call.view, &path, &meta)?;
    Ok(None)
}

fn add_version(call: &mut Call<'_>, path: &str, mut meta: KeyMetadata, config: &Config, data: &RawValue) -> Outcome {
    let by = Attribution::of(call, call.operation.as_str());
    let pushed_out = meta.add_version(config, call.now, by);
    store::put_version(&mut call.view, path, &meta, data, &pushed_out)?;
    Ok(meta.current().map(|version| Response::data(meta.show_version(meta.current_version, version))))
}

/// The client sent no object as `data`. A null counts as nothing, so that a client's slip cannot empty a secret.
fn no_data() -> EngineError {
    EngineError::invalid("no data provided")
}

/// Check-and-set: `options.cas` must be the current version (0 if there is none yet), and must be there where key or mount
/// demand it.
fn check_cas(options: Option<&Map>, config: &Config, meta: &KeyMetadata) -> Result<(), EngineError> {
    match options.and_then(|o| o.get("cas")) {
        Some(sent) => {
            let cas = cas_number(sent).ok_or_else(|| EngineError::invalid("error parsing check-and-set parameter"))?;
            if u64::try_from(cas) == Ok(meta.current_version) {
                return Ok(());
            }
            Err(EngineError::invalid("check-and-set parameter did not match the current version"))
        }
        None if config.cas_required || meta.cas_required => {
            Err(EngineError::invalid("check-and-set parameter required for this call"))
        }
        None => Ok(()),
    }
}

/// `cas` by Go's weak decoding: a whole number, its text, a boolean, or null, which is 0.
fn cas_number(sent: &Value) -> Option<i64> {
    match sent {
        Value::Null => Some(0),
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Number(n) => n.as_i64(),
        Value::String(s) if s.is_empty() => Some(0),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}
