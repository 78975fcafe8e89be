//! `sys/version-history`: which versions this cluster has run.

use api_types::Operation;
use engine::{Call, Outcome, Response, Route};
use secret::Time;
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::{Page, TxnError, View};

use super::SystemEngine;
use crate::CoreConfig;

const ROWS: &str = "core/versions/";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    version: String,
    installed: Time,
    build_date: String,
}

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![Route::new("version-history/?", &[], "Lists the versions that ran here.").on(Operation::List, "List them.", list)]
}

/// Notes the version that makes the cluster.
pub(crate) fn note(view: &mut View<'_>, config: &CoreConfig, now: Time) -> Result<(), TxnError> {
    let row = Row { version: config.version.clone(), installed: now, build_date: config.build_date.clone() };
    view.put_json(&format!("{ROWS}{}", config.version), &row)
}

/// The version that runs now is shown also if the store was made by another: as installed when this node was unsealed.
fn list(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (core, open) = engine.opened()?;
    let mut rows = Vec::new();
    for name in call.view.list(ROWS, &Page::default())? {
        if let Some(row) = call.view.get_json::<Row>(&format!("{ROWS}{name}"))? {
            rows.push(Row::clone(&row));
        }
    }
    let config = core.config();
    if !rows.iter().any(|r| r.version == config.version) {
        rows.push(Row { version: config.version.clone(), installed: open.since, build_date: config.build_date.clone() });
    }
    rows.sort_by_key(|r| r.installed);
    let keys: Vec<&str> = rows.iter().map(|r| r.version.as_str()).collect();
    let before = std::iter::once(None).chain(keys.iter().map(Some));
    let info: api_types::Map = rows
        .iter()
        .zip(before)
        .map(|(row, previous)| {
            let shown = json!({
                "timestamp_installed": row.installed.rfc3339_seconds(),
                "build_date": row.build_date,
                "previous_version": previous,
            });
            (row.version.clone(), shown)
        })
        .collect();
    Ok(Some(Response::json(json!({ "keys": keys, "key_info": info }))))
}
