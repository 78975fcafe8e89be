//! Where version 2 keeps things, below the mount's view:
//!
//! - `config`: [`Config`].
//! - `metadata/<path>`: [`KeyMetadata`], no data. Folders of this range are what LIST shows.
//! - `latest/<path>`: [`Latest`], the current version's data inside the finished answer, so that a read of the current
//!   version is one lookup and no JSON work. Present while the current version is not destroyed (deleted or not).
//! - `versions/<path>/<n>`: the data of an older version, as JSON text. The last segment is always the number, so the
//!   records of `a` and of `a/1` never meet.
//!
//! Data is kept as text in Go's JSON form (sorted keys, numbers digit by digit) from the moment it is written.

use std::sync::Arc;

use api_types::json;
use engine::EngineError;
use secret::{SecretBytes, Time};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use storage::{Record, TxnError, View};

use crate::model::{Config, KeyMetadata};
use crate::upgrade;

/// Range of the key metadata.
pub(crate) const METADATA: &str = "metadata/";
const LATEST: &str = "latest/";
const VERSIONS: &str = "versions/";
const CONFIG: &str = "config";

/// The record `latest/<path>`. No `Debug`: it holds the secret.
#[derive(Serialize, Deserialize)]
pub(crate) struct Latest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deletion: Option<Time>,
    /// `{"data":…,"metadata":…}` as a read answers.
    answer: Arc<RawValue>,
}

#[derive(Deserialize)]
struct DataOfAnswer {
    data: Box<RawValue>,
}

impl Latest {
    fn data(&self) -> Result<Box<RawValue>, EngineError> {
        let parsed: DataOfAnswer = serde_json::from_str(self.answer.get()).map_err(|_| corrupt("latest version"))?;
        Ok(parsed.data)
    }
}

/// The finished answer for the current version, if it may be shown. `None` says nothing: ask [`metadata`].
pub(crate) fn hot_answer(view: &mut View<'_>, path: &str, now: Time) -> Result<Option<Arc<RawValue>>, EngineError> {
    let Some(latest) = latest(view, path)? else { return Ok(None) };
    Ok(latest.deletion.is_none_or(|at| at > now).then(|| Arc::clone(&latest.answer)))
}

/// The mount's settings.
pub(crate) fn config(view: &mut View<'_>) -> Result<Arc<Config>, EngineError> {
    Ok(view.get_json::<Config>(CONFIG)?.unwrap_or_default())
}

/// Stores the mount's settings.
pub(crate) fn put_config(view: &mut View<'_>, config: &Config) -> Result<(), EngineError> {
    Ok(view.put_json(CONFIG, config)?)
}

/// Whether the key is known to version 2, for existence checks.
pub(crate) fn exists(view: &mut View<'_>, path: &str) -> Result<bool, EngineError> {
    Ok(view.get(&format!("{METADATA}{path}"))?.is_some())
}

/// The key's metadata. Refuses instead of answering "nothing" while secrets of version 1 still wait for their upgrade.
pub(crate) fn metadata(view: &mut View<'_>, path: &str) -> Result<Option<Arc<KeyMetadata>>, EngineError> {
    let found = view.get_json::<KeyMetadata>(&format!("{METADATA}{path}"))?;
    if found.is_none() {
        upgrade::refuse_while_pending(view)?;
    }
    Ok(found)
}

/// Stores the key's metadata after a change that left its versions' data where it was. The finished answer of the current
/// version follows, because it shows parts of the metadata.
pub(crate) fn put_metadata(view: &mut View<'_>, path: &str, meta: &KeyMetadata) -> Result<(), EngineError> {
    view.put_json(&format!("{METADATA}{path}"), meta)?;
    match meta.current() {
        Some(current) if !current.destroyed => {
            let Some(latest) = latest(view, path)? else { return Err(missing()) };
            let answer = assemble(meta, meta.current_version, &latest.data()?)?;
            if answer.get() != latest.answer.get() {
                view.put_json(&format!("{LATEST}{path}"), &Latest { deletion: current.deletion, answer })?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Stores a version that [`KeyMetadata::add_version`] has just added; `pushed_out` is what that answered.
pub(crate) fn put_version(
    view: &mut View<'_>,
    path: &str,
    meta: &KeyMetadata,
    data: &RawValue,
    pushed_out: &[u64],
) -> Result<(), EngineError> {
    let before = meta.current_version.saturating_sub(1);
    for number in pushed_out.iter().filter(|n| **n != before) {
        view.delete(&version_key(path, *number))?;
    }
    if meta.versions.get(&before).is_some_and(|v| !v.destroyed) {
        let Some(latest) = latest(view, path)? else { return Err(missing()) };
        view.put(&version_key(path, before), text_bytes(&latest.data()?))?;
    }
    let answer = assemble(meta, meta.current_version, data)?;
    let deletion = meta.current().and_then(|v| v.deletion);
    view.put_json(&format!("{LATEST}{path}"), &Latest { deletion, answer })?;
    Ok(view.put_json(&format!("{METADATA}{path}"), meta)?)
}

/// The data of a version that is neither destroyed nor pushed out.
pub(crate) fn data(view: &mut View<'_>, path: &str, meta: &KeyMetadata, number: u64) -> Result<Box<RawValue>, EngineError> {
    if number == meta.current_version {
        return latest(view, path)?.ok_or_else(missing)?.data();
    }
    json_text(&view.get(&version_key(path, number))?.ok_or_else(missing)?)
}

/// A record that is nothing but data.
pub(crate) fn json_text(record: &Record) -> Result<Box<RawValue>, EngineError> {
    let text = std::str::from_utf8(record.bytes()).map_err(|_| corrupt("version"))?;
    RawValue::from_string(text.to_owned()).map_err(|_| corrupt("version"))
}

/// Removes the data of a version for good.
pub(crate) fn erase(view: &mut View<'_>, path: &str, meta: &KeyMetadata, number: u64) -> Result<(), EngineError> {
    let key = if number == meta.current_version { format!("{LATEST}{path}") } else { version_key(path, number) };
    Ok(view.delete(&key)?)
}

/// Removes the key: metadata and every version.
pub(crate) fn forget(view: &mut View<'_>, path: &str, meta: &KeyMetadata) -> Result<(), EngineError> {
    for (number, version) in &meta.versions {
        if !version.destroyed {
            erase(view, path, meta, *number)?;
        }
    }
    Ok(view.delete(&format!("{METADATA}{path}"))?)
}

/// `{"data":…,"metadata":…}` for one version.
pub(crate) fn assemble(meta: &KeyMetadata, number: u64, data: &RawValue) -> Result<Arc<RawValue>, EngineError> {
    let version = meta.versions.get(&number).ok_or_else(missing)?;
    let metadata = json::to_string(&meta.show_version(number, version)).map_err(|_| corrupt("version metadata"))?;
    let text = format!("{{\"data\":{},\"metadata\":{metadata}}}", data.get());
    Ok(RawValue::from_string(text).map_err(|_| corrupt("version"))?.into())
}

/// A value as the text that is stored.
pub(crate) fn canonical<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, EngineError> {
    let text = json::to_string(value).map_err(|_| EngineError::internal("the data cannot be encoded"))?;
    RawValue::from_string(text).map_err(|_| EngineError::internal("the data cannot be encoded"))
}

fn latest(view: &mut View<'_>, path: &str) -> Result<Option<Arc<Latest>>, EngineError> {
    Ok(view.get_json::<Latest>(&format!("{LATEST}{path}"))?)
}

fn version_key(path: &str, number: u64) -> String {
    format!("{VERSIONS}{path}/{number}")
}

fn text_bytes(data: &RawValue) -> SecretBytes {
    SecretBytes::new(data.get().as_bytes().to_vec())
}

fn missing() -> EngineError {
    EngineError::internal("could not find version data")
}

/// No detail: serde's would quote the secret.
fn corrupt(what: &str) -> EngineError {
    TxnError::Corrupt { what: what.to_owned(), detail: "not the JSON that was written".to_owned() }.into()
}
