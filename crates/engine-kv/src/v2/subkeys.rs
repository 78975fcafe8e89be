//! `subkeys/<path>`: the names inside a secret, with every value taken out.

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use serde_json::Value;

use super::data::asked_version;
use super::{KvV2, not_found, path};
use crate::store;

pub(super) fn read(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    let Some(meta) = store::metadata(&mut call.view, &path)? else { return Ok(None) };
    let number = asked_version(call).unwrap_or(meta.current_version);
    let Some(version) = meta.versions.get(&number) else { return Ok(None) };
    let mut answer = Map::new();
    answer.insert("metadata".into(), meta.show_version(number, version).into());
    if version.gone(call.now) {
        answer.insert("subkeys".into(), Value::Null);
        return Ok(Some(not_found(Some(answer))));
    }
    let data = store::data(&mut call.view, &path, &meta, number)?;
    let data: Map = serde_json::from_str(data.get()).map_err(|_| EngineError::internal("the version is not an object"))?;
    // Less than 0 goes no deeper than 1, as in Vault.
    let levels = match call.fields.int("depth") {
        None | Some(0) => usize::MAX,
        Some(depth) => usize::try_from(depth).unwrap_or(1),
    };
    answer.insert("subkeys".into(), names(data, levels).into());
    Ok(Some(Response::data(answer)))
}

/// Every value becomes null, save objects with something inside down to `levels`.
fn names(data: Map, levels: usize) -> Map {
    data.into_iter()
        .map(|(name, value)| match value {
            Value::Object(inner) if levels > 1 && !inner.is_empty() => (name, Value::Object(names(inner, levels - 1))),
            _ => (name, Value::Null),
        })
        .collect()
}
