//! `metadata/<path>`: settings and history of a key, its removal, and listings.

use std::time::Duration;

use api_types::{Map, duration};
use engine::{Call, EngineError, Outcome, Response};
use serde_json::{Value, json};
use storage::Page;

use super::{KvV2, cas_warning, max_versions, not_found_bare, path, setting};
use crate::custom_metadata::{self, CustomMetadata, CustomMetadataError};
use crate::model::{KeyMetadata, VersionMetadata, show_time};
use crate::store::{self, METADATA};
use crate::{upgrade, wanted_page};

impl From<CustomMetadataError> for EngineError {
    fn from(e: CustomMetadataError) -> Self {
        Self::Invalid(e.to_string())
    }
}

pub(super) fn read(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    let Some(meta) = store::metadata(&mut call.view, &path)? else { return Ok(None) };
    let versions: Map = meta.versions.iter().map(|(number, v)| (number.to_string(), show_history(v))).collect();
    Ok(Some(Response::json(json!({
        "versions": versions,
        "current_version": meta.current_version,
        "oldest_version": meta.oldest_version,
        "created_time": meta.created.rfc3339(),
        "updated_time": meta.updated.rfc3339(),
        "max_versions": meta.max_versions,
        "cas_required": meta.cas_required,
        "delete_version_after": duration::go_string(Duration::from_secs(meta.delete_version_after_s)),
        "custom_metadata": meta.show_custom_metadata(),
        "last_updated_by": meta.last_updated_by,
    }))))
}

fn show_history(version: &VersionMetadata) -> Value {
    json!({
        "created_time": version.created.rfc3339(),
        "deletion_time": show_time(version.deletion),
        "destroyed": version.destroyed,
        "created_by": version.created_by,
        "deleted_by": version.deleted_by,
    })
}

/// What a request changes; `None` leaves a setting alone.
struct Changes {
    max_versions: Option<u32>,
    cas_required: Option<bool>,
    delete_version_after_s: Option<u64>,
}

impl Changes {
    fn of(call: &Call<'_>) -> Self {
        let life = call.fields.duration("delete_version_after").map(|d| d.as_secs());
        Self {
            max_versions: max_versions(call),
            cas_required: setting(call, "cas_required", call.fields.bool("cas_required")),
            delete_version_after_s: setting(call, "delete_version_after", life),
        }
    }

    fn none(&self) -> bool {
        self.max_versions.is_none() && self.cas_required.is_none() && self.delete_version_after_s.is_none()
    }

    fn apply(&self, meta: &mut KeyMetadata) {
        meta.max_versions = self.max_versions.unwrap_or(meta.max_versions);
        meta.cas_required = self.cas_required.unwrap_or(meta.cas_required);
        meta.delete_version_after_s = self.delete_version_after_s.unwrap_or(meta.delete_version_after_s);
    }
}

/// Sets what was sent; makes the key if there is none, so that settings can come before the first version.
pub(super) fn write(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = named_path(call)?;
    let changes = Changes::of(call);
    let custom = setting(call, "custom_metadata", call.fields.map("custom_metadata").cloned())
        .map(|sent| custom_metadata::replace(&sent))
        .transpose()?;
    if changes.none() && custom.is_none() {
        return Ok(None);
    }
    let mandated = store::config(&mut call.view)?.cas_required;
    let mut meta = match store::metadata(&mut call.view, &path)? {
        Some(meta) => (*meta).clone(),
        None => KeyMetadata::new(call.now),
    };
    changes.apply(&mut meta);
    meta.custom_metadata = custom.unwrap_or(meta.custom_metadata);
    store::put_metadata(&mut call.view, &path, &meta)?;
    Ok(cas_warning(changes.cas_required, mandated))
}

/// Merge patch: null resets a setting and removes a custom entry. The key must exist.
pub(super) fn patch(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = named_path(call)?;
    let changes = Changes::of(call);
    let custom = call.fields.map("custom_metadata").cloned();
    // A body that is wrong is refused as such even where there is no key.
    if let Some(sent) = &custom {
        custom_metadata::patch(&CustomMetadata::new(), sent)?;
    }
    let Some(old) = store::metadata(&mut call.view, &path)? else { return Ok(Some(not_found_bare())) };
    let mandated = store::config(&mut call.view)?.cas_required;
    let mut meta = (*old).clone();
    changes.apply(&mut meta);
    match (custom, call.request.data.get("custom_metadata")) {
        (Some(sent), _) => meta.custom_metadata = custom_metadata::patch(&meta.custom_metadata, &sent)?,
        (None, Some(Value::Null)) => meta.custom_metadata.clear(),
        _ => {}
    }
    if meta != *old {
        store::put_metadata(&mut call.view, &path, &meta)?;
    }
    Ok(cas_warning(changes.cas_required, mandated))
}

pub(super) fn delete(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    let path = path(call);
    if let Some(meta) = store::metadata(&mut call.view, &path)? {
        store::forget(&mut call.view, &path, &meta)?;
    }
    Ok(None)
}

pub(super) fn list(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    upgrade::refuse_while_pending(&mut call.view)?;
    let mut folder = path(call);
    if !folder.is_empty() && !folder.ends_with('/') {
        folder.push('/');
    }
    let page = wanted_page(call);
    let keys = if call.fields.bool("exclude_deleted") == Some(true) {
        undeleted(call, &folder, page)?
    } else if page == Page::default() {
        return Ok(Some(Response::shared_list(&*call.view.list_shared(&format!("{METADATA}{folder}"))?)));
    } else {
        call.view.page(&format!("{METADATA}{folder}"), &page)?.names
    };
    Ok(Some(Response::list(keys)))
}

/// A listing without the keys whose current version is deleted. Folders stay, whatever is in them.
fn undeleted(call: &mut Call<'_>, folder: &str, mut page: Page) -> Result<Vec<String>, EngineError> {
    let range = format!("{METADATA}{folder}");
    let mut kept = Vec::new();
    loop {
        let names = call.view.page(&range, &page)?.names;
        let whole = page.limit.is_none_or(|limit| names.len() < limit);
        page.after = names.last().cloned().or(page.after);
        for name in names {
            if page.limit.is_some_and(|limit| kept.len() >= limit) {
                break;
            }
            let meta = call.view.get_json::<KeyMetadata>(&format!("{range}{name}"))?;
            let deleted = meta.is_some_and(|m| m.current().is_some_and(|v| v.deleted(call.now)));
            if !deleted {
                kept.push(name);
            }
        }
        if whole || page.limit.is_some_and(|limit| kept.len() >= limit) {
            return Ok(kept);
        }
    }
}

fn named_path(call: &Call<'_>) -> Result<String, EngineError> {
    match path(call) {
        path if path.is_empty() => Err(EngineError::invalid("missing path")),
        path => Ok(path),
    }
}
