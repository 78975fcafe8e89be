//! What the test files share: short ways to call and to look at an answer.
#![allow(dead_code, reason = "each test file uses its own part")]

use api_types::Operation;
use engine::testing::Harness;
use engine::{Engine, EngineError, Kind, Response};
use serde_json::{Value, json};

pub use api_types::Operation::{Delete, List, Patch, Read, Update};

/// A scene whose caller is root, as the display name has it.
pub fn scene<E: Engine>(engine: E) -> Harness<E> {
    let mut scene = Harness::new(engine);
    scene.caller.display_name = "root".into();
    scene
}

/// Any answer as one value: `[status, data, warnings]`, or `[status, error text]`.
pub fn shown(outcome: Result<Option<Response>, EngineError>) -> Value {
    let response = match outcome {
        Ok(None) => return json!(["nothing"]),
        Ok(Some(r)) => r,
        Err(EngineError::Invalid(text)) => return json!([400, text]),
        Err(e) => return json!([e.to_string()]),
    };
    let status = match &response.kind {
        Kind::Envelope => json!(200),
        Kind::NotFoundEnvelope => json!(404),
        Kind::Bare { body, status, .. } => return json!([status, String::from_utf8_lossy(body)]),
        Kind::Accepted => json!(202),
        Kind::Stream { .. } => return json!(["a stream"]),
    };
    let data = response.data.map_or(Value::Null, |d| Value::Object(d.to_map()));
    if response.warnings.is_empty() { json!([status, data]) } else { json!([status, data, response.warnings]) }
}

pub async fn say<E: Engine>(scene: &mut Harness<E>, operation: Operation, path: &str, data: Value) -> Value {
    shown(scene.call(operation, path, data).await)
}

/// Every stored key whose value contains `needle`.
pub fn holders<E>(scene: &mut Harness<E>, needle: &str) -> Vec<String> {
    use storage::Transaction;
    let keys: Vec<String> = scene.txn.keys().into_iter().map(str::to_owned).collect();
    keys.into_iter()
        .filter(|k| {
            let record = scene.txn.get(k).unwrap().unwrap();
            String::from_utf8_lossy(record.bytes()).contains(needle)
        })
        .collect()
}
