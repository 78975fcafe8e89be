//! `sys/audit`, `sys/audit-hash`, `sys/config/auditing/request-headers`: audit devices and what their lines show.
//!
//! A device is opened first and written down second: one that cannot be written to leaves nothing behind, and one that could
//! not be written down is closed again. The other nodes of a cluster follow the stored table before they serve a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use api_types::{Map, Operation};
use audit::DeviceConfig;
use barrier::{Barrier, Unsealed, Watch};
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use secret::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::{Page, TxnError, View};

use super::SystemEngine;
use super::support::uncommitted;
use crate::core::{Core, OpenCore};
use crate::settings::{self, AUDITED_HEADER_ROWS, AuditedHeaderRow};

const ROWS: &str = "core/audit/";

const PATH: Field = Field::new("path", FieldKind::String, "Where the device is enabled.");
const DEVICE: &[Field] = &[
    PATH,
    Field::new("type", FieldKind::String, "file, socket or syslog."),
    Field::new("description", FieldKind::String, "For people."),
    Field::new("options", FieldKind::KeyValuePairs, "Options of the type."),
    Field::new("local", FieldKind::Bool, "Kept and shown."),
];
const HASH: &[Field] = &[PATH, Field::new("input", FieldKind::String, "The text to hash.")];
const HEADER: &[Field] = &[
    Field::new("header", FieldKind::String, "Name of the request header."),
    Field::new("hmac", FieldKind::Bool, "Whether its values are hashed."),
];

/// A device of the table. The salt keys the hashes of its lines.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    path: String,
    #[serde(flatten)]
    config: DeviceConfig,
    salt: SecretText,
    /// The request that enabled it: run anew after a conflict, it finds its own work done.
    #[serde(default)]
    made_by: String,
}

impl Row {
    fn secret_salt(&self) -> SecretString {
        SecretString::from(self.salt.0.as_str())
    }
}

/// Text that shows in storage only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct SecretText(String);

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("audit", &[], "Lists the audit devices.").on(Operation::Read, "List them.", table),
        Route::new("audit/{path...}", DEVICE, "Enables and disables an audit device.")
            .on_async(Operation::Update, "Enable a device.", enable)
            .on_async(Operation::Delete, "Disable a device.", disable),
        Route::new("audit-hash/{path...}", HASH, "Hashes a text as a device does.").on(Operation::Update, "Hash.", hash),
        Route::new("config/auditing/request-headers", &[], "Lists the request headers that audit lines show.").on(
            Operation::Read,
            "List them.",
            headers,
        ),
        Route::new("config/auditing/request-headers/{header...}", HEADER, "Configures a request header for audit lines.")
            .on(Operation::Read, "Show its setting.", header)
            .on(Operation::Update, "Show it in audit lines.", set_header)
            .on(Operation::Delete, "Leave it out of audit lines.", remove_header),
    ]
}

/// Which state of the stored table this node's devices are.
pub(crate) struct Table {
    watch: Watch,
    /// The watch's count for the rows that the devices were made of.
    followed: AtomicU64,
    /// Held by whoever changes devices, from the first look at the table to the last.
    changing: tokio::sync::Mutex<()>,
}

impl Table {
    pub(crate) fn new(barrier: &Barrier<Unsealed>) -> Result<Self, TxnError> {
        Ok(Self { watch: barrier.watch(ROWS)?, followed: AtomicU64::new(u64::MAX), changing: tokio::sync::Mutex::new(()) })
    }
}

/// Opens the devices of the stored table and closes those that are not in it: at unseal, and before a request if another node
/// changed the table. A table of which no device comes up serves nothing, as in Vault: requests would go unrecorded.
pub(crate) async fn follow_table(core: &Core, open: &OpenCore) -> Result<(), EngineError> {
    let table = &open.audit_table;
    if table.followed.load(Ordering::Acquire) == table.watch.count() {
        return Ok(());
    }
    let _one = table.changing.lock().await;
    // Counted before the rows are read: a change in between is followed by the next request.
    let count = table.watch.count();
    if table.followed.load(Ordering::Acquire) == count {
        return Ok(());
    }
    let rows = rows(&mut View::new(&mut open.barrier.begin(), ""))?;
    let stands = |path: &str| rows.iter().any(|(_, row)| row.path == path && core.audit().has(path, &row.secret_salt()));
    for status in core.audit().statuses().iter().filter(|status| !stands(&status.path)) {
        core.audit().disable(&status.path);
        tracing::info!(path = status.path, "audit device disabled: it is not in the table any more");
    }
    for (_, row) in rows.iter().filter(|(_, row)| !stands(&row.path)) {
        match core.audit().restore(&row.path, row.config.clone(), row.secret_salt()).await {
            Ok(()) => tracing::info!(path = row.path, "audit device enabled"),
            Err(e) => tracing::error!(device = row.path, error = %e, "an audit device of the table does not come up"),
        }
    }
    if !rows.is_empty() && !core.audit().has_devices() {
        return Err(EngineError::internal("failed to setup audit table"));
    }
    table.followed.store(count, Ordering::Release);
    Ok(())
}

fn rows(view: &mut View<'_>) -> Result<Vec<(String, Row)>, EngineError> {
    let mut out = Vec::new();
    for uuid in view.list(ROWS, &Page::default())? {
        let key = format!("{ROWS}{uuid}");
        if let Some(row) = view.get_json::<Row>(&key)? {
            out.push((key, Row::clone(&row)));
        }
    }
    out.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    Ok(out)
}

fn table(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let data: Map = rows(&mut call.view)?
        .into_iter()
        .map(|(_, row)| {
            let shown = json!({
                "path": row.path,
                "type": row.config.device_type,
                "description": row.config.description,
                "options": row.config.options,
                "local": row.config.local,
            });
            (row.path, shown)
        })
        .collect();
    Ok(Some(Response::data(data)))
}

fn enable<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        let fields = &call.fields;
        let path = normal(fields.str("path"));
        let _one = open.audit_table.changing.lock().await;
        // Read outside the request's transaction, which would conflict with the row written below.
        let before = rows(&mut View::new(&mut open.barrier.begin(), ""))?;
        let id = call.request.id.as_str();
        if !id.is_empty() && before.iter().any(|(_, row)| row.path == path && row.made_by == id) {
            return Ok(None);
        }
        let row = Row {
            path: path.clone(),
            config: DeviceConfig {
                device_type: fields.str("type").to_owned(),
                description: fields.str("description").to_owned(),
                options: fields.pairs("options").cloned().unwrap_or_default(),
                local: fields.bool("local").unwrap_or(false),
            },
            salt: SecretText(call.entropy.uuid()?),
            made_by: id.to_owned(),
        };
        let key = format!("{ROWS}{}", call.entropy.uuid()?);
        core.audit()
            .enable(&path, row.config.clone(), row.secret_salt())
            .await
            .map_err(|e| EngineError::Invalid(e.to_string()))?;
        if let Err(e) = core.transact(&open, |view| Ok(view.put_json(&key, &row)?)).await {
            core.audit().disable(&path);
            return Err(uncommitted(e));
        }
        tracing::info!(path, "audit device enabled");
        Ok(None)
    })
}

fn disable<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        let path = normal(call.fields.str("path"));
        let _one = open.audit_table.changing.lock().await;
        let remove = |view: &mut View<'_>| {
            let found = rows(view)?.into_iter().find(|(_, row)| row.path == path);
            if let Some((key, _)) = &found {
                view.delete(key)?;
            }
            Ok(found.is_some())
        };
        if core.transact(&open, remove).await.map_err(uncommitted)? {
            core.audit().disable(&path);
            tracing::info!(path, "audit device disabled");
        }
        Ok(None)
    })
}

fn hash(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let input = call.fields.str("input");
    if input.is_empty() {
        return Err(EngineError::invalid("the \"input\" parameter is empty"));
    }
    let path = normal(call.fields.str("path"));
    match engine.core()?.audit().hash(&path, input) {
        Some(hash) => Ok(Some(Response::json(json!({ "hash": hash })))),
        None => Err(EngineError::Invalid(format!("unknown audit backend {path:?}"))),
    }
}

fn headers(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let shown: BTreeMap<String, _> =
        settings::audited_headers(&mut call.view)?.into_iter().map(|(name, hmac)| (name, json!({ "hmac": hmac }))).collect();
    Ok(Some(Response::json(json!({ "headers": shown }))))
}

fn header(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("header");
    match settings::audited_headers(&mut call.view)?.get(&name.to_lowercase()) {
        Some(hmac) => Ok(Some(Response::json(json!({ name: { "hmac": hmac } })))),
        None => Err(EngineError::invalid("Could not find header in config")),
    }
}

fn set_header(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let row = AuditedHeaderRow { hmac: call.fields.bool("hmac").unwrap_or(false), removed: false };
    let key = header_row(call.fields.str("header"))?;
    call.view.put_json(&key, &row)?;
    Ok(None)
}

/// A default header leaves a row behind that says so.
fn remove_header(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let key = header_row(call.fields.str("header"))?;
    if settings::is_audited_by_default(&call.fields.str("header").to_lowercase()) {
        call.view.put_json(&key, &AuditedHeaderRow { hmac: false, removed: true })?;
    } else {
        call.view.delete(&key)?;
    }
    Ok(None)
}

/// A header's name is one path segment, or it could reach another folder.
fn header_row(name: &str) -> Result<String, EngineError> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err(EngineError::invalid("header name is not valid"));
    }
    Ok(format!("{AUDITED_HEADER_ROWS}{}", name.to_lowercase()))
}

/// Device paths end in `/`.
fn normal(path: &str) -> String {
    format!("{}/", path.trim_matches('/'))
}
