//! KV version 1: one JSON object per path. Nothing is kept of what a write replaces.

use std::sync::Arc;
use std::time::Duration;

use api_types::{Operation, duration, json};
use engine::{Call, Data, Engine, EngineError, Field, FieldKind, LeasedSecret, Outcome, PathTable, Response, Route};
use secret::SecretBytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use storage::Page;

use crate::upgrade::{self, PLAIN};
use crate::wanted_page;

const FIELDS: &[Field] = &[Field::new("path", FieldKind::String, "Location of the secret.")];

/// The unversioned engine.
pub struct KvV1 {
    table: PathTable<Self>,
}

impl KvV1 {
    /// The engine; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        let route = Route::new("{path...?}", FIELDS, "Pass-through secret storage to the storage backend.")
            .help("One JSON object per path. A `ttl` in the object is shown as its lease duration.")
            .free_form()
            .exists(exists)
            .on(Operation::Read, "Reads a secret.", read)
            .on(Operation::Update, "Writes a secret, replacing it as a whole.", write)
            .on(Operation::Delete, "Deletes a secret.", delete)
            .on(Operation::List, "Lists a folder.", list);
        Self { table: PathTable::new("Key/value secrets without versions.", vec![route]) }
    }
}

impl Default for KvV1 {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for KvV1 {
    const TYPE: &'static str = "kv";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

/// A secret with the life it claims for itself. No `Debug`.
struct Plain {
    data: Arc<RawValue>,
    ttl: Option<Duration>,
}

#[derive(Deserialize)]
struct Claims {
    ttl: Option<Value>,
    lease: Option<Value>,
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = Arc::<RawValue>::deserialize(deserializer)?;
        let claims: Claims = serde_json::from_str(data.get()).map_err(|_| serde::de::Error::custom("not an object"))?;
        let ttl = claims.ttl.or(claims.lease).as_ref().and_then(claimed_ttl);
        Ok(Self { data, ttl })
    }
}

/// A duration as clients write it; anything else is data like any other and claims nothing.
fn claimed_ttl(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => duration::parse(text).ok()?.unsigned(),
        Value::Number(number) => number.as_u64().map(Duration::from_secs),
        _ => None,
    }
}

fn key(call: &Call<'_>) -> String {
    format!("{PLAIN}{}", call.path)
}

fn exists(_: &KvV1, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(call.view.get(&key(call))?.is_some())
}

fn read(_: &KvV1, call: &mut Call<'_>) -> Outcome {
    let key = key(call);
    let Some(plain) = call.view.get_json::<Plain>(&key)? else { return Ok(None) };
    let ttl = plain.ttl.unwrap_or(call.mount.default_lease_ttl);
    Ok(Some(Response {
        data: Some(Data::Raw(Arc::clone(&plain.data))),
        secret: Some(Box::new(LeasedSecret { ttl, ..LeasedSecret::default() })),
        ..Response::default()
    }))
}

fn write(_: &KvV1, call: &mut Call<'_>) -> Outcome {
    if call.path.is_empty() {
        return Err(EngineError::invalid("missing path"));
    }
    if call.request.data.is_empty() {
        return Err(EngineError::invalid("missing data fields"));
    }
    let text = json::to_vec(&call.request.data).map_err(|_| EngineError::internal("the data cannot be encoded"))?;
    let key = key(call);
    call.view.put(&key, SecretBytes::new(text))?;
    upgrade::mark(&mut call.view)?;
    Ok(None)
}

fn delete(_: &KvV1, call: &mut Call<'_>) -> Outcome {
    let key = key(call);
    // Deleting nothing must not cost a commit.
    if call.view.get(&key)?.is_some() {
        call.view.delete(&key)?;
    }
    Ok(None)
}

fn list(_: &KvV1, call: &mut Call<'_>) -> Outcome {
    let mut folder = key(call);
    if !folder.ends_with('/') {
        folder.push('/');
    }
    let page = wanted_page(call);
    if page == Page::default() {
        return Ok(Some(Response::shared_list(&*call.view.list_shared(&folder)?)));
    }
    Ok(Some(Response::list(call.view.page(&folder, &page)?.names)))
}
