//! `config`: the mount's settings.

use std::time::Duration;

use api_types::duration;
use engine::{Call, Outcome, Response};
use serde_json::json;

use super::{KvV2, max_versions, setting};
use crate::store;

pub(super) fn read(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    crate::upgrade::refuse_while_pending(&mut call.view)?;
    let config = store::config(&mut call.view)?;
    let sign = if config.delete_version_after_s < 0 { "-" } else { "" };
    let life = duration::go_string(Duration::from_secs(config.delete_version_after_s.unsigned_abs()));
    Ok(Some(Response::json(json!({
        "max_versions": config.max_versions,
        "cas_required": config.cas_required,
        "delete_version_after": format!("{sign}{life}"),
    }))))
}

pub(super) fn write(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    crate::upgrade::refuse_while_pending(&mut call.view)?;
    let max_versions = max_versions(call);
    let cas_required = setting(call, "cas_required", call.fields.bool("cas_required"));
    let life = call.fields.signed_duration("delete_version_after").map(|d| d.seconds());
    let life = setting(call, "delete_version_after", life);

    let old = store::config(&mut call.view)?;
    let mut config = (*old).clone();
    config.max_versions = max_versions.unwrap_or(config.max_versions);
    config.cas_required = cas_required.unwrap_or(config.cas_required);
    // Any negative duration means the same, and is shown as -1s.
    config.delete_version_after_s = life.map_or(config.delete_version_after_s, |s| s.max(-1));
    if config != *old {
        store::put_config(&mut call.view, &config)?;
    }
    Ok(None)
}
