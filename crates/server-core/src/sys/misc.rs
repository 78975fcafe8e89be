//! Odds and ends of `sys/` (contract §7.6): replication and licence (there are none), counters, requests in flight, the router
//! from inside.
//!
//! Deliberately absent: `sys/monitor` (a stream), quotas, namespaces, client counts.

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Kind, Outcome, Response, Route};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::Page;

use super::SystemEngine;
use super::support::{bare_json, enterprise_only, gone};
use crate::mounts::Table;

/// Where identity keeps its entities, one row each.
const ENTITY_ROWS: &str = "identity/entity/id/";
const ACTIVITY_ROW: &str = "core/counters/activity-config";
/// Months of client counts that Vault keeps at least and at most.
const RETENTION_MONTHS: std::ops::RangeInclusive<i64> = 48..=60;

const ACTIVITY: &[Field] = &[
    Field::new("enabled", FieldKind::String, "enable, disable or default."),
    Field::new("retention_months", FieldKind::Int, "Months to keep."),
    Field::new("default_report_months", FieldKind::Int, "Accepted for old clients."),
];
const SPAN: &[Field] = &[
    Field::new("start_time", FieldKind::String, "From this time on."),
    Field::new("end_time", FieldKind::String, "Up to this time."),
    Field::new("limit_namespaces", FieldKind::Int, "Accepted; there are no namespaces."),
];
const TAG: &[Field] = &[Field::new("tag", FieldKind::String, "root, uuid, accessor or storage.")];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    let mut out = vec![
        Route::new("replication/status", &[], "Shows that there is no replication.").on(Operation::Read, "Show it.", replication),
        Route::new("mfa/method/?", &[], "Lists MFA methods.").on(Operation::List, "List them.", no_methods),
        Route::new("in-flight-req", &[], "Lists the requests being served.").on(Operation::Read, "List them.", in_flight),
        Route::new("internal/counters/requests", &[], "Removed.")
            .on(Operation::Read, "Removed.", |_, _| gone("The functionality has been removed on this path")),
        Route::new("internal/counters/tokens", &[], "Counts tokens.").on(Operation::Read, "Count them.", tokens),
        Route::new("internal/counters/entities", &[], "Counts entities.").on(Operation::Read, "Count them.", entities),
        Route::new("internal/counters/activity", SPAN, "Client counts.").on(Operation::Read, "Show them.", no_activity),
        Route::new("internal/counters/activity/monthly", SPAN, "Client counts.").on(Operation::Read, "Show them.", no_activity),
        Route::new("internal/counters/config", ACTIVITY, "Configures client counts.")
            .on(Operation::Read, "Read the configuration.", activity)
            .on(Operation::Update, "Change the configuration.", set_activity),
        Route::new("internal/inspect/router/{tag}", TAG, "Shows the router from inside.").on(
            Operation::Read,
            "Show it.",
            inspect,
        ),
    ];
    for pattern in ["replication/dr/status", "replication/performance/status", "license/status"] {
        let route = Route::new(pattern, &[], "Vault Enterprise only.");
        out.push(route.on(Operation::Read, "Not available.", |_, _| enterprise_only()));
    }
    out
}

fn replication(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({ "mode": "disabled" }))))
}

fn no_methods(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(Vec::new())))
}

fn in_flight(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    bare_json(&engine.core()?.in_flight.show(), 200).map(Some)
}

/// Expired tokens that are not cleared away yet are counted as well.
fn tokens(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    let total = open.tokens.list_accessors(&mut call.view, &Page::default())?.len();
    Ok(Some(Response::json(json!({ "counters": { "service_tokens": { "total": total } } }))))
}

fn entities(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let total = call.view.list(ENTITY_ROWS, &Page::default())?.len();
    Ok(Some(Response::json(json!({ "counters": { "entities": { "total": total } } }))))
}

/// 204: nothing was counted.
fn no_activity(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let kind = Kind::Bare { content_type: "application/json".into(), body: Vec::new(), status: 204 };
    Ok(Some(Response { kind, ..Response::default() }))
}

/// Kept and shown; clients are not counted.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Activity {
    enabled: String,
    retention_months: i64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { enabled: "default".into(), retention_months: *RETENTION_MONTHS.start() }
    }
}

fn activity(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let config = call.view.get_json::<Activity>(ACTIVITY_ROW)?.map(|a| Activity::clone(&a)).unwrap_or_default();
    // The default of Vault's free edition is off.
    let enabled = if config.enabled == "default" { "default-disabled" } else { config.enabled.as_str() };
    Ok(Some(Response::json(json!({
        "enabled": enabled,
        "retention_months": config.retention_months,
        "minimum_retention_months": *RETENTION_MONTHS.start(),
        "queries_available": false,
        "reporting_enabled": false,
        "billing_start_timestamp": null,
    }))))
}

fn set_activity(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let mut config = call.view.get_json::<Activity>(ACTIVITY_ROW)?.map(|a| Activity::clone(&a)).unwrap_or_default();
    if let Some(months) = call.fields.int("retention_months") {
        let (low, high) = (RETENTION_MONTHS.start(), RETENTION_MONTHS.end());
        if months < *low {
            return Err(EngineError::Invalid(format!("retention_months must be at least {low}")));
        }
        if months > *high {
            return Err(EngineError::Invalid(format!("retention_months cannot be greater than {high}")));
        }
        config.retention_months = months;
    }
    match call.fields.text("enabled") {
        None => {}
        Some(word @ ("enable" | "disable" | "default")) => word.clone_into(&mut config.enabled),
        Some(_) => return Err(EngineError::invalid("enabled must be one of \"default\", \"enable\", \"disable\"")),
    }
    call.view.put_json(ACTIVITY_ROW, &config)?;
    Ok(None)
}

fn inspect(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let (core, router) = engine.routed()?;
    if !core.config().introspection_endpoint {
        return Err(EngineError::invalid(
            "The Vault configuration must set \"introspection_endpoint\" to true to enable this endpoint",
        ));
    }
    let tag = call.fields.str("tag");
    let mut records = Map::new();
    for mounted in router.table(Table::Mounts).chain(router.table(Table::Auth)) {
        let entry = &mounted.entry;
        let key = match tag {
            "root" => entry.full_path(),
            "uuid" => entry.uuid.clone(),
            "accessor" => entry.accessor.clone(),
            "storage" => entry.data_prefix(),
            _ => return Err(EngineError::invalid("subtree must be one of root, uuid, accessor or storage")),
        };
        let shown: Value = json!({
            "mount_path": entry.full_path(),
            "mount_type": entry.mount_type,
            "mount_namespace": "root",
            "uuid": entry.uuid,
            "accessor": entry.accessor,
            "storage_prefix": entry.data_prefix(),
        });
        records.insert(key, shown);
    }
    Ok(Some(Response::json(json!({ tag: records }))))
}
