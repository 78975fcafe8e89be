//! What the test files share: a scene, and short ways to ask and to look at an answer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails may panic"
)]
#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

use engine::testing::Harness;
use engine::{EngineError, Kind, Response};
use engine_transit::Transit;
use serde_json::{Value, json};

pub use api_types::Operation::{self, Delete, List, Read, Update};

pub struct Scene(pub Harness<Transit>);

impl Scene {
    pub fn new() -> Self {
        Self(Harness::new(Transit::new()))
    }

    /// Any answer as one value: data, or `null`, or `"<status>: <text>"`.
    pub async fn ask(&mut self, operation: Operation, path: &str, data: Value) -> Value {
        shown(self.0.call(operation, path, data).await)
    }

    pub async fn write(&mut self, path: &str, data: Value) -> Value {
        self.ask(Update, path, data).await
    }

    pub async fn read(&mut self, path: &str) -> Value {
        self.ask(Read, path, json!({})).await
    }

    /// Makes a key and insists that it worked.
    pub async fn key(&mut self, name: &str, kind: &str, more: Value) -> Value {
        let mut body = more;
        body["type"] = kind.into();
        let made = self.write(&format!("keys/{name}"), body).await;
        assert_eq!(made["type"], kind, "{made}");
        made
    }

    /// The ciphertext of `YQ==`.
    pub async fn encrypted(&mut self, name: &str, more: Value) -> Value {
        let mut body = more;
        body["plaintext"] = "YQ==".into();
        let done = self.write(&format!("encrypt/{name}"), body).await;
        assert!(done["ciphertext"].is_string(), "{done}");
        done["ciphertext"].clone()
    }
}

fn shown(outcome: Result<Option<Response>, EngineError>) -> Value {
    let response = match outcome {
        Ok(None) => return Value::Null,
        Ok(Some(r)) => r,
        Err(e) => {
            let status = match e {
                EngineError::Invalid(_) => 400,
                EngineError::NotFound | EngineError::UnsupportedPath => 404,
                EngineError::UnsupportedOperation => 405,
                _ => 500,
            };
            return json!(format!("{status}: {e}"));
        }
    };
    if let Kind::Bare { body, status, .. } = &response.kind {
        let body: Value = serde_json::from_slice(body).unwrap();
        return json!({ "status": status, "batch_results": body["data"]["batch_results"], "warnings": body["warnings"] });
    }
    let mut data = response.data.map_or(json!({}), |d| Value::Object(d.to_map()));
    if !response.warnings.is_empty() {
        data["warnings"] = json!(response.warnings);
    }
    data
}

/// The kinds that encrypt without RSA's limits.
pub const CIPHERS: [&str; 3] = ["aes256-gcm96", "aes128-gcm96", "chacha20-poly1305"];
